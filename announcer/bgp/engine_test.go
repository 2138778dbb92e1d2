package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/community"

	api "github.com/osrg/gobgp/v3/api"
	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
	"google.golang.org/protobuf/types/known/anypb"
)

// attributesOf are those that a router has heard with a prefix; nil if it does not have it.
func attributesOf(r *router, prefix string) map[string]any {
	path := r.learned(familyV4)[prefix]
	if path == nil {
		return nil
	}
	out := map[string]any{}
	for _, raw := range path.Pattrs {
		m, err := raw.UnmarshalNew()
		if err != nil {
			r.t.Fatal(err)
		}
		switch a := m.(type) {
		case *api.LocalPrefAttribute:
			out["pref"] = a.LocalPref
		case *api.CommunitiesAttribute:
			out["communities"] = a.Communities
		case *api.AsPathAttribute:
			var asns []uint32
			for _, s := range a.Segments {
				asns = append(asns, s.Numbers...)
			}
			out["path"] = asns
		case *api.NextHopAttribute:
			out["hop"] = a.NextHop
		case *api.MpReachNLRIAttribute:
			out["mpHops"] = a.NextHops
		}
	}
	return out
}

func TestAttributesByPeer(t *testing.T) {
	external, internal := newRouter(t, "127.0.0.2", 64513), newRouter(t, "127.0.0.2", 4200000000)
	external.knows("127.0.1.1", 64599, nil)
	internal.knows("127.0.1.1", 4200000000, nil)
	s := newSpeaker(t, Config{})
	// Two peers with one address are told apart by their ports.
	peers := []Peer{
		to(external, "external", "127.0.1.1", func(p *Peer) { p.LocalASN, p.Dynamic, p.PeerASN = 64599, External, 0 }),
		to(internal, "internal", "127.0.1.1", func(p *Peer) {
			p.MyASN, p.Dynamic, p.PeerASN, p.RouterID = 4200000000, Internal, 0, netip.MustParseAddr("192.0.2.77")
		}),
	}
	list := []route{
		{Prefix: netip.MustParsePrefix("10.0.0.1/24"), Peers: map[string]Attributes{
			"external": {LocalPref: 7, Communities: []community.Standard{1}}, "internal": {LocalPref: 300, Communities: []community.Standard{2}}, "unknown": {},
		}},
		{Prefix: netip.MustParsePrefix("10.0.1.0/24"), Peers: map[string]Attributes{"internal": {}}},
	}
	s.sync(peers, list)
	s.awaitUp("external", "internal")
	eventually(t, "the routes", func() bool { return external.count(familyV4) == 1 && internal.count(familyV4) == 2 })
	check := func(r *router, prefix, what string, want any) {
		t.Helper()
		if got := attributesOf(r, prefix)[what]; fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s %s: %v, want %v", prefix, what, got, want)
		}
	}
	check(external, "10.0.0.0/24", "path", []uint32{64599})
	check(external, "10.0.0.0/24", "pref", nil)
	check(external, "10.0.0.0/24", "communities", []uint32{1})
	check(internal, "10.0.0.0/24", "path", []uint32{})
	check(internal, "10.0.0.0/24", "pref", uint32(300))
	check(internal, "10.0.0.0/24", "communities", []uint32{2})
	check(internal, "10.0.1.0/24", "pref", uint32(100))

	drained := func(on bool) {
		for i := range list {
			for name, a := range list[i].Peers {
				a.GracefulShutdown = on
				list[i].Peers[name] = a
			}
		}
		s.sync(peers, list)
	}
	drained(true)
	shutdown := uint32(community.GracefulShutdown)
	eventually(t, "GRACEFUL_SHUTDOWN at the external peer", func() bool {
		c, _ := attributesOf(external, "10.0.0.0/24")["communities"].([]uint32)
		return slices.Equal(c, []uint32{shutdown, 1})
	})
	eventually(t, "local preference 0 at the internal peer", func() bool { return attributesOf(internal, "10.0.1.0/24")["pref"] == uint32(0) })
	drained(false)
	list[1].Peers = map[string]Attributes{"internal": {GracefulShutdown: true}}
	s.sync(peers, list)
	eventually(t, "one route drained, the other not", func() bool {
		return attributesOf(internal, "10.0.0.0/24")["pref"] == uint32(300) && attributesOf(internal, "10.0.1.0/24")["pref"] == uint32(0)
	})
}

