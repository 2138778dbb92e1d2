package l2

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"go.uber.org/goleak"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/namespaces"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type host struct{ *namespaces.Host }

func newHost(t *testing.T) *host { return &host{namespaces.New(t)} }

// segment is a bridge in a namespace of its own with hosts on it.
type segment struct {
	t   *testing.T
	lan *host
	n   int
}

func newSegment(t *testing.T) *segment {
	t.Helper()
	s := &segment{t: t, lan: newHost(t)}
	s.lan.Sysctl("net/ipv6/conf/all/disable_ipv6", "1")
	s.lan.Must("bridge", func() error {
		off := false
		br := &netlink.Bridge{LinkAttrs: netlink.NewLinkAttrs(), MulticastSnooping: &off}
		br.Name, br.HardwareAddr = "br0", hwOf(0xffff)
		if err := netlink.LinkAdd(br); err != nil {
			return err
		}
		if err := namespaces.AddAddrs(br, bridgeAddr+"/16"); err != nil {
			return err
		}
		return netlink.LinkSetUp(br)
	})
	return s
}

// bridgeAddr is an address of the bridge itself, by which hosts find out that they are connected.
const bridgeAddr = "10.9.255.1"

// host adds a host with the interface eth0 and the addresses 10.9.0.N/16 and fd00:9::N/64. It is connected when this returns, and has
// a link-local address.
func (s *segment) host() *host {
	s.t.Helper()
	h := newHost(s.t)
	h.Sysctl("net/ipv6/conf/default/accept_dad", "0")
	s.n++
	s.plug(h, "eth0", s.n)
	for _, f := range []string{"ipv4", "ipv6"} {
		h.Sysctl("net/"+f+"/neigh/eth0/retrans_time_ms", "100") // the first question may be too early
	}
	h.resolves(bridgeAddr, hwOf(0xffff))
	h.forgetNeighbours()
	eventually(s.t, "a link-local address", func() (ok bool) {
		h.Must("addresses", func() error {
			l, err := netlink.LinkByName("eth0")
			if err != nil {
				return err
			}
			all, err := netlink.AddrList(l, netlink.FAMILY_V6)
			for _, a := range all {
				ok = ok || a.IP.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0
			}
			return err
		})
		return ok
	})
	return h
}

func hwOf(n int) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)} }

// plug connects h to the segment by a new interface.
func (s *segment) plug(h *host, name string, n int) {
	s.t.Helper()
	port := fmt.Sprintf("p%d", n)
	s.lan.Must("veth", func() error {
		v := &netlink.Veth{LinkAttrs: netlink.NewLinkAttrs(), PeerName: name, PeerNamespace: netlink.NsFd(h.NS), PeerHardwareAddr: hwOf(n)}
		v.Name = port
		if err := netlink.LinkAdd(v); err != nil {
			return err
		}
		br, err := netlink.LinkByName("br0")
		if err != nil {
			return err
		}
		if err := netlink.LinkSetMaster(v, br); err != nil {
			return err
		}
		return netlink.LinkSetUp(v)
	})
	h.Must("addresses", func() error {
		l, err := netlink.LinkByName(name)
		if err != nil {
			return err
		}
		if err := netlink.LinkSetUp(l); err != nil {
			return err
		}
		return namespaces.AddAddrs(l, fmt.Sprintf("10.9.%d.%d/16", n>>8, n&255), fmt.Sprintf("fd00:9::%x/64", n))
	})
}

// give makes the host's kernel itself own an address.
func (h *host) give(cidr string) {
	h.Helper()
	h.Must("address", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		return namespaces.AddAddrs(l, cidr)
	})
}

// take undoes give.
func (h *host) take(cidr string) {
	h.Helper()
	h.Must("address", func() error {
		l, err := netlink.LinkByName("eth0")
		if err != nil {
			return err
		}
		a, err := netlink.ParseAddr(cidr)
		if err != nil {
			return err
		}
		return netlink.AddrDel(l, a)
	})
}

// node is a host with an engine.
type node struct {
	*host
	e      *Engine
	mu     sync.Mutex
	events []Event
	stop   func()
}

