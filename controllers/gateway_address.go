package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// decided is what a Gateway has of addresses.
type decided struct {
	allocator.Decision
	// refused says why the Gateway is not accepted at all: it keeps what it
	// has.
	refused *gateway.Problem
}

// addresses are those that the Gateway has, for its status and its Service.
func (d *decided) addresses() []netip.Addr {
	var out []netip.Addr
	for _, a := range d.Addresses {
		out = append(out, a.Address)
	}
	return out
}

// decide asks the allocator for what a Gateway wants. One that is refused as a
// whole, and one without a listener, keep what they have and get nothing new.
func (g *gateways) decide(ctx context.Context, gw *gatewayv1.Gateway, built *gateway.Built, c fleet.Config, service string, refused *gateway.Problem) (decided, error) {
	labels, err := g.namespaceLabels(ctx, gw.Namespace)
	if err != nil {
		return decided{}, err
	}
	claim, problem := built.Claim(gateway.Wishes{
		Families: g.familiesOf(c), Required: len(c.Families) > 0, Pools: c.Pools, Local: c.TrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		NamespaceLabels: labels, Endpoints: service,
	})
	if refused == nil {
		refused = problem
	}
	key := gateway.KeyOf(gateway.Name{Namespace: gw.Namespace, Name: gw.Name})
	held := g.ledger.Held(key)
	if refused != nil || !built.Listening() {
		out := decided{refused: refused}
		for _, a := range held {
			out.Addresses = append(out.Addresses, allocator.Assigned{Address: a})
		}
		return out, nil
	}
	d, err := g.ledger.Decide(ctx, claim)
	if err != nil {
		return decided{}, fmt.Errorf("deciding on the addresses of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return decided{Decision: d}, nil
}

// familiesOf are the families of a configuration, by default the cluster's first.
func (g *gateways) familiesOf(c fleet.Config) []allocator.Family {
	families := c.Families
	if len(families) == 0 && len(g.fleet.Families) > 0 {
		families = g.fleet.Families[:1]
	}
	var out []allocator.Family
	for _, f := range families {
		if f == corev1.IPv6Protocol {
			out = append(out, allocator.IPv6)
		} else {
			out = append(out, allocator.IPv4)
		}
	}
	return out
}

// waiting says why a Gateway is not programmed; nil: it is.
func (g *gateways) waiting(s *serving, envoys []fleet.Envoy) *gateway.Problem {
	d := &s.decided
	switch {
	case d.Refusal != nil && !d.Refusal.Partly:
		return gateway.WaitingFor(d.Refusal)
	case len(d.Addresses) == 0:
		return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonAddressNotAssigned), Message: "No address is assigned yet."}
	}
	if p := g.acknowledged(s, envoys); p != nil {
		return p
	}
	return g.unannouncedGateway(s)
}

// acknowledged says why no Envoy serves the Gateway; nil: one does.
func (g *gateways) acknowledged(s *serving, envoys []fleet.Envoy) *gateway.Problem {
	if slices.ContainsFunc(envoys, func(e fleet.Envoy) bool { return e.Ready }) {
		return nil
	}
	for _, e := range g.feed.Progress(s.fleet.Name(), gatewayName(s.name)).Envoys {
		for _, r := range e.Rejections {
			return &gateway.Problem{
				Reason:  string(gatewayv1.GatewayReasonInvalid),
				Message: fmt.Sprintf("Envoy %s rejects %s %s: %s", e.Pod, r.Type, r.Resource, r.Message),
			}
		}
	}
	if len(envoys) == 0 {
		return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonNoResources), Message: fmt.Sprintf("No Envoy of fleet %s runs. Look at its pods in namespace %s.", s.fleet.Name(), g.Namespace)}
	}
	return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonPending), Message: fmt.Sprintf("None of the %d Envoys of fleet %s serves the listeners yet.", len(envoys), s.fleet.Name())}
}

// unannouncedGateway says why an address of a Gateway is not announced; nil: all
// are. Unlike a Service's, a Gateway's condition says True only when a speaker
// has said so.
func (g *gateways) unannouncedGateway(s *serving) *gateway.Problem {
	for _, a := range s.decided.addresses() {
		o := g.ledger.Object(a)
		if o == nil || o.Status.Layer2 != nil && o.Status.Layer2.TakenBy == "" || meta.IsStatusConditionTrue(o.Status.Conditions, v1alpha1.AddressAnnounced) {
			continue
		}
		message := fmt.Sprintf("No node announces %s yet.", a)
		if c := meta.FindStatusCondition(o.Status.Conditions, v1alpha1.AddressAnnounced); c != nil && c.Status == metav1.ConditionFalse {
			message = fmt.Sprintf("%s is not announced. %s", a, c.Message)
		}
		return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonPending), Message: message}
	}
	return nil
}

// wakeConcerned asks for new decisions on the Gateways that wait, and on those in
// pools that have changed.
func (g *gateways) wakeConcerned(pools map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, s := range g.known {
		if s.decided.Refusal != nil || len(s.decided.Addresses) == 0 || g.ledger.HoldsIn(gateway.KeyOf(gatewayName(n)), pools) {
			g.build.add(requestFor(n.Namespace, n.Name))
		}
	}
}
