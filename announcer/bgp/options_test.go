package bgp

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/fairlead/fairlead/announcer/community"
	"github.com/fairlead/fairlead/test/routers"
)

// side is how the router is set up for the speaker.
type side struct {
	// speaker is the speaker's address, and asn the AS that the router wants it to have.
	speaker string
	asn     uint32
	// password guards the session; exports is how many prefixes the router sends.
	password string
	exports  int
}

// device is a real router.
type device interface {
	Routes(prefix string) ([]routers.Route, error)
	Neighbour(address string) (routers.Neighbour, error)
	Freeze() error
	Thaw() error
}

const routerASN = 64513

// startFRR runs FRR with one neighbour.
func (s *site) startFRR(c side) device {
	s.Helper()
	config := fmt.Sprintf("router bgp %d\n bgp router-id 192.0.2.250\n no bgp ebgp-requires-policy\n no bgp default ipv4-unicast\n no bgp network import-check\n"+
		" bgp graceful-restart\n bgp long-lived-graceful-restart stale-time 600\n neighbor P remote-as %d\n neighbor P passive\n neighbor P timers 20 60\n neighbor P capability extended-nexthop\n", routerASN, c.asn)
	if c.password != "" {
		config += " neighbor P password " + c.password + "\n"
	}
	networks := ""
	for i := range c.exports {
		networks += fmt.Sprintf("  network 10.50.%d.0/24\n", i)
	}
	config += " address-family ipv4 unicast\n" + networks + "  neighbor P activate\n exit-address-family\n address-family ipv6 unicast\n  neighbor P activate\n exit-address-family\n"
	s.frr = routers.StartFRR(s, "frr defaults traditional\n"+strings.ReplaceAll(config, "P", c.speaker))
	return s.frr
}

func (s *site) startBIRD(c side) device {
	s.Helper()
	local := "10.9.0.2"
	if strings.Contains(c.speaker, ":") {
		local = "fd00:9::2"
	}
	config := "router id 192.0.2.250;\nprotocol device {}\nprotocol static mine { ipv4;\n"
	for i := range c.exports {
		config += fmt.Sprintf(" route 10.50.%d.0/24 blackhole;\n", i)
	}
	config += fmt.Sprintf("}\nprotocol bgp tor { local %s as %d; neighbor %s as %d; direct; passive; hold time 60; error wait time 1, 1;\n graceful restart on; long lived graceful restart on;\n", local, routerASN, c.speaker, c.asn)
	if c.password != "" {
		config += fmt.Sprintf(" password %q;\n", c.password)
	}
	config += " ipv4 { import all; export where source = RTS_STATIC; extended next hop on; };\n ipv6 { import all; export none; };\n}\n"
	s.bird = routers.StartBIRD(s, config)
	return s.bird
}

// withRouters runs a test in a namespace of its own with each kind of router.
func withRouters(t *testing.T, test func(t *testing.T, s *site, start func(side) device)) {
	t.Helper()
	if !namespaced(t) {
		return
	}
	for name, start := range map[string]func(*site, side) device{"FRR": (*site).startFRR, "BIRD": (*site).startBIRD} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			t.Cleanup(func() { _ = netlink.LinkDel(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: spkLink}}) })
			test(t, s, func(c side) device { return start(s, c) })
		})
	}
}

// dump is all that the router knows.
func (s *site) dump() string {
	if s.frr != nil {
		return s.vtysh("show bgp neighbors json") + s.vtysh("show bgp ipv4 unicast") + s.vtysh("show bgp ipv6 unicast")
	}
	return s.birdc("show protocols all") + s.birdc("show route all")
}

// shows waits until the router has this route and no other to a prefix.
func (s *site) shows(d device, prefix string, want routers.Route) {
	s.Helper()
	routers.Await(s.T, "the route to "+prefix, func() error {
		got, err := d.Routes(prefix)
		if err == nil && (len(got) != 1 || got[0] != want) {
			err = fmt.Errorf("the router has %+v, want %+v", got, want)
		}
		return err
	})
}

// knows checks what the router knows of the speaker, but for how often it has heard of it.
func (s *site) knows(d device, speaker string, want routers.Neighbour) {
	s.Helper()
	got, err := d.Neighbour(speaker)
	must(s.T, err)
	want.Established, want.Keepalives = true, got.Keepalives
	if got != want {
		s.Errorf("the router knows %+v, want %+v\n%s", got, want, s.dump())
	}
}

func toRouter(change ...func(*Peer)) Peer {
	p := Peer{Name: "tor", MyASN: 64512, PeerASN: routerASN, Address: netip.MustParseAddr("10.9.0.2"), ConnectTime: time.Second, Families: IPv4 | IPv6}
	for _, c := range change {
		c(&p)
	}
	return p
}

func oneRoute(prefix string, a Attributes) route {
	return route{Prefix: netip.MustParsePrefix(prefix), Peers: map[string]Attributes{"tor": a}}
}