func TestDynamicASNs(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	r.knows("127.0.1.1", 64512, nil)
	s := newSpeaker(t, Config{})
	s.sync([]Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.Dynamic, p.PeerASN = Internal, 0 })}, nil)
	s.awaitWhy("tor", "wrong ASN: the peer has 64513, but an internal peer must have ours, 64512")
	s.sync([]Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.Dynamic, p.PeerASN = External, 0 })}, nil)
	s.awaitUp("tor")
}

func TestPasswords(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	password := func(text string) func(*api.Peer) { return func(p *api.Peer) { p.Conf.AuthPassword = text } }
	r.knows("127.0.1.1", 64512, password("first"))
	s := newSpeaker(t, Config{})
	peer := func(text string) []Peer {
		return []Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.Password = text })}
	}
	s.sync(peer("wrong"), routes(prefixes(1), Attributes{}, "tor"))
	eventually(t, "words about the password", func() bool {
		return strings.Contains(s.session("tor").Why, "no answer, which is also how a wrong password looks")
	})
	if strings.Contains(s.session("tor").Why, "wrong,") {
		t.Errorf("the password shows in %q", s.session("tor").Why)
	}
	s.sync(peer("first"), routes(prefixes(1), Attributes{}, "tor"))
	s.awaitUp("tor")
	eventually(t, "the route", func() bool { return r.count(familyV4) == 1 })

	if err := r.s.DeletePeer(t.Context(), &api.DeletePeerRequest{Address: "127.0.1.1"}); err != nil {
		t.Fatal(err)
	}
	r.knows("127.0.1.1", 64512, password("second"))
	s.sync(peer("second"), routes(prefixes(1), Attributes{}, "tor"))
	eventually(t, "the route under the new password", func() bool { return s.session("tor").State == Established && r.count(familyV4) == 1 })
}

func announce(t *testing.T, r *router, n int) {
	t.Helper()
	for _, p := range prefixes(n) {
		nlri, _ := anypb.New(&api.IPAddressPrefix{Prefix: p.Addr().String(), PrefixLen: uint32(p.Bits())})
		origin, _ := anypb.New(&api.OriginAttribute{})
		hop, _ := anypb.New(&api.NextHopAttribute{NextHop: "127.0.0.2"})
		if _, err := r.s.AddPath(t.Context(), &api.AddPathRequest{Path: &api.Path{Family: familyV4, Nlri: nlri, Pattrs: []*anypb.Any{origin, hop}}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestPrefixLimit(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	r.knows("127.0.1.1", 64512, nil)
	announce(t, r, 20)
	s := newSpeaker(t, Config{})
	peer := func(limit int) []Peer {
		return []Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.PrefixLimit = limit })}
	}
	s.sync(peer(19), nil)
	eventually(t, "a second attempt that ends like the first", func() bool {
		v := s.session("tor")
		return v.EstablishedCount >= 2 && v.LastError == "the peer sent more than 19 prefixes, which is its limit"
	})
	s.sync(peer(20), nil)
	eventually(t, "20 prefixes", func() bool { v := s.session("tor"); return v.State == Established && v.PrefixesReceived == 20 })
	before := s.session("tor").EstablishedCount
	s.sync(peer(30), nil)
	s.sync(peer(40), nil)
	if v := s.session("tor"); v.EstablishedCount != before || v.State != Established {
		t.Errorf("a change of the limit touched the session: %+v", v)
	}
}

// A limit that is raised need not wait for the next attempt, which may be half an hour away.
func TestPrefixLimitIsRaised(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	r.knows("127.0.1.1", 64512, nil)
	announce(t, r, 20)
	s := newSpeaker(t, Config{Timings: Timings{RetryMin: 10 * time.Millisecond, LimitRetryMin: time.Hour, LimitRetryMax: time.Hour, CloseWait: patience}})
	set := func(limit int) {
		s.sync([]Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.PrefixLimit = limit })}, nil)
	}
	over := func(limit string) {
		t.Helper()
		s.awaitWhy("tor", "the peer sent more than "+limit+" prefixes, which is its limit")
		eventually(t, "a wait for the next attempt", func() bool { return !s.session("tor").Retry.IsZero() })
	}
	set(18)
	over("18")
	set(17)
	if s.session("tor").Retry.IsZero() {
		t.Error("a lower limit has the peer tried again")
	}
	set(19)
	over("19")
	set(-1)
	s.awaitUp("tor")
}

