package bgp

import (
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

func marker(rest ...byte) []byte { return append(header(rest[0], 0)[:16], rest[1:]...) }

// TestFaults plays peers that do wrong: the session says in words what happened, and the peer is told by a NOTIFICATION.
func TestFaults(t *testing.T) {
	v6 := wire.NewCapMultiProtocol(wire.RF_IPv6_UC)
	for name, c := range map[string]struct {
		play  func(*line)
		why   string
		notif [2]uint8
	}{
		"wrong ASN": {
			play:  func(l *line) { l.open(64999, 90) },
			why:   "wrong ASN: the peer has 64999, but 64513 is configured for it",
			notif: [2]uint8{2, 2},
		},
		"short hold time": {play: func(l *line) { l.open(64513, 2) }, why: "a hold time of 2s", notif: [2]uint8{2, 6}},
		"other families": {
			play: func(l *line) { l.open(64513, 90, v6) }, why: "no address family in common: we send IPv4, the peer takes IPv6", notif: [2]uint8{2, 7},
		},
		"garbage":      {play: func(l *line) { l.raw([]byte(strings.Repeat("HTTP/1.1 400 ", 20))...) }, why: "the peer sent what is not BGP", notif: [2]uint8{1, 1}},
		"unknown type": {play: func(l *line) { l.raw(marker(0, 0, 19, 9)...) }, why: "a message of unknown type 9", notif: [2]uint8{1, 3}},
		"too long":     {play: func(l *line) { l.raw(marker(0, 0xFF, 0xFF, 2)...) }, why: "a message of type 2 with 65535 bytes", notif: [2]uint8{1, 2}},
		"too short":    {play: func(l *line) { l.raw(marker(0, 0, 3, 2)...) }, why: "a message of type 2 with 3 bytes", notif: [2]uint8{1, 2}},
		"version 3": {
			play: func(l *line) { l.raw(append(marker(0, 0, 29, 1), 3, 0xFC, 1, 0, 90, 192, 0, 2, 250, 0)...) }, why: "BGP version 3", notif: [2]uint8{2, 1},
		},
		"out of turn": {play: func(l *line) { l.say(wire.NewBGPKeepAliveMessage()) }, why: "a message of type 4 out of turn", notif: [2]uint8{5, 1}},
		"second OPEN": {
			play: func(l *line) { l.open(64513, 90); l.open(64513, 90) }, why: "a message of type 1 out of turn", notif: [2]uint8{5, 2},
		},
		"malformed UPDATE": {
			play:  func(l *line) { l.establish(90); l.raw(append(marker(0, 0, 24, 2), 0, 0, 0, 0, 77)...) },
			why:   "a malformed UPDATE: a prefix of 77 bits in 1 bytes",
			notif: [2]uint8{3, 1},
		},
		"closed":      {play: func(l *line) { l.await(1); l.conn.Close() }, why: "the peer closed the connection before the session was established"},
		"reset":       {play: func(l *line) { l.await(1); _ = l.conn.(*net.TCPConn).SetLinger(0); l.conn.Close() }, why: "the peer closed the connection before the session was established"},
		"reset later": {play: func(l *line) { l.establish(90); l.await(2); _ = l.conn.(*net.TCPConn).SetLinger(0); l.conn.Close() }, why: "the peer reset the connection"},
		"rejected": {
			play: func(l *line) { l.await(1); l.say(wire.NewBGPNotificationMessage(6, 5, nil)) },
			why:  "the peer ended the session: Cease: Connection Rejected (it does not know this node as a neighbour, or not with this ASN)",
		},
		"their ASN": {
			play: func(l *line) { l.await(1); l.say(wire.NewBGPNotificationMessage(2, 2, nil)) },
			why:  "the peer ended the session: OPEN Message Error: Bad Peer AS (it expects another ASN of us)",
		},
		"shut down": {
			play: func(l *line) {
				l.establish(90)
				l.say(wire.NewBGPNotificationMessage(6, 2, append([]byte{10}, "new\x1b[2Jops"...)))
			},
			why: `the peer ended the session: Cease: Administrative Shutdown: "new[2Jops"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := newCrude(t, "127.0.0.1")
			s := newSpeaker(t, Config{Timings: Timings{RetryMin: time.Minute, CloseWait: patience}})
			s.sync([]Peer{peer.peer(func(p *Peer) { p.ConnectTime = time.Minute })}, nil)
			l := peer.accept()
			c.play(l)
			if c.notif[0] != 0 {
				m := l.await(wire.BGP_MSG_NOTIFICATION)
				if m == nil {
					t.Fatal("the peer was told nothing")
				}
				if n := m.Body.(*wire.BGPNotification); n.ErrorCode != c.notif[0] || n.ErrorSubcode != c.notif[1] {
					t.Errorf("the peer was told %d/%d, want %d/%d", n.ErrorCode, n.ErrorSubcode, c.notif[0], c.notif[1])
				}
				l.conn.Close()
			}
			eventually(t, c.why, func() bool { return strings.Contains(s.session("crude").Why, c.why) })
			eventually(t, "a time of the next attempt", func() bool { return !s.session("crude").Retry.IsZero() })
			if v := s.session("crude"); v.State != Connect || v.LastError != v.Why {
				t.Errorf("session: %+v", v)
			}
		})
	}
}

// TestClosingAfterAnError has a peer that says once what is wrong, and then closes connections without a word: what it said goes on
// to be told, until the session has been established.
func TestClosingAfterAnError(t *testing.T) {
	const closed = "the peer closed the connection before the session was established, as peers do that do not know this node as a neighbour"
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	s.sync([]Peer{peer.peer()}, nil)
	closing := func(want string) {
		t.Helper()
		for range 2 {
			l := peer.accept()
			l.await(wire.BGP_MSG_OPEN)
			l.conn.Close()
			s.awaitWhy("crude", want)
		}
	}
	closing(closed)
	for _, end := range []struct {
		by   func(*line)
		said string
	}{
		{func(l *line) { l.await(wire.BGP_MSG_OPEN); l.say(wire.NewBGPNotificationMessage(2, 2, nil)) }, "the peer ended the session: OPEN Message Error: Bad Peer AS (it expects another ASN of us)"},
		{func(l *line) { l.open(64999, 90); l.await(wire.BGP_MSG_NOTIFICATION) }, "wrong ASN: the peer has 64999, but 64513 is configured for it"},
	} {
		l := peer.accept()
		end.by(l)
		s.awaitWhy("crude", end.said)
		l.conn.Close()
		closing(end.said + closingSince)
	}
	peer.accept().establish(90)
	s.awaitUp("crude")
	s.Down("crude", "BFD is down")
	s.Up("crude")
	closing(closed)
}

func TestHoldTimerExpires(t *testing.T) {
	t.Parallel()
	peer := newCrude(t, "127.0.0.1")
	s := newSpeaker(t, Config{})
	s.sync([]Peer{peer.peer()}, nil)
	l := peer.accept()
	l.establish(3)
	s.awaitUp("crude")
	if v := s.session("crude"); v.HoldTime != 3*time.Second || v.KeepaliveTime != time.Second {
		t.Errorf("hold time %s, keepalive time %s", v.HoldTime, v.KeepaliveTime)
	}
	m := l.await(wire.BGP_MSG_NOTIFICATION)
	if m == nil || m.Body.(*wire.BGPNotification).ErrorCode != wire.BGP_ERROR_HOLD_TIMER_EXPIRED {
		t.Fatalf("the peer was told %v", m)
	}
	s.awaitWhy("crude", "the hold timer expired: nothing came from the peer for 3s", awaiting)
	if v := s.session("crude"); !strings.HasPrefix(v.LastError, "the hold timer expired") {
		t.Errorf("last error %q", v.LastError)
	}
}

func TestUnreachablePeers(t *testing.T) {
	nobody := freePort(t, "127.0.0.1")
	for name, c := range map[string]struct {
		change func(*Peer)
		why    string
	}{
		"refused":        {func(*Peer) {}, "connecting to 127.0.0.1, port %d: refused: nothing listens there, or not for this node"},
		"foreign source": {func(p *Peer) { p.Source = netip.MustParseAddr("203.0.113.9") }, "this node has no address 203.0.113.9"},
		"no device":      {func(p *Peer) { p.Device = "vrf-nowhere" }, "this node has no device vrf-nowhere"},
		"no interface": {
			func(p *Peer) { p.Address, p.Interface = netip.Addr{}, "nowhere0" }, "finding the neighbour on interface nowhere0: finding it: no such network interface",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSpeaker(t, Config{})
			p := Peer{Name: "x", MyASN: 1, PeerASN: 2, Address: nobody.Addr(), Port: nobody.Port(), ConnectTime: time.Second}
			c.change(&p)
			s.sync([]Peer{p}, nil)
			why, _, _ := strings.Cut(c.why, "%d")
			eventually(t, c.why, func() bool { return strings.Contains(s.session("x").Why, why) })
		})
	}
}
