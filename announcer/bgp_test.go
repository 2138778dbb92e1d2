package announcer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// newBGPScene is the small cluster in which everything works, announcing to a
// router of another AS, tor, and to a route reflector of its own, rr.
func newBGPScene() *scene {
	s := newScene()
	s.world.Advertisements = nil
	s.world.Pools[0].Addresses = rangesIn([]v1alpha1.AddressRange{"172.30.0.0/24", "fd00:30::/64"})
	s.world.BGPAdvertisements = []BGPAdvertisement{bgpAd("all")}
	s.world.Peers = []BGPPeer{bgpPeer("tor", 64513, "192.0.2.1"), bgpPeer("rr", 64512, "192.0.2.2")}
	return s
}

func bgpAd(name string) BGPAdvertisement {
	return BGPAdvertisement{Name: name, LengthV4: 32, LengthV6: 128}
}

func bgpPeer(name string, asn uint32, address string) BGPPeer {
	return BGPPeer{Name: name, MyASN: 64512, PeerASN: asn, Address: netip.MustParseAddr(address)}
}

func (s *scene) ad(change func(*BGPAdvertisement)) { change(&s.world.BGPAdvertisements[0]) }

func (s *scene) more(name string, change func(*BGPAdvertisement)) {
	ad := bgpAd(name)
	change(&ad)
	s.world.BGPAdvertisements = append(s.world.BGPAdvertisements, ad)
}

func (s *scene) bgp(node string) BGPDecision {
	return NewIndex(s.world).DecideBGP(s.address, s.lookup, node)
}

// routesInWords writes routes as "PREFIX PEER(ATTRIBUTES) PEER; PREFIX ...".
func routesInWords(routes []BGPRoute) string {
	var out []string
	for _, r := range routes {
		words := []string{r.Prefix.String()}
		for _, p := range r.Peers {
			var with []string
			if p.LocalPref != 0 {
				with = append(with, fmt.Sprint(p.LocalPref))
			}
			for _, c := range p.Communities.Standard {
				with = append(with, c.String())
			}
			for _, c := range p.Communities.Large {
				with = append(with, c.String())
			}
			if p.Draining {
				with = append(with, "draining")
			}
			word := p.Peer
			if len(with) > 0 {
				word += "(" + strings.Join(with, " ") + ")"
			}
			words = append(words, word)
		}
		out = append(out, strings.Join(words, " "))
	}
	return strings.Join(out, "; ")
}

func bgpWords(d BGPDecision) string {
	if d.Reason != "" {
		return string(d.Reason) + ": " + d.Message
	}
	return strings.Join(append([]string{routesInWords(d.Routes)}, d.Refusals...), " | ")
}

const all = "172.30.0.100/32 rr tor"

