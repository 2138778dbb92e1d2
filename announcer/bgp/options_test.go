package bgp

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
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

// heard is what a router says of a route, in the words of FRRouting.
type heard struct {
	path, hop string
	// pref is the local preference, and empty for 100, which is what routers take a route to have that says nothing of it.
	pref        string
	communities string
	large       string
}

// neighbour is what a router says of the speaker.
type neighbour struct {
	asn        uint32
	routerID   string
	hold       time.Duration
	keepalives int
	restart    time.Duration
	longLived  bool
}

// device is a real router.
type device interface {
	route(prefix string) (heard, bool)
	neighbour() neighbour
	Freeze() error
	Thaw() error
	dump() string
}

const routerASN = 64513

// frrDevice is FRRouting with one neighbour.
type frrDevice struct {
	*site
	*routers.FRR
	speaker string
}

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
	f := routers.StartFRR(s, "frr defaults traditional\n"+strings.ReplaceAll(config, "P", c.speaker))
	s.frr = f
	return &frrDevice{s, f, c.speaker}
}

func notUsual(pref string) string {
	if pref == "100" {
		return ""
	}
	return pref
}

func familyName(prefix string) string {
	if strings.Contains(prefix, ":") {
		return "ipv6"
	}
	return "ipv4"
}

func (f *frrDevice) route(prefix string) (heard, bool) {
	var r struct {
		Paths []struct {
			Path struct {
				String string `json:"string"`
			} `json:"aspath"`
			Pref      json.Number `json:"locPrf"`
			Community struct {
				String string `json:"string"`
			} `json:"community"`
			Large struct {
				String string `json:"string"`
			} `json:"largeCommunity"`
			Hops []struct {
				IP string `json:"ip"`
			} `json:"nexthops"`
		} `json:"paths"`
	}
	if err := f.Show("show bgp "+familyName(prefix)+" unicast "+prefix, &r); err != nil || len(r.Paths) != 1 || len(r.Paths[0].Hops) == 0 {
		return heard{}, false
	}
	p := r.Paths[0]
	path := p.Path.String
	if path == "Local" {
		path = ""
	}
	return heard{path, p.Hops[0].IP, notUsual(p.Pref.String()), p.Community.String, p.Large.String}, true
}

func (f *frrDevice) neighbour() neighbour {
	var all map[string]struct {
		ASN      uint32 `json:"remoteAs"`
		ID       string `json:"remoteRouterId"`
		Hold     int    `json:"bgpTimerHoldTimeMsecs"`
		Messages struct {
			Keepalives int `json:"keepalivesRecv"`
		} `json:"messageStats"`
		Capabilities struct {
			LongLived string `json:"longLivedGracefulRestart"`
		} `json:"neighborCapabilities"`
		Restart struct {
			Timers struct {
				Received int `json:"receivedRestartTimer"`
			} `json:"timers"`
		} `json:"gracefulRestartInfo"`
	}
	if err := f.Show("show bgp neighbors "+f.speaker, &all); err != nil {
		f.Log(err)
	}
	n := all[f.speaker]
	return neighbour{
		n.ASN, n.ID, time.Duration(n.Hold) * time.Millisecond, n.Messages.Keepalives, time.Duration(n.Restart.Timers.Received) * time.Second,
		strings.Contains(strings.ToLower(n.Capabilities.LongLived), "received"),
	}
}

func (f *frrDevice) dump() string {
	return f.vtysh("show bgp neighbors json") + f.vtysh("show bgp ipv4 unicast") + f.vtysh("show bgp ipv6 unicast")
}
func (f *frrDevice) Log(args ...any) { f.site.Log(args...) }

// birdDevice is BIRD with one neighbour.
type birdDevice struct {
	*site
	*routers.BIRD
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
	return &birdDevice{s, s.bird}
}

// behind finds what stands behind a word on a line.
func behind(text, word string) string {
	for line := range strings.Lines(text) {
		if _, rest, found := strings.Cut(line, word); found {
			return strings.TrimSpace(rest)
		}
	}
	return ""
}

