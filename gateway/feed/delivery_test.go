package feed

import (
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
)

// deliver sets a Gateway, and gives a place where its delivery will be.
func (s *scene) deliver(name string, r Resources) *atomic.Pointer[Delivery] {
	s.t.Helper()
	var out atomic.Pointer[Delivery]
	err := s.Deliver(testFleet, gw(name), r, func(d Delivery) {
		if out.Swap(&d) != nil {
			s.t.Errorf("it is told twice what has become of %s", name)
		}
	})
	if err != nil {
		s.t.Fatalf("%v", err)
	}
	return &out
}

func (s *scene) delivered(got *atomic.Pointer[Delivery], want Delivery) {
	s.t.Helper()
	eventually(s.t, fmt.Sprintf("%+v", want), func() (bool, string) {
		d := got.Load()
		return d != nil && *d == want, fmt.Sprintf("%+v", d)
	})
}

func TestDeliveryIsToldOfTheLastEnvoy(t *testing.T) {
	s := newScene(t, fast())
	s.Ready(testFleet)
	s.delivered(s.deliver("one", web("one", "cart")), Delivery{Changed: true})
	a, b := s.envoy(t, "a"), s.envoy(t, "b")
	a.gets(web("one", "cart"))
	b.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving", "b acknowledged serving")
	s.delivered(s.deliver("one", web("one", "cart")), Delivery{})
	s.delivered(s.deliver("one", web("one", "cart", "pay")), Delivery{Changed: true, Envoys: 2})

	// One that refuses a route table keeps nobody waiting.
	b.mu.Lock()
	b.refuse = func(k kind, _ string, m proto.Message) string {
		if k == routes && strings.Contains(fmt.Sprint(m), "bad") {
			return "bad value"
		}
		return ""
	}
	b.mu.Unlock()
	s.delivered(s.deliver("one", web("one", "bad")), Delivery{Changed: true, Envoys: 2, Rejections: 1})

	// One that says nothing does, until it goes.
	stuck, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.mu.Lock()
	b.mute = func(k kind, _ response) {
		if k == routes {
			once.Do(func() { close(stuck) })
			<-free
		}
	}
	b.mu.Unlock()
	late := s.deliver("one", web("one", "db"))
	<-stuck
	a.gets(web("one", "db"))
	s.progresses("one", "a acknowledged serving", "b serving !RouteConfiguration one/http (one/http: bad value)")
	if d := late.Load(); d != nil {
		t.Errorf("it is delivered (%+v) while an Envoy has not answered", d)
	}
	if diff := cmp.Diff(map[string]int{testFleet: 2}, s.Connected()); diff != "" {
		t.Error(diff)
	}
	close(free)
	s.delivered(late, Delivery{Changed: true, Envoys: 2})
}

func TestNobodyWaitsForWhatHasGone(t *testing.T) {
	s := newScene(t, fast())
	s.Ready(testFleet)
	s.set("one", web("one", "cart"))
	a, b := s.envoy(t, "a"), s.envoy(t, "b")
	a.gets(web("one", "cart"))
	b.gets(web("one", "cart"))
	stuck, free := make(chan struct{}), make(chan struct{})
	var once sync.Once
	b.mu.Lock()
	b.mute = func(kind, response) {
		once.Do(func() { close(stuck) })
		<-free
	}
	b.mu.Unlock()
	first := s.deliver("one", web("one", "pay"))
	<-stuck
	s.progresses("one", "a acknowledged serving", "b serving")
	for range mostWaits {
		s.set("one", web("one", "db"))
		s.deliver("one", web("one", "cart"))
	}
	s.delivered(first, Delivery{Changed: true, Envoys: 1, Abandoned: true})
	last := s.deliver("one", web("one", "pay"))
	a.gets(web("one", "pay"))
	b.cancel()
	s.delivered(last, Delivery{Changed: true, Envoys: 1})
	close(free)

	gone := s.deliver("two", web("two", "cart"))
	s.Remove(testFleet, gw("two"))
	eventually(t, "the end of the wait", func() (bool, string) { return gone.Load() != nil, "it waits" })
}

func TestWhatIsSentAndRejectedIsCounted(t *testing.T) {
	var mu sync.Mutex
	sent, rejected := map[string]int{}, map[string]int{}
	opts := fast()
	opts.Sent = func(kind string, n int) {
		mu.Lock()
		defer mu.Unlock()
		sent[kind] += n
	}
	opts.Rejected = func(kind string) {
		mu.Lock()
		defer mu.Unlock()
		rejected[kind]++
	}
	s := newScene(t, opts)
	s.Ready(testFleet)
	one := web("one", "cart", "pay")
	s.set("one", one)
	e := s.envoy(t, "a")
	e.gets(one)
	s.progresses("one", "a acknowledged serving")
	mu.Lock()
	if diff := cmp.Diff(map[string]int{"Cluster": 2, "ClusterLoadAssignment": 2, "Listener": 1, "RouteConfiguration": 1}, sent); diff != "" {
		t.Error(diff)
	}
	if len(rejected) > 0 {
		t.Errorf("rejected: %v", rejected)
	}
	mu.Unlock()
	e.mu.Lock()
	e.refuse = func(k kind, _ string, _ proto.Message) string {
		if k == routes {
			return "bad value"
		}
		return ""
	}
	e.mu.Unlock()
	s.set("one", web("one", "pay"))
	s.progresses("one", "a serving !RouteConfiguration one/http (one/http: bad value)")
	mu.Lock()
	defer mu.Unlock()
	if diff := cmp.Diff(map[string]int{"RouteConfiguration": 1}, rejected); diff != "" {
		t.Error(diff)
	}
}
