package members

import (
	"net"
	"net/netip"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// A neighbour that does not answer is asked for anew, and one that is known is
// left alone.
func TestForgetUnresolved(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, for a network namespace of its own")
	}
	inNamespace(t)
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "here"}, PeerName: "there"}
	must(t, netlink.LinkAdd(link))
	for _, name := range []string{"here", "there"} {
		l, err := netlink.LinkByName(name)
		must(t, err)
		must(t, netlink.LinkSetUp(l))
	}
	here, err := netlink.LinkByName("here")
	must(t, err)
	must(t, netlink.AddrAdd(here, &netlink.Addr{IPNet: &net.IPNet{IP: net.IPv4(10, 9, 0, 1), Mask: net.CIDRMask(24, 32)}}))
	silent, known := netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr("10.9.0.3")
	must(t, netlink.NeighAdd(&netlink.Neigh{
		LinkIndex: here.Attrs().Index, IP: known.AsSlice(), State: netlink.NUD_REACHABLE, HardwareAddr: net.HardwareAddr{2, 0, 0, 0, 0, 3},
	}))
	fd, _, err := dial(netip.AddrPortFrom(silent, 9))
	must(t, err)
	t.Cleanup(func() { _ = os.NewFile(uintptr(fd), "dial").Close() })
	for end := time.Now().Add(10 * time.Second); stateOf(t, silent)&netlink.NUD_INCOMPLETE == 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the kernel does not ask for the silent neighbour")
		}
	}
	forgetUnresolved(silent)
	forgetUnresolved(known)
	if s := stateOf(t, silent); s != netlink.NUD_NONE {
		t.Errorf("the silent neighbour is in state %#x, want it forgotten", s)
	}
	if s := stateOf(t, known); s == netlink.NUD_NONE {
		t.Error("the known neighbour was forgotten")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// inNamespace moves the test into a network namespace of its own.
func inNamespace(t *testing.T) {
	t.Helper()
	runtime.LockOSThread()
	before, err := netns.Get()
	must(t, err)
	own, err := netns.New()
	must(t, err)
	t.Cleanup(func() {
		_ = own.Close()
		// Where the way back fails, the thread stays locked and ends with the test.
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
		_ = before.Close()
	})
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