var birdCommunity = regexp.MustCompile(`\(([0-9, ]+)\)`)

// inFRRsWords writes communities as FRRouting does, in order.
func inFRRsWords(communities string) string {
	var all [][]int
	for _, m := range birdCommunity.FindAllStringSubmatch(communities, -1) {
		var c []int
		for n := range strings.SplitSeq(m[1], ",") {
			number, _ := strconv.Atoi(strings.TrimSpace(n))
			c = append(c, number)
		}
		all = append(all, c)
	}
	slices.SortFunc(all, slices.Compare)
	words := make([]string, len(all))
	for i, c := range all {
		words[i] = strings.ReplaceAll(strings.Trim(fmt.Sprint(c), "[]"), " ", ":")
		if name := frrNames[words[i]]; name != "" {
			words[i] = name
		}
	}
	return strings.Join(words, " ")
}

var frrNames = map[string]string{
	"65535:0": "graceful-shutdown", "65535:6": "llgr-stale", "65535:666": "blackhole", "65535:65281": "no-export", "65535:65284": "no-peer",
}

func (b *birdDevice) route(prefix string) (heard, bool) {
	out := b.birdc("show route " + prefix + " all")
	if !strings.Contains(out, "BGP.next_hop:") {
		return heard{}, false
	}
	hop, _, _ := strings.Cut(behind(out, "BGP.next_hop:"), " ")
	return heard{behind(out, "BGP.as_path:"), hop, notUsual(behind(out, "BGP.local_pref:")), inFRRsWords(behind(out, "BGP.community:")), inFRRsWords(behind(out, "BGP.large_community:"))}, true
}

func (b *birdDevice) neighbour() (n neighbour) {
	out := b.birdc("show protocols all tor")
	_, theirs, _ := strings.Cut(out, "Neighbor capabilities")
	asn, _ := strconv.ParseUint(behind(out, "Neighbor AS:"), 10, 32)
	_, hold, _ := strings.Cut(behind(out, "Hold timer:"), "/")
	seconds, _ := strconv.Atoi(hold)
	restart, _ := strconv.Atoi(behind(theirs, "Restart time:"))
	n = neighbour{
		asn: uint32(asn), routerID: behind(out, "Neighbor ID:"), hold: time.Duration(seconds) * time.Second, restart: time.Duration(restart) * time.Second,
		longLived: strings.Contains(theirs, "Long-lived graceful restart"),
	}
	return n
}

func (b *birdDevice) dump() string { return b.birdc("show protocols all") + b.birdc("show route all") }

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

// shows waits until the router has a route as it is wanted.
func shows(t *testing.T, d device, prefix string, want heard) {
	t.Helper()
	var got heard
	var there bool
	for end := time.Now().Add(patience); ; time.Sleep(10 * tick) {
		if got, there = d.route(prefix); there && got == want {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: the router has %+v (%t), want %+v\n%s", prefix, got, there, want, d.dump())
		}
	}
}

