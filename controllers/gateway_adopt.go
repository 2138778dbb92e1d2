package controllers

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// adoptFirst adopts what statuses show before any Gateway is served. Where the CRDs
// were there at the start, that was done with the pools, and nothing is left.
func (g *gateways) adoptFirst(ctx context.Context) error {
	g.configuring.Lock()
	defer g.configuring.Unlock()
	adoptions, err := g.gatewayAdoptions(ctx, g.surroundings.pools.Load().Contains)
	if err != nil || len(adoptions) == 0 {
		return err
	}
	g.serving.Lock()
	adopters := g.ledger.AdoptAll(adoptions)
	g.serving.Unlock()
	g.wake(adopters)
	return nil
}

// gatewayAdoptions are the Gateways of ours whose status shows addresses of a pool while
// the ledger has nothing for them: they come from a backup, or their Addresses
// were lost.
func (g *gateways) gatewayAdoptions(ctx context.Context, inPool func(netip.Addr) bool) ([]Adoption, error) {
	var list gatewayv1.GatewayList
	if err := g.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, fmt.Errorf("listing Gateways: %w", err)
	}
	found := slices.DeleteFunc(list.Items, func(gw gatewayv1.Gateway) bool { return g.shownBy(&gw, inPool) == nil })
	slices.SortFunc(found, func(a, b gatewayv1.Gateway) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	var out []Adoption
	for i := range found {
		a, err := g.gatewayAdoption(ctx, client.ObjectKeyFromObject(&found[i]), inPool)
		if err != nil {
			return nil, err
		}
		if a != nil {
			out = append(out, *a)
		}
	}
	return out, nil
}

// gatewayAdoption asks the API server, as a late cache may show what an earlier leader has
// taken back. Nil: there is nothing to adopt.
func (g *gateways) gatewayAdoption(ctx context.Context, name client.ObjectKey, inPool func(netip.Addr) bool) (*Adoption, error) {
	gw := &gatewayv1.Gateway{}
	if err := g.live.Get(ctx, name, gw); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	shown := g.shownBy(gw, inPool)
	if shown == nil {
		return nil, nil
	}
	claim, err := g.claimOfGateway(ctx, gw)
	if err != nil || claim == nil {
		return nil, err
	}
	return &Adoption{Claim: *claim, Addresses: shown}, nil
}

// shownBy are the addresses of pools in the status of a Gateway that holds
// nothing in the ledger.
func (g *gateways) shownBy(gw *gatewayv1.Gateway, inPool func(netip.Addr) bool) []netip.Addr {
	if len(gw.Status.Addresses) == 0 || gw.DeletionTimestamp != nil || len(g.ledger.Held(gateway.KeyOf(gateway.Name{Namespace: gw.Namespace, Name: gw.Name}))) > 0 {
		return nil
	}
	var out []netip.Addr
	for _, said := range gw.Status.Addresses {
		if a, err := netip.ParseAddr(said.Value); err == nil && inPool(a) {
			out = append(out, a.Unmap())
		}
	}
	return out
}

// claimOfGateway reads what a Gateway of ours asks for; nil: it is not ours, or asks for
// no address of a pool.
func (g *gateways) claimOfGateway(ctx context.Context, gw *gatewayv1.Gateway) (*allocator.Claim, error) {
	class, err := g.classOf(ctx, gw)
	if err != nil || class == nil {
		return nil, err
	}
	config, _, err := g.configFor(ctx, class, gw)
	if err != nil {
		return nil, err
	}
	// Routes decide on no port, so on no claim.
	l := &lookup{ctx: ctx, client: g.client, bundle: g.bundle}
	built := gateway.Build(gateway.Input{Gateway: gw, ListenerSets: l.setsOf(gw), Objects: l})
	if l.err != nil {
		return nil, l.err
	}
	asked, problem, err := g.ask(ctx, gw, built, config, fleet.FrontName(gw.Name, class.Name))
	if err != nil || problem != nil {
		return nil, err
	}
	return asked.Claim, nil
}