func restartBits(o *wire.BGPOpen) (restarted bool, forwarding []bool, long uint32) {
	for _, p := range o.OptParams {
		for _, c := range p.(*wire.OptionParameterCapability).Capability {
			switch c := c.(type) {
			case *wire.CapGracefulRestart:
				restarted = c.Flags&restartFlag != 0
				for _, tuple := range c.Tuples {
					forwarding = append(forwarding, tuple.Flags&forwardFlag != 0)
				}
			case *wire.CapLongLivedGracefulRestart:
				long = c.Tuples[0].RestartTime
			}
		}
	}
	return restarted, forwarding, long
}

func TestGracefulRestartOnTheWire(t *testing.T) {
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	graceful := peer.peer(func(p *Peer) {
		p.Families = IPv4 | IPv6
		p.GracefulRestart = GracefulRestart{Enabled: true, LongLived: time.Hour}
	})
	s.sync([]Peer{graceful}, routes(prefixes(1), Attributes{}, "crude"))
	caps := []wire.ParameterCapabilityInterface{
		wire.NewCapMultiProtocol(wire.RF_IPv4_UC), wire.NewCapMultiProtocol(wire.RF_IPv6_UC), wire.NewCapGracefulRestart(false, false, 90, nil),
	}
	l := peer.accept()
	restarted, forwarding, long := restartBits(l.establish(90, caps...))
	if !restarted || !slices.Equal(forwarding, []bool{true, true}) || long != 3600 {
		t.Errorf("at first: restarted %t, forwarding %v, long-lived %d s", restarted, forwarding, long)
	}
	s.awaitUp("crude")
	if !s.session("crude").GracefulRestart {
		t.Error("the session does not tell that graceful restart is agreed on")
	}
	var ends []wire.RouteFamily
	for len(ends) < 2 {
		m := l.await(wire.BGP_MSG_UPDATE)
		if m == nil {
			t.Fatal("the connection ended")
		}
		if end, f := m.Body.(*wire.BGPUpdate).IsEndOfRib(); end {
			ends = append(ends, f)
		}
	}
	l.conn.Close()
	l = peer.accept()
	if restarted, forwarding, _ = restartBits(l.establish(90, caps...)); restarted || !slices.Equal(forwarding, []bool{true, true}) {
		t.Errorf("after a lost connection: restarted %t, forwarding %v", restarted, forwarding)
	}
	s.awaitUp("crude")
	graceful.HoldTime = time.Minute
	s.sync([]Peer{graceful}, routes(prefixes(1), Attributes{}, "crude"))
	if m := l.await(wire.BGP_MSG_NOTIFICATION); m != nil {
		t.Errorf("the peer was told %v at a change that it should not notice", m.Body)
	}
	l = peer.accept()
	l.establish(90, caps...)
	s.awaitUp("crude")
	s.stop()
	if m := l.await(wire.BGP_MSG_NOTIFICATION); m != nil {
		t.Errorf("the peer was told %v at a stop that it should not notice", m.Body)
	}
}

func TestChangesThatPeersAreToldOf(t *testing.T) {
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	s.sync([]Peer{peer.peer()}, nil)
	told := func(l *line, sub uint8) {
		t.Helper()
		m := l.await(wire.BGP_MSG_NOTIFICATION)
		if m == nil || m.Body.(*wire.BGPNotification).ErrorCode != cease || m.Body.(*wire.BGPNotification).ErrorSubcode != sub {
			t.Fatalf("the peer was told %v, want cease with %d", m, sub)
		}
		l.conn.Close()
	}
	l := peer.accept()
	l.establish(90)
	s.awaitUp("crude")
	s.sync([]Peer{peer.peer(func(p *Peer) { p.HoldTime = time.Minute })}, nil)
	told(l, wire.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE)
	l = peer.accept()
	l.establish(90)
	s.awaitUp("crude")
	if v := s.session("crude"); v.HoldTime != time.Minute || v.UnsentIPv6 != "IPv6 routes are not meant for this peer, only IPv4 ones" || v.UnsentIPv4 != "" {
		t.Errorf("session: %+v", v)
	}
	s.sync(nil, nil)
	told(l, wire.BGP_ERROR_SUB_PEER_DECONFIGURED)
	if v := s.Sessions(); len(v) != 0 {
		t.Errorf("sessions: %+v", v)
	}
}

