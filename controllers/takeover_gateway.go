package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/takeover"
)

// claimFor is what a Gateway asks of the allocator, takeovers considered; nil: nothing
// now. Taking is set while one is under way, or begins with the claim.
func (g *gateways) claimFor(ctx context.Context, gw *gatewayv1.Gateway, asked *gateway.Asked) (claim *allocator.Claim, taking bool, err error) {
	key := gateway.KeyOf(gateway.Name{Namespace: gw.Namespace, Name: gw.Name})
	if asked.Claim == nil || !g.inTakeover(key, gw.Annotations) {
		return asked.Claim, false, nil
	}
	p, err := g.gatewayParty(ctx, key, client.ObjectKeyFromObject(gw))
	if err != nil {
		return nil, false, err
	}
	has := g.ledger.TakenBy(key)
	switch {
	case has != nil && !has.Done():
		claim = pinned(asked.Claim, has.Addresses, has.Keys(), false)
		claim.Takeover = &has.Takeover
		return claim, true, nil
	case len(p.Takes) > 0 && (has == nil || !slices.Equal(has.Keys(), p.Takes)):
		return g.beginTakeover(ctx, &p, asked.Claim)
	case g.handedOver(&p, g.ledger.TakenFrom(key)):
		return nil, false, nil
	case has != nil && len(p.wishes) == 0:
		return pinned(asked.Claim, has.Addresses, has.Keys(), true), false, nil
	}
	return asked.Claim, false, nil
}

// beginTakeover is the claim of a Gateway that asks for a takeover which the ledger
// does not have yet. Until it can begin, the Gateway keeps what it has, and gets
// nothing that it would give back.
func (g *gateways) beginTakeover(ctx context.Context, p *party, claim *allocator.Claim) (*allocator.Claim, bool, error) {
	v, err := g.viewOf(ctx, p.Takes, p.Key)
	if err != nil {
		return nil, false, err
	}
	if v.Wanted {
		claim := pinned(claim, v.Addresses, p.Takes, false)
		claim.Takeover = v.Begin(g.Clock.Now())
		return claim, true, nil
	}
	if len(g.ledger.Held(p.Key)) == 0 {
		return nil, false, nil
	}
	return claim, false, nil
}

// shown are the addresses that a Gateway's status and its Service's show: those that
// the ledger has for it, without what it does not serve yet or any more, and with
// what it had before as long as a takeover may be undone.
func (g *gateways) shown(s *serving) []netip.Addr {
	key := gateway.KeyOf(gatewayName(s.name))
	held, hidden := g.ledger.Held(key), []netip.Addr(nil)
	all := s.decided.addresses()
	if t := g.ledger.TakenBy(key); t != nil && !t.Done() {
		if !takeover.Phase(t.Phase).TakerInFront() {
			hidden = append(hidden, t.Addresses...)
		}
	}
	if s.decided.taking {
		for _, a := range s.decided.Leaving {
			all = appendNew(all, a)
		}
	}
	hidden = append(hidden, g.givesUp(key)...)
	var out []netip.Addr
	for _, a := range all {
		if slices.Contains(held, a) && !slices.Contains(hidden, a) {
			out = append(out, a)
		}
	}
	return out
}

// viewOfGateway is the takeover that a Gateway is a side of; nil: none.
func (g *gateways) viewOfGateway(ctx context.Context, s *serving) (*takeover.View, error) {
	key := gateway.KeyOf(gatewayName(s.name))
	gw := &gatewayv1.Gateway{}
	if err := g.client.Get(ctx, s.name, gw, client.UnsafeDisableDeepCopy); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("reading %s: %w", key, err)
	}
	if !g.inTakeover(key, gw.Annotations) {
		return nil, nil
	}
	p, err := g.gatewayParty(ctx, key, s.name)
	if err != nil {
		return nil, err
	}
	return g.viewFor(ctx, &p)
}

// conditionFor says where a takeover stands; nil: there is none.
func conditionFor(v *takeover.View) *metav1.Condition {
	if v == nil {
		return nil
	}
	said := v.Say()
	c := &metav1.Condition{Status: metav1.ConditionFalse, Reason: said.Reason, Message: said.Message}
	if said.True {
		c.Status = metav1.ConditionTrue
	}
	return c
}

