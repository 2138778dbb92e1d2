package l2

import (
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
)

const (
	vip4 = "10.9.7.1"
	vip6 = "fd00:9::7:1"
)

func both(probe bool) []Announcement {
	return []Announcement{
		{Address: netip.MustParseAddr(vip4), Probe: probe},
		{Address: netip.MustParseAddr(vip6), Probe: probe},
	}
}

func quick(h *host) {
	// An address that nobody answers for is given up after one question.
	for _, f := range []string{"ipv4", "ipv6"} {
		h.Sysctl("net/"+f+"/neigh/eth0/mcast_solicit", "1")
		h.Sysctl("net/"+f+"/neigh/eth0/retrans_time_ms", "50")
	}
}

func TestKernelResolves(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	c := s.host()
	quick(c)
	n.e.Apply(both(true))
	for _, a := range []string{vip4, vip6} {
		n.await(Announced, a)
		c.forgetNeighbours()
		c.resolves(a, hwOf(1))
	}
	n.e.Apply(nil)
	n.sync()
	for _, a := range []string{vip4, vip6} {
		if n.happened(Withdrawn, a) != 1 {
			t.Errorf("no Withdrawn for %s", a)
		}
		c.unresolved(a)
	}
}

// The kernel checks with unicast packets whether a neighbour is still there. They go to the node's hardware address and
// to an IPv6 address that the node does not have.
func TestUnicastReachabilityProbes(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	c := s.host()
	for _, f := range []string{"ipv4", "ipv6"} {
		c.Sysctl("net/"+f+"/neigh/eth0/base_reachable_time_ms", "100")
		c.Sysctl("net/"+f+"/neigh/eth0/delay_first_probe_time", "0")
		c.Sysctl("net/"+f+"/neigh/eth0/mcast_solicit", "0") // unicast or nothing
		c.Sysctl("net/"+f+"/neigh/eth0/app_solicit", "0")
	}
	n.e.Apply(both(false))
	for _, a := range []string{vip4, vip6} {
		n.await(Announced, a)
		c.Must("a stale neighbour", func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			return netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: net.ParseIP(a), HardwareAddr: hwOf(1), State: netlink.NUD_STALE})
		})
		eventually(t, a+" is confirmed", func() bool {
			_, state := c.neighbour(a)
			if state&netlink.NUD_STALE != 0 { // at first, and after each gratuitous packet
				c.poke(a)
			}
			if state&netlink.NUD_FAILED != 0 {
				t.Fatalf("%s: the unicast probe was not answered", a)
			}
			return state&netlink.NUD_REACHABLE != 0
		})
	}
}

func TestAnotherHostHasTheAddress(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	other := s.host()
	other.give(vip4 + "/16")
	other.give(vip6 + "/64")
	n.e.Apply(both(true))
	for _, a := range []string{vip4, vip6} {
		n.await(Conflict, a)
		if st := n.e.States(netip.MustParseAddr(a)); len(st) != 1 || st[0].Phase != Contested || st[0].Rival.String() != hwOf(2).String() {
			t.Errorf("%s: states are %+v", a, st)
		}
		if n.happened(Announced, a) != 0 {
			t.Errorf("%s was announced", a)
		}
	}
	other.take(vip4 + "/16")
	other.take(vip6 + "/64")
	for _, a := range []string{vip4, vip6} {
		n.await(ConflictGone, a)
		n.await(Announced, a)
		if got := n.happened(Conflict, a); got != 1 {
			t.Errorf("%s: %d conflicts were told, want 1", a, got)
		}
	}
}

// A host that has the address and does not answer in time gets it back when it does.
func TestSlowHostIsGivenItsAddress(t *testing.T) {
	s := newSegment(t)
	timings := fast()
	timings.ProbeInterval, timings.Probation = 10*time.Millisecond, time.Minute
	for i := range 600 {
		timings.LateProbes = append(timings.LateProbes, time.Duration(i)*100*time.Millisecond)
	}
	n := s.host().run(Config{Timings: timings})
	slow := s.host()
	slow.Sysctl("net/ipv4/conf/eth0/arp_ignore", "8") // it answers nobody
	slow.give(vip4 + "/16")
	n.e.Apply(both(true))
	n.await(Announced, vip4)
	slow.Sysctl("net/ipv4/conf/eth0/arp_ignore", "0")
	n.await(Conflict, vip4)
	if st := n.e.States(netip.MustParseAddr(vip4)); len(st) != 1 || st[0].Phase != Contested || st[0].Rival.String() != hwOf(2).String() {
		t.Errorf("states are %+v", st)
	}
	if n.happened(Conflict, vip6) != 0 {
		t.Errorf("nobody has %s: %+v", vip6, n.events)
	}
}

