package bgp

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"

	"github.com/fairlead/fairlead/announcer/bgp/defaults"
)

const (
	restartFlag  = 0x8
	forwardFlag  = 0x80
	version4     = 4
	optParamCaps = 2
	extendedOpts = 255
)

// openMessage is the OPEN for a peer; restarted sets the Restart State bit (RFC 4724 section 3).
func openMessage(p Peer, restarted bool) ([]byte, error) {
	families := routeFamilies(p.Families)
	caps := []wire.ParameterCapabilityInterface{}
	for _, f := range families {
		caps = append(caps, wire.NewCapMultiProtocol(f))
	}
	caps = append(caps, wire.NewCapRouteRefresh(), wire.NewCapFourOctetASNumber(p.sessionASN()))
	if p.Families&IPv4 != 0 {
		caps = append(caps, wire.NewCapExtendedNexthop([]*wire.CapExtendedNexthopTuple{wire.NewCapExtendedNexthopTuple(wire.RF_IPv4_UC, afiIPv6)}))
	}
	caps = append(caps, restartCapabilities(p.GracefulRestart, families, restarted)...)
	m := wire.NewBGPOpenMessage(twoOctets(p.sessionASN()), uint16(p.HoldTime/time.Second), p.RouterID.String(),
		[]wire.OptionParameterInterface{wire.NewOptionParameterCapability(caps)})
	b, err := m.Serialize()
	if err != nil {
		return nil, fmt.Errorf("writing the OPEN message: %w", err)
	}
	return b, nil
}

// restartCapabilities are those of RFC 4724 and RFC 9494. The speaker helps no restarting peer, since it uses no routes.
func restartCapabilities(gr GracefulRestart, families []wire.RouteFamily, restarted bool) []wire.ParameterCapabilityInterface {
	if !gr.Enabled {
		return nil
	}
	var short []*wire.CapGracefulRestartTuple
	var long []*wire.CapLongLivedGracefulRestartTuple
	for _, f := range families {
		short = append(short, wire.NewCapGracefulRestartTuple(f, true))
		long = append(long, wire.NewCapLongLivedGracefulRestartTuple(f, true, uint32(gr.LongLived/time.Second)))
	}
	caps := []wire.ParameterCapabilityInterface{
		wire.NewCapGracefulRestart(restarted, false, uint16(gr.RestartTime/time.Second), short),
	}
	if gr.LongLived > 0 {
		caps = append(caps, wire.NewCapLongLivedGracefulRestart(long))
	}
	return caps
}

func routeFamilies(f Families) []wire.RouteFamily {
	var out []wire.RouteFamily
	if f&IPv4 != 0 {
		out = append(out, wire.RF_IPv4_UC)
	}
	if f&IPv6 != 0 {
		out = append(out, wire.RF_IPv6_UC)
	}
	return out
}

// open is what a peer says of itself in its OPEN message.
type open struct {
	asn      uint32
	hold     time.Duration
	routerID netip.Addr
	families Families
	// noCaps tells that the peer named no families, which means IPv4 alone (RFC 4760 section 8).
	noCaps    bool
	fourOctet bool
	// hop6 tells that IPv4 routes may have an IPv6 next hop (RFC 8950).
	hop6    bool
	restart bool
}

// parseOpen reads the body of an OPEN message (RFC 4271 section 4.2, RFC 9072).
func parseOpen(b []byte) (open, *fault) {
	if len(b) < 10 {
		return open{}, malformed(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH, "an OPEN message that is too short")
	}
	if b[0] != version4 {
		return open{}, malformed(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNSUPPORTED_VERSION_NUMBER,
			fmt.Sprintf("BGP version %d", b[0])).with(0, version4)
	}
	o := open{
		asn: uint32(binary.BigEndian.Uint16(b[1:])), hold: time.Duration(binary.BigEndian.Uint16(b[3:])) * time.Second,
		routerID: netip.AddrFrom4([4]byte(b[5:9])), noCaps: true,
	}
	length, rest, wide := int(b[9]), b[10:], 1
	if length == extendedOpts && len(rest) >= 3 && rest[0] == extendedOpts {
		length, rest, wide = int(binary.BigEndian.Uint16(rest[1:])), rest[3:], 2
	}
	bad := malformed(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, 0, "an OPEN message with malformed parameters")
	if length != len(rest) {
		return open{}, bad
	}
	for len(rest) > 0 {
		kind, value, next, ok := field(rest, wide)
		if !ok {
			return open{}, bad
		}
		if kind == optParamCaps && !o.capabilities(value) {
			return open{}, bad
		}
		rest = next
	}
	if o.noCaps {
		o.families = IPv4
	}
	return o, nil
}

