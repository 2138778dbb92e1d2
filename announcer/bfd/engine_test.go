package bfd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/namespaces"
	"github.com/fairlead/fairlead/test/routers"
)

// node is a host with an Engine.
type node struct {
	*namespaces.Host
	e    *Engine
	stop func()

	mu     sync.Mutex
	events []Event
	more   chan struct{}
}

func (n *node) told(e Event) {
	n.mu.Lock()
	n.events = append(n.events, e)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

func startNode(h *namespaces.Host) *node {
	h.Helper()
	n := &node{Host: h, more: make(chan struct{}, 1)}
	var err error
	if n.e, err = New(Config{Log: testr.NewWithInterface(h, testr.Options{}), OnEvent: n.told}); err != nil {
		h.Fatal(err)
	}
	n.stop = h.Start(n.e.Run)
	return n
}

func (n *node) sync(want ...Session) {
	n.Helper()
	if err := n.e.Sync(want); err != nil {
		n.Fatal(err)
	}
}

// await waits for an event, and forgets those of the session before it.
func (n *node) await(session string, s State) Event {
	n.Helper()
	deadline := time.After(10 * time.Second)
	for {
		n.mu.Lock()
		for i, e := range n.events {
			if e.Session == session && e.State == s {
				before := n.events[: i+1 : i+1]
				n.events = append(slices.DeleteFunc(before, func(e Event) bool { return e.Session == session }), n.events[i+1:]...)
				n.mu.Unlock()
				return e
			}
		}
		n.mu.Unlock()
		select {
		case <-n.more:
		case <-deadline:
			n.Fatalf("%s did not become %s: %+v", session, s, n.e.Sessions())
		}
	}
}

// meet waits until all sessions of the nodes are up to stay, and forgets the events that led there. The kernel may deliver
// the second packet of a side before the first, as when that one waits for the hardware address of the peer. Such a session
// comes up, is taken down by the packet that comes late, as RFC 5880 section 6.8.6 has it, and is up again at once.
func meet(nodes ...*node) {
	nodes[0].Helper()
	routers.Await(nodes[0], "sessions that stay up", func() error {
		for _, n := range nodes {
			if err := n.met(); err != nil {
				return err
			}
		}
		return nil
	})
	for _, n := range nodes {
		n.mu.Lock()
		n.events = nil
		n.mu.Unlock()
	}
}

// met says what is still to come until the sessions are up to stay.
func (n *node) met() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	sessions := n.e.Sessions()
	for _, s := range sessions {
		told, last := uint64(0), Down
		for _, e := range n.events {
			if e.Session != s.Session {
				continue
			}
			if last = e.State; e.Was == Up {
				told++
			}
		}
		switch {
		case s.State != Up || s.Remote != Up:
			return fmt.Errorf("a session is %+v", s)
		case last != Up || told != s.Downs:
			return fmt.Errorf("not everything was told of %+v: %+v", s, n.events)
		case s.LongestGap < 50*time.Millisecond:
			return fmt.Errorf("no packet came in its turn yet, but those only by which both sides agree: %+v", s)
		}
	}
	if len(sessions) == 0 {
		return errors.New("there is no session")
	}
	return nil
}

func (n *node) quiet() {
	n.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.events) != 0 {
		n.Errorf("events: %+v", n.events)
	}
}

var (
	mac1 = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	mac2 = net.HardwareAddr{2, 0, 0, 0, 0, 2}
)

// wired are two nodes on one wire.
func wired(t testing.TB) (a, b *node) {
	t.Helper()
	ha, hb := hosts(t)
	return startNode(ha), startNode(hb)
}

// hosts are two on one wire.
func hosts(t testing.TB) (ha, hb *namespaces.Host) {
	t.Helper()
	ha, hb = namespaces.New(t), namespaces.New(t)
	namespaces.Wire(ha, "eth0", mac1, hb, "eth0", mac2)
	for _, h := range []*namespaces.Host{ha, hb} {
		// Of two link-local addresses the kernel sends from the one that came first, which may be its own.
		h.Sysctl("net/ipv6/conf/eth0/addr_gen_mode", "1")
	}
	ha.Up("eth0", "10.9.0.1/24", "fd00:9::1/64", "fe80::1/64")
	hb.Up("eth0", "10.9.0.2/24", "fd00:9::2/64", "fe80::2/64")
	return ha, hb
}

