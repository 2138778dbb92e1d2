package announcer

import (
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"k8s.io/apimachinery/pkg/labels"
	"pgregory.net/rapid"
)

func drawScene(t *rapid.T) *scene {
	s := newScene()
	s.world.Nodes, s.world.Members = nil, nil
	for i := range rapid.IntRange(1, 8).Draw(t, "nodes") {
		name := fmt.Sprintf("node%d", i)
		flag := func(label string) bool { return rapid.IntRange(0, 5).Draw(t, label) == 0 }
		n := Node{Name: name, Ready: !flag("not ready"), Unschedulable: flag("cordoned"), Deleting: flag("deleting"), Labels: labels.Set{"name": name}}
		if flag("excluded") {
			n.Labels[excludeLabel] = "true"
		}
		s.world.Nodes = append(s.world.Nodes, n)
		s.world.Members = append(s.world.Members, Member{
			Node: name, Settled: !flag("unsettled"),
			Presence:   rapid.SampledFrom([]Presence{Absent, Starting, Held, Alive, Alive, Alive, Alive}).Draw(t, "presence"),
			Interfaces: []Interface{{Name: "eth0", ARP: !flag("no ARP"), NDP: true}},
		})
	}
	for i := range rapid.IntRange(0, 2).Draw(t, "more advertisements") {
		s.world.Advertisements = append(s.world.Advertisements, Advertisement{
			Name:          fmt.Sprintf("ad%d", i),
			NodeSelectors: []labels.Selector{selector("name", fmt.Sprintf("node%d", i))},
			Preferred:     []Preference{{Weight: int32(10 * i), Selector: selector("name", fmt.Sprintf("node%d", i+2))}},
		})
	}
	s.address.Key = fmt.Sprint(rapid.IntRange(0, 1<<16).Draw(t, "key"))
	s.address.Holders[0].Local = rapid.Bool().Draw(t, "local")
	s.endpoints["web"] = ready(rapid.SliceOf(rapid.SampledFrom([]string{"node0", "node1", "node2", "node3", "node4"})).Draw(t, "endpoints")...)
	if rapid.Bool().Draw(t, "IPv6") {
		s.address.IP = netip.MustParseAddr("fd00:30::100")
	}
	return s
}

// Every speaker reads its lists in another order and must decide the same.
func TestShuffledInputDecidesTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		before := s.decide()
		s.world.Nodes = rapid.Permutation(s.world.Nodes).Draw(t, "nodes shuffled")
		s.world.Members = rapid.Permutation(s.world.Members).Draw(t, "members shuffled")
		s.world.Advertisements = rapid.Permutation(s.world.Advertisements).Draw(t, "advertisements shuffled")
		if diff := cmp.Diff(before, s.decide(), cmpopts.EquateComparable(netip.Addr{})); diff != "" {
			t.Fatal(diff)
		}
	})
}

// A decision names one node that nothing speaks against, or says why there is none.
func TestDecisionAgreesWithExplanation(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		d := s.decide()
		var can []string
		for _, v := range s.explain() {
			if v.Obstacle == NoObstacle {
				can = append(can, v.Node)
			}
		}
		switch {
		case len(can) == 0 && (d.Node != "" || d.Reason == "" || d.Message == ""):
			t.Fatalf("no node can announce, and the decision is %+v", d)
		case len(can) > 0 && !slices.Contains(can, d.Node):
			t.Fatalf("%q announces, which is not one of %v", d.Node, can)
		case len(can) > 0 && len(d.Next) != min(len(can)-1, nextInLine):
			t.Fatalf("%d in line of %d that can", len(d.Next), len(can))
		case d.Held && d.Deputy == d.Node:
			t.Fatal("a node is its own deputy")
		}
	})
}

// The loss of a node that does not announce moves nothing; the loss of the one
// that does makes the next in line announce.
func TestLossOfANodeMovesOnlyWhatItHad(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := drawScene(t)
		before := s.decide()
		lost := rapid.IntRange(0, len(s.world.Members)-1).Draw(t, "lost")
		s.world.Members[lost].Presence = Absent
		after := s.decide()
		if s.world.Members[lost].Node != before.Node {
			if after.Node != before.Node {
				t.Fatalf("the address moved from %q to %q although %s is gone", before.Node, after.Node, s.world.Members[lost].Node)
			}
			return
		}
		want := ""
		if len(before.Next) > 0 {
			want = before.Next[0]
		}
		if after.Node != want {
			t.Fatalf("%q took over, and %q was next in line", after.Node, want)
		}
	})
}
