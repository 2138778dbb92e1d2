package l2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"sync"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// port is an open interface: sockets, tables, groups and filters.
type port struct {
	link      usable
	linkLocal netip.Addr
	resp      *responder
	arp, ndp  *socket
	groups    *groups
	filter4   portFilter
	filter6   portFilter
	readers   sync.WaitGroup
	// failing is the address for which a send failed, until the next one succeeds, so that a streak is told once.
	failing netip.Addr
}

// portFilter is what the kernel lets through for one family.
type portFilter struct {
	cover cover
	// stale: the cover has grown beyond what is installed; loose: it holds more than it must; growing: addresses have come since
	// tighten.
	stale, loose, growing bool
}

func key4(k [4]byte) uint32  { return binary.BigEndian.Uint32(k[:]) }
func key6(k [16]byte) uint32 { return binary.BigEndian.Uint32(k[12:]) }

// openPort opens the sockets of the families that link carries. broken is called, at most once for each family, when a socket can
// no longer be read.
func openPort(link usable, linkLocal netip.Addr, resp *responder, broken func(error)) (*port, error) {
	p := &port{link: link, linkLocal: linkLocal, resp: resp}
	resp.hw = link.hw
	var err error
	if link.arp {
		if p.arp, err = openSocket(link.index, etherTypeARP); err != nil {
			return nil, err
		}
	}
	if link.ndp {
		resp.linkLocal = linkLocal.As16()
		if p.ndp, err = openSocket(link.index, etherTypeIPv6); err != nil {
			p.close()
			return nil, err
		}
		p.groups = newGroups(link.index, p.allMulticast)
	}
	if p.arp != nil {
		p.read(p.arp, resp.handleARP, resp.count4, broken)
	}
	if p.ndp != nil {
		p.read(p.ndp, resp.handleNDP, resp.count6, broken)
	}
	return p, nil
}

func (p *port) read(s *socket, handle func(in, out []byte) []byte, c *counters, broken func(error)) {
	p.readers.Go(func() {
		if err := s.serve(handle, c); err != nil {
			broken(err)
		}
	})
}

// close ends the readers and waits for them.
func (p *port) close() {
	for _, s := range []*socket{p.arp, p.ndp} {
		if s != nil {
			s.close()
		}
	}
	if p.groups != nil {
		p.groups.close()
	}
	p.readers.Wait()
}

// allMulticast makes the interface take all multicast through the NDP socket, so that the kernel undoes it when that closes.
func (p *port) allMulticast(on bool) error {
	opt := unix.PACKET_DROP_MEMBERSHIP
	if on {
		opt = unix.PACKET_ADD_MEMBERSHIP
	}
	var err error
	if cerr := p.ndp.raw.Control(func(fd uintptr) {
		err = unix.SetsockoptPacketMreq(int(fd), unix.SOL_PACKET, opt,
			&unix.PacketMreq{Ifindex: int32(p.link.index), Type: unix.PACKET_MR_ALLMULTI})
	}); cerr != nil {
		return cerr
	}
	return err
}

// put sets how packets about an address are treated.
func (p *port) put(a netip.Addr, ans answer) error {
	if a.Is4() {
		if p.arp == nil {
			return nil
		}
		k := a.As4()
		p.resp.arp.put(k, ans)
		p.filter4.add(key4(k))
		return nil
	}
	if p.ndp == nil {
		return nil
	}
	k := a.As16()
	_, had := p.resp.ndp.get(k)
	p.resp.ndp.put(k, ans)
	p.filter6.add(key6(k))
	if had {
		return nil
	}
	return p.groups.join(k)
}

// neighbours is how many addresses are let through together while many come: they come in order, and each change of a filter
// costs as much as announcing an address.
const neighbours = 64

// add lets packets about an address through. Of many that come within a moment all but the first bring their neighbours, until
// tighten.
func (f *portFilter) add(k uint32) {
	if f.cover.contains(k) {
		return
	}
	lo, hi := k, k
	if f.growing {
		lo, hi, f.loose = k&^(neighbours-1), k|(neighbours-1), true
	}
	f.cover, f.stale, f.growing = f.cover.widen(lo, hi), true, true
}

// settling says whether tighten has anything to do.
func (f *portFilter) settling() bool { return f.growing || f.loose }

// remove forgets an address; the filter stays as it is until tighten.
func (p *port) remove(a netip.Addr) {
	if a.Is4() {
		p.resp.arp.remove(a.As4())
		p.filter4.loose = true
		return
	}
	if p.ndp == nil {
		return
	}
	k := a.As16()
	if _, had := p.resp.ndp.get(k); had {
		p.resp.ndp.remove(k)
		p.groups.leave(k)
	}
	p.filter6.loose = true
}

// take copies the addresses of the port that this one replaces.
func (p *port) take(old *port) error {
	var first error
	for k, ans := range old.resp.arp.m {
		if err := p.put(netip.AddrFrom4(k), ans); err != nil && first == nil {
			first = err
		}
	}
	for k, ans := range old.resp.ndp.m {
		if err := p.put(netip.AddrFrom16(k), ans); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// tighten makes loose filters exact again, as far as they can be.
func (p *port) tighten() {
	if p.filter4.growing = false; p.filter4.loose {
		p.filter4 = portFilter{cover: coverOf(p.resp.arp.keys(key4)), stale: true}
	}
	if p.filter6.growing = false; p.filter6.loose {
		p.filter6 = portFilter{cover: coverOf(p.resp.ndp.keys(key6)), stale: true}
	}
}

// install hands changed filters to the kernel.
func (p *port) install() error {
	if err := p.filter4.install(p.arp, packetBroadcast, arpFilter); err != nil {
		return err
	}
	return p.filter6.install(p.ndp, packetMulticast, ndpFilter)
}

func (f *portFilter) install(s *socket, highest uint32, compile func(cover) []bpf.Instruction) error {
	if !f.stale || s == nil {
		return nil
	}
	f.stale = false
	err := s.setFilter(append(addressed(highest), compile(f.cover)...))
	if err == nil {
		return nil
	}
	// A kernel that grants sockets little memory gets one range around everything.
	wide := cover{{f.cover[0].lo, f.cover[len(f.cover)-1].hi}}
	if werr := s.setFilter(append(addressed(highest), compile(wide)...)); werr != nil {
		return fmt.Errorf("setting the packet filter: %w", err)
	}
	return nil
}

// send sends a packet unasked.
func (p *port) send(a netip.Addr, kind packetKind) error {
	s, c := p.arp, p.resp.count4
	if a.Is6() {
		s, c = p.ndp, p.resp.count6
	}
	if s == nil {
		return fmt.Errorf("interface %s does not carry the family of %s", p.link.name, a)
	}
	frame, err := unasked(kind, a, p.link.hw, p.linkLocal)
	if err == nil {
		err = s.send(frame)
	}
	switch {
	case err != nil:
		c.errors.Add(1)
		return fmt.Errorf("sending on %s: %w", p.link.name, err)
	case kind == probePacket:
		c.probes.Add(1)
	default:
		c.gratuitous.Add(1)
	}
	return nil
}
