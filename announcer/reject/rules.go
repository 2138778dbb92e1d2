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
	filterPriority = 10
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
			proto: unix.NFPROTO_IPV4, vips: setVIP4, held: setHeld4, size: 1,
			destination: expr.Payload{DestRegister: reg(0), Base: expr.PayloadBaseNetworkHeader, Offset: 16, Len: 4},
			icmp:        unix.IPPROTO_ICMP, echo: icmpEcho4, port: unreachPort4, protocol: unreachProtocol4, node: cfg.Node4,
		},
		{
			proto: unix.NFPROTO_IPV6, vips: setVIP6, held: setHeld6, size: 4,
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

// chainsOf are the chains of the table with their rules; a chain stands after those that it goes to only if the order of creation
// does not matter, so all are created first.
func chainsOf(t *nftables.Table, cfg Config) []chain {
	accept := nftables.ChainPolicyAccept
	base := func(name string, typ nftables.ChainType, hook *nftables.ChainHook, prio nftables.ChainPriority) chain {
		return chain{chain: &nftables.Chain{
			Table: t, Name: name, Type: typ, Hooknum: hook, Priority: &prio, Policy: &accept,
		}}
	}
	pingIn := base("ping-in", nftables.ChainTypeNAT, nftables.ChainHookPrerouting, natPriority)
	pingOut := base("ping-out", nftables.ChainTypeNAT, nftables.ChainHookOutput, natPriority)
	forward := base("forward", nftables.ChainTypeFilter, nftables.ChainHookForward, filterPriority)
	output := base("output", nftables.ChainTypeFilter, nftables.ChainHookOutput, filterPriority)
	input := base("input", nftables.ChainTypeFilter, nftables.ChainHookInput, filterPriority)
	var all []chain
	for _, f := range families(cfg) {
		suffix := map[byte]string{unix.NFPROTO_IPV4: "4", unix.NFPROTO_IPV6: "6"}[f.proto]
		through := chain{chain: &nftables.Chain{Table: t, Name: "through" + suffix}, rules: f.refuse(expr.VerdictDrop)}
		local := chain{chain: &nftables.Chain{Table: t, Name: "local" + suffix}, rules: f.refuse(expr.VerdictReturn)}
		all = append(all, through, local)
		pingIn.rules = append(pingIn.rules, f.ping())
		pingOut.rules = append(pingOut.rules, f.ping())
		forward.rules = append(forward.rules, f.dispatch(through.chain.Name))
		output.rules = append(output.rules, f.dispatch(through.chain.Name))
		input.rules = append(input.rules, f.dispatch(local.chain.Name))
	}
	return append(all, pingIn, pingOut, forward, output, input)
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

func (f family) dispatch(to string) rule {
	return append(f.toVIP(), &expr.Verdict{Kind: expr.VerdictGoto, Chain: to})
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

// refuse are the rules for packets to a VIP that nobody has translated; held is the verdict for what is not ours to refuse.
func (f family) refuse(held expr.VerdictKind) []rule {
	verdict := func(k expr.VerdictKind) *expr.Verdict { return &expr.Verdict{Kind: k} }
	rules := []rule{{ // ICMP errors about flows that are known
		&expr.Ct{Register: reg(0), Key: expr.CtKeySTATE},
		&expr.Bitwise{
			SourceRegister: reg(0), DestRegister: reg(0), Len: 4,
			Mask: binary.NativeEndian.AppendUint32(nil, expr.CtStateBitRELATED), Xor: make([]byte, 4),
		},
		&expr.Cmp{Op: expr.CmpOpNeq, Register: reg(0), Data: make([]byte, 4)},
		verdict(expr.VerdictAccept),
	}}
	withPorts := []byte{unix.IPPROTO_TCP, unix.IPPROTO_UDP, unix.IPPROTO_SCTP}
	for _, p := range withPorts {
		destination := f.destination
		rules = append(rules, append(l4proto(p),
			&destination,
			&expr.Meta{Key: expr.MetaKeyL4PROTO, Register: reg(f.size)},
			&expr.Payload{DestRegister: reg(f.size + 1), Base: expr.PayloadBaseTransportHeader, Offset: 2, Len: 2},
			&expr.Lookup{SourceRegister: reg(0), SetName: f.held},
			verdict(held)))
	}
	rules = append(rules, append(l4proto(unix.IPPROTO_TCP), &expr.Reject{Type: unix.NFT_REJECT_TCP_RST}))
	for _, p := range withPorts[1:] {
		rules = append(rules, append(l4proto(p), &expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.port}))
	}
	// ICMP is never answered with ICMP. Neighbour solicitations to the VIP itself end here too.
	rules = append(rules, append(l4proto(f.icmp), verdict(held)))
	return append(rules, rule{&expr.Reject{Type: unix.NFT_REJECT_ICMP_UNREACH, Code: f.protocol}})
}
