package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/fairlead/fairlead/announcer/community"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	headerLen  = 19
	maxMessage = 4096
	asTrans    = 23456
	// defaultLocalPref is what a peer in our AS is told if nothing else is wanted.
	defaultLocalPref = 100
	afiIPv4          = 1
	afiIPv6          = 2
	safiUnicast      = 1
)

// terms are what decides how routes look on a connection.
type terms struct {
	asn       uint32
	internal  bool
	fourOctet bool
	// hop4 and hop6 are the next hops; hop4 may be an IPv6 address (RFC 8950).
	hop4, hop6 netip.Addr
}

func (t terms) hop(f Families) netip.Addr {
	if f == IPv4 {
		return t.hop4
	}
	return t.hop6
}

// classic tells that the family's routes have fields of their own in an UPDATE (RFC 4271) and not in an attribute.
func (t terms) classic(f Families) bool { return f == IPv4 && t.hop4.Is4() }

// updates are the messages for a batch.
func updates(t terms, b batch) ([][]byte, error) {
	var out [][]byte
	for _, f := range []Families{IPv4, IPv6} {
		if gone := ofFamily(b.withdraw, f); len(gone) > 0 {
			out = append(out, withdrawals(t, f, gone)...)
		}
		for _, g := range b.announce {
			reach := ofFamily(g.prefixes, f)
			if len(reach) == 0 {
				continue
			}
			messages, err := announcements(t, f, g.attrs.Attributes, reach)
			if err != nil {
				return nil, err
			}
			out = append(out, messages...)
		}
	}
	return out, nil
}

func ofFamily(all []netip.Prefix, f Families) []netip.Prefix {
	var out []netip.Prefix
	for _, p := range all {
		if familyOf(p) == f {
			out = append(out, p)
		}
	}
	return out
}

func withdrawals(t terms, f Families, prefixes []netip.Prefix) [][]byte {
	var out [][]byte
	for len(prefixes) > 0 {
		var nlri []byte
		if t.classic(f) {
			nlri, prefixes = pack(prefixes, maxMessage-headerLen-4)
			out = append(out, updateMessage(nlri, nil, nil))
			continue
		}
		nlri, prefixes = pack(prefixes, maxMessage-headerLen-4-7)
		out = append(out, updateMessage(nil, unreachAttribute(f, nlri), nil))
	}
	return out
}

func announcements(t terms, f Families, a Attributes, prefixes []netip.Prefix) ([][]byte, error) {
	before, after, err := pathAttributes(t, f, a)
	if err != nil {
		return nil, err
	}
	hop := t.hop(f).AsSlice()
	room := maxMessage - headerLen - 4 - len(before) - len(after)
	if !t.classic(f) {
		room -= 9 + len(hop)
	}
	if room < 17 {
		return nil, fmt.Errorf("the attributes of %s take %d bytes, more than a message holds", prefixes[0], len(before)+len(after))
	}
	var out [][]byte
	for len(prefixes) > 0 {
		var nlri []byte
		nlri, prefixes = pack(prefixes, room)
		if t.classic(f) {
			out = append(out, updateMessage(nil, join(before, after), nlri))
		} else {
			out = append(out, updateMessage(nil, join(before, reachAttribute(f, hop, nlri), after), nil))
		}
	}
	return out, nil
}

// pathAttributes are the attributes apart from the one that holds the prefixes, which belongs between the two results
// (RFC 4271 appendix F.3: in ascending order of their types).
func pathAttributes(t terms, f Families, a Attributes) (before, after []byte, err error) {
	communities := a.Communities
	pref := a.LocalPref
	if pref == 0 {
		pref = defaultLocalPref
	}
	if a.GracefulShutdown {
		communities = withGracefulShutdown(communities)
		pref = 0
	}
	list := []wire.PathAttributeInterface{wire.NewPathAttributeOrigin(wire.BGP_ORIGIN_ATTR_TYPE_IGP), asPath(t)}
	if t.classic(f) {
		list = append(list, wire.NewPathAttributeNextHop(t.hop4.String()))
	}
	if t.internal {
		list = append(list, wire.NewPathAttributeLocalPref(pref))
	}
	if len(communities) > 0 {
		raw := make([]uint32, len(communities))
		for i, c := range communities {
			raw[i] = uint32(c)
		}
		list = append(list, wire.NewPathAttributeCommunities(raw))
	}
	if before, err = serialize(list); err != nil {
		return nil, nil, err
	}
	list = nil
	if !t.fourOctet && !t.internal && t.asn > 0xFFFF {
		list = append(list, wire.NewPathAttributeAs4Path([]*wire.As4PathParam{wire.NewAs4PathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{t.asn})}))
	}
	if len(a.LargeCommunities) > 0 {
		large := make([]*wire.LargeCommunity, len(a.LargeCommunities))
		for i, c := range a.LargeCommunities {
			large[i] = wire.NewLargeCommunity(c.Global, c.Local1, c.Local2)
		}
		list = append(list, wire.NewPathAttributeLargeCommunities(large))
	}
	after, err = serialize(list)
	return before, after, err
}