func wantTo(name, peer string) Session {
	return Session{Name: name, Peer: netip.MustParseAddr(peer), Settings: quick()}
}

// patient may miss more packets, for a test in which no session may go down however busy the machine is.
func patient(s Session) Session {
	s.DetectMultiplier = 10
	return s
}

func TestRealSessions(t *testing.T) {
	several := func(s Session, local string) Session {
		s.MultiHop, s.MinimumTTL, s.Local = true, 250, netip.MustParseAddr(local)
		return s
	}
	signed := func(s Session) Session {
		s.Auth = Auth{Kind: MeticulousSHA1, KeyID: 1, Key: "secret"}
		return s
	}
	for name, pair := range map[string][2]Session{
		"ipv4":          {wantTo("b", "10.9.0.2"), wantTo("a", "10.9.0.1")},
		"ipv6":          {wantTo("b", "fd00:9::2"), wantTo("a", "fd00:9::1")},
		"link-local":    {wantTo("b", "fe80::2%eth0"), wantTo("a", "fe80::1%eth0")},
		"several hops":  {several(wantTo("b", "10.9.0.2"), "10.9.0.1"), several(wantTo("a", "10.9.0.1"), "10.9.0.2")},
		"several hops6": {several(wantTo("b", "fd00:9::2"), "fd00:9::1"), several(wantTo("a", "fd00:9::1"), "fd00:9::2")},
		"signed":        {signed(wantTo("b", "10.9.0.2")), signed(wantTo("a", "10.9.0.1"))},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := wired(t)
			a.sync(pair[0])
			b.sync(pair[1])
			meet(a, b)
			before := a.e.Sessions()[0].Downs
			b.Down("eth0")
			if e := a.await("b", Down); e.Cause != CauseSilence {
				t.Errorf("the wire was cut, and a says: %s", e.Cause)
			}
			if st := a.e.Sessions()[0]; st.Downs != before+1 || st.Sent == 0 || st.Received == 0 {
				t.Errorf("the status is %+v", st)
			}
		})
	}
}

// A packet of the time before the session was up, which comes late, takes it down, and it is up again without a wait for
// the next packets in turn, which are a second apart then.
func TestAPacketThatComesLate(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"))
	b.sync(wantTo("a", "10.9.0.1"))
	meet(a, b)
	first := Packet{
		State: Down, DetectMultiplier: 3, Mine: (*a.e.table.Load())[0].machine.local, DesiredMinTx: time.Second, RequiredMinRx: 100 * time.Millisecond,
	}
	a.Must("sending", func() error {
		s, err := openSender(wantTo("b", "10.9.0.2"), 0)
		if err != nil {
			return err
		}
		defer s.close()
		return s.send(first.Append(nil))
	})
	down := b.await("a", Down)
	if down.Cause != CausePeerDown {
		t.Errorf("a seems to begin anew, and b says: %s", down.Cause)
	}
	for _, up := range []Event{b.await("a", Up), a.await("b", Up)} {
		if took := up.At.Sub(down.At); took > 500*time.Millisecond {
			t.Errorf("session %s was up again after %s", up.Session, took)
		}
	}
}

func TestPeersAreToldOfTheEnd(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"), wantTo("b6", "fd00:9::2"))
	b.sync(wantTo("a", "10.9.0.1"), wantTo("a6", "fd00:9::1"))
	meet(a, b)
	a.sync(wantTo("b6", "fd00:9::2"))
	if e := b.await("a", Down); e.Cause != CausePeerAdminDown {
		t.Errorf("one session was removed, and b says: %s", e.Cause)
	}
	a.stop()
	if e := b.await("a6", Down); e.Cause != CausePeerAdminDown {
		t.Errorf("a was stopped, and b says: %s", e.Cause)
	}
	if len(a.e.Sessions()) != 0 {
		t.Errorf("after the end there are %+v", a.e.Sessions())
	}
}

