package endpoints

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// blackhole is where the share of a Part without endpoints goes when other Parts
// have some. Envoy would give the share of an empty locality to the others, but
// the Gateway API wants it rejected (TCP) or dropped (UDP). A port 0 cannot be
// connected to or sent to, so the share fails in Envoy's own kernel and no packet
// leaves the pod.
func blackhole(f Families) netip.AddrPort {
	if f.IPv4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 0)
	}
	return netip.AddrPortFrom(netip.IPv6Loopback(), 0)
}

// load makes the answer for one EDS name. Its order depends on the endpoints
// only, not on how they came.
func load(name string, a Assignment, f Families, find func(Part) []netip.AddrPort) *endpointv3.ClusterLoadAssignment {
	out := &endpointv3.ClusterLoadAssignment{ClusterName: name}
	if len(a.Parts) == 1 {
		if found := find(a.Parts[0]); len(found) > 0 {
			out.Endpoints = []*endpointv3.LocalityLbEndpoints{locality(0, a.Parts[0], 1, found)}
		}
		return out
	}
	weights, some := shares(a.Parts), false
	for i, p := range a.Parts {
		if weights[i] == 0 {
			continue
		}
		found := find(p)
		some = some || len(found) > 0
		if len(found) == 0 {
			found = []netip.AddrPort{blackhole(f)}
		}
		out.Endpoints = append(out.Endpoints, locality(i, p, weights[i], found))
	}
	if !some {
		out.Endpoints = nil // nothing to share: all of it fails
	}
	return out
}

// shares are the weights, made smaller where Envoy would refuse their sum, which
// must fit in 32 bits.
func shares(parts []Part) []uint32 {
	sum := uint64(0)
	for _, p := range parts {
		sum += uint64(p.Weight)
	}
	by := sum/math.MaxUint32 + 1
	out := make([]uint32, len(parts))
	for i, p := range parts {
		out[i] = uint32(uint64(p.Weight) / by)
		if by > 1 && p.Weight > 0 && out[i] == 0 {
			out[i] = 1
		}
	}
	return out
}

// locality has a name of its own for each Part: Envoy keeps weights by locality,
// and takes two of one name for one.
func locality(i int, p Part, weight uint32, found []netip.AddrPort) *endpointv3.LocalityLbEndpoints {
	out := &endpointv3.LocalityLbEndpoints{
		Locality:            &corev3.Locality{SubZone: fmt.Sprintf("%d/%s:%d", i, p.Service, p.Port)},
		LoadBalancingWeight: wrapperspb.UInt32(weight),
		LbEndpoints:         make([]*endpointv3.LbEndpoint, len(found)),
	}
	for j, ap := range found {
		out.LbEndpoints[j] = &endpointv3.LbEndpoint{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address:       ap.Addr().String(),
				PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(ap.Port())},
			}}},
		}}}
	}
	return out
}

// collect is the endpoints of a named port in all slices of a Service: the ready
// ones, or if there is none, those that still serve while they terminate.
func collect(of map[string]*slice, portName string) []netip.AddrPort {
	best, n := useless, 0
	for _, s := range of {
		if s.number(portName) == 0 {
			continue
		}
		n += len(s.endpoints)
		for _, e := range s.endpoints {
			best = max(best, e.tier)
		}
	}
	if best == useless {
		return nil
	}
	out := make([]netip.AddrPort, 0, n)
	for _, s := range of {
		number := s.number(portName)
		if number == 0 {
			continue
		}
		for _, e := range s.endpoints {
			if e.tier == best {
				out = append(out, netip.AddrPortFrom(e.addr, number))
			}
		}
	}
	slices.SortFunc(out, func(a, b netip.AddrPort) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Port(), b.Port()))
	})
	return slices.Compact(out)
}