// fast are timings for tests that wait for real packets.
func fast() Timings {
	return Timings{
		ProbeInterval: 100 * time.Millisecond, Repeats: []time.Duration{20 * time.Millisecond, 60 * time.Millisecond},
		ProbedRepeats:    []time.Duration{20 * time.Millisecond, 60 * time.Millisecond},
		ConflictRetryMin: 30 * time.Millisecond, ConflictRetryMax: 200 * time.Millisecond,
		ConflictQuiet: 300 * time.Millisecond, DefendInterval: 100 * time.Millisecond,
	}
}

// run starts an engine on h.
func (h *host) run(cfg Config) *node {
	h.Helper()
	n := &node{host: h}
	cfg.OnEvent = func(e Event) {
		n.mu.Lock()
		n.events = append(n.events, e)
		n.mu.Unlock()
	}
	if cfg.Timings.ProbeInterval == 0 {
		cfg.Timings = fast()
	}
	e, err := New(cfg)
	if err != nil {
		h.Fatal(err)
	}
	n.e = e
	n.stop = h.Start(e.Run)
	return n
}

// open waits until the engine can announce both families on an interface.
func (n *node) open(name string) {
	n.Helper()
	eventually(n.TB, name+" is usable", func() bool {
		for _, i := range n.e.Interfaces() {
			if i.Name == name && i.ARP && i.NDP {
				return true
			}
		}
		return false
	})
}

// sync waits for the engine.
func (n *node) sync() {
	n.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := n.e.Sync(ctx); err != nil {
		n.Fatalf("Sync: %v", err)
	}
}

// happened counts events of a kind for an address.
func (n *node) happened(k EventKind, a string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	c := 0
	for _, e := range n.events {
		if e.Kind == k && (a == "" || e.Address == netip.MustParseAddr(a)) {
			c++
		}
	}
	return c
}

// await waits for an event.
func (n *node) await(k EventKind, a string) {
	n.Helper()
	eventually(n.TB, fmt.Sprintf("%s %s", k, a), func() bool { return n.happened(k, a) > 0 })
}

// patience is how long a test waits for something that should take far less.
const patience = 20 * time.Second

func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !cond() {
		if time.Now().After(deadline) {
			t.Fatalf("timed out waiting for: %s", what)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// poke makes the host's kernel want to know who has an address.
func (h *host) poke(a string) {
	h.Helper()
	ip := netip.MustParseAddr(a)
	_ = h.In(func() error {
		c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, 9)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("x"))
		return err
	})
}

// neighbour is what the host's kernel knows about an address.
func (h *host) neighbour(a string) (hw net.HardwareAddr, state int) {
	h.Helper()
	ip := net.ParseIP(a)
	h.Must("neighbours", func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		for _, n := range all {
			if n.IP.Equal(ip) {
				hw, state = n.HardwareAddr, n.State
			}
		}
		return err
	})
	return hw, state
}

// forgetNeighbours empties the host's neighbour table.
func (h *host) forgetNeighbours() {
	h.Helper()
	h.Must("neighbours", func() error {
		all, err := netlink.NeighList(0, netlink.FAMILY_ALL)
		for _, n := range all {
			if n.State&netlink.NUD_PERMANENT == 0 && n.State&netlink.NUD_NOARP == 0 {
				_ = netlink.NeighDel(&n)
			}
		}
		return err
	})
}

// resolves waits until the host's kernel has resolved an address to a hardware address.
func (h *host) resolves(a string, want net.HardwareAddr) {
	h.Helper()
	h.poke(a)
	last := time.Now()
	eventually(h.TB, fmt.Sprintf("%s resolves to %s", a, want), func() bool {
		hw, state := h.neighbour(a)
		if state&(netlink.NUD_REACHABLE|netlink.NUD_STALE|netlink.NUD_DELAY|netlink.NUD_PROBE) != 0 && hw.String() == want.String() {
			return true
		}
		if time.Since(last) > 100*time.Millisecond {
			last = time.Now()
			h.poke(a)
		}
		return false
	})
}

// unresolved waits until the host's kernel has given up on an address.
func (h *host) unresolved(a string) {
	h.Helper()
	h.forgetNeighbours()
	h.poke(a)
	eventually(h.TB, a+" does not resolve", func() bool {
		hw, state := h.neighbour(a)
		if len(hw) > 0 && state&(netlink.NUD_REACHABLE|netlink.NUD_STALE) != 0 {
			h.Fatalf("%s resolved to %s", a, hw)
		}
		return state&netlink.NUD_FAILED != 0
	})
}
