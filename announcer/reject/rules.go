package reject

import (
	"encoding/binary"
	"net/netip"

	"github.com/google/nftables"
	"github.com/google/nftables/expr"
	"golang.org/x/sys/unix"
)

// Names of the sets: the VIPs of a family, and their held ports.
const (
	setVIP4  = "vips4"
	setVIP6  = "vips6"
	setHeld4 = "held4"
	setHeld6 = "held6"
)

// Priorities: kube-proxy translates at -100 and filters at -110 and 0.
const (
	natPriority    = -110
	earlyPriority  = -90
	filterPriority = 10
)

// layout is where ports are refused.
type layout int

const (
	// early: in prerouting, right after the translation. The kernel has not routed the packet yet, so it does not send the client a
	// redirect towards the VIP, which would use up the client's allowance of ICMP errors.
	early layout = iota
	// late: in forward and input, for kernels before Linux 5.9, which cannot refuse in prerouting.
	late
)

const (
	icmpEcho4        = 8
	icmpEcho6        = 128
	unreachProtocol4 = 2
	unreachPort4     = 3
	unreachPort6     = 4
)

// setsOf are the sets of the table. Keys of the held ones are address, protocol and port, each filled up to 4 bytes.
func setsOf(t *nftables.Table) []*nftables.Set {
	key := func(a nftables.SetDatatype) nftables.SetDatatype {
		return nftables.MustConcatSetType(a, nftables.TypeInetProto, nftables.TypeInetService)
	}
	return []*nftables.Set{
		{Table: t, Name: setVIP4, KeyType: nftables.TypeIPAddr},
		{Table: t, Name: setVIP6, KeyType: nftables.TypeIP6Addr},
		{Table: t, Name: setHeld4, KeyType: key(nftables.TypeIPAddr)},
		{Table: t, Name: setHeld6, KeyType: key(nftables.TypeIP6Addr)},
	}
}

// elements are those of a set that c has and not has not; without may be nil.
func elements(set string, c, without *content) []nftables.SetElement {
	var all []nftables.SetElement
	if set == setVIP4 || set == setVIP6 {
		for a := range c.vips {
			if a.Is4() == (set == setVIP4) && (without == nil || !without.vips[a]) {
				all = append(all, nftables.SetElement{Key: a.AsSlice()})
			}
		}
		return all
	}
	for h := range c.held {
		if h.addr.Is4() == (set == setHeld4) && (without == nil || !without.held[h]) {
			all = append(all, nftables.SetElement{Key: h.key()})
		}
	}
	return all
}

func (h heldPort) key() []byte {
	k := append(h.addr.AsSlice(), h.port.Protocol, 0, 0, 0)
	k = binary.BigEndian.AppendUint16(k, h.port.Port)
	return append(k, 0, 0)
}

// family is what differs between IPv4 and IPv6.
type family struct {
	proto       byte // NFPROTO_*
	suffix      string
	vips, held  string
	destination expr.Payload
	size        uint32 // of an address, in registers of 4 bytes
	icmp, echo  byte
	// port and protocol are the ICMP codes for what is unreachable. ICMPv6 has no code for a protocol that a kernel could be
	// told to send.
	port, protocol byte
	node           netip.Addr
}

