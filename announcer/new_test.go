package announcer

import (
	"net/netip"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// A node whose endpoint is new comes after all that have had theirs for longer, whatever else speaks for it, and announces
// where there is no other.
func TestNewEndpointsComeLast(t *testing.T) {
	nodes := []Node{{Name: "a", Ready: true}, {Name: "b", Ready: true}, {Name: "c", Ready: true, Unschedulable: true}}
	ix := NewIndex(World{
		Nodes: nodes, Pools: []Pool{{Name: "p"}}, Members: AssumeSpeakers(nodes, nil),
		Advertisements:    []Advertisement{{Name: "l2"}},
		BGPAdvertisements: []BGPAdvertisement{{Name: "bgp", LengthV4: 32, LengthV6: 128}},
		Peers:             []BGPPeer{{Name: "r", MyASN: 1, PeerASN: 2, Address: netip.MustParseAddr("192.0.2.1")}},
	})
	service := types.NamespacedName{Namespace: "shop", Name: "web"}
	a := Address{
		IP: netip.MustParseAddr("203.0.113.1"), Pool: "p", Bound: true, Key: "203.0.113.1",
		Holders: []Holder{{Kind: "Service", Name: service, Endpoints: service, Local: true}},
	}
	on := func(nodes ...string) map[string]bool {
		out := map[string]bool{}
		for _, n := range nodes {
			out[n] = true
		}
		return out
	}
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	since := func(nodes ...string) map[string]time.Time {
		out := map[string]time.Time{}
		for i, n := range nodes {
			out[n] = start.Add(time.Duration(i) * time.Second)
		}
		return out
	}
	for _, test := range []struct {
		name  string
		ready map[string]bool
		new   map[string]time.Time
		l2    string
		bgp   string
	}{
		{"b is new", on("a", "b"), since("b"), "a", "a"},
		{"a is new", on("a", "b"), since("a"), "b", "b"},
		{"the only one is new", on("a"), since("a"), "a", "a"},
		{"both are new, a for longer", on("a", "b"), since("a", "b"), "a", "a"},
		{"both are new, b for longer", on("a", "b"), since("b", "a"), "b", "b"},
		{"the other is cordoned", on("a", "c"), since("a"), "c", "c"},
		{"the other is cordoned, and new for longer", on("a", "c"), since("c", "a"), "c", "c"},
	} {
		t.Run(test.name, func(t *testing.T) {
			endpoints := func(types.NamespacedName) Endpoints {
				return Endpoints{Ready: true, ReadyOn: test.ready, NewOn: test.new}
			}
			if d := ix.Decide(a, endpoints); d.Node != test.l2 {
				t.Errorf("%q announces on layer 2, want %q", d.Node, test.l2)
			}
			got := ""
			for _, n := range nodes {
				if len(ix.DecideBGP(a, endpoints, n.Name).Routes) > 0 {
					got += n.Name
				}
			}
			if got != test.bgp {
				t.Errorf("%q announce by BGP, want %q", got, test.bgp)
			}
		})
	}
}