func TestSettingsChangeWithoutAnAlarm(t *testing.T) {
	a, b := wired(t)
	want := patient(wantTo("b", "10.9.0.2"))
	a.sync(want)
	other := patient(wantTo("a", "10.9.0.1"))
	b.sync(other)
	meet(a, b)
	want.TransmitInterval, want.ReceiveInterval, want.DetectMultiplier = 20*time.Millisecond, 300*time.Millisecond, 50
	a.sync(want)
	other.ReceiveInterval = 20 * time.Millisecond
	b.sync(other)
	routers.Await(t, "the new detection times", func() error {
		sa, sb := a.e.Sessions()[0], b.e.Sessions()[0]
		if sa.Detection != 3*time.Second || sb.Detection != time.Second || sa.Transmit != 20*time.Millisecond {
			return fmt.Errorf("they are %v and %v, a sends every %v", sa.Detection, sb.Detection, sa.Transmit)
		}
		return nil
	})
	a.quiet()
	b.quiet()
}

// A session whose interface or address is not there yet begins when it comes, and goes on when it is made anew.
func TestInterfacesComeAndGo(t *testing.T) {
	a, b := wired(t)
	b.sync(wantTo("a", "fe80::1%eth0"))
	a.Down("eth0")
	a.sync(wantTo("b", "fe80::2%eth0"))
	routers.Await(t, "the trouble", func() error {
		if s := a.e.Sessions(); len(s) != 1 || !strings.Contains(s[0].Trouble, "interface eth0 is down") {
			return fmt.Errorf("the sessions are %+v", s)
		}
		return nil
	})
	a.Up("eth0", "fe80::1/64")
	a.await("b", Up)
	b.await("a", Up)
	if s := a.e.Sessions()[0]; s.Trouble != "" {
		t.Errorf("the trouble is over, and still: %s", s.Trouble)
	}
}

// Another daemon on the node has the port: it keeps it, and the session says so and begins when the port is free.
func TestPortInUse(t *testing.T) {
	a, b := wired(t)
	b.sync(wantTo("a", "10.9.0.1"))
	var other int
	a.Must("another daemon", func() (err error) {
		if other, err = udpSocket(false); err != nil {
			return err
		}
		return unix.Bind(other, sockaddr(netip.IPv4Unspecified(), singleHopPort, 0))
	})
	a.sync(wantTo("b", "10.9.0.2"))
	routers.Await(t, "the trouble", func() error {
		if s := a.e.Sessions(); len(s) != 1 || !strings.Contains(s[0].Trouble, "another BFD daemon") {
			return fmt.Errorf("the sessions are %+v", s)
		}
		return nil
	})
	unix.Close(other)
	a.await("b", Up)
}

// Packets that were forwarded, come from elsewhere, or are no packets move nothing.
func TestForeignPackets(t *testing.T) {
	a, b := wired(t)
	a.sync(patient(wantTo("b", "10.9.0.2")))
	b.sync(patient(wantTo("a", "10.9.0.1")))
	meet(a, b)
	discriminator := func() uint32 { return (*a.e.table.Load())[0].machine.local }()
	end := Packet{State: AdminDown, DetectMultiplier: 3, Mine: 7, Yours: discriminator, DesiredMinTx: time.Second, RequiredMinRx: time.Second}
	garbage := [][]byte{nil, {1}, make([]byte, 24), make([]byte, 1400), end.Append(nil)[:20]}
	b.Must("sending", func() error {
		c, err := net.Dial("udp4", "10.9.0.1:3784")
		if err != nil {
			return err
		}
		defer c.Close()
		for _, raw := range append(garbage, end.Append(nil)) { // with a TTL of 64
			if _, err := c.Write(raw); err != nil {
				return err
			}
		}
		return nil
	})
	b.Up("lo", "10.9.0.77/32")
	b.Must("sending from elsewhere", func() error {
		s, err := openSender(Session{Peer: netip.MustParseAddr("10.9.0.1"), Local: netip.MustParseAddr("10.9.0.77")}, 0)
		if err != nil {
			return err
		}
		defer s.close()
		return s.send(end.Append(nil))
	})
	routers.Await(t, "refusals", func() error {
		if s := a.e.Sessions()[0]; s.Refused != 2 {
			return fmt.Errorf("%d packets were refused", s.Refused)
		}
		return nil
	})
	if s := a.e.Sessions()[0]; s.State != Up {
		t.Errorf("the session is %s", s.State)
	}
	a.quiet()
}