func TestAnotherSpeakerHasTheAddress(t *testing.T) {
	s := newSegment(t)
	known := func(hw net.HardwareAddr) bool { return hw[0] == 2 }
	a, b := s.host().run(Config{Known: known}), s.host().run(Config{Known: known})
	a.e.Apply(both(false))
	a.await(Announced, vip4)
	a.await(Announced, vip6)
	b.e.Apply(both(true))
	b.await(Announced, vip4)
	b.await(Announced, vip6)
	for _, n := range []*node{a, b} {
		if n.happened(Conflict, "") != 0 {
			t.Errorf("speakers fight: %+v", n.events)
		}
	}
}

// Another host configures an address that we announce: its own duplicate address detection must find us.
func TestDefendAgainstNewcomer(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	other := s.host()
	n.e.Apply(both(false))
	n.await(Announced, vip6)
	other.Sysctl("net/ipv6/conf/eth0/accept_dad", "1")
	other.Must("address", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, _ := netlink.ParseAddr(vip6 + "/64")
		return netlink.AddrAdd(l, a)
	})
	eventually(t, "the newcomer gives up", func() bool {
		failed := false
		other.Must("addresses", func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			all, err := netlink.AddrList(l, netlink.FAMILY_V6)
			for _, a := range all {
				failed = failed || a.IP.String() == vip6 && a.Flags&0x08 != 0
			}
			return err
		})
		return failed
	})
	// A rude host that announces our IPv4 address is answered, told of, and forgotten when it is silent.
	frame, err := unasked(announcePacket, netip.MustParseAddr(vip4), mac(hwOf(2)), netip.Addr{})
	if err != nil {
		t.Fatal(err)
	}
	before := gratuitous(n)
	inject(other, frame)
	n.await(Conflict, vip4)
	eventually(t, "a defence", func() bool { return gratuitous(n) > before })
	n.await(ConflictGone, vip4)
	if st := n.e.States(netip.MustParseAddr(vip4)); st[0].Phase != Answering {
		t.Errorf("the address was given up: %+v", st)
	}
}

func gratuitous(n *node) (sum uint64) {
	for _, c := range n.e.Snapshot() {
		sum += c.Gratuitous
	}
	return sum
}

