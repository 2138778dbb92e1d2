package controllers

import (
	"context"
	"fmt"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/gateway/fleet"
)

// envoysOf are the Envoys of a Gateway's fleet, as Kubernetes lists them for the
// fleet's own Service, with what each has acknowledged of the Gateway.
//
// One that has once acknowledged the Gateway stays ready while its pod is, and one
// that the Gateway's own slices list is taken for one that has: so that a
// controller that starts takes no endpoint out before Envoys have come to it.
func (g *gateways) envoysOf(ctx context.Context, s *serving) ([]fleet.Envoy, error) {
	var list discoveryv1.EndpointSliceList
	err := g.client.List(ctx, &list, client.InNamespace(g.Namespace), client.MatchingFields{sliceService: s.fleet.Name()}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return nil, fmt.Errorf("listing the Envoys of fleet %s: %w", s.fleet.Name(), err)
	}
	acknowledged, err := g.acknowledgedBy(ctx, s)
	if err != nil {
		return nil, err
	}
	return fleet.Envoys(list.Items, acknowledged), nil
}

// acknowledgedBy are the pods that serve the Gateway's ports.
func (g *gateways) acknowledgedBy(ctx context.Context, s *serving) (map[string]bool, error) {
	out := map[string]bool{}
	for _, e := range g.feed.Progress(s.fleet.Name(), gatewayName(s.name)).Envoys {
		if e.Serving && e.Pod.Namespace == g.Namespace {
			out[e.Pod.Name] = true
		}
	}
	have, err := g.slicesOf(ctx, s.front)
	if err != nil {
		return nil, err
	}
	for i := range have {
		if !samePortsListed(have[i].Ports, s.front.Ports) {
			continue
		}
		for _, e := range have[i].Endpoints {
			if e.TargetRef != nil && e.Conditions.Serving != nil && *e.Conditions.Serving {
				out[e.TargetRef.Name] = true
			}
		}
	}
	return out, nil
}

// samePortsListed tells whether a slice lists the ports that a Gateway has now.
func samePortsListed(have []discoveryv1.EndpointPort, want []fleet.FrontPort) bool {
	if len(have) != len(want) {
		return false
	}
	for _, w := range want {
		if !slices.ContainsFunc(have, func(h discoveryv1.EndpointPort) bool { return h.Port != nil && *h.Port == int32(w.Envoy) }) {
			return false
		}
	}
	return true
}

// fleetChanged asks for all Gateways of a fleet whose Envoys have changed.
func (g *gateways) fleetChanged(name string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for n, s := range g.known {
		if s.fleet.Name() == name {
			g.progress.add(requestFor(n.Namespace, n.Name))
		}
	}
}
