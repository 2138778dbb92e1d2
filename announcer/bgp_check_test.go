package announcer

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func problemsInWords(problems []Problem) string {
	var out []string
	for _, p := range problems {
		out = append(out, string(p.Reason)+": "+p.Message)
	}
	return strings.Join(out, " | ")
}

func TestCheckBGPAdvertisement(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   []string // a part of each problem of the advertisement "all"
	}{
		"all well":             {func(*scene) {}, nil},
		"an unknown community": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Communities = []string{"vpn", "no-export"} }) }, []string{"UnknownCommunity: Nobody defines vpn,"}},
		"a missing pool":       {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Pools = []string{"public", "privat"} }) }, []string{"PoolNotFound: There is no IPAddressPool privat."}},
		"no pool selected": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.PoolSelectors = []labels.Selector{selector("zone", "9")} })
		}, []string{"NoPoolSelected: "}},
		"a missing peer":      {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Peers = []string{"tor", "tor9"} }) }, []string{"PeerNotFound: There is no BGPPeer tor9."}},
		"only a missing peer": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.Peers = []string{"tor9"} }) }, []string{"PeerNotFound: ", "NoPeer: No node that is selected"}},
		"no peer at all":      {func(s *scene) { s.world.Peers = nil }, []string{"NoPeer: There is no BGPPeer"}},
		"peers for other nodes": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("name", "node1")} })
			s.onlyNode("node2")
		}, []string{"NoPeer: No node that is selected"}},
		"no node selected": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("rack", "9")} })
		}, []string{"NoNodeSelected: ", "NoPeer: "}},
		"too wide for IPv4":   {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 23 }) }, []string{"AggregationTooWide: Aggregated to 23 bits, the addresses of IPAddressPool public from 172.30.0.0 to 172.30.0.255 reach outside of it: 172.30.0.0/23"}},
		"too wide for IPv6":   {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV6 = 63 }) }, []string{"AggregationTooWide: Aggregated to 63 bits"}},
		"as wide as the pool": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LengthV4, a.LengthV6 = 24, 64 }) }, nil},
		"the end of a range":  {func(s *scene) { s.pool("172.30.0.0-172.30.0.130"); s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 25 }) }, []string{"reach outside of it: 172.30.0.128/25"}},
		"ranges that adjoin": {func(s *scene) {
			s.pool("172.30.0.0/25", "172.30.0.128 - 172.30.0.255")
			s.ad(func(a *BGPAdvertisement) { a.LengthV4 = 24 })
		}, nil},
		"a pool not selected": {func(s *scene) {
			s.ad(func(a *BGPAdvertisement) { a.LengthV4, a.Pools = 8, []string{"other"} })
			s.world.Pools = append(s.world.Pools, Pool{Name: "other"})
		}, nil},
		"a useless localPref":  {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LocalPref, a.Peers = 5, []string{"tor"} }) }, []string{"LocalPrefUnused: "}},
		"a localPref for iBGP": {func(s *scene) { s.ad(func(a *BGPAdvertisement) { a.LocalPref = 5 }) }, nil},
		"another local pref":   {func(s *scene) { s.conflicting(func(*BGPAdvertisement) {}) }, []string{"ConflictingAdvertisements: BGPAdvertisement more asks for another local preference (60, here 50) of the addresses of IPAddressPool public: BGPPeer rr"}},
		"another for one Service": {func(s *scene) {
			s.conflicting(func(a *BGPAdvertisement) { a.ServiceSelectors = []labels.Selector{selector("a", "b")} })
		}, nil},
		"another for other peers": {func(s *scene) { s.conflicting(func(a *BGPAdvertisement) { a.Peers = []string{"tor"} }) }, nil},
		"another on other nodes": {func(s *scene) {
			s.conflicting(func(a *BGPAdvertisement) { a.NodeSelectors = []labels.Selector{selector("rack", "9")} })
		}, nil},
		"another for other pools": {func(s *scene) { s.conflicting(func(a *BGPAdvertisement) { a.Pools = []string{"other"} }) }, nil},
		"another for prefixes":    {func(s *scene) { s.conflicting(func(a *BGPAdvertisement) { a.LengthV4, a.LengthV6 = 24, 64 }) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			c.change(s)
			got := NewIndex(s.world).CheckBGPAdvertisement("all")
			if len(got) != len(c.want) {
				t.Fatalf("the problems are %s, want %q", problemsInWords(got), c.want)
			}
			for i, p := range got {
				if words := problemsInWords([]Problem{p}); !strings.Contains(words, c.want[i]) {
					t.Errorf("problem %d is %s, want %q in it", i, words, c.want[i])
				}
			}
		})
	}
}