func TestDecideBGP(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string // of node1; a prefix of it where it ends in "..."
	}{
		"all well":         {func(*scene) {}, all},
		"nobody holds it":  {func(s *scene) { s.address.Bound = false }, "NotBound: Nobody uses 172.30.0.100, so it is not announced."},
		"no endpoint":      {func(s *scene) { delete(s.endpoints, "web") }, "NoReadyEndpoint: Service shop/web has no ready endpoint in the cluster."},
		"no advertisement": {func(s *scene) { s.world.BGPAdvertisements = nil }, "NoAdvertisement: No L2Advertisement or BGPAdvertisement selects pool public."},
		"another pool":     {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Pools = []string{"other"} }) }, "NoAdvertisement: ..."},
		"the pool by label": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.PoolSelectors = []labels.Selector{selector("zone", "dmz")} })
		}, all},
		"the Service is not selected": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.ServiceSelectors = []labels.Selector{selector("app", "x")} })
			},
			"NoAdvertisement: BGPAdvertisement all selects pool public, but its serviceSelectors do not match the labels of Service shop/web.",
		},
		"one of two holders is selected": {
			func(s *scene) {
				s.address.Holders = append(s.address.Holders, holder("api", false))
				s.ad(func(a *BGPAdvertisement) { a.ServiceSelectors = []labels.Selector{selector("app", "api")} })
			}, all,
		},
		"the node is not selected": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("name", "node2")} })
			},
			"NoEligibleNode: 172.30.0.100 is not announced by BGP from here (BGPAdvertisement all): node1 is not selected by the advertisement's nodeSelectors.",
		},
		"the node is not Ready":         {func(s *scene) { s.world.Nodes[0].Ready = false }, "NoEligibleNode: 172.30.0.100 is not announced by BGP from here (BGPAdvertisement all): node1 is not Ready."},
		"the node has no network":       {func(s *scene) { s.world.Nodes[0].NetworkUnavailable = true }, "NoEligibleNode: ..."},
		"the node goes":                 {func(s *scene) { s.world.Nodes[0].Deleting = true }, "NoEligibleNode: ..."},
		"the node is excluded":          {func(s *scene) { s.world.Nodes[0].Labels[excludeLabel] = "" }, "NoEligibleNode: ..."},
		"exclusion ignored":             {func(s *scene) { s.world.Nodes[0].Labels[excludeLabel] = ""; s.world.Options.IgnoreExcludeLabel = true }, all},
		"there is no such node":         {func(s *scene) { s.world.Nodes = s.world.Nodes[1:] }, "NoEligibleNode: There is no Node node1 yet."},
		"no other speaker is asked":     {func(s *scene) { s.world.Members = nil }, all},
		"Local, with an endpoint here":  {func(s *scene) { s.address.Holders[0].Local = true }, all},
		"Cluster, with an endpoint far": {func(s *scene) { s.endpoints["web"] = ready("node3") }, all},
		"Local, without an endpoint here": {
			func(s *scene) { s.address.Holders[0].Local = true; s.endpoints["web"] = ready("node2") },
			"NoReadyEndpoint: 172.30.0.100 is not announced by BGP from here (BGPAdvertisement all): node1 has no ready endpoint of its own (externalTrafficPolicy Local).",
		},
		"terminating endpoints count when none is ready": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				s.endpoints["web"] = Endpoints{Terminating: true, TerminatingOn: map[string]bool{"node1": true}}
			}, all,
		},
		"terminating endpoints do not count beside a ready one": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				e := ready("node2")
				e.Terminating, e.TerminatingOn = true, map[string]bool{"node1": true}
				s.endpoints["web"] = e
			}, "NoReadyEndpoint: ...",
		},
		"cordoned, and others take over": {func(s *scene) { s.world.Nodes[0].Unschedulable = true }, "172.30.0.100/32 rr(draining) tor(draining)"},
		"all are cordoned": {
			func(s *scene) {
				for i := range s.world.Nodes {
					s.world.Nodes[i].Unschedulable = true
				}
			}, all,
		},
		"cordoned, and nobody else can serve": {
			func(s *scene) { s.world.Nodes[0].Unschedulable = true; s.address.Holders[0].Local = true }, all,
		},
		"cordoned, and the others have no peer": {
			func(s *scene) {
				s.world.Nodes[0].Unschedulable = true
				for i := range s.world.Peers {
					s.world.Peers[i].NodeSelectors = []labels.Selector{selector("name", "node1")}
				}
			}, all,
		},
		"one peer is for other nodes": {
			func(s *scene) { s.world.Peers[0].NodeSelectors = []labels.Selector{selector("name", "node2")} }, "172.30.0.100/32 rr",
		},
		"peers by name": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Peers = []string{"tor", "gone"} }) }, "172.30.0.100/32 tor"},
		"no peer": {
			func(s *scene) { s.world.Peers = nil },
			"NoPeer: node1 has no BGPPeer for 172.30.0.100 (BGPAdvertisement all): none exists, none selects the node, or spec.peers names others.",
		},
		"IPv6 over sessions of IPv4": {
			func(s *scene) { s.address.IP = netip.MustParseAddr("fd00:30::100") },
			"NoPeer: The sessions of node1 with rr, tor do not carry IPv6. Set dualStackAddressFamily there, or create a BGPPeer of that family.",
		},
		"IPv6 over a session of both": {
			func(s *scene) { s.address.IP = netip.MustParseAddr("fd00:30::100"); s.world.Peers[0].DualStack = true }, "fd00:30::100/128 tor",
		},
		"an unnumbered peer carries both": {
			func(s *scene) {
				s.address.IP = netip.MustParseAddr("fd00:30::100")
				s.world.Peers[0].Address, s.world.Peers[0].Interface = netip.Addr{}, "eth1"
			}, "fd00:30::100/128 tor",
		},
		"a local preference goes to iBGP peers": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LocalPref = 200 }) }, "172.30.0.100/32 rr(200) tor"},
		"dynamic peers": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref = 200 })
				s.world.Peers[0].PeerASN, s.world.Peers[0].Dynamic = 0, Internal
				s.world.Peers[1].PeerASN, s.world.Peers[1].Dynamic = 0, External
			}, "172.30.0.100/32 rr tor(200)",
		},
		"communities": {
			func(s *scene) {
				s.world.Communities = []CommunityAliases{{Name: "ours", Values: map[string]string{"vpn": "64512:7", "big": "large:64512:1:2"}}}
				s.ad(func(a *BGPAdvertisement) {
					a.Communities = []string{"vpn", "64512:3", "big", "no-export", "large:1:2:3", "64512:7"}
				})
			},
			"172.30.0.100/32 rr(64512:3 64512:7 65535:65281 large:1:2:3 large:64512:1:2) tor(64512:3 64512:7 65535:65281 large:1:2:3 large:64512:1:2)",
		},
		"a community that nobody defines": {
			func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Communities = []string{"vpn", "64512:3"} }) },
			"UnknownCommunity: BGPAdvertisement all names a community that nobody defines (vpn), and announces nothing.",
		},
		"a community that nobody defines, beside a good advertisement": {
			func(s *scene) { s.more("bad", func(a *BGPAdvertisement) { a.Communities = []string{"vpn"} }) },
			all + " | BGPAdvertisement bad names a community that nobody defines (vpn), and announces nothing.",
		},
		"communities of several add up, per peer": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.Communities = []string{"64512:1", "64512:2"} })
				s.more("more", func(a *BGPAdvertisement) {
					a.Communities, a.Peers = []string{"64512:2", "64512:0", "large:1:2:3"}, []string{"tor"}
				})
			}, "172.30.0.100/32 rr(64512:1 64512:2) tor(64512:0 64512:1 64512:2 large:1:2:3)",
		},
		"a local preference and none do not conflict": {
			func(s *scene) { s.more("more", func(a *BGPAdvertisement) { a.LocalPref = 50 }) }, "172.30.0.100/32 rr(50) tor",
		},
		"equal local preferences": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref = 50 })
				s.more("more", func(a *BGPAdvertisement) { a.LocalPref = 50 })
			}, "172.30.0.100/32 rr(50) tor",
		},
		"different local preferences": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref = 50 })
				s.more("more", func(a *BGPAdvertisement) { a.LocalPref = 60 })
			},
			"172.30.0.100/32 tor | BGPAdvertisements all (localPref 50) and more (localPref 60) contradict each other on 172.30.0.100/32 for BGPPeer rr, which is not told of it. " +
				"Make them equal, or let only one of them select it.",
		},
		"different local preferences, and no other peer": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref, a.Peers = 50, []string{"rr"} })
				s.more("more", func(a *BGPAdvertisement) { a.LocalPref, a.Peers = 60, []string{"rr"} })
			}, "ConflictingAdvertisements: BGPAdvertisements all (localPref 50) and more (localPref 60) ...",
		},
		"different local preferences of different prefixes": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref = 50 })
				s.more("more", func(a *BGPAdvertisement) { a.LocalPref, a.LengthV4 = 60, 24 })
			}, "172.30.0.0/24 rr(60) tor; 172.30.0.100/32 rr(50) tor",
		},
		"different local preferences on different nodes": {
			func(s *scene) {
				s.ad(func(a *BGPAdvertisement) { a.LocalPref = 50 })
				s.more("more", func(a *BGPAdvertisement) {
					a.LocalPref, a.NodeSelectors = 60, []labels.Selector{selector("name", "node2")}
				})
			}, "172.30.0.100/32 rr(50) tor",
		},
		"aggregated": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 26 }) }, "172.30.0.64/26 rr tor"},
		"aggregated beyond the pool": {
			func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 23 }) },
			"AggregationTooWide: BGPAdvertisement all makes 172.30.0.0/23 of 172.30.0.100, which reaches outside of pool public.",
		},
		"aggregated outside of every pool": {
			func(s *scene) { s.address.Pool = ""; s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 24 }) },
			"AggregationTooWide: BGPAdvertisement all makes 172.30.0.0/24 of 172.30.0.100, which reaches outside of every pool.",
		},
		"single, outside of every pool": {func(s *scene) { s.address.Pool = "" }, all},
		"the same address twice: the older peer has it": {
			func(s *scene) {
				s.world.Peers[0].Created = time.Unix(100, 0)
				p := bgpPeer("a", 64520, "192.0.2.1")
				p.Created = time.Unix(200, 0)
				s.world.Peers = append(s.world.Peers, p)
			}, all,
		},
		"the same address in another VRF": {
			func(s *scene) {
				p := bgpPeer("a", 64520, "192.0.2.1")
				p.VRF = "red"
				s.world.Peers = append(s.world.Peers, p)
			}, "172.30.0.100/32 a rr tor",
		},
		"also on layer 2": {func(s *scene) { s.world.Advertisements = []Advertisement{{Name: "lan"}} }, all},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			c.change(s)
			got := bgpWords(s.bgp("node1"))
			if want, part := strings.CutSuffix(c.want, "..."); got != want && (!part || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

// An address may be announced in both ways at once, and neither knows of the
// other.
func TestLayer2AndBGPAtOnce(t *testing.T) {
	s := newBGPScene()
	s.world.Advertisements = []Advertisement{{Name: "lan"}}
	if got := words(s.decide()); got != "node2 next node1 node3" {
		t.Errorf("on layer 2: %s", got)
	}
	if got := bgpWords(s.bgp("node3")); got != all {
		t.Errorf("by BGP: %s", got)
	}
}

func TestPeersOf(t *testing.T) {
	s := newBGPScene()
	s.world.Profiles = []BFDProfile{{Name: "fast", DetectMultiplier: 3}}
	s.world.Nodes[0].Addresses = []netip.Addr{netip.MustParseAddr("fd00::1"), netip.MustParseAddr("172.30.0.11")}
	s.world.Peers[0].BFDProfile, s.world.Peers[1].BFDProfile = "fast", "gone"
	s.world.Peers[1].NodeSelectors = []labels.Selector{selector("name", "node1")}
	s.world.Peers = append(s.world.Peers, bgpPeer("zz", 64513, "192.0.2.1"))
	own := bgpPeer("own", 64513, "192.0.2.9")
	own.RouterID = netip.MustParseAddr("10.0.0.7")
	s.world.Peers = append(s.world.Peers, own)
	ix := NewIndex(s.world)
	got := func(node string) string {
		var out []string
		for _, p := range ix.PeersOf(node) {
			words := p.Name + " " + p.RouterID.String()
			if p.Profile != nil {
				words += " " + p.Profile.Name
			}
			out = append(out, words)
		}
		return strings.Join(out, ", ")
	}
	if got, want := got("node1"), "own 10.0.0.7, rr 172.30.0.11, tor 172.30.0.11 fast"; got != want {
		t.Errorf("node1 has %s, want %s", got, want)
	}
	// A node without an IPv4 address has an identifier all the same, its own.
	two, three := ix.PeersOf("node2"), ix.PeersOf("node3")
	if len(two) != 2 || two[1].Name != "tor" || !two[1].RouterID.Is4() || two[1].RouterID == three[1].RouterID {
		t.Errorf("node2 has %+v, node3 %+v", two, three)
	}
	if got := ix.PeersOf("node9"); got != nil {
		t.Errorf("a node that does not exist has %v", got)
	}
}

func TestSurveyBGP(t *testing.T) {
	up := func(pairs ...string) Established {
		return func(node, peer string) bool { return slices.Contains(pairs, node+" "+peer) }
	}
	for name, c := range map[string]struct {
		change func(*scene)
		up     Established
		want   string // "NODES to PEERS: PREFIXES" or "REASON: MESSAGE"
	}{
		"everywhere": {
			func(*scene) {}, func(string, string) bool { return true },
			"node1 node2 node3 to rr tor: 172.30.0.100/32",
		},
		"some sessions": {func(*scene) {}, up("node1 tor", "node3 tor", "node9 rr"), "node1 node3 to tor: 172.30.0.100/32"},
		"a peer of one node": {
			func(s *scene) { s.world.Peers[0].NodeSelectors = []labels.Selector{selector("name", "node2")} }, func(_, peer string) bool { return peer == "tor" },
			"node2 to tor: 172.30.0.100/32",
		},
		"a session with a peer that is not told": {
			func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Peers = []string{"tor"} }) }, up("node1 rr"),
			"NoSession: No session in which 172.30.0.100 would be announced (BGPAdvertisement all) is established on node1, node2, node3. ...",
		},
		"Local": {
			func(s *scene) { s.address.Holders[0].Local = true }, func(string, string) bool { return true },
			"node1 to rr tor: 172.30.0.100/32",
		},
		"two prefixes": {
			func(s *scene) {
				s.more("more", func(a *BGPAdvertisement) { a.LengthV4, a.Peers = 24, []string{"rr"} })
			}, func(string, string) bool { return true },
			"node1 node2 node3 to rr tor: 172.30.0.0/24 172.30.0.100/32",
		},
		"no advertisement": {
			func(s *scene) { s.world.BGPAdvertisements = nil }, up(), "NoAdvertisement: No L2Advertisement or BGPAdvertisement selects pool public.",
		},
		"no node": {
			func(s *scene) {
				s.world.Nodes[0].Ready, s.world.Nodes[1].Deleting = false, true
				s.ad(func(a *BGPAdvertisement) {
					a.NodeSelectors = []labels.Selector{selector("name", "node1"), selector("name", "node2")}
				})
			}, up(),
			"NoEligibleNode: No node can announce 172.30.0.100 (BGPAdvertisement all): node1 is not Ready; node2 is being deleted; node3 is not selected by the advertisement's nodeSelectors.",
		},
		"no endpoint where it is selected": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				s.ad(func(a *BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("name", "node2")} })
			}, up(),
			"NoReadyEndpoint: No node can announce 172.30.0.100 (BGPAdvertisement all): ...",
		},
		"no peer":  {func(s *scene) { s.world.Peers = nil }, up(), "NoPeer: node1 has no BGPPeer for ..."},
		"too wide": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 8 }) }, up(), "AggregationTooWide: ..."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			c.change(s)
			r := NewIndex(s.world).SurveyBGP(s.address, s.lookup, c.up)
			got := string(r.Reason) + ": " + r.Message
			if r.Reason == "" {
				var prefixes []string
				for _, p := range r.Prefixes {
					prefixes = append(prefixes, p.String())
				}
				got = strings.Join(r.Nodes, " ") + " to " + strings.Join(r.Peers, " ") + ": " + strings.Join(prefixes, " ")
			}
			if want, part := strings.CutSuffix(c.want, "..."); got != want && (!part || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}