// inject sends a frame from a host's eth0.
func inject(h *host, frames ...[]byte) {
	h.Helper()
	h.Must("inject", func() error {
		l, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		s, err := openSocket(l.Index, etherTypeARP)
		if err != nil {
			return err
		}
		defer s.close()
		for _, f := range frames {
			if err := s.send(f); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestTakeover(t *testing.T) {
	s := newSegment(t)
	known := func(hw net.HardwareAddr) bool { return hw[0] == 2 }
	a, b := s.host().run(Config{Known: known}), s.host().run(Config{Known: known})
	c := s.host()
	a.e.Apply(both(false))
	for _, vip := range []string{vip4, vip6} {
		a.await(Announced, vip)
		c.resolves(vip, hwOf(1))
	}
	b.e.Apply(both(false)) // a is cut off, as far as b knows
	for _, vip := range []string{vip4, vip6} {
		eventually(t, vip+" moves in the client's table without being asked for", func() bool {
			hw, _ := c.neighbour(vip)
			return hw.String() == hwOf(2).String()
		})
	}
}

func TestDeputy(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	c := s.host()
	away := hwOf(77)
	set := both(false)
	for i := range set {
		set[i].Deputy = map[string]net.HardwareAddr{"eth0": away}
	}
	n.e.Apply(set)
	for _, a := range []string{vip4, vip6} {
		n.await(Announced, a)
		c.resolves(a, away)
	}
	if got := gratuitous(n); got != 0 {
		t.Errorf("a deputy sent %d packets unasked", got)
	}
	n.e.Apply(both(false))
	for _, a := range []string{vip4, vip6} {
		eventually(t, a+" moves", func() bool {
			hw, _ := c.neighbour(a)
			return hw.String() == hwOf(1).String()
		})
	}
}

func TestInterfacesComeAndGo(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	c := s.host()
	quick(c)
	n := h.run(Config{})
	n.e.Apply(both(false))
	n.await(Announced, vip4)
	n.await(Announced, vip6)

	link := func(name string, f func(netlink.Link) error) {
		t.Helper()
		h.Must(name, func() error {
			l, err := netlink.LinkByName(name)
			if err != nil {
				return err
			}
			return f(l)
		})
	}
	link("eth0", netlink.LinkSetDown)
	n.await(Withdrawn, vip4)
	n.await(Withdrawn, vip6)
	link("eth0", netlink.LinkSetUp)
	eventually(t, "announced again", func() bool { return n.happened(Announced, vip4) == 2 && n.happened(Announced, vip6) == 2 })
	c.forgetNeighbours()
	c.resolves(vip4, hwOf(1))

	s.plug(h, "eth1", 200)
	eventually(t, "announced on the new interface", func() bool {
		return len(n.e.States(netip.MustParseAddr(vip4))) == 2 && len(n.e.States(netip.MustParseAddr(vip6))) == 2
	})
	link("eth1", netlink.LinkDel)
	eventually(t, "gone from the removed interface", func() bool { return len(n.e.States(netip.MustParseAddr(vip4))) == 1 })

	s.plug(h, "veth9", 201) // excluded by name
	link("veth9", func(l netlink.Link) error {
		if err := netlink.LinkSetDown(l); err != nil {
			return err
		}
		return netlink.LinkSetName(l, "lan7")
	})
	link("lan7", netlink.LinkSetUp)
	eventually(t, "announced on the renamed interface", func() bool { return len(n.e.States(netip.MustParseAddr(vip4))) == 2 })

	// A change of the hardware address is told to the segment.
	link("lan7", netlink.LinkDel)
	link("eth0", func(l netlink.Link) error { return netlink.LinkSetHardwareAddr(l, hwOf(99)) })
	eventually(t, "the client learns the new hardware address", func() bool {
		hw, _ := c.neighbour(vip4)
		return hw.String() == hwOf(99).String()
	})
}

func TestSelectedInterfaces(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	s.plug(h, "eth1", 200)
	n := h.run(Config{})
	a := netip.MustParseAddr(vip4)
	n.e.Set(a, &Announcement{Address: a, Interfaces: []string{"eth1", "absent"}})
	n.await(Announced, vip4)
	if st := n.e.States(a); len(st) != 1 || st[0].Interface != "eth1" {
		t.Errorf("states are %+v", st)
	}
	n.e.Set(a, &Announcement{Address: a, Interfaces: []string{}})
	n.sync()
	if st := n.e.States(a); len(st) != 0 {
		t.Errorf("states are %+v", st)
	}
}

func TestBridgePortsAreLeftAlone(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	n := h.run(Config{})
	n.e.Apply(both(false))
	n.await(Announced, vip4)
	h.Must("bridge", func() error {
		br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs()}
		br.Name = "lanbr"
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(l, br); err != nil {
			return err
		}
		return netlink.LinkSetUp(br)
	})
	eventually(t, "the bridge is used and its port is not", func() bool {
		st := n.e.States(netip.MustParseAddr(vip4))
		return len(st) == 1 && st[0].Interface == "lanbr"
	})
	for _, i := range n.e.Interfaces() {
		if i.Name == "eth0" && (i.ARP || i.Reason == "") {
			t.Errorf("eth0 is said to be usable: %+v", i)
		}
	}
}

func TestWaitsForLinkLocalAddress(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	h.Must("no link-local address", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		all, err := netlink.AddrList(l, netlink.FAMILY_V6)
		if err != nil {
			return err
		}
		for _, a := range all {
			if a.IP.IsLinkLocalUnicast() {
				return netlink.AddrDel(l, &a)
			}
		}
		return fmt.Errorf("there was none")
	})
	n := h.run(Config{})
	n.e.Apply(both(false))
	n.await(Announced, vip4)
	if len(n.e.States(netip.MustParseAddr(vip6))) != 0 {
		t.Fatal("an IPv6 address is announced without a link-local address")
	}
	h.Sysctl("net/ipv6/conf/eth0/accept_dad", "1")
	h.Must("link-local address, to be checked by DAD", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, _ := netlink.ParseAddr("fe80::7/64")
		return netlink.AddrAdd(l, a)
	})
	n.await(Announced, vip6)
	c := s.host()
	c.resolves(vip6, hwOf(1))
}
