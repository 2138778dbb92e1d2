package l2

import "net/netip"

// responder decides what to do with the packets of one interface. Its methods run in the readers of its sockets and allocate
// nothing on the way to an answer.
type responder struct {
	hw        mac
	linkLocal [16]byte
	arp       table[[4]byte]
	ndp       table[[16]byte]
	count4    *counters
	count6    *counters
	// ours tells whether a hardware address is this node's or another speaker's.
	ours func(mac) bool
	// rival is told of the address that another host claims. It must not block.
	rival func(a netip.Addr, hw mac)
}

// handleARP looks at a frame and returns the answer, written into out, or nil.
func (r *responder) handleARP(b, out []byte) []byte {
	r.count4.received.Add(1)
	var f arpFrame
	if !parseARP(b, &f) {
		r.count4.malformed.Add(1)
		return nil
	}
	if f.sha == r.hw || f.ethSrc == r.hw || f.ethDst != r.hw && f.ethDst != broadcast {
		return nil
	}
	if _, ok := r.arp.get(f.spa); ok {
		r.claimed(r.count4, netip.AddrFrom4(f.spa), f.sha)
	}
	if f.op != arpRequest || f.spa == f.tpa {
		return nil
	}
	a, ok := r.arp.get(f.tpa)
	if !ok {
		return nil
	}
	if a.silent {
		// Somebody else asks for the address that we are asking for: RFC 5227 section 2.1.1 counts that as a conflict.
		if f.spa == [4]byte{} {
			r.claimed(r.count4, netip.AddrFrom4(f.tpa), f.sha)
		}
		return nil
	}
	r.count4.answered.Add(1)
	return putARP(out, arpReply, f.sha, r.hw, a.hw, f.tpa, f.sha, f.spa)
}

// handleNDP looks at a frame and returns the answer, written into out, or nil.
func (r *responder) handleNDP(b, out []byte) []byte {
	r.count6.received.Add(1)
	var f ndpFrame
	if !parseNDP(b, &f) {
		r.count6.malformed.Add(1)
		return nil
	}
	if f.ethSrc == r.hw || f.ethDst != r.hw && !f.ethDst.group() {
		return nil
	}
	a, ok := r.ndp.get(f.target)
	if !ok {
		return nil
	}
	from := f.ethSrc
	if f.hasLLA {
		from = f.lla
	}
	detection := f.typ == typeNS && f.src == unspecified
	if f.typ == typeNA || detection && a.silent {
		r.claimed(r.count6, netip.AddrFrom16(f.target), from)
		return nil
	}
	if a.silent {
		return nil
	}
	r.count6.answered.Add(1)
	if detection {
		// A host that wants the address is told that it is taken: RFC 4862 section 5.4.3, RFC 4861 section 7.2.4.
		return putNA(out, allNodesMAC, r.hw, r.linkLocal, allNodes, f.target, a.hw, flagOverride)
	}
	// Without a source link-layer address option the frame's own sender is the one place the answer can go to without
	// resolving an address first.
	return putNA(out, from, r.hw, r.linkLocal, f.src, f.target, a.hw, flagSolicited|flagOverride)
}

func (r *responder) claimed(c *counters, a netip.Addr, hw mac) {
	if r.ours(hw) {
		return
	}
	c.conflicts.Add(1)
	r.rival(a, hw)
}