// field takes a type, a length of one or two octets and a value off b.
func field(b []byte, wide int) (kind byte, value, rest []byte, ok bool) {
	if len(b) < 1+wide {
		return 0, nil, nil, false
	}
	n := int(b[1])
	if wide == 2 {
		n = int(binary.BigEndian.Uint16(b[1:]))
	}
	if len(b) < 1+wide+n {
		return 0, nil, nil, false
	}
	return b[0], b[1+wide : 1+wide+n], b[1+wide+n:], true
}

func (o *open) capabilities(b []byte) bool {
	for len(b) > 0 {
		code, value, rest, ok := field(b, 1)
		if !ok {
			return false
		}
		o.capability(wire.BGPCapabilityCode(code), value)
		b = rest
	}
	return true
}

// capability takes up a capability that matters to us; one of a wrong length counts as not sent (RFC 5492 section 5).
func (o *open) capability(code wire.BGPCapabilityCode, v []byte) {
	switch code {
	case wire.BGP_CAP_MULTIPROTOCOL:
		if len(v) != 4 {
			return
		}
		o.noCaps = false
		if v[3] == safiUnicast {
			o.families |= familyOfAFI(binary.BigEndian.Uint16(v))
		}
	case wire.BGP_CAP_FOUR_OCTET_AS_NUMBER:
		if len(v) == 4 {
			o.fourOctet, o.asn = true, binary.BigEndian.Uint32(v)
		}
	case wire.BGP_CAP_EXTENDED_NEXTHOP:
		for tuple := range slices.Chunk(v, 6) {
			o.hop6 = o.hop6 || slices.Equal(tuple, []byte{0, afiIPv4, 0, safiUnicast, 0, afiIPv6})
		}
	case wire.BGP_CAP_GRACEFUL_RESTART:
		o.restart = len(v) >= 2
	}
}

func familyOfAFI(afi uint16) Families {
	switch afi {
	case afiIPv4:
		return IPv4
	case afiIPv6:
		return IPv6
	}
	return 0
}

// agreed is what two peers come to from their OPEN messages.
type agreed struct {
	open
	internal        bool
	hold, keepalive time.Duration
	families        Families
}

// agree holds what the peer says against what is wanted of it (RFC 4271 section 6.2).
func agree(p Peer, o open) (agreed, *fault) {
	a := agreed{open: o, internal: o.asn == p.sessionASN(), families: o.families & p.Families}
	if err := checkASN(p, o.asn); err != nil {
		return a, err
	}
	switch {
	case o.routerID.IsUnspecified(), a.internal && o.routerID == p.RouterID:
		return a, malformed(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_BAD_BGP_IDENTIFIER,
			fmt.Sprintf("the router ID %s, which is none or our own", o.routerID))
	case o.hold != 0 && o.hold < minHoldTime:
		return a, malformed(wire.BGP_ERROR_OPEN_MESSAGE_ERROR, wire.BGP_ERROR_SUB_UNACCEPTABLE_HOLD_TIME, fmt.Sprintf("a hold time of %s", o.hold))
	case a.families == 0:
		return a, &fault{
			code: wire.BGP_ERROR_OPEN_MESSAGE_ERROR, sub: wire.BGP_ERROR_SUB_UNSUPPORTED_CAPABILITY, send: true,
			words: fmt.Sprintf("no address family in common: we send %s, the peer takes %s", p.Families, o.families),
		}
	}
	a.hold, a.keepalive = min(p.HoldTime, o.hold), p.KeepaliveTime
	if a.hold < p.HoldTime {
		a.keepalive = min(a.keepalive, a.hold/defaults.Keepalives)
	}
	return a, nil
}

func checkASN(p Peer, asn uint32) *fault {
	own := p.sessionASN()
	f := &fault{code: wire.BGP_ERROR_OPEN_MESSAGE_ERROR, sub: wire.BGP_ERROR_SUB_BAD_PEER_AS, send: true}
	switch {
	case p.Dynamic == Fixed && asn != p.PeerASN:
		f.words = fmt.Sprintf("wrong ASN: the peer has %d, but %d is configured for it", asn, p.PeerASN)
	case p.Dynamic == Internal && asn != own:
		f.words = fmt.Sprintf("wrong ASN: the peer has %d, but an internal peer must have ours, %d", asn, own)
	case p.Dynamic == External && asn == own:
		f.words = fmt.Sprintf("wrong ASN: the peer has ours, %d, but is configured as an external one", asn)
	case asn == 0:
		f.words = "wrong ASN: the peer has 0"
	default:
		return nil
	}
	return f
}
