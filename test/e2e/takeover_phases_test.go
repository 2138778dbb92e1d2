//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/test/lab"
)

// comes waits until the ledger has the takeover in a phase.
func (h *handover) comes(phase takeover.Phase) {
	h.Helper()
	ctx, cancel := context.WithTimeout(h.ctx, 2*time.Minute)
	defer cancel()
	if err := h.AwaitPhase(ctx, h.addresses[0], phase); err != nil {
		h.Fatal(err)
	}
}

// says waits until a side says of the takeover why it does not go on, with these words.
func (h *handover) says(s lab.Side, reason, words string) {
	h.Helper()
	h.await(fmt.Sprintf("%s to say %q of the takeover", s, words), func(ctx context.Context) error {
		c, err := h.SaysOfTakeover(ctx, s)
		if err == nil && (c == nil || c.Reason != reason || !strings.Contains(c.Message, words)) {
			err = fmt.Errorf("it says %+v", c)
		}
		return err
	})
}

// undone waits until the giving side has all addresses alone again.
func (h *handover) undone() {
	h.Helper()
	h.says(h.to, tell.ReasonWaiting, "does not agree")
	h.inFront(len(h.addresses), 0)
	if err := h.HeldBy(h.ctx, h.from, h.addresses); err != nil {
		h.Error(err)
	}
	for _, a := range h.addresses {
		h.answers(a, 80)
	}
}

// A takeover goes on, and harms nobody, when the controller that leads it is killed in each of its phases.
func TestTakeoverGoesOnWithoutItsLeader(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
	h.edge(w.class())
	for _, phase := range []takeover.Phase{takeover.Requested, takeover.Prepared, takeover.Shared, takeover.Switched} {
		h.comes(phase)
		t.Logf("%s: %s is killed", phase, w.killLeader())
	}
	h.done()
	h.unharmed("a takeover whose leader is killed in each phase")
}

// noNode is a node selector that no node has.
var noNode = map[string]string{"no-node.example.com/has": "this"}

// A takeover that cannot come to its end says why, and can be undone in any phase: the Service serves on all the time, and is
// as it was before. That is so also when the leader is killed on the way back.
func TestTakeoverUndoneInEachPhase(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
	class, config := w.fleetClass(v1alpha1.FleetConfig{NodeSelector: noNode})
	h.edge(class)
	// The Gateway is never programmed.
	h.says(h.to, string(takeover.Requested), "No Envoy of fleet")
	w.killLeader()
	h.disagrees()
	h.undone()

	edit(w, config, func(c *v1alpha1.GatewayConfig) { c.Spec.Fleet.NodeSelector = nil })
	for _, phase := range []takeover.Phase{takeover.Prepared, takeover.Shared, takeover.Switched} {
		h.agrees()
		h.comes(phase)
		h.disagrees()
		if phase == takeover.Switched {
			h.comes(takeover.Returning)
			w.killLeader()
		}
		h.undone()
	}
	h.unharmed("takeovers undone in each phase")
}

// A Gateway whose Envoys all go half way gives the addresses back until it has some again.
func TestTakeoverWhoseEnvoysGo(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy(func(s *corev1.Service) { // a port that the Gateway lacks keeps the takeover Shared
		more := s.Spec.Ports[0]
		more.Name, more.Port = "more", 81
		s.Spec.Ports = append(s.Spec.Ports, more)
	})
	class, config := w.fleetClass(v1alpha1.FleetConfig{})
	// With Local the address goes to the Envoys that are left, if they are seen to end far apart, as on a busy machine: docs/takeover.md says so.
	edit(w, config, func(c *v1alpha1.GatewayConfig) {
		c.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	})
	h.edge(class)
	h.stands(takeover.Shared)
	edit(w, config, func(c *v1alpha1.GatewayConfig) { c.Spec.Fleet.NodeSelector = noNode })
	h.stands(takeover.Requested)
	h.inFront(2, 0)
	edit(w, config, func(c *v1alpha1.GatewayConfig) { c.Spec.Fleet.NodeSelector = nil })
	h.stands(takeover.Shared)
	h.inFront(2, 2)
	edit(w, h.from.Object().(*corev1.Service), func(s *corev1.Service) { s.Spec.Ports = s.Spec.Ports[:1] })
	h.done()
	h.unharmed("a takeover whose Envoys went and came")
}

// A Gateway of another namespace takes nothing over without a grant of the Service's namespace, and does with one.
func TestTakeoverAcrossNamespaces(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
	other, class := w.anotherNamespace("edge"), w.class()
	gw := lab.Gateway(other, "edge", string(class))
	gw.Spec.Listeners[0].AllowedRoutes = &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	route := w.httpRoute("all", "edge", "echo")
	route.Spec.ParentRefs[0].Namespace = new(gatewayv1.Namespace(other))
	h.takes(lab.GatewaySide(other, "edge", string(class)), gw)
	w.apply(route)
	h.agrees()
	for _, side := range []lab.Side{h.from, h.to} {
		h.says(side, tell.ReasonRefused, "Create a ReferenceGrant there, from kind Gateway of namespace "+other+" to kind Service.")
	}
	if err := h.HeldBy(w.ctx, h.from, h.addresses); err != nil {
		t.Error(err)
	}

	grant := &gatewayv1.ReferenceGrant{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "edge"}}
	grant.Spec.From = []gatewayv1.ReferenceGrantFrom{{Group: gatewayv1.GroupName, Kind: "Gateway", Namespace: gatewayv1.Namespace(other)}}
	grant.Spec.To = []gatewayv1.ReferenceGrantTo{{Kind: "Service"}}
	w.apply(grant)
	h.done()
	h.unharmed("a takeover across namespaces")
}

// A Gateway of another class takes the addresses of a Gateway over, and gives them back.
func TestTakeoverBetweenGateways(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	w.echoBackend()
	class := w.class()
	w.apply(w.httpRoute("old", "old", "echo"), w.httpRoute("new", "new", "echo"))
	h := &handover{world: w, from: lab.GatewaySide(w.namespace, "old", string(class))}
	h.addresses = w.gateway("old", class, func(gw *gatewayv1.Gateway) {
		for _, a := range []string{"172.30.0.227", "fd00:30::227"} {
			gw.Spec.Addresses = append(gw.Spec.Addresses, gatewayv1.GatewaySpecAddress{Type: new(gatewayv1.IPAddressType), Value: a})
		}
	})
	for _, a := range h.addresses {
		w.answers(a, 80)
	}
	w.allListed("old", class)
	h.comeOnSegment()

	class = w.class(func(c *gatewayv1.GatewayClass) { c.Name += "-new" })
	h.takes(lab.GatewaySide(w.namespace, "new", string(class)), lab.Gateway(w.namespace, "new", string(class)))
	h.agrees()
	h.done()
	h.back()
	h.done()
	h.unharmed("a takeover from Gateway to Gateway, and back")
}

// A Service of a class takes the addresses of one that has none over, and gives them back: the class of a Service cannot be
// changed.
func TestTakeoverBetweenServices(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
	h.takes(lab.ServiceSide(w.namespace, "new"), lab.LoadBalancer(w.namespace, "new", "echo", lab.DualStack, func(s *corev1.Service) {
		s.Spec.LoadBalancerClass = new(v1alpha1.LoadBalancerClass)
	}))
	h.agrees()
	h.done()
	h.back()
	h.done()
	h.unharmed("a takeover from Service to Service, and back")
}
