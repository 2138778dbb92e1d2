package announcer

import (
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/labels"
)

func BenchmarkDecide(b *testing.B) {
	for _, nodes := range []int{3, 150} {
		b.Run(fmt.Sprintf("nodes=%d", nodes), func(b *testing.B) {
			s := newScene()
			s.world.Nodes, s.world.Members = nil, nil
			for i := range nodes {
				name := fmt.Sprintf("node%d", i)
				s.world.Nodes = append(s.world.Nodes, Node{Name: name, Ready: true, Labels: labels.Set{"name": name}})
				s.world.Members = append(s.world.Members, Member{Node: name, Presence: Alive, Settled: true, Interfaces: []Interface{{Name: "eth0", ARP: true}}})
			}
			ix := NewIndex(s.world)
			b.ReportAllocs()
			for b.Loop() {
				ix.Decide(s.address, s.lookup)
			}
		})
	}
}