// A session that SetPeers has ended is known to be parting until the peer has been told, and its end is an event.
func TestPartingPeersAreKnown(t *testing.T) {
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{Timings: Timings{RetryMin: 10 * time.Millisecond, CloseWait: patience}})
	s.sync([]Peer{peer.peer()}, nil)
	l := peer.accept()
	l.establish(90)
	s.awaitUp("crude")
	if p := s.Parting(); len(p) != 0 {
		t.Errorf("parting while the session stands: %q", p)
	}
	s.sync(nil, nil)
	if p := s.Parting(); !slices.Equal(p, []string{"crude"}) {
		t.Errorf("parting before the peer has closed: %q", p)
	}
	if m := l.await(wire.BGP_MSG_NOTIFICATION); m == nil {
		t.Error("the peer was not told")
	}
	closed := func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.events, func(e Event) bool { return e.Closed && e.Session.Peer == "crude" })
	}
	if closed() {
		t.Error("the session is said to be closed before it is")
	}
	l.conn.Close()
	eventually(t, "nobody parting", func() bool { return len(s.Parting()) == 0 })
	eventually(t, "an event", closed)
}

func TestStopsThatPeersAreToldOf(t *testing.T) {
	for name, graceful := range map[string]bool{"no graceful restart": false, "graceful restart, but for good": true} {
		t.Run(name, func(t *testing.T) {
			peer := newCrude(t, "127.0.0.1")
			s := newSpeaker(t, Config{})
			s.sync([]Peer{peer.peer(func(p *Peer) { p.GracefulRestart.Enabled = graceful })}, nil)
			l := peer.accept()
			l.establish(90)
			s.awaitUp("crude")
			if graceful {
				s.Leave()
			}
			stopped := make(chan struct{})
			go func() { defer close(stopped); s.stop() }()
			m := l.await(wire.BGP_MSG_NOTIFICATION)
			if m == nil {
				t.Fatal("the peer was told nothing")
			}
			if n := m.Body.(*wire.BGPNotification); n.ErrorCode != cease || n.ErrorSubcode != wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN {
				t.Errorf("the peer was told %v", n)
			}
			l.conn.Close()
			<-stopped
		})
	}
}

// TestRestartKeepsRoutes restarts a speaker beside a router that keeps the routes: what is still wanted never goes, what is
// not wanted any more goes after the restart.
func TestRestartKeepsRoutes(t *testing.T) {
	r := newRouter(t, "127.0.0.2", 64513)
	r.knows("127.0.1.1", 64512, func(p *api.Peer) {
		p.GracefulRestart = &api.GracefulRestart{Enabled: true, RestartTime: 60}
		for _, f := range p.AfiSafis {
			f.MpGracefulRestart = &api.MpGracefulRestart{Config: &api.MpGracefulRestartConfig{Enabled: true}}
		}
	})
	peers := []Peer{to(r, "tor", "127.0.1.1", func(p *Peer) { p.GracefulRestart.Enabled = true })}
	first := newSpeaker(t, Config{FirstStart: true})
	first.sync(peers, routes(prefixes(3), Attributes{}, "tor"))
	eventually(t, "3 routes", func() bool { return r.count(familyV4) == 3 })
	first.stop()
	eventually(t, "the router to notice", func() bool { return !established(r) })
	if n := r.count(familyV4); n != 3 {
		t.Fatalf("%d routes are left while the speaker is away", n)
	}
	second := newSpeaker(t, Config{})
	second.sync(peers, routes(prefixes(3)[:2], Attributes{}, "tor"))
	second.awaitUp("tor")
	eventually(t, "the stale route gone", func() bool { n := r.count(familyV4); return n == 2 })
	second.Leave()
	second.stop()
	eventually(t, "all routes gone", func() bool { return r.count(familyV4) == 0 })
}

func established(r *router) bool {
	up := false
	err := r.s.ListPeer(context.Background(), &api.ListPeerRequest{}, func(p *api.Peer) {
		up = up || p.State.SessionState == api.PeerState_ESTABLISHED
	})
	if err != nil {
		r.t.Error(err)
	}
	return up
}

