package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	// asked is what the Gateway asks for; nil: nothing was decided.
	asked *gateway.Asked
	// taking is set where this is of a takeover that is under way, or begins.
	taking bool
}

// addresses are those of pools that the Gateway has.
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
	asked, problem, err := g.ask(ctx, gw, built, c, service)
	if err != nil {
		return decided{}, err
	}
	if refused == nil {
		refused = problem
	}
	key := gateway.KeyOf(gateway.Name{Namespace: gw.Namespace, Name: gw.Name})
	held := g.ledger.Held(key)
	if refused != nil || !built.Listening() {
		return keeping(held, refused), nil
	}
	claim, taking, err := g.claimFor(ctx, gw, asked)
	if err != nil {
		return decided{}, err
	}
	switch {
	case claim == nil && len(held) == 0:
		return decided{asked: asked}, g.release(ctx, key) // it may have waited for one
	case claim == nil:
		return decided{asked: asked, Decision: allocator.Decision{Leaving: held}}, nil
	}
	d, err := g.allocate(ctx, *claim)
	if err != nil {
		return decided{}, fmt.Errorf("deciding on the addresses of Gateway %s/%s: %w", gw.Namespace, gw.Name, err)
	}
	return decided{Decision: d, asked: asked, taking: taking}, nil
}

// keeping is what a Gateway has that gets nothing new.
func keeping(held []netip.Addr, refused *gateway.Problem) decided {
	out := decided{refused: refused}
	for _, a := range held {
		out.Addresses = append(out.Addresses, allocator.Assigned{Address: a})
	}
	return out
}

// ask reads what a Gateway asks for. Service is the one whose endpoints are its.
func (g *gateways) ask(ctx context.Context, gw *gatewayv1.Gateway, built *gateway.Built, c fleet.Config, service string) (*gateway.Asked, *gateway.Problem, error) {
	labels, err := g.namespaceLabels(ctx, gw.Namespace)
	if err != nil {
		return nil, nil, err
	}
	asked, problem := built.Ask(gateway.Wishes{
		Families: g.familiesOf(c), Required: len(c.Families) > 0, Cluster: allocatorFamilies(g.fleet.Families),
		Pools: c.Pools, Local: c.TrafficPolicy == corev1.ServiceExternalTrafficPolicyLocal,
		NamespaceLabels: labels, Endpoints: service,
	})
	return asked, problem, nil
}

// assign says which addresses a Gateway has, those of its Service included; nil:
// nothing was decided.
func (g *gateways) assign(s *serving, front frontState, shown []netip.Addr) *gateway.Assignment {
	d := &s.decided
	if d.asked == nil {
		if len(shown) == 0 {
			return nil
		}
		// What it has had stays.
		kept := (&gateway.Asked{}).Assign(shown, nil, nil, "")
		return &kept
	}
	refusal := d.Refusal
	if refusal != nil && refusal.Partly {
		refusal = nil
	}
	out := d.asked.Assign(shown, refusal, front.inside, front.unable)
	return &out
}

// familiesOf are the families of a configuration, by default the cluster's first.
func (g *gateways) familiesOf(c fleet.Config) []allocator.Family {
	families := c.Families
	if len(families) == 0 && len(g.fleet.Families) > 0 {
		families = g.fleet.Families[:1]
	}
	return allocatorFamilies(families)
}

func allocatorFamilies(list []corev1.IPFamily) []allocator.Family {
	var out []allocator.Family
	for _, f := range list {
		if f == corev1.IPv6Protocol {
			out = append(out, allocator.IPv6)
		} else {
			out = append(out, allocator.IPv4)
		}
	}
	return out
}

// waiting says why a Gateway is not programmed; nil: it is.
func (g *gateways) waiting(s *serving, envoys []fleet.Envoy, assigned *gateway.Assignment, shown []netip.Addr) *gateway.Problem {
	if p := s.unassigned(assigned, shown); p != nil {
		return p
	}
	if p := g.acknowledged(s, envoys); p != nil {
		return p
	}
	return g.unannouncedGateway(shown)
}

// unassigned says why a Gateway has not the addresses that it needs to be
// programmed; nil: it has. What it wants beside others that it has it can do
// without, unless that is an address which was written.
func (s *serving) unassigned(assigned *gateway.Assignment, shown []netip.Addr) *gateway.Problem {
	refusal := s.decided.Refusal
	inside := assigned != nil && len(assigned.Addresses) > len(shown)
	switch {
	case refusal != nil && !refusal.Partly && !inside:
		return gateway.WaitingFor(refusal)
	case assigned == nil || !assigned.Some:
		message := "No address is assigned yet."
		if assigned != nil && len(assigned.Unmet) > 0 {
			message = strings.Join(assigned.Unmet, " ")
		}
		return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonAddressNotAssigned), Message: message}
	}
	return nil
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
func (g *gateways) unannouncedGateway(shown []netip.Addr) *gateway.Problem {
	for _, a := range shown {
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

// insideOnly tells whether a Gateway asks for no address of a pool.
func (s *serving) insideOnly() bool { return s.decided.asked != nil && s.decided.asked.Claim == nil }

// wakeConcerned asks for new decisions on the Gateways that wait, and on those in
// pools that have changed.
func (g *gateways) wakeConcerned(pools map[string]bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, s := range g.known {
		if s.decided.Refusal != nil || len(s.decided.Addresses) == 0 && !s.insideOnly() || g.ledger.HoldsIn(gateway.KeyOf(gatewayName(n)), pools) {
			g.build.add(requestFor(n.Namespace, n.Name))
		}
	}
}