func (s *scene) onlyNode(name string) {
	for i := range s.world.Peers {
		s.world.Peers[i].NodeSelectors = []labels.Selector{selector("name", name)}
	}
}

func (s *scene) pool(ranges ...v1alpha1.AddressRange) { s.world.Pools[0].Addresses = rangesIn(ranges) }

func (s *scene) conflicting(change func(*BGPAdvertisement)) {
	s.ad(func(a *BGPAdvertisement) { a.LocalPref = 50 })
	s.more("more", func(a *BGPAdvertisement) { a.LocalPref = 60; change(a) })
}

func TestCheckPeer(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string // a part of what is wrong with tor; empty: nothing is
	}{
		"all well":     {func(*scene) {}, ""},
		"no node":      {func(s *scene) { s.onlyNode("node9") }, "NoNodeSelected: "},
		"no profile":   {func(s *scene) { s.world.Peers[0].BFDProfile = "fast" }, "ProfileNotFound: There is no BFDProfile fast. The sessions run without BFD."},
		"a profile":    {func(s *scene) { s.profile(BFDProfile{Name: "fast"}) }, ""},
		"echo":         {func(s *scene) { s.profile(BFDProfile{Name: "fast", EchoMode: true}) }, ""},
		"BFD in a VRF": {func(s *scene) { s.profile(BFDProfile{Name: "fast"}); s.world.Peers[0].VRF = "red" }, "BFDUnsupported: "},
		"strict BFD on an interface": {func(s *scene) {
			s.profile(BFDProfile{Name: "fast", Strict: true})
			s.world.Peers[0].Address, s.world.Peers[0].Interface = netip.Addr{}, "eth1"
		}, "BFDUnsupported: "},
		"echo of IPv6": {func(s *scene) {
			s.profile(BFDProfile{Name: "fast", EchoMode: true})
			s.world.Peers[0].Address = netip.MustParseAddr("2001:db8::1")
		}, ""},
		"echo far away": {func(s *scene) { s.profile(BFDProfile{Name: "fast", EchoMode: true}); s.world.Peers[0].MultiHop = true }, "EchoUnsupported: BFDProfile fast asks for echo mode, which there is only for peers one hop away."},
		"echo on an interface": {func(s *scene) {
			s.profile(BFDProfile{Name: "fast", EchoMode: true})
			s.world.Peers[0].Address, s.world.Peers[0].Interface = netip.Addr{}, "eth1"
		}, "EchoUnsupported: BFDProfile fast asks for echo mode, which there is only for peers with an address:"},
		"a younger rival": {func(s *scene) { s.rival(time.Unix(200, 0)) }, ""},
		"an older rival":  {func(s *scene) { s.rival(time.Unix(50, 0)) }, "AddressTwice: BGPPeer rival, which is older, has the same address 192.0.2.1, and the session on node1, node2, node3."},
		"a rival far away": {func(s *scene) {
			s.rival(time.Unix(50, 0))
			s.world.Peers[2].NodeSelectors = []labels.Selector{selector("name", "node2")}
		}, "and the session on node2. This one has none there."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			s.world.Peers[0].Created = time.Unix(100, 0)
			c.change(s)
			got := problemsInWords(NewIndex(s.world).CheckPeer("tor"))
			if c.want == "" && got != "" || !strings.Contains(got, c.want) {
				t.Errorf("it says %q, want %q in it", got, c.want)
			}
		})
	}
}

func (s *scene) profile(p BFDProfile) {
	s.world.Profiles = []BFDProfile{p}
	s.world.Peers[0].BFDProfile = p.Name
}

func (s *scene) rival(created time.Time) {
	p := bgpPeer("rival", 64520, "192.0.2.1")
	p.Created = created
	s.world.Peers = append(s.world.Peers, p)
}

func TestCheckCommunity(t *testing.T) {
	s := newBGPScene()
	young := CommunityAliases{Name: "a", Created: time.Unix(200, 0), Values: map[string]string{"vpn": "64512:1", "dmz": "64512:2", "own": "64512:3"}}
	old := CommunityAliases{Name: "b", Created: time.Unix(100, 0), Values: map[string]string{"vpn": "64512:9", "dmz": "64512:2"}}
	s.world.Communities = []CommunityAliases{young, old}
	ix := NewIndex(s.world)
	if got := ix.CheckCommunity(old); got != nil {
		t.Errorf("the older has %v", got)
	}
	if got := problemsInWords(ix.CheckCommunity(young)); !strings.HasPrefix(got, "AliasTaken: ") || !strings.Contains(got, ": vpn (64512:9 in Community b).") {
		t.Errorf("the younger has %q", got)
	}
	s.ad(func(a *BGPAdvertisement) { a.Communities = []string{"vpn"} })
	if got := bgpWords(s.bgp("node1")); !strings.Contains(got, "rr(64512:9)") {
		t.Errorf("the older does not count: %s", got)
	}
}