// TestRoutersSeeAnExternalSession has what an external session and its routes may have in the tables of real routers: an AS
// of four octets, a source address, an identifier, times, prefixes of any length, and communities of all kinds.
func TestRoutersSeeAnExternalSession(t *testing.T) {
	withRouters(t, func(t *testing.T, s *site, start func(side) device) {
		run(t, "ip", "addr", "add", "10.9.0.7/24", "dev", spkLink)
		d := start(side{speaker: "10.9.0.7", asn: 4200000001})
		speaker := newSpeaker(t, Config{})
		peer := toRouter(func(p *Peer) {
			p.MyASN, p.Source, p.RouterID = 4200000001, netip.MustParseAddr("10.9.0.7"), netip.MustParseAddr("192.0.2.77")
			p.HoldTime, p.KeepaliveTime = 42*time.Second, time.Second
			p.GracefulRestart = GracefulRestart{Enabled: true, RestartTime: 77 * time.Second, LongLived: time.Hour}
		})
		shared := Attributes{
			LocalPref:        250, // which is for internal peers
			Communities:      []community.Standard{64512<<16 | 7, community.Standard(0xFFFFFF01), community.Standard(0xFFFFFF04), community.Standard(0xFFFF029A)},
			LargeCommunities: []community.Large{{Global: 4200000001, Local1: 4294967295, Local2: 0}},
		}
		speaker.sync([]Peer{peer}, []route{oneRoute("10.0.0.0/28", shared), oneRoute("2001:db8:1::/124", shared), oneRoute("10.0.1.1/32", Attributes{})})
		want := routers.Route{Path: "4200000001", NextHop: "10.9.0.7", Communities: "64512:7 blackhole no-export no-peer", LargeCommunities: "4200000001:4294967295:0"}
		for prefix, w := range map[string]routers.Route{
			"10.0.0.0/28":      want,
			"2001:db8:1::/124": {Path: want.Path, NextHop: "fd00:9::1", Communities: want.Communities, LargeCommunities: want.LargeCommunities},
			"10.0.1.1/32":      {Path: want.Path, NextHop: want.NextHop},
		} {
			s.shows(d, prefix, w)
		}
		s.knows(d, "10.9.0.7", routers.Neighbour{ASN: 4200000001, RouterID: "192.0.2.77", Hold: 42 * time.Second, Restart: 77 * time.Second, LongLived: true})
		if s.frr == nil {
			return // BIRD does not count keepalives
		}
		before, err := d.Neighbour("10.9.0.7")
		must(t, err)
		routers.Await(t, "three keepalives within 30 s, of a session whose hold time is 42 s", func() error {
			now, err := d.Neighbour("10.9.0.7")
			if got := now.Keepalives - before.Keepalives; err == nil && got < 3 {
				err = fmt.Errorf("there were %d", got)
			}
			return err
		})
	})
}

// TestRoutersSeeAnInternalSession has local preference, and that of a node that is drained, in the tables of real routers.
func TestRoutersSeeAnInternalSession(t *testing.T) {
	withRouters(t, func(t *testing.T, s *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: routerASN, password: "secret"})
		speaker := newSpeaker(t, Config{})
		peers := []Peer{toRouter(func(p *Peer) { p.MyASN, p.PeerASN, p.Dynamic, p.Password = routerASN, 0, Internal, "secret" })}
		for _, step := range []struct {
			draining bool
			want     routers.Route
		}{
			{false, routers.Route{NextHop: "10.9.0.1", LocalPref: "250", Communities: "64512:7"}},
			{true, routers.Route{NextHop: "10.9.0.1", LocalPref: "0", Communities: "64512:7 graceful-shutdown"}},
			{false, routers.Route{NextHop: "10.9.0.1", LocalPref: "250", Communities: "64512:7"}},
		} {
			a := Attributes{LocalPref: 250, Communities: []community.Standard{64512<<16 | 7}, GracefulShutdown: step.draining}
			speaker.sync(peers, []route{oneRoute("10.0.0.1/32", a), oneRoute("2001:db8::1/128", a)})
			s.shows(d, "10.0.0.1/32", step.want)
			step.want.NextHop = "fd00:9::1"
			s.shows(d, "2001:db8::1/128", step.want)
		}
		s.knows(d, "10.9.0.1", routers.Neighbour{ASN: routerASN, RouterID: "192.0.2.1", Hold: 60 * time.Second})
	})
}