// stageOf says where the takeover of a Gateway stands.
func (g *gateways) stageOf(ctx context.Context, s *serving, envoys []fleet.Envoy) (out stage, err error) {
	key := gateway.KeyOf(gatewayName(s.name))
	if out.view, err = g.viewOfGateway(ctx, s); err != nil || out.view == nil {
		return out, err
	}
	v := out.view
	if v.Gives(key) && v.Phase != takeover.Done {
		g.wakeTakers(v)
	}
	if v.Taker != key {
		return out, nil
	}
	switch refusal := s.decided.Refusal; {
	case s.decided.taking && v.Phase == takeover.None && refusal != nil:
		v.Wanted, v.Refused = false, refusal.String()
	case v.Wanted && s.insideOnly():
		v.Wanted, v.Refused = false, fmt.Sprintf("%s asks only for addresses inside of the cluster. Change its spec.addresses.", key)
	case v.Wanted && v.Phase == takeover.None && !s.built.Listening():
		v.Wanted, v.Waiting = false, fmt.Sprintf("%s has no valid listener yet.", key)
	}
	out.step, err = g.stepOf(ctx, v, taking{
		unready: func(addresses []netip.Addr) (string, error) { return g.unready(ctx, s, addresses, envoys) },
		service: client.ObjectKey{Namespace: s.front.Gateway.Namespace, Name: s.front.Name()},
	})
	return out, err
}

// advance takes the takeover by a Gateway one step on, and says when to look again;
// 0: not before something happens.
func (g *gateways) advance(ctx context.Context, s *serving, at stage) (time.Duration, error) {
	key, v := gateway.KeyOf(gatewayName(s.name)), at.view
	if v != nil && at.step == nil && v.Wanted && v.Phase == takeover.None && v.Taker == key {
		g.build.addAfter(requestFor(key.Namespace, key.Name), takeoverLook)
	}
	return g.carryOn(ctx, at)
}

// unready says why a Gateway could not serve addresses now; empty: it could. An
// Envoy has acknowledged its listeners, and is listed for each family.
func (g *gateways) unready(ctx context.Context, s *serving, addresses []netip.Addr, envoys []fleet.Envoy) (string, error) {
	switch p := g.acknowledged(s, envoys); {
	case s.decided.refused != nil:
		return "The Gateway is not accepted: " + s.decided.refused.Message, nil
	case !s.built.Listening():
		return "The Gateway has no valid listener.", nil
	case s.decided.Refusal != nil && !s.decided.Refusal.Partly:
		return s.decided.Refusal.String(), nil
	case p != nil:
		return p.Message, nil
	}
	listed, err := g.slicesOf(ctx, s.front)
	if err != nil {
		return "", err
	}
	for _, family := range familiesIn(addresses) {
		if !listsReady(listed, family, s.front.Ports) {
			return fmt.Sprintf("No Envoy is listed for %s yet.", family), nil
		}
	}
	return "", nil
}

// listsReady tells whether slices list a ready endpoint of a family with these ports.
func listsReady(list []discoveryv1.EndpointSlice, family allocator.Family, ports []fleet.FrontPort) bool {
	kind := discoveryv1.AddressTypeIPv4
	if family == allocator.IPv6 {
		kind = discoveryv1.AddressTypeIPv6
	}
	for i := range list {
		if list[i].AddressType != kind || !samePortsListed(list[i].Ports, ports) {
			continue
		}
		for _, e := range list[i].Endpoints {
			if e.Conditions.Ready == nil || *e.Conditions.Ready {
				return true
			}
		}
	}
	return false
}

// notYet says why a Gateway has no address that it serves, where a takeover is the
// reason; nil: none is.
func (at stage) notYet(shown []netip.Addr) *gateway.Problem {
	if at.view == nil || len(shown) > 0 {
		return nil
	}
	return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonAddressNotAssigned), Message: at.view.Say().Message}
}