func TestDownAndUp(t *testing.T) {
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	held := []Peer{peer.peer(func(p *Peer) { p.Hold = true })}
	s.sync(held, nil)
	s.awaitWhy("crude", heldAtFirst)
	s.Up("crude")
	s.Up("nobody")
	l := peer.accept()
	l.establish(90)
	s.awaitUp("crude")
	s.sync(held, nil)
	s.Down("crude", "BFD says that the peer is gone")
	m := l.await(wire.BGP_MSG_NOTIFICATION)
	if m == nil || m.Body.(*wire.BGPNotification).ErrorSubcode != subBFDDown {
		t.Fatalf("the peer was told %v", m)
	}
	l.conn.Close()
	s.awaitWhy("crude", "BFD says that the peer is gone")
	// Neither the same wish again nor another password releases it.
	s.sync(held, nil)
	s.sync([]Peer{peer.peer(func(p *Peer) { p.Hold, p.HoldTime = true, time.Minute })}, nil)
	s.awaitWhy("crude", "BFD says that the peer is gone")
	s.Up("crude")
	l = peer.accept()
	l.establish(90)
	s.awaitUp("crude")
	var was State
	var ups, idles int
	eventually(t, "an event of the second establishment", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		was, ups, idles = 0, 0, 0
		for _, e := range s.events {
			if e.Closed {
				continue
			}
			if e.Was != was && e.Was != 0 {
				t.Errorf("an event follows %s but says it follows %s", was, e.Was)
			}
			was = e.Session.State
			switch was {
			case Established:
				ups++
			case Idle:
				idles++
			}
		}
		return was == Established && ups == 2 && idles >= 1
	})
}

func TestSecondFamilies(t *testing.T) {
	t.Run("IPv6 over IPv4", func(t *testing.T) {
		r := newRouter(t, "127.0.0.2", 64513)
		r.knows("127.0.1.1", 64512, nil)
		s := newSpeaker(t, Config{})
		s.sync([]Peer{to(r, "tor", "127.0.1.1", func(p *Peer) {
			p.Families, p.NextHopIPv6 = IPv4|IPv6, netip.MustParseAddr("2001:db8::99")
		})}, []route{{Prefix: netip.MustParsePrefix("2001:db8:1::/64"), Peers: map[string]Attributes{"tor": {}}}})
		eventually(t, "the route", func() bool { return r.count(familyV6) == 1 })
		if hops := r.learned(familyV6)["2001:db8:1::/64"].String(); !strings.Contains(hops, "2001:db8::99") {
			t.Errorf("the path is %s", hops)
		}
	})
	for name, c := range map[string]struct {
		beside []netip.Addr
		hop    string
	}{
		"IPv4 over IPv6":                      {[]netip.Addr{netip.MustParseAddr("192.0.2.3")}, "192.0.2.3"},
		"IPv4 over IPv6 with an IPv6 nexthop": {nil, "::1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRouter(t, "::1", 64513)
			r.knows("::1", 64512, nil)
			e := New(Config{RouterID: netip.MustParseAddr("192.0.2.1"), Timings: quick})
			e.out.beside = func(netip.Addr) ([]netip.Addr, error) { return c.beside, nil }
			s := runEngine(t, e)
			s.sync([]Peer{to(r, "tor", "::1", func(p *Peer) { p.Families = IPv4 | IPv6 })}, routes(prefixes(2), Attributes{}, "tor"))
			eventually(t, "the routes", func() bool { return r.count(familyV4) == 2 })
			if path := r.learned(familyV4)["10.0.0.1/32"].String(); !strings.Contains(path, c.hop) {
				t.Errorf("the path is %s", path)
			}
			s.sync([]Peer{to(r, "tor", "::1", func(p *Peer) { p.Families = IPv4 | IPv6 })}, routes(prefixes(1), Attributes{}, "tor"))
			eventually(t, "one route withdrawn", func() bool { return r.count(familyV4) == 1 })
		})
	}
}

