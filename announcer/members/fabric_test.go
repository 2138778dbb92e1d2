package members

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/memberlist"

	"github.com/fairlead/fairlead/announcer"
)

// fabric is a network of speakers on loopback addresses, of which some can be
// cut off. Packets between speakers of different parts are lost, and dialling
// gets no answer, as if a cable were pulled.
type fabric struct {
	tb    testing.TB
	port  int
	grace time.Duration
	keys  [][]byte

	mu    sync.Mutex
	parts map[netip.Addr]int
	// dialled are connections of gossip since the last cut, from and to.
	dialled map[[2]netip.Addr]bool

	speakers []*speaker
}

type speaker struct {
	*Members
	peer     Peer
	changed  chan struct{}
	messages chan Message
}

var key1 = []byte("0123456789abcdef")

// Every fabric has a port of its own, so that the packets of a finished test
// never reach the next.
var ports = struct {
	sync.Mutex
	next int
}{next: 20950}

func newFabric(tb testing.TB) *fabric {
	tb.Helper()
	ports.Lock()
	ports.next++
	port := ports.next
	ports.Unlock()
	return &fabric{tb: tb, port: port, grace: 3 * time.Second, keys: [][]byte{key1}, parts: map[netip.Addr]int{}, dialled: map[[2]netip.Addr]bool{}}
}

func peerOf(n int) Peer {
	return Peer{Node: fmt.Sprintf("node%d", n), Address: netip.AddrFrom4([4]byte{127, 66, byte(n >> 8), byte(n)})}
}

// start runs speakers 1 to n and waits until they know each other.
func (f *fabric) start(n int) {
	f.tb.Helper()
	for i := range n {
		f.speakers = append(f.speakers, f.run(i+1, n))
	}
	for _, s := range f.speakers {
		s.serve()
	}
	for _, s := range f.speakers {
		f.await(s, "to see everybody", func() bool { return s.Stats().Alive == n })
	}
}

// run starts one speaker of a cluster of size.
func (f *fabric) run(n, size int) *speaker {
	f.tb.Helper()
	s := &speaker{peer: peerOf(n), changed: make(chan struct{}, 1), messages: make(chan Message, 100)}
	t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
		BindAddrs: []string{s.peer.Address.String()}, BindPort: f.port, Logger: newLogger(logr.Discard()),
	})
	if err != nil {
		f.tb.Fatalf("no transport on %s: %v", s.peer.Address, err)
	}
	s.Members, err = Start(context.Background(), Config{
		Log: logr.Discard(), Node: s.peer.Node, Address: s.peer.Address, Port: f.port, Version: "test", Expected: size,
		Keys: f.keys, Grace: f.grace, Settle: time.Second,
		OnChange: func() {
			select {
			case s.changed <- struct{}{}:
			default:
			}
		},
		OnMessage: func(m Message) { s.messages <- m },
		Transport: &cuttable{NetTransport: t, fabric: f, from: s.peer.Address},
		Reach:     func(ctx context.Context, to netip.AddrPort) bool { return f.reach(ctx, s.peer.Address, to) },
	})
	if err != nil {
		f.tb.Fatal(err)
	}
	f.tb.Cleanup(s.Stop)
	s.SetInterfaces([]announcer.Interface{{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, byte(n >> 8), byte(n)}, ARP: true, NDP: true}})
	peers := make([]Peer, 0, size)
	for i := range size {
		peers = append(peers, peerOf(i+1))
	}
	s.SetPeers(peers)
	return s
}

func (s *speaker) serve() {
	s.Joined(context.Background())
	s.Prepare()
	s.Serve()
}

// await waits until a condition holds.
func (f *fabric) await(s *speaker, what string, ok func() bool) {
	f.tb.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-s.changed:
		case <-time.After(20 * time.Millisecond):
		case <-deadline:
			f.tb.Fatalf("%s waited in vain %s; it sees %+v", s.peer.Node, what, s.Stats())
		}
	}
}

// part puts speakers into a part of the network of their own.
func (f *fabric) part(part int, nodes ...int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range nodes {
		f.parts[peerOf(n).Address] = part
	}
	f.dialled = map[[2]netip.Addr]bool{}
}

// dialledBy are those to whom a speaker's gossip connected since the last cut.
func (f *fabric) dialledBy(s *speaker) (out []netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for way := range f.dialled {
		if way[0] == s.peer.Address {
			out = append(out, way[1])
		}
	}
	return out
}

func (f *fabric) cut(a, b netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.parts[a] != f.parts[b]
}

func (f *fabric) reach(ctx context.Context, from netip.Addr, to netip.AddrPort) bool {
	if !f.cut(from, to.Addr()) {
		return reachTCP(ctx, to)
	}
	select {
	case <-ctx.Done():
	case <-time.After(opinionWait):
	}
	return false
}

// presence is what a speaker thinks of another.
func (s *speaker) presence(node string) announcer.Presence {
	for _, m := range s.Members.Members() {
		if m.Node == node {
			return m.Presence
		}
	}
	return announcer.Absent
}

// cuttable is a transport that loses what goes to another part.
type cuttable struct {
	*memberlist.NetTransport
	fabric *fabric
	from   netip.Addr
}

func (c *cuttable) lost(addr string) bool {
	to, err := netip.ParseAddrPort(addr)
	return err == nil && c.fabric.cut(c.from, to.Addr())
}

func (c *cuttable) WriteTo(b []byte, addr string) (time.Time, error) {
	return c.WriteToAddress(b, memberlist.Address{Addr: addr})
}

func (c *cuttable) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	if c.lost(a.Addr) {
		return time.Now(), nil
	}
	return c.NetTransport.WriteToAddress(b, a)
}

func (c *cuttable) DialTimeout(addr string, timeout time.Duration) (net.Conn, error) {
	return c.DialAddressTimeout(memberlist.Address{Addr: addr}, timeout)
}

func (c *cuttable) DialAddressTimeout(a memberlist.Address, timeout time.Duration) (net.Conn, error) {
	if c.lost(a.Addr) {
		time.Sleep(timeout)
		return nil, context.DeadlineExceeded
	}
	conn, err := c.NetTransport.DialAddressTimeout(a, timeout)
	if to, bad := netip.ParseAddrPort(a.Addr); err == nil && bad == nil {
		c.fabric.mu.Lock()
		c.fabric.dialled[[2]netip.Addr{c.from, to.Addr()}] = true
		c.fabric.mu.Unlock()
	}
	return conn, err
}
