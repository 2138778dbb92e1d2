package gateway

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// findConflicts marks listeners that are not distinct. Inside one object nobody
// wins; between the Gateway and its ListenerSets the one of higher precedence
// does (GEP-1713).
func (b *builder) findConflicts() {
	type place struct {
		port      uint16
		transport Transport
	}
	taken := map[place][]*listener{}
	for _, o := range b.owners {
		if o.refused != nil {
			continue
		}
		var here []*listener
		for _, l := range o.listeners {
			if l.rejected == nil {
				here = append(here, l)
			}
		}
		for _, l := range here {
			for _, other := range taken[place{l.port(), l.transport()}] {
				l.clash(other)
			}
		}
		// One that has lost to another object disturbs its own siblings no more.
		left := slices.DeleteFunc(slices.Clone(here), func(l *listener) bool { return l.conflict != nil })
		for i, l := range left {
			for j, other := range left {
				if i != j && l.port() == other.port() && l.transport() == other.transport() {
					l.clash(other)
				}
			}
		}
		for _, l := range here {
			if l.conflict == nil {
				at := place{l.port(), l.transport()}
				taken[at] = append(taken[at], l)
			}
		}
	}
}

// clash marks a listener that cannot be told from another on its port.
func (l *listener) clash(other *listener) {
	if l.conflict != nil {
		return
	}
	whose := "listener " + string(other.spec.Name)
	if other.owner != l.owner {
		whose += fmt.Sprintf(" of %s %s", other.owner.kind.kind, other.owner.name)
		if other.owner.name.Namespace != l.owner.name.Namespace && other.owner.set != nil {
			whose = "a listener of a ListenerSet in another namespace"
		}
	}
	mine, theirs := l.spec.Protocol, other.spec.Protocol
	stream := func(p gatewayv1.ProtocolType) bool {
		return p == gatewayv1.TCPProtocolType || p == gatewayv1.UDPProtocolType
	}
	encrypted := func(p gatewayv1.ProtocolType) bool {
		return p == gatewayv1.HTTPSProtocolType || p == gatewayv1.TLSProtocolType
	}
	switch {
	case mine != theirs && (stream(mine) || stream(theirs)):
		l.conflict = because(gatewayv1.ListenerReasonProtocolConflict,
			"Port %d is used with protocol %s by %s, and with %s here. Use another port.", l.spec.Port, theirs, whose, mine)
	case stream(mine):
		l.conflict = because(gatewayv1.ListenerReasonProtocolConflict,
			"Port %d is used by %s already, and %s listeners differ by port only. Use another port.", l.spec.Port, whose, mine)
	case l.host == other.host && (mine == theirs || encrypted(mine) && encrypted(theirs)):
		l.conflict = because(gatewayv1.ListenerReasonHostnameConflict,
			"Port %d and hostname %s are those of %s too. Use another hostname or port.", l.spec.Port, l.host, whose)
	}
}

// findOverlaps marks listeners that end TLS on one port with hostnames or
// certificates that overlap: a browser may then use one connection for the
// hosts of several (GEP-3567).
func (b *builder) findOverlaps() {
	var ending []*listener
	for _, o := range b.owners {
		for _, l := range o.listeners {
			if l.protocol() == gatewayv1.HTTPSProtocolType && l.served() {
				ending = append(ending, l)
			}
		}
	}
	for _, l := range ending {
		var names, shared []string
		for _, other := range ending {
			if other == l || other.port() != l.port() {
				continue
			}
			switch _, meet := intersect(l.host, other.host); {
			case b.certificatesMeet(l, other):
				shared = append(shared, other.name())
			case meet:
				names = append(names, other.name())
			}
		}
		slices.Sort(names)
		slices.Sort(shared)
		switch {
		case len(shared) > 0:
			l.overlap = because(gatewayv1.ListenerReasonOverlappingCertificates,
				"The certificate is good for hosts of listener %s too. Requests that come over the wrong connection are answered with 421.", strings.Join(shared, ", "))
		case len(names) > 0:
			l.overlap = because(gatewayv1.ListenerReasonOverlappingHostnames,
				"The hostname overlaps that of listener %s. Requests that come over the wrong connection are answered with 421.", strings.Join(names, ", "))
		}
	}
}

// certificatesMeet tells whether a certificate of one listener is good for the
// hosts of another.
func (b *builder) certificatesMeet(l, other *listener) bool {
	for _, id := range l.certificates {
		for _, san := range b.certificates[id].names {
			if _, meet := intersect(san, other.host); meet && other.host != anyHost {
				return true
			}
		}
	}
	return false
}
