package gateway

import (
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

const (
	// firstWord is how long a Gateway that was just made is told nothing while it
	// waits for Envoys and speakers. Most are programmed by then, which is one write
	// rather than two, and no write is in the way of those that they wait for.
	firstWord = 100 * time.Millisecond
	// justMade is how old it may be: the time at which an object was made is in
	// whole seconds.
	justMade = 2 * time.Second
)

// UntilFirstWord is how long a Gateway that was built at a time is not yet told what
// there is to say of it; 0: it is told now.
func UntilFirstWord(gw *gatewayv1.Gateway, said gatewayv1.GatewayStatus, builtAt, now time.Time) time.Duration {
	programmed := meta.FindStatusCondition(said.Conditions, string(gatewayv1.GatewayConditionProgrammed))
	pending := programmed != nil && programmed.Reason == string(gatewayv1.GatewayReasonPending)
	if !pending || answered(gw) || now.Sub(gw.CreationTimestamp.Time) >= justMade {
		return 0
	}
	return max(0, firstWord-now.Sub(builtAt))
}

// answered tells whether a controller has said whether it accepts a Gateway.
func answered(gw *gatewayv1.Gateway) bool {
	c := meta.FindStatusCondition(gw.Status.Conditions, string(gatewayv1.GatewayConditionAccepted))
	return c != nil && c.Status != metav1.ConditionUnknown
}
