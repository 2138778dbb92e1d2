package controllers

import (
	"context"
	"strings"

	"k8s.io/client-go/rest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// WithoutPrescribed passes on all warnings of the API server but the one about a name
// that the Gateway API prescribes: that of the finalizer of a GatewayClass in use.
func WithoutPrescribed(next rest.WarningHandlerWithContext) rest.WarningHandlerWithContext {
	return withoutPrescribed{next}
}

type withoutPrescribed struct {
	next rest.WarningHandlerWithContext
}

func (w withoutPrescribed) HandleWarningHeaderWithContext(ctx context.Context, code int, agent, text string) {
	if strings.HasPrefix(text, "metadata.finalizers") && strings.Contains(text, `"`+gatewayv1.GatewayClassFinalizerGatewaysExist+`": prefer`) {
		return
	}
	w.next.HandleWarningHeaderWithContext(ctx, code, agent, text)
}
