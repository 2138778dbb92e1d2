package controllers

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
)

// takeoverLook is how often a takeover is looked at that waits for something of
// which no event tells: a grant, an endpoint, a node.
const takeoverLook = 2 * time.Second

// party is one side of a takeover, as its object is.
type party struct {
	takeover.Side
	found, ours bool
	uid         types.UID
	// wishes are the addresses that the object asks for by name.
	wishes []netip.Addr
	// families are those that a Service can have; nil: a Gateway can have all.
	families []allocator.Family
}

// partyOf reads the object of a holder.
func (s *shell) partyOf(ctx context.Context, k allocator.Key) (party, error) {
	name := client.ObjectKey{Namespace: k.Namespace, Name: k.Name}
	if k.Kind == gateway.KindGateway {
		g := s.gateways.Load()
		if g == nil || !g.watching.Load() {
			return party{Side: takeover.Side{Key: k}}, nil
		}
		return g.gatewayParty(ctx, k, name)
	}
	svc := &corev1.Service{}
	if err := s.client.Get(ctx, name, svc); err != nil {
		return party{Side: takeover.Side{Key: k}}, quietlyMissing(err, k)
	}
	return s.serviceParty(ctx, svc)
}

func (s *shell) serviceParty(ctx context.Context, svc *corev1.Service) (party, error) {
	reading, err := s.read(ctx, svc)
	p := party{
		Side: takeover.Read(service.KeyOf(svc), svc.Annotations), found: svc.DeletionTimestamp == nil,
		ours: service.Ours(svc, s.Service), uid: svc.UID, families: reading.Claim.Families,
	}
	for _, w := range reading.Claim.Addresses {
		p.wishes = append(p.wishes, w.Value)
	}
	return p, err
}

func (g *gateways) gatewayParty(ctx context.Context, k allocator.Key, name client.ObjectKey) (party, error) {
	gw := &gatewayv1.Gateway{}
	if err := g.client.Get(ctx, name, gw); err != nil {
		return party{Side: takeover.Side{Key: k}}, quietlyMissing(err, k)
	}
	class, err := g.classOf(ctx, gw)
	p := party{
		Side: takeover.Read(k, gw.Annotations), found: gw.DeletionTimestamp == nil, ours: class != nil, uid: gw.UID,
	}
	for _, a := range gw.Spec.Addresses {
		if ip, err := netip.ParseAddr(a.Value); err == nil && a.Routability != gatewayv1.GatewayAddressRoutabilityCluster {
			p.wishes = append(p.wishes, ip.Unmap())
		}
	}
	return p, err
}

// quietlyMissing takes an object that is not there for no error.
func quietlyMissing(err error, k allocator.Key) error {
	if apierrors.IsNotFound(err) {
		return nil
	}
	return fmt.Errorf("reading %s: %w", k, err)
}

// inTakeover tells whether a holder can be a side of a takeover: its annotations name
// one, or the ledger. Nothing of takeovers is read for the others, which are nearly all.
func (s *shell) inTakeover(k allocator.Key, annotations map[string]string) bool {
	return takeover.Asked(annotations) || s.ledger.TakenBy(k) != nil || s.ledger.TakenFrom(k) != nil
}

// lacksFamily tells whether a Service cannot have one of some addresses.
func (p *party) lacksFamily(addresses []netip.Addr) bool {
	return p.families != nil && slices.ContainsFunc(addresses, func(a netip.Addr) bool { return !slices.Contains(p.families, allocator.FamilyOf(a)) })
}

// granted tells whether a holder may take over from one of another namespace.
func (s *shell) granted(ctx context.Context, from, to allocator.Key) (bool, error) {
	if from.Namespace == to.Namespace {
		return true, nil
	}
	l := &lookup{ctx: ctx, client: s.client}
	ok := gateway.Granted(l.Grants(to.Namespace), from, to)
	return ok, l.err
}

// handedOver tells whether a holder has handed its addresses over, and is to have no
// others: as long as it names the one that has them, or is the same object as then,
// and does not ask for others by name.
func (s *shell) handedOver(p *party, t *allocator.Taking) bool {
	switch {
	case t == nil || !t.Done() || len(s.ledger.Held(p.Key)) > 0:
		return false
	case len(p.Takes) > 0:
		return slices.Contains(p.Takes, t.Taker)
	case p.Gives != nil && !slices.Contains(p.Gives, t.Taker), p.Gives == nil && !slices.Contains(t.Givers(), allocator.Giver{Key: p.Key, UID: string(p.uid)}):
		return false
	}
	return !slices.ContainsFunc(p.wishes, func(a netip.Addr) bool { return !slices.Contains(t.Addresses, a) })
}