func withGracefulShutdown(list []community.Standard) []community.Standard {
	for _, c := range list {
		if c == community.GracefulShutdown {
			return list
		}
	}
	return append([]community.Standard{community.GracefulShutdown}, list...)
}

func asPath(t terms) wire.PathAttributeInterface {
	switch {
	case t.internal:
		return wire.NewPathAttributeAsPath(nil)
	case t.fourOctet:
		return wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{wire.NewAs4PathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint32{t.asn})})
	}
	return wire.NewPathAttributeAsPath([]wire.AsPathParamInterface{wire.NewAsPathParam(wire.BGP_ASPATH_ATTR_TYPE_SEQ, []uint16{twoOctets(t.asn)})})
}

// twoOctets is the ASN, or what stands for it where four octets have no room (RFC 6793).
func twoOctets(asn uint32) uint16 {
	if asn > 0xFFFF {
		return asTrans
	}
	return uint16(asn)
}

func serialize(list []wire.PathAttributeInterface) ([]byte, error) {
	var out []byte
	for _, a := range list {
		b, err := a.Serialize()
		if err != nil {
			return nil, fmt.Errorf("writing attribute %s: %w", a.GetType(), err)
		}
		out = append(out, b...)
	}
	return out, nil
}

func afi(f Families) uint16 {
	if f == IPv4 {
		return afiIPv4
	}
	return afiIPv6
}

// reachAttribute is MP_REACH_NLRI (RFC 4760 section 3) with an extended length.
func reachAttribute(f Families, hop, nlri []byte) []byte {
	b := make([]byte, 0, 9+len(hop)+len(nlri))
	b = append(b, byte(wire.BGP_ATTR_FLAG_OPTIONAL|wire.BGP_ATTR_FLAG_EXTENDED_LENGTH), byte(wire.BGP_ATTR_TYPE_MP_REACH_NLRI))
	b = binary.BigEndian.AppendUint16(b, uint16(5+len(hop)+len(nlri)))
	b = binary.BigEndian.AppendUint16(b, afi(f))
	b = append(b, safiUnicast, byte(len(hop)))
	b = append(b, hop...)
	b = append(b, 0)
	return append(b, nlri...)
}

// unreachAttribute is MP_UNREACH_NLRI (RFC 4760 section 4) with an extended length.
func unreachAttribute(f Families, nlri []byte) []byte {
	b := make([]byte, 0, 7+len(nlri))
	b = append(b, byte(wire.BGP_ATTR_FLAG_OPTIONAL|wire.BGP_ATTR_FLAG_EXTENDED_LENGTH), byte(wire.BGP_ATTR_TYPE_MP_UNREACH_NLRI))
	b = binary.BigEndian.AppendUint16(b, uint16(3+len(nlri)))
	b = binary.BigEndian.AppendUint16(b, afi(f))
	b = append(b, safiUnicast)
	return append(b, nlri...)
}

// endOfRIB marks that the family's routes have been sent (RFC 4724 section 2).
func endOfRIB(f Families) []byte {
	if f == IPv4 {
		return updateMessage(nil, nil, nil)
	}
	return updateMessage(nil, unreachAttribute(f, nil), nil)
}

func updateMessage(withdrawn, attrs, nlri []byte) []byte {
	b := header(wire.BGP_MSG_UPDATE, 4+len(withdrawn)+len(attrs)+len(nlri))
	b = binary.BigEndian.AppendUint16(b, uint16(len(withdrawn)))
	b = append(b, withdrawn...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(attrs)))
	b = append(b, attrs...)
	return append(b, nlri...)
}

func header(kind byte, body int) []byte {
	b := make([]byte, 18, headerLen+body)
	for i := range 16 {
		b[i] = 0xFF
	}
	binary.BigEndian.PutUint16(b[16:], uint16(headerLen+body))
	return append(b, kind)
}

// pack encodes as many prefixes as room holds and returns the rest.
func pack(prefixes []netip.Prefix, room int) (nlri []byte, rest []netip.Prefix) {
	for i, p := range prefixes {
		octets := (p.Bits() + 7) / 8
		if len(nlri)+1+octets > room {
			return nlri, prefixes[i:]
		}
		nlri = append(nlri, byte(p.Bits()))
		nlri = append(nlri, p.Addr().AsSlice()[:octets]...)
	}
	return nlri, nil
}

func join(parts ...[]byte) []byte {
	var out []byte
	for _, p := range parts {
		out = append(out, p...)
	}
	return out
}
