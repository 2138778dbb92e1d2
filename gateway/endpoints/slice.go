package endpoints

import (
	"cmp"
	"net/netip"
	"slices"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/gateway"
)

// tier says how good an endpoint is.
type tier uint8

const (
	// useless endpoints get no connections.
	useless tier = iota
	// last are those that still serve while they terminate: they get
	// connections only where nothing else is left.
	last
	// ready endpoints get connections.
	ready
)

type endpoint struct {
	addr netip.Addr
	tier tier
}

// slice is what matters of an EndpointSlice. It is comparable by equal, so that
// an event that changes nothing for Envoy (a hint, an annotation, a pod's zone)
// is not passed on.
type slice struct {
	service   gateway.Name
	ports     []port
	endpoints []endpoint
}

// port is a port of a slice by its name.
type port struct {
	name   string
	number uint16
}

func (s *slice) equal(o *slice) bool {
	return s.service == o.service && slices.Equal(s.ports, o.ports) && slices.Equal(s.endpoints, o.endpoints)
}

// number is the port of a name, or 0 if the slice has none.
func (s *slice) number(name string) uint16 {
	for _, p := range s.ports {
		if p.name == name {
			return p.number
		}
	}
	return 0
}

// readSlice takes from an EndpointSlice, whoever wrote it, what it can use; what
// makes no sense (an address that is none, a port out of range) is left out. It
// returns nil for one that belongs to no Service.
func readSlice(in *discoveryv1.EndpointSlice, families Families) *slice {
	service := in.Labels[discoveryv1.LabelServiceName]
	if service == "" {
		return nil
	}
	out := &slice{service: gateway.Name{Namespace: in.Namespace, Name: service}}
	if !families.has(in.AddressType) {
		return out
	}
	for _, p := range in.Ports {
		// A port without a number stands for all of them: there is none to
		// connect to.
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			continue
		}
		name := ""
		if p.Name != nil {
			name = *p.Name
		}
		out.ports = append(out.ports, port{name: name, number: uint16(*p.Port)})
	}
	for i := range in.Endpoints {
		e := &in.Endpoints[i]
		t := tierOf(e.Conditions)
		if t == useless {
			continue
		}
		// Endpoints have one address that means something: the API says that
		// further ones are to be ignored.
		if len(e.Addresses) == 0 {
			continue
		}
		if a, ok := readAddr(e.Addresses[0], in.AddressType); ok {
			out.endpoints = append(out.endpoints, endpoint{addr: a, tier: t})
		}
	}
	slices.SortFunc(out.endpoints, func(a, b endpoint) int { return cmp.Or(a.addr.Compare(b.addr), cmp.Compare(a.tier, b.tier)) })
	return out
}

func (f Families) has(t discoveryv1.AddressType) bool {
	return f.IPv4 && t == discoveryv1.AddressTypeIPv4 || f.IPv6 && t == discoveryv1.AddressTypeIPv6
}

func readAddr(s string, t discoveryv1.AddressType) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" || a.Is4In6() || a.IsUnspecified() || a.IsMulticast() {
		return netip.Addr{}, false
	}
	return a, a.Is4() == (t == discoveryv1.AddressTypeIPv4)
}

// tierOf reads the conditions as the API defines what is not set: ready is true,
// serving is what ready is, terminating is false. An endpoint that terminates is
// never ready here, also where its Service publishes unready addresses: it goes
// out of use at once while others are left.
func tierOf(c discoveryv1.EndpointConditions) tier {
	isReady := c.Ready == nil || *c.Ready
	serving := isReady
	if c.Serving != nil {
		serving = *c.Serving
	}
	terminating := c.Terminating != nil && *c.Terminating
	switch {
	case isReady && !terminating:
		return ready
	case terminating && (serving || isReady):
		return last
	}
	return useless
}
