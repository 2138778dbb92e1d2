package fleet

import (
	"net/netip"
	"slices"
	"strings"

	discoveryv1 "k8s.io/api/discovery/v1"
)

// Envoys are a fleet's pods as Kubernetes lists them for the fleet's own Service, sorted by name. Acknowledged are the
// names of those that serve the Gateway that asks.
//
// A pod of two families stands in two slices, which Kubernetes writes one after the other: as long as they differ, the
// worse counts. So an Envoy becomes ready once, and not ready as soon as one slice says so.
func Envoys(listed []discoveryv1.EndpointSlice, acknowledged map[string]bool) []Envoy {
	by := map[string]*Envoy{}
	for i := range listed {
		for j := range listed[i].Endpoints {
			e := &listed[i].Endpoints[j]
			if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || e.NodeName == nil {
				continue
			}
			envoy := by[e.TargetRef.Name]
			if envoy == nil {
				serves := acknowledged[e.TargetRef.Name]
				envoy = &Envoy{
					Namespace: listed[i].Namespace, Name: e.TargetRef.Name, UID: e.TargetRef.UID, Node: *e.NodeName, Ready: serves, Serving: serves,
				}
				by[e.TargetRef.Name] = envoy
			}
			envoy.add(e)
		}
	}
	out := make([]Envoy, 0, len(by))
	for _, e := range by {
		slices.SortFunc(e.IPs, netip.Addr.Compare)
		out = append(out, *e)
	}
	slices.SortFunc(out, func(a, b Envoy) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// add takes in what one slice says of it.
func (e *Envoy) add(in *discoveryv1.Endpoint) {
	if in.Zone != nil {
		e.Zone = *in.Zone
	}
	for _, a := range in.Addresses {
		if ip, err := netip.ParseAddr(a); err == nil {
			e.IPs = append(e.IPs, ip.Unmap())
		}
	}
	ready := in.Conditions.Ready == nil || *in.Conditions.Ready
	e.Ready = e.Ready && ready
	e.Serving = e.Serving && (ready || isTrue(in.Conditions.Serving))
	e.Terminating = e.Terminating || isTrue(in.Conditions.Terminating)
}