func families(cfg Config) []family {
	return []family{
		{
			proto: unix.NFPROTO_IPV4, suffix: "4", vips: setVIP4, held: setHeld4, size: 1,
			destination: expr.Payload{DestRegister: reg(0), Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
			icmp:        unix.IPPROTO_ICMP, echo: icmpEcho4, port: unreachPort4, protocol: unreachProtocol4, node: cfg.Node4,
		},
		{
			proto: unix.NFPROTO_IPV6, suffix: "6", vips: setVIP6, held: setHeld6, size: 4,
			destination: expr.Payload{DestRegister: reg(0), Base: expr.PayloadBaseNetworkHeader, Offset: 24, Len: 16},
			icmp:        unix.IPPROTO_ICMPV6, echo: icmpEcho6, port: unreachPort6, protocol: unreachPort6, node: cfg.Node6,
		},
	}
}

// reg is the n-th register of 4 bytes.
func reg(n uint32) uint32 { return unix.NFT_REG32_00 + n }

type rule = []expr.Any

type chain struct {
	chain *nftables.Chain
	rules []rule
}

// chainsOf are the chains of the table with their rules.
func chainsOf(t *nftables.Table, cfg Config, lay layout) []chain {
	accept := nftables.ChainPolicyAccept
	base := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio nftables.ChainPriority, rule func(family) rule) chain {
		ch := chain{chain: &nftables.Chain{Table: t, Name: name, Type: typ, Hooknum: hook, Priority: &prio, Policy: &accept}}
		for _, f := range families(cfg) {
			ch.rules = append(ch.rules, rule(f))
		}
		return ch
	}
	to := func(name string) func(family) rule {
		return func(f family) rule {
			return append(f.toVIP(), &expr.Verdict{Kind: expr.VerdictGoto, Chain: name + f.suffix})
		}
	}
	var all []chain
	for _, f := range families(cfg) {
		for name, rules := range map[string][]rule{
			"refuse":         f.refuse(expr.VerdictReturn),
			"refuse-or-drop": f.refuse(expr.VerdictDrop),
			"drop":           {f.related(), {&expr.Verdict{Kind: expr.VerdictDrop}}},
		} {
			all = append(all, chain{chain: &nftables.Chain{Table: t, Name: name + f.suffix}, rules: rules})
		}
	}
	all = append(all,
		base("ping-in", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, natPriority, family.ping),
		base("ping-out", nftables.ChainTypeNAT, nftables.ChainHookOutput, natPriority, family.ping),
		base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, filterPriority, to("refuse-or-drop")))
	if lay == late {
		return append(all,
			base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, filterPriority, to("refuse-or-drop")),
			base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, filterPriority, to("refuse")))
	}
	return append(all,
		base("prerouting", nftables.ChainTypeFilter, nftables.ChainHookPrerouting, earlyPriority, to("refuse")),
		base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, filterPriority, to("drop")))
}

// toVIP matches packets to a VIP of the family.
func (f family) toVIP() rule {
	destination := f.destination
	return rule{
		&expr.Meta{Key: expr.MetaKeyNFPROTO, Register: reg(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg(0), Data: []byte{f.proto}},
		&destination,
		&expr.Lookup{SourceRegister: reg(0), SetName: f.vips},
	}
}

// ping sends echo requests to the node.
func (f family) ping() rule {
	r := append(f.toVIP(), l4proto(f.icmp)...)
	r = append(r,
		&expr.Payload{DestRegister: reg(0), Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg(0), Data: []byte{f.echo}})
	if !f.node.IsValid() {
		return append(r, &expr.Redir{})
	}
	return append(r,
		&expr.Immediate{Register: reg(0), Data: f.node.AsSlice()},
		&expr.NAT{Type: expr.NATTypeDestNAT, Family: uint32(f.proto), RegAddrMin: reg(0)})
}

func l4proto(p byte) rule {
	return rule{
		&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg(0)},
		&expr.Cmp{Op: expr.CmpOpEq, Register: reg(0), Data: []byte{p}},
	}
}

// related accepts ICMP errors about flows that are known.
func (f family) related() rule {
	return rule{
		&expr.Ct{Register: reg(0), Key: expr.CtKeySTATE},
		&expr.Bitwise{
			SourceRegister: reg(0), DestRegister: reg(0), Len: 4,
			Mask: binary.NativeEndian.AppendUint32(nil, expr.CtStateBitRELATED), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg(0), Data: make([]byte, 4)},
		&expr.Verdict{Kind: expr.VerdictAccept},
	}
}

// withPorts are the protocols whose ports holders have.
var withPorts = []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP}

// refuse are the rules for packets to a VIP that nobody has translated; held is the verdict for what is not ours to refuse.
func (f family) refuse(held expr.VerdictKind) []rule {
	notOurs := &expr.Verdict{Kind: held}
	rules := []rule{f.related()}
	for _, p := range withPorts {
		destination := f.destination
		rules = append(rules, append(l4proto(p),
			&destination,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg(f.size)},
			&expr.Payload{DestRegister: reg(f.size + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: reg(0), SetName: f.held},
			notOurs))
	}
	rules = append(rules, append(l4proto(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}))
	for _, p := range withPorts[1:] {
		rules = append(rules, append(l4proto(p), &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.port}))
	}
	if f.proto == unix.NFPROTO_IPV6 {
		// Neighbour solicitations to the VIP itself are answered by the announcer; routed on, they would make the kernel send redirects.
		rules = append(rules, append(l4proto(f.icmp),
			&expr.Payload{DestRegister: reg(0), Base: expr.PayloadBaseTransportHeader, Offset: 0, Len: 1},
			&expr.Cmp{Op: expr.CmpOpGte, Register: reg(0), Data: []byte{128}},
			&expr.Verdict{Kind: expr.VerdictDrop}))
	}
	// ICMP is never answered with ICMP.
	rules = append(rules, append(l4proto(f.icmp), notOurs))
	return append(rules, rule{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.protocol}})
}