func TestSessionsThatCannotBe(t *testing.T) {
	e, err := New(Config{Log: testr.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	defer e.wake.close()
	change := func(f func(*Session)) Session {
		s := wantTo("x", "10.9.0.2")
		f(&s)
		return s
	}
	for _, test := range []struct {
		want string
		s    Session
	}{
		{"no address of a peer", change(func(s *Session) { s.Peer = netip.Addr{} })},
		{"no address of a peer", change(func(s *Session) { s.Peer = netip.MustParseAddr("224.0.0.1") })},
		{"different families", change(func(s *Session) { s.Local = netip.MustParseAddr("fd00::1") })},
		{"interface is needed", change(func(s *Session) { s.Peer = netip.MustParseAddr("fe80::1") })},
		{"transmit interval is 9ms", change(func(s *Session) { s.TransmitInterval = 9 * time.Millisecond })},
		{"receive interval is 2m0s", change(func(s *Session) { s.ReceiveInterval = 2 * time.Minute })},
		{"echo interval is 0s", change(func(s *Session) { s.Echo = true })},
		{"detect multiplier is 1", change(func(s *Session) { s.DetectMultiplier = 1 })},
		{"echoes work over one hop only", change(func(s *Session) { s.Echo, s.EchoInterval, s.MultiHop = true, time.Second, true })},
		{"good has the same peer", change(func(*Session) {})},
		{"good\" is there twice", change(func(s *Session) { s.Name, s.Peer = "good", netip.MustParseAddr("10.9.0.3") })},
	} {
		err := e.Sync([]Session{wantTo("good", "10.9.0.2"), test.s})
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("the error is %v, want one with %q", err, test.want)
		}
		if got := *e.want.Load(); len(got) != 1 || got[0].Name != "good" {
			t.Errorf("what is wanted is %+v", got)
		}
	}
}

func TestRunOnce(t *testing.T) {
	e, err := New(Config{Log: testr.New(t)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := e.Run(ctx); err != nil {
		t.Error(err)
	}
	if err := e.Run(ctx); err == nil {
		t.Error("it ran twice")
	}
}

// Echoes come back through the kernel of the peer, which forwards; when it ceases to, the session goes down although
// control packets still arrive.
func TestRealEchoes(t *testing.T) {
	for name, addrs := range map[string][2]string{"ipv4": {"10.9.0.1", "10.9.0.2"}, "ipv6": {"fd00:9::1", "fd00:9::2"}} {
		t.Run(name, func(t *testing.T) {
			a, b := wired(t)
			forwarding := map[string]string{"ipv4": "net/ipv4/ip_forward", "ipv6": "net/ipv6/conf/all/forwarding"}[name]
			b.Sysctl(forwarding, "1")
			want, other := patient(wantTo("b", addrs[1])), patient(wantTo("a", addrs[0]))
			want.Echo, want.EchoInterval = true, 100*time.Millisecond
			other.EchoInterval = 100 * time.Millisecond
			a.sync(want)
			b.sync(other)
			meet(a)
			routers.Await(t, "echoes", func() error {
				sa, sb := a.e.Sessions()[0], b.e.Sessions()[0]
				if !sa.Echoes || sb.Transmit != time.Second {
					return fmt.Errorf("a is %+v, b %+v", sa, sb)
				}
				return nil
			})
			received := a.e.Sessions()[0].Received
			routers.Await(t, "two more control packets", func() error {
				if got := a.e.Sessions()[0].Received; got < received+2 {
					return fmt.Errorf("%d of %d", got-received, 2)
				}
				return nil
			})
			a.quiet()
			b.Sysctl(forwarding, "0")
			if e := a.await("b", Down); e.Cause != CauseEcho {
				t.Errorf("no echo comes back, and a says: %s", e.Cause)
			}
		})
	}
}
