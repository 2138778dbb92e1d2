package endpoints

import (
	"fmt"
	"testing"
)

// BenchmarkSliceEvent is one changed slice among ten thousand Services, with the
// load that is sent for it.
func BenchmarkSliceEvent(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("slices=%d", n), func(b *testing.B) {
			table, http := NewTable(both), portsOf("http", 8080)
			for i := range n {
				name := fmt.Sprintf("web%d", i)
				table.Set(sliceOf(name, name, http, "10.0.0.1", "10.0.0.2"))
				table.Use(name, Assignment{Parts: []Part{partOf(name, "http", 1)}})
			}
			events := [2][]string{{"10.0.0.1", "10.0.0.2"}, {"10.0.0.1", "10.0.0.3"}}
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				for _, name := range table.Set(sliceOf("web0", "web0", http, events[i%2]...)) {
					table.Load(name)
				}
			}
		})
	}
}
