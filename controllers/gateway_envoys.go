package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"

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
	by := map[string]*fleet.Envoy{}
	for i := range list.Items {
		for _, e := range list.Items[i].Endpoints {
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || e.NodeName == nil {
				continue
			}
			envoy := by[e.TargetRef.Name]
			if envoy == nil {
				envoy = &fleet.Envoy{Namespace: g.Namespace, Name: e.TargetRef.Name, UID: e.TargetRef.UID, Node: *e.NodeName}
				if e.Zone != nil {
					envoy.Zone = *e.Zone
				}
				by[e.TargetRef.Name] = envoy
			}
			for _, a := range e.Addresses {
				if ip, err := netip.ParseAddr(a); err == nil {
					envoy.IPs = append(envoy.IPs, ip.Unmap())
				}
			}
			serves := acknowledged[envoy.Name]
			ready := e.Conditions.Ready == nil || *e.Conditions.Ready
			serving := ready || e.Conditions.Serving != nil && *e.Conditions.Serving
			envoy.Terminating = e.Conditions.Terminating != nil && *e.Conditions.Terminating
			envoy.Ready, envoy.Serving = serves && ready, serves && serving
		}
	}
	out := make([]fleet.Envoy, 0, len(by))
	for _, e := range by {
		slices.SortFunc(e.IPs, netip.Addr.Compare)
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b fleet.Envoy) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
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
