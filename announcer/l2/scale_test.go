package l2

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// spread makes n addresses whose solicited-node groups all differ.
func spread(n int) []Announcement {
	all := make([]Announcement, n)
	for i := range all {
		b := netip.MustParseAddr("fd00:9::").As16()
		binary.BigEndian.PutUint32(b[12:], uint32(i)*7+0x10000)
		all[i] = Announcement{Address: netip.AddrFrom16(b)}
	}
	return all
}

// A socket takes some 2,300 groups at most; the client asks for the first, the last and some between.
func TestThousandsOfIPv6Addresses(t *testing.T) {
	for name, crippled := range map[string]bool{"groups": false, "all multicast": true} {
		t.Run(name, func(t *testing.T) {
			s := newSegment(t)
			h := s.host()
			n := h.run(Config{Timings: Timings{ProbeInterval: 20 * time.Millisecond, Repeats: []time.Duration{}}})
			n.open("eth0")
			if crippled {
				n.e.state.Lock()
				for _, p := range n.e.ports {
					p.groups.limit = 0
				}
				n.e.state.Unlock()
			}
			c := s.host()
			want := spread(5000)
			begin := time.Now()
			n.e.Apply(want)
			n.sync()
			t.Logf("5000 addresses answered after %v", time.Since(begin))
			if got := h.groups(); got < len(want) && !crippled || got > 10 && crippled {
				t.Errorf("%d groups are joined", got)
			}
			if got := h.allMulticast(); got != crippled {
				t.Errorf("all multicast is taken: %v", got)
			}
			for i := 0; i < len(want); i += 611 {
				c.resolves(want[i].Address.String(), hwOf(1))
			}
			c.resolves(want[4999].Address.String(), hwOf(1))
			eventually(t, "all are announced", func() bool { return n.happened(Announced, "") == len(want) })
			t.Logf("5000 addresses announced after %v", time.Since(begin))
			if n.happened(Failed, "") != 0 {
				t.Errorf("failures: %+v", n.events[len(n.events)-1])
			}
			n.e.Apply(nil)
			n.sync()
			eventually(t, "all are withdrawn", func() bool { return n.happened(Withdrawn, "") == len(want) })
			if got := h.groups(); got > 10 {
				t.Errorf("%d groups are left", got)
			}
			if h.allMulticast() {
				t.Error("all multicast is still taken")
			}
		})
	}
}

// groups counts the solicited-node groups of eth0.
func (h *host) groups() (n int) {
	h.Helper()
	h.Must("groups", func() error {
		b, err := os.ReadFile("/proc/thread-self/net/igmp6")
		for line := range strings.Lines(string(b)) {
			if strings.Contains(line, "eth0") && strings.Contains(line, "ff0200000000000000000001ff") {
				n++
			}
		}
		return err
	})
	return n
}

// allMulticast tells whether a socket makes eth0 take all multicast, which the interface's flags do not show.
func (h *host) allMulticast() (on bool) {
	h.Helper()
	const attribute = 61 // IFLA_ALLMULTI
	h.Must("interface", func() error {
		l, err := net.InterfaceByName("eth0")
		if err != nil {
			return err
		}
		req, msg := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0), nl.NewIfInfomsg(unix.AF_UNSPEC)
		msg.Index = int32(l.Index)
		req.AddData(msg)
		answer, err := req.Execute(unix.NETLINK_ROUTE, 0)
		if err != nil {
			return err
		}
		attrs, err := nl.ParseRouteAttr(answer[0][unix.SizeofIfInfomsg:])
		for _, a := range attrs {
			on = on || a.Attr.Type == attribute && binary.NativeEndian.Uint32(a.Value) != 0
		}
		return err
	})
	return on
}

func TestAddressesThatShareAGroup(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	c := s.host()
	a, b := "fd00:9::1:77:7777", "fd00:9::2:77:7777"
	n.e.Apply([]Announcement{{Address: netip.MustParseAddr(a)}, {Address: netip.MustParseAddr(b)}})
	n.await(Announced, b)
	n.e.Set(netip.MustParseAddr(a), nil)
	n.sync()
	c.resolves(b, hwOf(1))
}

// sniffer counts what arrives at a host's eth0 from a hardware address.
type sniffer struct {
	fd   int
	from mac
}

func (h *host) sniff(from net.HardwareAddr) *sniffer {
	h.Helper()
	s := &sniffer{from: mac(from)}
	h.Must("sniffer", func() (err error) {
		all := int(binary.NativeEndian.Uint16([]byte{0, unix.ETH_P_ALL}))
		if s.fd, err = unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, all); err != nil {
			return err
		}
		return unix.SetsockoptInt(s.fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 16<<20)
	})
	h.Cleanup(func() { _ = unix.Close(s.fd) })
	return s
}