func TestPassivePeers(t *testing.T) {
	at := freePort(t, "127.0.0.1")
	s := newSpeaker(t, Config{Listen: []netip.AddrPort{at}})
	passive := Peer{Name: "crude", MyASN: 64512, PeerASN: 64513, Address: netip.MustParseAddr("127.0.0.7"), Passive: true}
	s.sync([]Peer{passive}, routes(prefixes(1), Attributes{}, "crude"))
	call := func(from string) *line {
		d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
		var conn net.Conn
		eventually(t, "a listener", func() (ok bool) {
			c, err := d.DialContext(t.Context(), "tcp", at.String())
			conn = c
			return err == nil
		})
		return newLine(t, conn)
	}
	if m := call("127.0.0.8").read(); m != nil {
		t.Errorf("a stranger was told %v", m)
	}
	var l *line
	eventually(t, "an OPEN", func() bool {
		l = call("127.0.0.7")
		m := l.read()
		return m != nil && m.Header.Type == wire.BGP_MSG_OPEN
	})
	l.open(64513, 90)
	l.say(wire.NewBGPKeepAliveMessage())
	s.awaitUp("crude")
	if m := l.await(wire.BGP_MSG_UPDATE); m == nil {
		t.Error("no route came")
	}

	signed := passive
	signed.Name, signed.Address, signed.Password = "signed", netip.MustParseAddr("127.0.0.9"), "secret"
	s.sync([]Peer{passive, signed}, nil)
	as := func(password string) (net.Conn, error) {
		return dial(t.Context(), Peer{Source: signed.Address, Password: password, ConnectTime: time.Second}, at)
	}
	if c, err := as(""); err == nil {
		c.Close()
		t.Error("a connection without the password is accepted")
	}
	eventually(t, "an OPEN on a signed connection", func() bool {
		c, err := as("secret")
		if err != nil {
			return false
		}
		m := newLine(t, c).read()
		return m != nil && m.Header.Type == wire.BGP_MSG_OPEN
	})
}

func TestRouteRefresh(t *testing.T) {
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	s.sync([]Peer{peer.peer()}, routes(prefixes(1), Attributes{}, "crude"))
	l := peer.accept()
	l.establish(90)
	for range 2 { // the route and the end of all routes
		l.await(wire.BGP_MSG_UPDATE)
	}
	l.say(wire.NewBGPRouteRefreshMessage(afiIPv4, 0, safiUnicast))
	if m := l.await(wire.BGP_MSG_UPDATE); m == nil || len(m.Body.(*wire.BGPUpdate).NLRI) != 1 {
		t.Errorf("the answer to a route refresh is %v", m)
	}
}

// TestPeerThatDoesNotRead fills the buffers of a peer that takes nothing: neither Sync nor Down waits for it, nor do others.
func TestPeerThatDoesNotRead(t *testing.T) {
	stuck, fine := newCrude(t, "127.0.0.1"), newSink(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	peers := []Peer{stuck.peer(), fine.peer(func(p *Peer) { p.Name = "fine" })}
	s.sync(peers, nil)
	l := stuck.accept()
	if err := l.conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	l.establish(90)
	s.awaitUp("crude", "fine")
	for i := range 40 {
		a := Attributes{Communities: []community.Standard{community.Standard(i)}}
		s.sync(peers, routes(prefixes(20_000), a, "crude", "fine"))
		if err := s.Set(netip.MustParsePrefix("10.200.0.0/16"), map[string]Attributes{"fine": a}); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "the routes at the peer that reads", func() bool { return s.session("fine").RoutesSent == 20_001 && fine.reach.Load() >= 20_001 })
	s.Down("crude", "BFD is down")
	s.awaitWhy("crude", "BFD is down")
	if v := s.session("fine"); v.State != Established || v.EstablishedCount != 1 {
		t.Errorf("the other session: %+v", v)
	}
}

// TestNeighboursOnALink: the latest router that was heard counts, and for as long as it is heard now and then.
func TestNeighboursOnALink(t *testing.T) {
	now := time.Unix(0, 0)
	d := &discovery{iface: "eth0", clock: stillClock{&now}, news: make(chan struct{}, 1)}
	if _, err := d.known(); !errors.Is(err, errUnheard) {
		t.Errorf("before anything is heard: %v", err)
	}
	for _, a := range []string{"fe80::1%eth0", "fe80::2%eth0"} {
		d.found(netip.MustParseAddr(a))
		if got, err := d.neighbour(t.Context(), nil); err != nil || got.String() != a {
			t.Errorf("%s, %v; want %s", got, err, a)
		}
	}
	now = now.Add(neighbourLife + 1)
	if got, err := d.known(); !errors.Is(err, errUnheard) {
		t.Errorf("after silence: %s, %v", got, err)
	}
}

type stillClock struct{ now *time.Time }

func (c stillClock) Now() time.Time                     { return *c.now }
func (stillClock) After(time.Duration) <-chan time.Time { return nil }
