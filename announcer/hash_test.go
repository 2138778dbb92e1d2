package announcer

import (
	"fmt"
	"testing"
)

// Speakers of two versions run side by side: these values must never change.
func TestHashIsPinned(t *testing.T) {
	for _, c := range []struct {
		node, key string
		want      uint64
	}{
		{"node1", "172.30.0.100", 0xf15d69fc00eb659d},
		{"node2", "172.30.0.100", 0xf78ae67a718c0fa2},
		{"", "", 0xa45c704d33320b56},
	} {
		if got := score(hashString(c.node), hashString(c.key)); got != c.want {
			t.Errorf("score(%q, %q) = %#x, want %#x", c.node, c.key, got, c.want)
		}
	}
}

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		nodes, addresses int
		most             float64 // of the mean
	}{{3, 256, 1.35}, {3, 5000, 1.1}, {10, 5000, 1.2}, {150, 15000, 1.5}} {
		t.Run(fmt.Sprintf("%d addresses on %d nodes", c.addresses, c.nodes), func(t *testing.T) {
			count := make([]int, c.nodes)
			for a := range c.addresses {
				count[winner(c.nodes, -1, address(a))]++
			}
			mean := float64(c.addresses) / float64(c.nodes)
			for n, got := range count {
				if float64(got) > c.most*mean {
					t.Errorf("node%d has %d addresses, %.2f times the mean of %.0f", n, got, float64(got)/mean, mean)
				}
			}
		})
	}
}

func TestLeavingNodeMovesOnlyItsOwn(t *testing.T) {
	const nodes, gone = 7, 3
	got := make([]int, nodes)
	for a := range 5000 {
		before, after := winner(nodes, -1, address(a)), winner(nodes, gone, address(a))
		if before != gone && before != after {
			t.Fatalf("%s moved from node%d to node%d when node%d left", address(a), before, after, gone)
		}
		if before == gone {
			got[after]++
		}
	}
	for n, c := range got {
		if n != gone && c == 0 {
			t.Errorf("node%d took over none of the addresses of node%d: the survivors should share them", n, gone)
		}
	}
}

func address(i int) string { return fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255) }

func winner(nodes, without int, key string) int {
	best, high := -1, uint64(0)
	for n := range nodes {
		if s := score(hashString(fmt.Sprintf("node%d", n)), hashString(key)); n != without && (best < 0 || s > high) {
			best, high = n, s
		}
	}
	return best
}