func known(t *testing.T, d device, want neighbour) {
	t.Helper()
	got := d.neighbour()
	got.keepalives = want.keepalives
	if got != want {
		t.Errorf("the router knows %+v, want %+v\n%s", got, want, d.dump())
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
	withRouters(t, func(t *testing.T, _ *site, start func(side) device) {
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
		want := heard{path: "4200000001", hop: "10.9.0.7", communities: "64512:7 blackhole no-export no-peer", large: "4200000001:4294967295:0"}
		for prefix, w := range map[string]heard{
			"10.0.0.0/28":      want,
			"2001:db8:1::/124": {want.path, "fd00:9::1", "", want.communities, want.large},
			"10.0.1.1/32":      {path: want.path, hop: want.hop},
		} {
			shows(t, d, prefix, w)
		}
		known(t, d, neighbour{asn: 4200000001, routerID: "192.0.2.77", hold: 42 * time.Second, restart: 77 * time.Second, longLived: true})
	})
}

// TestRoutersSeeAnInternalSession has local preference, and that of a node that is drained, in the tables of real routers.
func TestRoutersSeeAnInternalSession(t *testing.T) {
	withRouters(t, func(t *testing.T, _ *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: routerASN, password: "secret"})
		speaker := newSpeaker(t, Config{})
		peers := []Peer{toRouter(func(p *Peer) { p.MyASN, p.PeerASN, p.Dynamic, p.Password = routerASN, 0, Internal, "secret" })}
		for _, step := range []struct {
			draining bool
			want     heard
		}{
			{false, heard{hop: "10.9.0.1", pref: "250", communities: "64512:7"}},
			{true, heard{hop: "10.9.0.1", pref: "0", communities: "64512:7 graceful-shutdown"}},
			{false, heard{hop: "10.9.0.1", pref: "250", communities: "64512:7"}},
		} {
			a := Attributes{LocalPref: 250, Communities: []community.Standard{64512<<16 | 7}, GracefulShutdown: step.draining}
			speaker.sync(peers, []route{oneRoute("10.0.0.1/32", a), oneRoute("2001:db8::1/128", a)})
			shows(t, d, "10.0.0.1/32", step.want)
			step.want.hop = "fd00:9::1"
			shows(t, d, "2001:db8::1/128", step.want)
		}
		known(t, d, neighbour{asn: routerASN, routerID: "192.0.2.1", hold: 60 * time.Second})
	})
}

// TestRoutersKeepStaleRoutes goes away for longer than the restart time: the routes become those of last resort (RFC 9494),
// and are as before when the speaker is back.
func TestRoutersKeepStaleRoutes(t *testing.T) {
	withRouters(t, func(t *testing.T, _ *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: 64512})
		peers := []Peer{toRouter(func(p *Peer) {
			p.GracefulRestart = GracefulRestart{Enabled: true, RestartTime: time.Second, LongLived: 10 * time.Minute}
		})}
		list := []route{oneRoute("10.0.0.1/32", Attributes{Communities: []community.Standard{64512<<16 | 7}})}
		fresh := heard{path: "64512", hop: "10.9.0.1", communities: "64512:7"}
		stale := fresh
		stale.communities = "64512:7 llgr-stale"
		first := newSpeaker(t, Config{FirstStart: true})
		first.sync(peers, list)
		shows(t, d, "10.0.0.1/32", fresh)
		eventually(t, "graceful restart to be agreed on", func() bool { return first.session("tor").GracefulRestart })
		first.stop()
		shows(t, d, "10.0.0.1/32", stale)
		second := newSpeaker(t, Config{})
		second.sync(peers, list)
		shows(t, d, "10.0.0.1/32", fresh)
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
			shows(t, d, prefix, heard{path: "64512", hop: "fd00:9::1"})
		}
		known(t, d, neighbour{asn: 64512, routerID: "203.0.113.200", hold: 60 * time.Second})
	})
}

// TestRoutersThatDoNotAgree has real routers that want something else than we do, or that fall silent: the session says what
// it is in words.
func TestRoutersThatDoNotAgree(t *testing.T) {
	withRouters(t, func(t *testing.T, _ *site, start func(side) device) {
		d := start(side{speaker: "10.9.0.1", asn: 64512, password: "secret", exports: 3})
		speaker := newSpeaker(t, Config{Timings: Timings{RetryMin: 10 * time.Millisecond, LimitRetryMin: time.Second, CloseWait: 200 * time.Millisecond}})
		defer func() {
			if t.Failed() {
				t.Logf("session: %+v\n%s", speaker.Sessions(), d.dump())
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
		shows(t, d, "10.0.0.1/32", heard{path: "64512", hop: "10.9.0.1"})
		eventually(t, "what the router sends", func() bool { return speaker.session("tor").PrefixesReceived >= 3 })
		must(t, d.Freeze())
		t.Cleanup(func() { _ = d.Thaw() })
		says("the hold timer expired: nothing came from the peer for 3s")
		must(t, d.Thaw())
		speaker.awaitUp("tor")
		shows(t, d, "10.0.0.1/32", heard{path: "64512", hop: "10.9.0.1"})
	})
}