// givesUp are the addresses that a holder is to show no more, since all who take them over
// from it are in front.
func (s *shell) givesUp(k allocator.Key) (out []netip.Addr) {
	for _, t := range s.ledger.TakingsFrom(k) {
		if t.Done() {
			continue
		}
		if takeover.Phase(t.Phase).GiverInFront() {
			return nil
		}
		out = append(out, t.Addresses...)
	}
	return out
}

// frontOf are the addresses in the status that kube-proxy follows for a holder, and
// when we wrote it last.
func (s *shell) frontOf(ctx context.Context, k allocator.Key) (shown []netip.Addr, since time.Time, err error) {
	name := client.ObjectKey{Namespace: k.Namespace, Name: k.Name}
	if k.Kind == gateway.KindGateway {
		g := s.gateways.Load()
		if g == nil {
			return nil, since, nil
		}
		serving := g.servingOf(name)
		if serving == nil {
			return nil, since, nil
		}
		name.Name = serving.front.Name()
	}
	svc := &corev1.Service{}
	if err := s.client.Get(ctx, name, svc); err != nil {
		return nil, since, quietlyMissing(err, k)
	}
	for _, m := range svc.ManagedFields {
		if m.Manager == v1alpha1.FieldManager && m.Subresource == "status" && m.Time != nil && m.Time.After(since) {
			since = m.Time.Time
		}
	}
	return service.Shown(svc), since, nil
}

// reachable tells whether the addresses of a takeover would still be announced if
// both sides counted, and whether by other nodes or by fewer. What is not announced
// now is no worse then.
func (s *shell) reachable(ctx context.Context, addresses []netip.Addr) (ok, moves bool, err error) {
	index, err := s.announcerIndex(ctx)
	if err != nil {
		return false, false, err
	}
	endpoints := s.endpointsOf(ctx)
	announced := func(o *v1alpha1.Address) (nodes []string) {
		a, err := announcer.FromAddress(o)
		if err != nil {
			return nil
		}
		if n := index.Decide(a, endpoints).Node; n != "" {
			nodes = append(nodes, n)
		}
		return append(nodes, index.SurveyBGP(a, endpoints, index.established).Nodes...)
	}
	for _, a := range addresses {
		o := s.ledger.Object(a)
		if o == nil {
			continue
		}
		before := announced(o)
		if len(before) == 0 {
			continue
		}
		both := o.DeepCopy()
		for i := range both.Spec.Holders {
			both.Spec.Holders[i].Takeover = nil
		}
		after := announced(both)
		if len(after) == 0 {
			return false, true, nil
		}
		moves = moves || slices.ContainsFunc(before, func(n string) bool { return !slices.Contains(after, n) })
	}
	return true, moves, nil
}

// pinned is a claim for the addresses that a holder takes or has taken over, and for
// others of its families beside them, or none.
func pinned(c *allocator.Claim, addresses []netip.Addr, from []allocator.Key, beside bool) *allocator.Claim {
	out := *c
	out.Addresses, out.Pools, out.Families, out.Policy = nil, nil, nil, allocator.Prefer
	for _, a := range addresses {
		out.Addresses = append(out.Addresses, allocator.Wish[netip.Addr]{Value: a, Origin: "the takeover from " + takeover.Names(from)})
		out.Families = appendNew(out.Families, allocator.FamilyOf(a))
	}
	if beside {
		for _, f := range c.Families {
			out.Families = appendNew(out.Families, f)
		}
	}
	return &out
}

func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

// allOf tells whether all of some addresses are among others, noneOf whether none is.
func allOf(some, among []netip.Addr) bool {
	return !slices.ContainsFunc(some, func(a netip.Addr) bool { return !slices.Contains(among, a) })
}

func noneOf(some, among []netip.Addr) bool {
	return !slices.ContainsFunc(some, func(a netip.Addr) bool { return slices.Contains(among, a) })
}

// familiesIn are the families of addresses.
func familiesIn(addresses []netip.Addr) []allocator.Family {
	seen := map[allocator.Family]bool{}
	for _, a := range addresses {
		seen[allocator.FamilyOf(a)] = true
	}
	return slices.Sorted(maps.Keys(seen))
}
