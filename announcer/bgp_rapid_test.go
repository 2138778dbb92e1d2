package announcer

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/announcer/community"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

var netipValues = cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})

// drawBGPScene draws a cluster that announces by BGP.
func drawBGPScene(t *rapid.T) *scene {
	s := drawScene(t)
	s.world.Advertisements = nil
	s.address.IP = netip.MustParseAddr("172.30.0.100")
	s.pool("172.30.0.0/24")
	s.world.BGPAdvertisements, s.world.Peers = nil, nil
	for i := range rapid.IntRange(0, 5).Draw(t, "peers") {
		p := bgpPeer(fmt.Sprintf("peer%d", i), uint32(64512+rapid.IntRange(0, 1).Draw(t, "asn")), fmt.Sprintf("192.0.2.%d", rapid.IntRange(1, 4).Draw(t, "address")))
		if rapid.Bool().Draw(t, "for one node") {
			p.NodeSelectors = []labels.Selector{selector("name", fmt.Sprintf("node%d", rapid.IntRange(0, 3).Draw(t, "node")))}
		}
		s.world.Peers = append(s.world.Peers, p)
	}
	for i := range rapid.IntRange(0, 4).Draw(t, "advertisements") {
		a := bgpAd(fmt.Sprintf("ad%d", i))
		a.LengthV4 = rapid.SampledFrom([]int{32, 32, 32, 28, 23}).Draw(t, "length")
		a.LocalPref = rapid.SampledFrom([]uint32{0, 0, 100, 200}).Draw(t, "localPref")
		a.Communities = rapid.SliceOfN(rapid.SampledFrom([]string{"64512:1", "64512:2", "large:1:2:3", "no-export", "unknown"}), 0, 3).Draw(t, "communities")
		a.Peers = rapid.SliceOfN(rapid.SampledFrom([]string{"peer0", "peer1", "peer2"}), 0, 2).Draw(t, "of peers")
		if rapid.Bool().Draw(t, "on some nodes") {
			a.NodeSelectors = []labels.Selector{selector("name", "node0"), selector("name", "node2")}
		}
		s.world.BGPAdvertisements = append(s.world.BGPAdvertisements, a)
	}
	return s
}

func TestShuffledInputDecidesTheSameByBGP(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawBGPScene(t)
		node := rapid.SampledFrom(s.world.Nodes).Draw(t, "me").Name
		before, survey := s.bgp(node), s.survey()
		s.world.Nodes = rapid.Permutation(s.world.Nodes).Draw(t, "nodes shuffled")
		s.world.Peers = rapid.Permutation(s.world.Peers).Draw(t, "peers shuffled")
		s.world.BGPAdvertisements = rapid.Permutation(s.world.BGPAdvertisements).Draw(t, "advertisements shuffled")
		for i := range s.world.BGPAdvertisements {
			a := &s.world.BGPAdvertisements[i]
			a.Communities = rapid.Permutation(a.Communities).Draw(t, "communities shuffled")
			slices.Sort(a.Communities) // what is unknown is named in the order that is written
		}
		if diff := cmp.Diff(before.Routes, s.bgp(node).Routes, netipValues); diff != "" {
			t.Fatal(diff)
		}
		if diff := cmp.Diff(survey.Nodes, s.survey().Nodes); diff != "" {
			t.Fatal(diff)
		}
	})
}

func (s *scene) survey() BGPSurvey {
	return NewIndex(s.world).SurveyBGP(s.address, s.lookup, func(string, string) bool { return true })
}

// What a peer is told of a prefix is what the advertisements that are for it say,
// each alone.
func TestAdvertisementsAddUp(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawBGPScene(t)
		node := rapid.SampledFrom(s.world.Nodes).Draw(t, "me").Name
		together := s.bgp(node)
		type place struct {
			prefix netip.Prefix
			peer   string
		}
		alone := map[place][]RoutePeer{}
		ads := s.world.BGPAdvertisements
		for _, a := range ads {
			s.world.BGPAdvertisements = []BGPAdvertisement{a}
			for _, r := range s.bgp(node).Routes {
				for _, p := range r.Peers {
					alone[place{r.Prefix, p.Peer}] = append(alone[place{r.Prefix, p.Peer}], p)
				}
			}
		}
		for _, r := range together.Routes {
			for _, p := range r.Peers {
				var want community.Set
				prefs := map[uint32]bool{}
				for _, one := range alone[place{r.Prefix, p.Peer}] {
					want = want.Union(one.Communities)
					if one.LocalPref != 0 {
						prefs[one.LocalPref] = true
					}
				}
				if !p.Communities.Equal(want) {
					t.Fatalf("%s is told %v of %s, want %v", p.Peer, p.Communities, r.Prefix, want)
				}
				if len(prefs) > 1 || len(prefs) == 1 && !prefs[p.LocalPref] {
					t.Fatalf("%s is told local preference %d of %s, of %v", p.Peer, p.LocalPref, r.Prefix, prefs)
				}
				delete(alone, place{r.Prefix, p.Peer})
			}
		}
		// What is left was refused, for two local preferences.
		for where, told := range alone {
			prefs := map[uint32]bool{}
			for _, p := range told {
				prefs[p.LocalPref] = p.LocalPref != 0
			}
			delete(prefs, 0)
			said := strings.Join(append(together.Refusals, together.Message), " ")
			if len(prefs) < 2 || !strings.Contains(said, where.peer) {
				t.Fatalf("%s is not told of %s: %q", where.peer, where.prefix, said)
			}
		}
	})
}