// TestRoutersKeepStaleRoutes goes away for longer than the restart time: the routes become those of last resort (RFC 9494),
// and are as before when the speaker is back.
func TestRoutersKeepStaleRoutes(t *testing.T) {
	withRouters(t, func(t *testing.T, s *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: 64512})
		peers := []Peer{toRouter(func(p *Peer) {
			p.GracefulRestart = GracefulRestart{Enabled: true, RestartTime: time.Second, LongLived: 10 * time.Minute}
		})}
		list := []route{oneRoute("10.0.0.1/32", Attributes{Communities: []community.Standard{64512<<16 | 7}})}
		fresh := routers.Route{Path: "64512", NextHop: "10.9.0.1", Communities: "64512:7"}
		stale := fresh
		stale.Communities = "64512:7 llgr-stale"
		first := newSpeaker(t, Config{FirstStart: true})
		first.sync(peers, list)
		s.shows(d, "10.0.0.1/32", fresh)
		eventually(t, "graceful restart to be agreed on", func() bool { return first.session("tor").GracefulRestart })
		first.stop()
		s.shows(d, "10.0.0.1/32", stale)
		second := newSpeaker(t, Config{})
		second.sync(peers, list)
		s.shows(d, "10.0.0.1/32", fresh)
	})
}

// TestRoutersSeeANodeWithoutIPv4 has a node and a router without any IPv4 address: the node's identifier is a mere number, and IPv4
// routes have IPv6 next hops.
func TestRoutersSeeANodeWithoutIPv4(t *testing.T) {
	withRouters(t, func(t *testing.T, s *site, start func(side) device) {
		run(t, "ip", "-4", "addr", "flush", "dev", spkLink)
		s.sh("ip -4 addr flush dev rtr0")
		d := start(side{speaker: "fd00:9::1", asn: 64512})
		speaker := newSpeaker(t, Config{})
		speaker.sync([]Peer{toRouter(func(p *Peer) {
			p.Address, p.RouterID = netip.MustParseAddr("fd00:9::2"), netip.MustParseAddr("203.0.113.200")
		})}, []route{oneRoute("10.0.0.1/32", Attributes{}), oneRoute("2001:db8::1/128", Attributes{})})
		for _, prefix := range []string{"10.0.0.1/32", "2001:db8::1/128"} {
			s.shows(d, prefix, routers.Route{Path: "64512", NextHop: "fd00:9::1"})
		}
		s.knows(d, "fd00:9::1", routers.Neighbour{ASN: 64512, RouterID: "203.0.113.200", Hold: 60 * time.Second})
	})
}

// TestRoutersThatDoNotAgree has real routers that want something else than we do, or that fall silent: the session says what
// it is in words.
func TestRoutersThatDoNotAgree(t *testing.T) {
	withRouters(t, func(t *testing.T, s *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: 64512, password: "secret", exports: 3})
		speaker := newSpeaker(t, Config{Timings: Timings{RetryMin: 10 * time.Millisecond, LimitRetryMin: time.Second, CloseWait: 200 * time.Millisecond}})
		defer func() {
			if t.Failed() {
				t.Logf("session: %+v\n%s", speaker.Sessions(), s.dump())
			}
		}()
		right := func(p *Peer) { p.Password, p.HoldTime = "secret", 3*time.Second }
		agreed := func(changes ...func(*Peer)) {
			t.Helper()
			speaker.sync([]Peer{toRouter(append([]func(*Peer){right}, changes...)...)}, []route{oneRoute("10.0.0.1/32", Attributes{})})
		}
		says := func(words string) {
			t.Helper()
			eventually(t, words, func() bool { return strings.Contains(speaker.session("tor").LastError, words) })
		}
		for _, wrong := range []struct {
			change func(*Peer)
			words  string
		}{
			{func(p *Peer) { p.Password = "another" }, "no answer, which is also how a wrong password looks"},
			{func(p *Peer) { p.Password = "" }, "no answer, which is also how a peer looks that wants a password"},
			{func(p *Peer) { p.PeerASN = 64999 }, "wrong ASN: the peer has 64513, but 64999 is configured for it"},
			{func(p *Peer) { p.PeerASN, p.Dynamic = 0, Internal }, "wrong ASN: the peer has 64513, but an internal peer must have ours, 64512"},
			{func(p *Peer) { p.MyASN = 64600 }, "it expects another ASN of us"},
			{func(p *Peer) { p.PrefixLimit = 2 }, "the peer sent more than 2 prefixes, which is its limit"},
		} {
			agreed(wrong.change)
			says(wrong.words)
		}
		agreed(func(p *Peer) { p.PrefixLimit = 10 })
		speaker.awaitUp("tor")
		s.shows(d, "10.0.0.1/32", routers.Route{Path: "64512", NextHop: "10.9.0.1"})
		eventually(t, "what the router sends", func() bool { return speaker.session("tor").PrefixesReceived >= 3 })
		must(t, d.Freeze())
		t.Cleanup(func() { _ = d.Thaw() })
		says("the hold timer expired: nothing came from the peer for 3s")
		must(t, d.Thaw())
		speaker.awaitUp("tor")
		s.shows(d, "10.0.0.1/32", routers.Route{Path: "64512", NextHop: "10.9.0.1"})
	})
}
