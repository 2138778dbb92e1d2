package feed

import (
	"fmt"
	"slices"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/go-logr/logr"
	"k8s.io/utils/clock"
)

// BenchmarkChangedRoute is one changed route among many in one table, from Set to the
// response of one Envoy. The encoder makes anew the changed virtual host only (shared)
// or all of them (anew).
func BenchmarkChangedRoute(b *testing.B) {
	for _, n := range []int{20, 1000, 5000} {
		for _, shared := range []bool{true, false} {
			b.Run(fmt.Sprintf("routes=%d/shared=%v", n, shared), func(b *testing.B) {
				var services []string
				for i := range n {
					services = append(services, fmt.Sprintf("s%d", i))
				}
				r := web("one", services...)
				s := newBenchStream(b, r)
				b.ReportAllocs()
				i := 0
				for b.Loop() {
					i++
					hosts := slices.Clone(r.Routes["one/http"].GetVirtualHosts())
					if !shared {
						b.StopTimer()
						for j, name := range services {
							hosts[j] = hostOf(name+".example.com", "one/"+name)
						}
						b.StartTimer()
					}
					hosts[n/2] = hostOf(fmt.Sprintf("changed%d.example.com", i), "one/s0")
					next := r
					next.Routes = map[string]*routev3.RouteConfiguration{"one/http": {Name: "one/http", VirtualHosts: hosts}}
					s.set(b, next)
				}
			})
		}
	}
}

// BenchmarkSlice is an EndpointSlice event among ten thousand Services, from the event
// to the response of one Envoy that uses all of them.
func BenchmarkSlice(b *testing.B) {
	for _, n := range []int{10, 10_000} {
		b.Run(fmt.Sprintf("services=%d", n), func(b *testing.B) {
			var services []string
			for i := range n {
				services = append(services, fmt.Sprintf("s%d", i))
			}
			s := newBenchStream(b, web("one", services...))
			b.ReportAllocs()
			i := 0
			for b.Loop() {
				i++
				s.feed.Slice(sliceOf("s7", fmt.Sprintf("10.0.0.%d", i%2+1)))
				s.run()
			}
		})
	}
}

// benchStream is a stream without a connection, whose Envoy acknowledges at once.
type benchStream struct{ *stream }

func newBenchStream(b *testing.B, r Resources) benchStream {
	b.Helper()
	f := New(logr.Discard(), clock.RealClock{}, Options{Grace: -1})
	f.Ready(testFleet)
	s := benchStream{f.join(testFleet, gw("pod"))}
	s.set(b, r)
	for k := range kinds {
		c := s.types[k]
		c.asked = true
		for name := range r.Assignments {
			if k == assignments {
				c.item(name).wanted = true
				c.pend(name)
			}
		}
	}
	s.types[routes].item("one/http").wanted = true
	s.types[routes].pend("one/http")
	s.run()
	if !f.acknowledged(gw("pod"), gw("one")) {
		b.Fatalf("the Envoy has not got everything: %+v", f.Progress(testFleet, gw("one")))
	}
	return s
}

func (s benchStream) set(b *testing.B, r Resources) {
	if err := s.feed.Set(testFleet, gw("one"), r); err != nil {
		b.Fatal(err)
	}
	s.run()
}

// run sends and acknowledges until nothing is left.
func (s benchStream) run() {
	s.feed.mu.Lock()
	defer s.feed.mu.Unlock()
	for resp := s.next(time.Now()); resp != nil; resp = s.next(time.Now()) {
		k, _ := kindOf(resp.head.GetTypeUrl())
		c := s.types[k]
		s.acknowledge(c, c.land(resp.head.GetNonce()))
	}
}