// A decision has routes or says why not, each route is told to somebody, and the
// whole cluster's is that of its nodes.
func TestSurveyAgreesWithDecisions(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawBGPScene(t)
		var nodes, peers []string
		for _, n := range s.world.Nodes {
			d := s.bgp(n.Name)
			if (len(d.Routes) == 0) != (d.Reason != "" && d.Message != "") {
				t.Fatalf("%s decides %+v", n.Name, d)
			}
			draining := false
			for _, r := range d.Routes {
				if len(r.Peers) == 0 || !r.Prefix.Contains(s.address.IP) {
					t.Fatalf("%s announces %+v", n.Name, r)
				}
				for _, p := range r.Peers {
					draining = draining || p.Draining
					peers = append(peers, p.Peer)
				}
			}
			if draining && !n.Unschedulable {
				t.Fatalf("%s drains and is not cordoned", n.Name)
			}
			if len(d.Routes) > 0 {
				nodes = append(nodes, n.Name)
			}
		}
		slices.Sort(nodes)
		slices.Sort(peers)
		v := s.survey()
		if !slices.Equal(v.Nodes, nodes) || !slices.Equal(v.Peers, slices.Compact(peers)) || (len(nodes) == 0) != (v.Reason != "" && v.Message != "") {
			t.Fatalf("the survey says %+v, the nodes %v", v, nodes)
		}
	})
}

// While a node drains, another one announces that does not.
func TestDrainingNodesHaveSuccessors(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawBGPScene(t)
		stays, drains := false, false
		for _, n := range s.world.Nodes {
			for _, r := range s.bgp(n.Name).Routes {
				for _, p := range r.Peers {
					drains, stays = drains || p.Draining, stays || !p.Draining && !n.Unschedulable
				}
			}
		}
		if drains && !stays {
			t.Fatal("all that announce drain")
		}
	})
}

func drawRoutes(t *rapid.T, ip netip.Addr) []BGPRoute {
	var out []BGPRoute
	for _, bits := range rapid.SampledFrom([][]int{nil, {32}, {28}, {28, 32}}).Draw(t, "lengths") {
		r := BGPRoute{Prefix: netip.PrefixFrom(ip, bits).Masked()}
		for _, name := range []string{"a", "b", "c"} {
			if !rapid.Bool().Draw(t, "told") {
				continue
			}
			c, _ := resolve(rapid.SliceOfN(rapid.SampledFrom([]string{"64512:1", "64512:2", "large:1:2:3"}), 0, 2).Draw(t, "communities"), nil)
			r.Peers = append(r.Peers, RoutePeer{Peer: name, LocalPref: rapid.SampledFrom([]uint32{0, 100, 200}).Draw(t, "pref"), Communities: c, Draining: rapid.Bool().Draw(t, "draining")})
		}
		if len(r.Peers) > 0 {
			out = append(out, r)
		}
	}
	return out
}

// However a table came about, it is the same, and it says which routes changed.
func TestTableForgetsItsPast(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		table, now := NewBGPTable(), map[netip.Addr][]BGPRoute{}
		known := map[netip.Prefix]string{} // as whoever goes by the changes knows it
		for range rapid.IntRange(1, 25).Draw(t, "steps") {
			ip := netip.AddrFrom4([4]byte{172, 30, 0, byte(rapid.IntRange(14, 18).Draw(t, "ip"))})
			routes := drawRoutes(t, ip)
			now[ip] = routes
			for _, prefix := range table.Set(ip, routes) {
				r, ok := table.Route(prefix)
				if !ok {
					delete(known, prefix)
					continue
				}
				if words := routesInWords([]BGPRoute{r}); words == known[prefix] {
					t.Fatalf("%s is said to have changed, and has not", words)
				} else {
					known[prefix] = words
				}
			}
		}
		fresh := NewBGPTable()
		for ip, routes := range now {
			fresh.Set(ip, routes)
		}
		got, want := routesInWords(table.Routes()), routesInWords(fresh.Routes())
		if got != want {
			t.Fatalf("with a past: %s\nwithout:     %s", got, want)
		}
		if table.Len() != len(known) {
			t.Fatalf("%d prefixes, and %d are known", table.Len(), len(known))
		}
		for _, r := range table.Routes() {
			if known[r.Prefix] != routesInWords([]BGPRoute{r}) {
				t.Fatalf("%s is known as %s", routesInWords([]BGPRoute{r}), known[r.Prefix])
			}
		}
	})
}
