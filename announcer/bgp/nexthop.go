package bgp

import (
	"fmt"
	"net/netip"
)

// nextHops chooses the next hops of IPv4 and of IPv6 routes for a session from the address local; beside are the addresses
// of the interface that has it. The invalid address means that routes of the family cannot be sent.
func nextHops(p Peer, a agreed, local netip.Addr, beside []netip.Addr) (hop4, hop6 netip.Addr) {
	local = local.Unmap().WithZone("")
	if a.families&IPv4 != 0 {
		hop4 = nextHopIPv4(p, a, local, beside)
	}
	if a.families&IPv6 == 0 {
		return hop4, hop6
	}
	switch {
	case p.NextHopIPv6.IsValid():
		hop6 = p.NextHopIPv6
	case local.Is6():
		hop6 = local
	default:
		// A link-local address would say nothing: the session does not tell the peer which link it is on.
		hop6 = first(beside, func(x netip.Addr) bool { return x.Is6() && !x.IsLinkLocalUnicast() })
	}
	return hop4, hop6
}

func nextHopIPv4(p Peer, a agreed, local netip.Addr, beside []netip.Addr) netip.Addr {
	switch {
	case p.NextHopIPv4.IsValid():
		return p.NextHopIPv4
	case local.Is4():
		return local
	case p.Interface != "" && a.hop6:
		return local
	}
	if hop := first(beside, netip.Addr.Is4); hop.IsValid() {
		return hop
	}
	if a.hop6 {
		return local
	}
	return netip.Addr{}
}

func first(list []netip.Addr, good func(netip.Addr) bool) netip.Addr {
	for _, a := range list {
		if good(a) {
			return a
		}
	}
	return netip.Addr{}
}

// sendable are the families that have a next hop.
func (t terms) sendable() Families {
	var f Families
	if t.hop4.IsValid() {
		f |= IPv4
	}
	if t.hop6.IsValid() {
		f |= IPv6
	}
	return f
}

// unsent says in words why routes of a family are not sent; empty if they are.
func unsent(p Peer, a agreed, t terms, f Families) string {
	switch {
	case t.sendable()&f != 0:
		return ""
	case p.Families&f == 0:
		return fmt.Sprintf("%s routes are not meant for this peer, only %s ones", f, p.Families)
	case a.families&f == 0:
		return fmt.Sprintf("the peer does not take %s routes", f)
	}
	return fmt.Sprintf("this node has no %s next hop beside the session's address", f)
}
