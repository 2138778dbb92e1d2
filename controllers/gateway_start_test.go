package controllers

import (
	"fmt"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// A controller that starts takes the statuses of routes for what they are.
func TestStartWritesNoStatusOfRoutes(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	first := w.start(serve)
	class := w.class()
	w.create(w.newGateway("web", class))
	for i := range 20 {
		w.create(w.newRoute(fmt.Sprintf("r%d", i), "web", "nowhere"))
	}
	w.says("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonNoResources)
	w.eventually("all routes are answered", func() error {
		var list gatewayv1.HTTPRouteList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns)); err != nil {
			return err
		}
		for i := range list.Items {
			if len(list.Items[i].Status.Parents) == 0 {
				return fmt.Errorf("%s is not", list.Items[i].Name)
			}
		}
		return nil
	})
	w.settled(first)
	first.stop()
	next := w.start(serve)
	w.recovered(next)
	<-next.shell.gateways.Load().opened
	for path, n := range w.settled(next) {
		if strings.Contains(path, "httproutes") {
			t.Errorf("%s was called %d times", path, n)
		}
	}
}