func TestUnannounced(t *testing.T) {
	everything := func(string, string) bool { return false }
	for name, c := range map[string]struct {
		change func(*scene)
		want   string
	}{
		"neither selects it":  {func(s *scene) { s.world.BGPAdvertisements = nil }, "NoAdvertisement: No L2Advertisement or BGPAdvertisement selects pool public."},
		"only BGP selects it": {func(*scene) {}, "NoSession: No session ..."},
		"BGP nearly selects it": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.ServiceSelectors = []labels.Selector{selector("a", "b")} })
		}, "NoAdvertisement: BGPAdvertisement all selects pool public, but ..."},
		"layer 2 nearly selects it": {
			func(s *scene) {
				s.world.BGPAdvertisements = nil
				s.world.Advertisements = []Advertisement{{Name: "lan", ServiceSelectors: []labels.Selector{selector("a", "b")}}}
			}, "NoAdvertisement: L2Advertisement lan selects pool public, but ...",
		},
		"only layer 2 selects it": {
			func(s *scene) {
				s.world.BGPAdvertisements = nil
				s.world.Advertisements = []Advertisement{{Name: "lan", Interfaces: []string{"eth9"}}}
			}, "NoInterface: No node can announce ...",
		},
		"both select it": {
			func(s *scene) { s.world.Advertisements = []Advertisement{{Name: "lan", Interfaces: []string{"eth9"}}} },
			"NoInterface: On layer 2: No node can announce 172.30.0.100 (L2Advertisement lan): ...",
		},
		"both say the same": {
			func(s *scene) {
				s.world.Advertisements = []Advertisement{{Name: "lan"}}
				s.endpoints = nil
			}, "NoReadyEndpoint: Service shop/web has no ready endpoint in the cluster.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			c.change(s)
			ix := NewIndex(s.world)
			reason, message := Unannounced(s.address, ix.Decide(s.address, s.lookup), ix.SurveyBGP(s.address, s.lookup, everything))
			got := string(reason) + ": " + message
			if want, part := strings.CutSuffix(c.want, "..."); got != want && (!part || !strings.HasPrefix(got, want)) {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
		})
	}
}
