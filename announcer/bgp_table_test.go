package announcer

import (
	"fmt"
	"net/netip"
	"testing"

	"github.com/fairlead/fairlead/announcer/community"
)

func route(prefix string, peers ...RoutePeer) BGPRoute {
	return BGPRoute{Prefix: netip.MustParsePrefix(prefix), Peers: peers}
}

// A prefix that stands for several addresses is there while one of them is.
func TestTableJoinsAddresses(t *testing.T) {
	one, two := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
	public, private := community.Set{Standard: []community.Standard{1}}, community.Set{Standard: []community.Standard{2}}
	table := NewBGPTable()
	for _, step := range []struct {
		ip      netip.Addr
		routes  []BGPRoute
		changed int
		want    string
	}{
		{one, []BGPRoute{route("192.0.2.0/24", RoutePeer{Peer: "tor"})}, 1, "192.0.2.0/24 tor"},
		{two, []BGPRoute{route("192.0.2.0/24", RoutePeer{Peer: "tor"})}, 0, "192.0.2.0/24 tor"},
		{one, nil, 0, "192.0.2.0/24 tor"},
		{one, []BGPRoute{route("192.0.2.0/24", RoutePeer{Peer: "rr", LocalPref: 100, Communities: public})}, 1, "192.0.2.0/24 rr(100 0:1) tor"},
		{two, []BGPRoute{route("192.0.2.0/24", RoutePeer{Peer: "rr", LocalPref: 200, Communities: private, Draining: true})}, 1, "192.0.2.0/24 rr(200 0:1 0:2)"},
		{one, []BGPRoute{route("192.0.2.0/24", RoutePeer{Peer: "rr", Draining: true}), route("192.0.2.1/32", RoutePeer{Peer: "tor"})}, 2, "192.0.2.0/24 rr(200 0:2 draining); 192.0.2.1/32 tor"},
		{two, nil, 1, "192.0.2.0/24 rr(draining); 192.0.2.1/32 tor"},
		{one, nil, 2, ""},
		{one, nil, 0, ""},
	} {
		changed := table.Set(step.ip, step.routes)
		if got := routesInWords(table.Routes()); got != step.want || len(changed) != step.changed {
			t.Errorf("after %s says %s: %q with %v changed, want %q with %d", step.ip, routesInWords(step.routes), got, changed, step.want, step.changed)
		}
	}
}

// One address of many costs one decision and one step of the table, however many
// share its prefix.
func BenchmarkBGPOneAddress(b *testing.B) {
	for _, bits := range []int{32, 24} {
		b.Run(fmt.Sprintf("bits=%d", bits), func(b *testing.B) {
			s := newBGPScene()
			s.pool("172.30.0.0/16")
			for i := range 8 {
				s.world.Peers = append(s.world.Peers, bgpPeer(fmt.Sprintf("peer%d", i), 64513, fmt.Sprintf("192.0.2.%d", 10+i)))
			}
			s.ad(func(a *BGPAdvertisement) { a.LengthV4, a.Communities = bits, []string{"64512:1", "no-export"} })
			ix, table := NewIndex(s.world), NewBGPTable()
			for i := range 5000 {
				s.address.IP = netip.AddrFrom4([4]byte{172, 30, byte(i >> 8), byte(i)})
				table.Set(s.address.IP, ix.DecideBGP(s.address, s.lookup, "node1").Routes)
			}
			b.ReportAllocs()
			for b.Loop() {
				table.Set(s.address.IP, nil)
				table.Set(s.address.IP, ix.DecideBGP(s.address, s.lookup, "node1").Routes)
			}
		})
	}
}

// The controller surveys every address when a session changes.
func BenchmarkSurveyBGP(b *testing.B) {
	for _, nodes := range []int{3, 150} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			s := newBGPScene()
			s.world.Nodes = nil
			for i := range nodes {
				s.world.Nodes = append(s.world.Nodes, Node{Name: fmt.Sprintf("node%d", i), Ready: true})
			}
			ix := NewIndex(s.world)
			b.ReportAllocs()
			for b.Loop() {
				ix.SurveyBGP(s.address, s.lookup, func(string, string) bool { return true })
			}
		})
	}
}