// What keeps an advertisement for layer 2 from having an effect is found as for BGP.
func TestCheckAdvertisement(t *testing.T) {
	zone := func(v string) []labels.Selector {
		return []labels.Selector{labels.SelectorFromSet(labels.Set{"zone": v})}
	}
	ix := NewIndex(World{
		Nodes: []Node{{Name: "node1", Labels: map[string]string{"zone": "a"}}},
		Pools: []Pool{{Name: "public", Labels: map[string]string{"zone": "a"}}},
	})
	for _, tt := range []struct {
		ad   Advertisement
		want []Reason
	}{
		{Advertisement{}, nil},
		{Advertisement{Pools: []string{"public"}, NodeSelectors: zone("a")}, nil},
		{Advertisement{PoolSelectors: zone("a")}, nil},
		{Advertisement{Pools: []string{"public", "privat"}}, []Reason{PoolNotFound}},
		{Advertisement{PoolSelectors: zone("b"), NodeSelectors: zone("b")}, []Reason{NoPoolSelected, NoNodeSelected}},
	} {
		var got []Reason
		for _, p := range ix.CheckAdvertisement(tt.ad) {
			got = append(got, p.Reason)
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("of %+v is said %v, want %v", tt.ad, got, tt.want)
		}
	}
}

// Echoes are sent, and returned, where the condition of the peer does not refuse them.
func TestEchoIsWhatIsNotRefused(t *testing.T) {
	for _, tt := range []struct {
		peer BGPPeer
		echo bool
		why  Reason
	}{
		{BGPPeer{Address: netip.MustParseAddr("192.0.2.1")}, true, ""},
		{BGPPeer{Address: netip.MustParseAddr("2001:db8::1")}, true, ""},
		{BGPPeer{Address: netip.MustParseAddr("192.0.2.1"), MultiHop: true}, false, EchoUnsupported},
		{BGPPeer{Address: netip.MustParseAddr("2001:db8::1"), MultiHop: true}, false, EchoUnsupported},
		{BGPPeer{Interface: "eth1"}, false, EchoUnsupported},
		{BGPPeer{Address: netip.MustParseAddr("192.0.2.1"), VRF: "blue"}, false, BFDUnsupported},
	} {
		tt.peer.Name, tt.peer.BFDProfile, tt.peer.MyASN, tt.peer.PeerASN = "tor", "fast", 64512, 64513
		ix := NewIndex(World{Nodes: []Node{{Name: "node1"}}, Peers: []BGPPeer{tt.peer}, Profiles: []BFDProfile{{Name: "fast", EchoMode: true, Echo: time.Second}}})
		p := ix.PeersOf("node1")[0]
		if on, interval := p.Echo(); on != tt.echo || (interval == time.Second) != tt.echo {
			t.Errorf("of %+v echoes are %t, every %s", tt.peer, on, interval)
		}
		var why Reason
		problems := ix.CheckPeer("tor")
		if len(problems) > 0 {
			why = problems[0].Reason
		}
		if why != tt.why || len(problems) > 1 {
			t.Errorf("of %+v is said %q, want %q and nothing else", tt.peer, problemsInWords(problems), tt.why)
		}
	}
}

// A session waits for BFD only where BFD can see the peer before the session stands; otherwise the peer's condition says so.
func TestStrictIsWhatIsNotRefused(t *testing.T) {
	for _, tt := range []struct {
		peer    BGPPeer
		watched bool
		strict  bool
	}{
		{BGPPeer{Address: netip.MustParseAddr("192.0.2.1")}, true, true},
		{BGPPeer{Interface: "eth1"}, true, false},
		{BGPPeer{Address: netip.MustParseAddr("192.0.2.1"), VRF: "blue"}, false, false},
	} {
		tt.peer.Name, tt.peer.BFDProfile, tt.peer.MyASN, tt.peer.PeerASN = "tor", "fast", 64512, 64513
		ix := NewIndex(World{Nodes: []Node{{Name: "node1"}}, Peers: []BGPPeer{tt.peer}, Profiles: []BFDProfile{{Name: "fast", Strict: true}}})
		p := ix.PeersOf("node1")[0]
		if p.Watched() != tt.watched || p.Strict() != tt.strict {
			t.Errorf("%+v is watched: %t, and strict: %t", tt.peer, p.Watched(), p.Strict())
		}
		refused := slices.ContainsFunc(ix.CheckPeer("tor"), func(p Problem) bool { return p.Reason == BFDUnsupported })
		if refused == tt.strict {
			t.Errorf("%+v is strict: %t, and its condition says that it cannot be: %t", tt.peer, tt.strict, refused)
		}
	}
}