// frames are those that name an address as ARP sender or ND target since the last call.
func (s *sniffer) frames(a netip.Addr) (n int) {
	b := make([]byte, 2000)
	for {
		size, err := unix.Read(s.fd, b)
		if err != nil {
			return n
		}
		var f4 arpFrame
		var f6 ndpFrame
		switch {
		case size < ethLen || mac(b[6:12]) != s.from:
		case parseARP(b[:size], &f4) && netip.AddrFrom4(f4.tpa) == a, parseNDP(b[:size], &f6) && netip.AddrFrom16(f6.target) == a:
			n++
		}
	}
}

// The same state again, and a change of another address, send nothing for an address.
func TestRepeatedApplyIsSilent(t *testing.T) {
	s := newSegment(t)
	timings := fast()
	timings.LateProbes = []time.Duration{} // they come when it is time, and not because of what is applied
	n := s.host().run(Config{Timings: timings})
	c := s.host()
	sniffer := c.sniff(hwOf(1))
	a := netip.MustParseAddr(vip4)
	n.e.Apply(both(true))
	want := 3 + 2*3 // probes, and both forms now and twice more
	got := 0
	eventually(t, "all packets of the takeover", func() bool { got += sniffer.frames(a); return got >= want })
	other := netip.MustParseAddr("10.9.7.9")
	for range 20 {
		n.e.Apply(both(true))
		n.sync()
	}
	n.e.Apply(append(both(true), Announcement{Address: other}))
	n.await(Announced, other.String())
	// Whatever the repetitions had set off would have gone out before the other address was announced: the queue is one.
	if got += sniffer.frames(a); got != want {
		t.Errorf("%d packets, want %d", got, want)
	}
}

// What the kernel's filter drops is never received; what it lets through is counted.
func TestForeignTrafficDoesNotWake(t *testing.T) {
	s := newSegment(t)
	n := s.host().run(Config{})
	c := s.host()
	n.e.Apply(both(false))
	n.await(Announced, vip4)
	n.await(Announced, vip6)
	received := func() (sum uint64) {
		for _, k := range n.e.Snapshot() {
			sum += k.Received
		}
		return sum
	}
	before := received()
	for i := range uint64(10) {
		var frames [][]byte
		for j := range uint32(50) { // few enough for the kernel's queues
			frames = append(frames, request4(netip.MustParseAddr("10.9.0.2"), ip4(0x0a090800+j), mac(hwOf(2)), broadcast))
		}
		inject(c, append(frames, request4(netip.MustParseAddr("10.9.0.2"), netip.MustParseAddr(vip4), mac(hwOf(2)), broadcast))...)
		eventually(t, "the request for our address", func() bool { return received() > before+i })
	}
	if got := received() - before; got != 10 {
		t.Errorf("%d packets were received, want 10", got)
	}
}

func TestStopReleasesEverything(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	n := h.run(Config{})
	n.e.Apply(both(false))
	n.await(Announced, vip6)
	n.stop()
	h.Must("sockets", func() error {
		b, err := os.ReadFile("/proc/thread-self/net/packet")
		if rows := strings.Split(strings.TrimSpace(string(b)), "\n"); len(rows) > 1 {
			t.Errorf("packet sockets are left: %q", rows)
		}
		return err
	})
	if err := n.e.Sync(context.Background()); err == nil {
		t.Error("Sync with a stopped engine reports success")
	}
	if err := n.e.Run(context.Background()); err == nil {
		t.Error("a second Run reports success")
	}
}

func TestNoCapability(t *testing.T) {
	s := newSegment(t)
	h := s.host()
	var failed []Event
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	e, err := New(Config{OnEvent: func(ev Event) {
		if ev.Kind == Failed {
			failed = append(failed, ev)
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	h.Must("run without capabilities", func() error {
		// The thread's effective set is emptied and filled again.
		hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var was, none [2]unix.CapUserData
		if err := unix.Capget(&hdr, &was[0]); err != nil {
			return err
		}
		none = was
		none[0].Effective, none[1].Effective = 0, 0
		if err := unix.Capset(&hdr, &none[0]); err != nil {
			return err
		}
		err := e.Run(ctx)
		if cerr := unix.Capset(&hdr, &was[0]); cerr != nil {
			return cerr
		}
		return err
	})
	if len(failed) != 1 {
		t.Fatalf("failures: %+v", failed)
	}
	for _, i := range e.Interfaces() {
		if i.Name == "eth0" && (i.ARP || i.Reason == "") {
			t.Errorf("eth0 is said to be usable: %+v", i)
		}
	}
}
