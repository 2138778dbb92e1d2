package members

import (
	"context"
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// segment is two hosts on a wire, in network namespaces.
type segment struct {
	a, b         netns.NsHandle
	aMAC, bMAC   net.HardwareAddr
	aAddr, bAddr netip.Addr
}

func newSegment(t *testing.T) *segment {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, for network namespaces of its own")
	}
	s := &segment{aAddr: netip.MustParseAddr("10.9.0.1"), bAddr: netip.MustParseAddr("10.9.0.2")}
	s.a = namespace(t)
	s.b = namespace(t)
	in(t, s.a, func() {
		must(t, netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "eth0"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(s.b)}))
		s.aMAC = configure(t, s.aAddr)
	})
	in(t, s.b, func() { s.bMAC = configure(t, s.bAddr) })
	return s
}

func configure(t *testing.T, a netip.Addr) net.HardwareAddr {
	t.Helper()
	lo, err := netlink.LinkByName("lo") // the kernel tells its own connections by it what failed
	must(t, err)
	must(t, netlink.LinkSetUp(lo))
	l, err := netlink.LinkByName("eth0")
	must(t, err)
	must(t, netlink.AddrAdd(l, &netlink.Addr{IPNet: &net.IPNet{IP: a.AsSlice(), Mask: net.CIDRMask(24, 32)}}))
	must(t, netlink.LinkSetUp(l))
	return l.Attrs().HardwareAddr
}

// neighbour puts an entry into the table of the namespace we are in.
func neighbour(t *testing.T, a netip.Addr, mac net.HardwareAddr, state, flags int) {
	t.Helper()
	l, err := netlink.LinkByName("eth0")
	must(t, err)
	must(t, netlink.NeighSet(&netlink.Neigh{LinkIndex: l.Attrs().Index, IP: a.AsSlice(), State: state, Flags: flags, HardwareAddr: mac}))
}

// await waits for a condition; the time is only there to end.
func await(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

// A neighbour that does not answer is asked for anew, be it known or not, unless
// somebody else put it into the table.
func TestForgetNeighbour(t *testing.T) {
	s := newSegment(t)
	in(t, s.a, func() {
		silent := netip.MustParseAddr("10.9.0.9")
		c, _, err := dial(netip.AddrPortFrom(silent, 9))
		must(t, err)
		defer c.close()
		await(t, "the kernel to ask for the silent neighbour", func() bool { return stateOf(t, silent)&netlink.NUD_INCOMPLETE != 0 })
		stale, static, learned := netip.MustParseAddr("10.9.0.3"), netip.MustParseAddr("10.9.0.4"), netip.MustParseAddr("10.9.0.5")
		neighbour(t, stale, s.bMAC, netlink.NUD_STALE, 0)
		neighbour(t, static, s.bMAC, netlink.NUD_PERMANENT, 0)
		neighbour(t, learned, s.bMAC, netlink.NUD_REACHABLE, netlink.NTF_EXT_LEARNED)
		for _, n := range []struct {
			what   string
			is     netip.Addr
			forget bool
		}{
			{"an unresolved neighbour", silent, true},
			{"a stale neighbour", stale, true},
			{"a static neighbour", static, false},
			{"a neighbour that another program manages", learned, false},
		} {
			forgetNeighbour(n.is)
			if forgotten := stateOf(t, n.is) == netlink.NUD_NONE; forgotten != n.forget {
				t.Errorf("%s is forgotten: %v, want %v", n.what, forgotten, n.forget)
			}
		}
	})
}

// What is wrong with a connection is told once by the kernel; afterwards it looks
// like one that was made. Nobody has answered by that.
func TestReachSilentNeighbour(t *testing.T) {
	s := newSegment(t)
	in(t, s.a, func() {
		if reachTCP(context.Background(), netip.AddrPortFrom(netip.MustParseAddr("10.9.0.9"), 7950)) {
			t.Error("an address that nobody has answers")
		}
	})
}

// A node that was cut off has asked for us in vain, and its kernel waits before it
// asks again. We know its hardware address, so that ours would not ask for it. It
// is reached all the same.
func TestReachReturningNeighbour(t *testing.T) {
	s := newSegment(t)
	in(t, s.b, func() {
		// Never again, so that the test does not hang on when.
		must(t, os.WriteFile("/proc/sys/net/ipv4/neigh/eth0/retrans_time_ms", []byte("3600000"), 0o600))
	})
	in(t, s.a, func() { setARP(t, false) }) // deaf
	in(t, s.b, func() {
		c, _, err := dial(netip.AddrPortFrom(s.aAddr, 7950))
		must(t, err)
		t.Cleanup(c.close)
		await(t, "the kernel to ask for the deaf neighbour", func() bool { return stateOf(t, s.aAddr)&netlink.NUD_INCOMPLETE != 0 })
	})
	in(t, s.a, func() {
		setARP(t, true)
		// A second opinion does not wait long for a machine that is busy.
		await(t, "an answer", func() bool {
			neighbour(t, s.bAddr, s.bMAC, netlink.NUD_STALE, 0)
			return reachTCP(context.Background(), netip.AddrPortFrom(s.bAddr, 7950))
		})
	})
}

func setARP(t *testing.T, on bool) {
	t.Helper()
	l, err := netlink.LinkByName("eth0")
	must(t, err)
	if on {
		must(t, netlink.LinkSetARPOn(l))
	} else {
		must(t, netlink.LinkSetARPOff(l))
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// namespace makes a network namespace that ends with the test.
func namespace(t *testing.T) netns.NsHandle {
	t.Helper()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before, err := netns.Get()
	must(t, err)
	defer before.Close()
	own, err := netns.New()
	must(t, err)
	t.Cleanup(func() { _ = own.Close() })
	must(t, netns.Set(before))
	return own
}

// in does something in a network namespace.
func in(t *testing.T, n netns.NsHandle, do func()) {
	t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	must(t, err)
	defer before.Close()
	must(t, netns.Set(n))
	defer func() {
		// Where the way back fails, the thread stays locked and ends with the test.
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
	}()
	do()
}

// stateOf is the state of a neighbour in the kernel's table; NUD_NONE: it is not
// there.
func stateOf(t *testing.T, a netip.Addr) int {
	t.Helper()
	list, err := netlink.NeighList(0, netlink.FAMILY_V4)
	must(t, err)
	for _, n := range list {
		if ip, ok := netip.AddrFromSlice(n.IP); ok && ip.Unmap() == a {
			return n.State
		}
	}
	return netlink.NUD_NONE
}
