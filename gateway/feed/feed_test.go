package feed

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
)

func TestEnvoyGetsEverything(t *testing.T) {
	s := newScene(t, fast())
	one, two := web("one", "cart", "pay"), web("two", "cart")
	one.addTLS("one", "key")
	two.addTCP("two", "db")
	s.set("one", one)
	s.Ready(testFleet)
	early := s.envoy(t, "early")
	early.gets(one)
	s.set("two", two)
	late := s.envoy(t, "late")
	early.gets(one, two)
	late.gets(one, two)
	for _, name := range []string{"one", "two"} {
		s.progresses(name, "early acknowledged serving", "late acknowledged serving")
	}
	one = web("one", "pay")
	s.set("one", one)
	s.Remove(testFleet, gw("two"))
	early.gets(one)
	late.gets(one)
	s.progresses("one", "early acknowledged serving", "late acknowledged serving")
	s.progresses("two", "early", "late")
	eventually(t, "word of the changes", func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.told[testFleet+" shop/one"] > 0 && s.told[testFleet+" shop/two"] > 0, fmt.Sprint(s.told)
	})
	late.disconnect()
	s.progresses("one", "early acknowledged serving")
}

// What an Envoy that serves a Gateway takes of it is not told: only that it serves it,
// and what it rejects.
func TestAcknowledgementsAreNoNews(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := newFakeEnvoy(t, testFleet, "fairlead/a")
	e.checked = false
	e.refuse = func(_ kind, _ string, m proto.Message) string {
		if rc, ok := m.(*routev3.RouteConfiguration); ok && len(rc.GetVirtualHosts()) == 3 {
			return "three"
		}
		return ""
	}
	t.Cleanup(e.disconnect)
	e.connect(s.addr, s.ca.client(testFleet))
	s.progresses("one", "a acknowledged serving")
	before := s.toldAfter("fence-1", "one")
	if before == 0 {
		t.Error("it is not told that an Envoy serves the Gateway")
	}
	s.set("one", web("one", "cart", "pay"))
	s.progresses("one", "a acknowledged serving")
	if got := s.toldAfter("fence-2", "one"); got != before {
		t.Errorf("it is told %d times that an Envoy has acknowledged something", got-before)
	}
	s.set("one", web("one", "cart", "pay", "ship"))
	s.progresses("one", "a serving !RouteConfiguration one/http (one/http: three)")
	if got := s.toldAfter("fence-3", "one"); got != before+1 {
		t.Errorf("it is told %d times that an Envoy rejects something", got-before)
	}
}

// toldAfter is how often there was word of a Gateway, once there is some of another
// that is set now: all that there was to tell before is told by then.
func (s *scene) toldAfter(fence, of string) (n int) {
	s.t.Helper()
	s.set(fence, web(fence, "fence"))
	eventually(s.t, "word of "+fence, func() (bool, string) {
		s.mu.Lock()
		defer s.mu.Unlock()
		n = s.told[testFleet+" shop/"+of]
		return s.told[testFleet+" shop/"+fence] > 0, fmt.Sprint(s.told)
	})
	return n
}

// A fleet without Gateways answers too: Envoy is not ready before.
func TestEmptyFleetAnswers(t *testing.T) {
	s := newScene(t, fast())
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	eventually(t, "the empty answers", func() (bool, string) {
		got := e.sent(0)
		return slices.Equal(got, []string{"Cluster ", "Listener "}), fmt.Sprintf("%q", got)
	})
}

// asked waits until the Feed has taken an Envoy's first question.
func (s *scene) asked(pod string, k kind) {
	eventually(s.t, "a question", func() (bool, string) {
		s.Feed.mu.Lock()
		defer s.Feed.mu.Unlock()
		for str := range s.fleet(testFleet).streams {
			if str.pod.Name == pod && str.types[k].asked {
				return true, ""
			}
		}
		return false, "the Envoy has not asked"
	})
}

func TestNothingIsAnsweredBeforeReady(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	e := s.envoy(t, "a")
	s.asked("a", clusters)
	s.set("two", web("two", "cart"))
	if got := e.sent(0); len(got) > 0 {
		t.Errorf("got %q", got)
	}
	s.Ready(testFleet)
	e.gets(web("one", "cart"), web("two", "cart"))
}

func TestMakeBeforeBreak(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving")
	before := e.count()
	next := web("one", "pay")
	s.set("one", next)
	e.gets(next)
	want := []string{
		"Cluster one/pay", "ClusterLoadAssignment pay", "RouteConfiguration one/http", "Cluster  -one/cart",
	}
	if diff := cmp.Diff(want, e.sent(before)); diff != "" {
		t.Error(diff)
	}
	s.progresses("one", "a acknowledged serving")
	before = e.count()
	s.Remove(testFleet, gw("one"))
	e.gets()
	if diff := cmp.Diff([]string{"Listener  -one/http", "Cluster  -one/pay"}, e.sent(before)); diff != "" {
		t.Error(diff)
	}
}

// An Envoy does not ask again for endpoints that it has, and its changed cluster
// waits for them.
func TestEndpointsFollowAChangedCluster(t *testing.T) {
	s := newScene(t, fast())
	r := web("one", "cart")
	s.set("one", r)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(r)
	s.progresses("one", "a acknowledged serving")
	before := e.count()
	changed := web("one", "cart")
	changed.Clusters["one/cart"] = clusterOf("one/cart", 2*time.Second)
	s.set("one", changed)
	e.gets(changed)
	another := web("two", "cart") // a new cluster with endpoints that another has
	s.set("two", another)
	e.gets(changed, another)
	want := []string{"Cluster one/cart", "ClusterLoadAssignment cart", "Cluster two/cart", "ClusterLoadAssignment cart"}
	if diff := cmp.Diff(want, e.sent(before, clusters, assignments)); diff != "" {
		t.Error(diff)
	}
}

// gate holds back answers to a type until it is opened.
type gate struct {
	kind kind
	open chan struct{}
	once sync.Once
}

func (g *gate) mute(k kind, _ response) {
	if k == g.kind {
		<-g.open
	}
}

func (g *gate) let() { g.once.Do(func() { close(g.open) }) }

func (e *fakeEnvoy) hold(t *testing.T, k kind) *gate {
	g := &gate{kind: k, open: make(chan struct{})}
	e.mu.Lock()
	e.mute = g.mute
	e.mu.Unlock()
	t.Cleanup(g.let)
	return g
}

// The endpoints of a cluster may be under way when the cluster is changed.
func TestEndpointsUnderWayAreSentAgain(t *testing.T) {
	s := newScene(t, fast())
	r := web("one", "cart")
	s.set("one", r)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(r)
	s.progresses("one", "a acknowledged serving")
	g, before := e.hold(t, assignments), e.count()
	s.Slice(sliceOf("cart", "10.0.0.1"))
	eventually(t, "the endpoints", func() (bool, string) { return e.count() > before, "nothing came" })
	changed := web("one", "cart")
	changed.Clusters["one/cart"] = clusterOf("one/cart", 2*time.Second)
	s.set("one", changed)
	s.flown(clusters, "one/cart")
	g.let()
	e.gets(changed)
	s.progresses("one", "a acknowledged serving")
}

// flown waits until a resource is under way to the only Envoy.
func (s *scene) flown(k kind, name string) {
	s.t.Helper()
	eventually(s.t, name+" under way", func() (bool, string) {
		s.Feed.mu.Lock()
		defer s.Feed.mu.Unlock()
		for str := range s.fleet(testFleet).streams {
			if it := str.types[k].items[name]; it != nil && it.flying {
				return true, ""
			}
		}
		return false, "it is not"
	})
}

// A cluster may be wanted again while its removal is under way.
func TestClusterThatComesBack(t *testing.T) {
	s := newScene(t, fast())
	with, without := web("one", "cart", "pay"), web("one", "cart")
	s.set("one", with)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(with)
	s.progresses("one", "a acknowledged serving")
	g := e.hold(t, clusters)
	s.set("one", without)
	s.flown(clusters, "one/pay")
	s.set("one", with)
	s.progresses("one", "a serving")
	g.let()
	s.progresses("one", "a acknowledged serving")
	e.gets(with)
}

// A listener that drains goes on using its route table, and that its clusters.
func TestDrainingListenerKeepsItsClusters(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.set("two", web("two", "pay"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"), web("two", "pay"))
	s.progresses("one", "a acknowledged serving")
	e.mu.Lock()
	e.drains = map[string]struct{}{"one/http": {}}
	e.mu.Unlock()
	s.Remove(testFleet, gw("one"))
	eventually(t, "the removal of the listener", func() (bool, string) {
		got := e.sent(0, listeners)
		return slices.Contains(got, "Listener  -one/http"), fmt.Sprintf("%q", got)
	})
	s.set("two", web("two", "pay", "db")) // a wave of another, so that one had its time
	s.progresses("two", "a acknowledged serving")
	e.mu.Lock()
	_, ok := e.has[clusters]["one/cart"]
	e.drains = nil
	e.mu.Unlock()
	if !ok {
		t.Error("the cluster is gone")
	}
	s.set("two", web("two", "pay")) // lets the test's Envoy look at what it asks for
	e.gets(web("two", "pay"))
}

func TestSlowEnvoyHoldsUpNoOther(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	slow, quick := s.envoy(t, "slow"), s.envoy(t, "quick")
	slow.gets(web("one", "cart"))
	quick.gets(web("one", "cart"))
	s.progresses("one", "quick acknowledged serving", "slow acknowledged serving")
	g := slow.hold(t, clusters)
	before := slow.count()
	next := web("one", "pay")
	s.set("one", next)
	quick.gets(next)
	s.progresses("one", "quick acknowledged serving", "slow serving")
	if got := slow.sent(before, routes); len(got) > 0 {
		t.Errorf("the slow one got %q before it acknowledged the clusters", got)
	}
	g.let()
	slow.gets(next)
	s.progresses("one", "quick acknowledged serving", "slow acknowledged serving")
}

func TestWaitIsBounded(t *testing.T) {
	opts := fast()
	opts.Wait = time.Millisecond
	s := newScene(t, opts)
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := newFakeEnvoy(t, testFleet, "fairlead/a")
	e.checked = false
	t.Cleanup(e.disconnect)
	e.connect(s.addr, s.ca.client(testFleet))
	e.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving")
	// The test's Envoy answers in order, so what is not acknowledged here is the
	// endpoints: they never come.
	s.Feed.mu.Lock()
	for str := range s.fleet(testFleet).streams {
		str.types[assignments].flights = []*flight{{nonce: "never"}}
	}
	s.Feed.mu.Unlock()
	next := web("one", "cart", "pay")
	before := e.count()
	s.set("one", next)
	eventually(t, "the route table", func() (bool, string) {
		got := e.sent(before)
		return slices.Equal(got, []string{"Cluster one/pay", "RouteConfiguration one/http"}), fmt.Sprintf("%q", got)
	})
	s.progresses("one", "a serving")
}

// An Envoy acknowledges no cluster while one of them waits for something, such as a
// secret that does not come. The other Gateways go on.
func TestStuckClusterHoldsUpNoOtherGateway(t *testing.T) {
	s := newScene(t, fast())
	one, two := web("one", "cart"), web("two", "cart")
	s.set("one", one)
	s.set("two", two)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(one, two)
	s.progresses("one", "a acknowledged serving")
	stuck := web("one", "cart", "stuck")
	stuck.Clusters["one/stuck"].TransportSocket = upstreamTLS("one/missing", ads())
	s.set("one", stuck)
	eventually(t, "the stuck cluster", func() (bool, string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.waits["one/stuck"], "it is not there"
	})
	before := e.count()
	two = web("two", "pay", "cart")
	s.set("two", two)
	s.progresses("two", "a acknowledged serving")
	if got := e.sent(before, routes); !slices.Equal(got, []string{"RouteConfiguration two/http"}) {
		t.Errorf("of route tables it got %q", got)
	}
	s.progresses("one", "a serving")
}

// A stream of changes, faster than the Envoy acknowledges, does not starve the route
// table.
func TestManyChangesStarveNothing(t *testing.T) {
	s := newScene(t, fast())
	services := []string{"s0"}
	s.set("one", web("one", services...))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", services...))
	before := e.count()
	for i := 1; len(e.sent(before, routes)) == 0; i++ {
		services = append(services, fmt.Sprintf("s%d", i))
		s.set("one", web("one", services...))
	}
	e.gets(web("one", services...))
	s.progresses("one", "a acknowledged serving")
}

func TestRejections(t *testing.T) {
	for _, anonymously := range []bool{false, true} {
		for _, c := range []struct {
			kind kind
			name string
		}{
			{clusters, "one/s3"}, {assignments, "s3"}, {secrets, "one/cert"}, {listeners, "one/tcp"}, {routes, "one/http"},
		} {
			t.Run(fmt.Sprintf("%s/anonymously=%v", c.kind, anonymously), func(t *testing.T) {
				s := newScene(t, fast())
				one := web("one", "s1", "s2", "s3", "s4", "s5", "s6", "s7")
				one.addTCP("one", "s8")
				one.addTLS("one", "key")
				two := web("two", "s1", "s9")
				s.set("one", one)
				s.set("two", two)
				s.Ready(testFleet)
				e := newFakeEnvoy(t, testFleet, "fairlead/a")
				e.checked, e.anonymously = false, anonymously
				refusing := true
				e.refuse = func(k kind, name string, _ proto.Message) string {
					if refusing && k == c.kind && name == c.name {
						return "bad value"
					}
					return ""
				}
				// A cluster whose endpoints are rejected never gets warm, and an
				// Envoy that starts would wait for it.
				e.eager = true
				t.Cleanup(e.disconnect)
				e.connect(s.addr, s.ca.client(testFleet))
				message := "bad value"
				if !anonymously {
					message = c.name + ": bad value"
				}
				s.progresses("one", fmt.Sprintf("a serving !%s %s (%s)", c.kind, c.name, message))
				s.progresses("two", "a acknowledged serving")
				if got := e.differs(one, two); !strings.Contains(got, c.name) && c.kind != assignments {
					t.Errorf("it is not %s that is missing, but: %s", c.name, got)
				}

				before := e.count()
				two = web("two", "s1", "s9", "s10")
				s.set("two", two)
				s.progresses("two", "a acknowledged serving")
				for _, line := range e.sent(before, c.kind) {
					if slices.Contains(strings.Fields(line), c.name) {
						t.Errorf("it was sent again: %q", line)
					}
				}
				another := newFakeEnvoy(t, testFleet, "fairlead/b")
				another.checked, another.refuse = false, e.refuse
				t.Cleanup(another.disconnect)
				another.connect(s.addr, s.ca.client(testFleet))
				eventually(t, "the rejection by another", func() (bool, string) {
					got := s.progress("one")
					return len(got) == 2 && strings.Contains(got[1], "!"), fmt.Sprintf("%q", got)
				})
				for _, line := range another.sent(0, c.kind) {
					if f := strings.Fields(line); slices.Contains(f, c.name) && len(f) != 2 {
						t.Errorf("what was rejected went to another together with others: %q", line)
					}
				}
				another.disconnect()

				e.mu.Lock()
				refusing = false
				e.mu.Unlock()
				mended := web("one", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s11")
				mended.addTCP("one", "s8")
				mended.Listeners["one/tcp"].Address.GetSocketAddress().Address = "0.0.0.0"
				mended.addTLS("one", "another key")
				mended.Clusters["one/s3"] = clusterOf("one/s3", 3*time.Second)
				s.set("one", mended)
				s.Slice(sliceOf("s3", "10.0.0.3"))
				e.gets(mended, two)
				s.progresses("one", "a acknowledged serving")
			})
		}
	}
}

// While an Envoy refuses a new route table, what the old one refers to stays.
func TestRejectedTableKeepsItsClusters(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"))
	e.mu.Lock()
	e.refuse = func(k kind, name string, m proto.Message) string {
		if k == routes && strings.Contains(fmt.Sprint(m), "pay") {
			return "bad value"
		}
		return ""
	}
	e.mu.Unlock()
	s.set("one", web("one", "pay"))
	s.progresses("one", "a serving !RouteConfiguration one/http (one/http: bad value)")
	e.mu.Lock()
	_, ok := e.has[clusters]["one/cart"]
	e.mu.Unlock()
	if !ok {
		t.Error("the cluster was taken away from the route table that the Envoy still has")
	}
	s.set("one", web("one", "db"))
	e.gets(web("one", "db"))
}

// A rejection stays until the Envoy has taken what came in its place, and whoever hears
// of rejections hears of another one of the same number.
func TestRejectionStaysUntilSomethingElseIsTaken(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving")
	release := make(chan struct{})
	e.mu.Lock()
	e.refuse = func(k kind, _ string, m proto.Message) string {
		for _, word := range []string{"pay", "ship"} {
			if k == routes && strings.Contains(fmt.Sprint(m), word) {
				return "bad " + word
			}
		}
		return ""
	}
	e.mu.Unlock()
	s.set("one", web("one", "pay"))
	s.progresses("one", "a serving !RouteConfiguration one/http (one/http: bad pay)")
	before := s.toldAfter("fence-1", "one")
	s.set("one", web("one", "ship"))
	s.progresses("one", "a serving !RouteConfiguration one/http (one/http: bad ship)")
	if got := s.toldAfter("fence-2", "one"); got != before+1 {
		t.Errorf("it is told %d times that an Envoy rejects something else, want once", got-before)
	}
	e.mu.Lock()
	arrived := make(chan struct{})
	once := sync.OnceFunc(func() { close(arrived) })
	e.mute = func(k kind, _ response) {
		if k == routes {
			once()
			<-release
		}
	}
	e.mu.Unlock()
	s.set("one", web("one", "db"))
	<-arrived
	if got := s.progress("one"); len(got) != 1 || !strings.Contains(got[0], "bad ship") {
		t.Errorf("before the Envoy has taken another table, it is said %q", got)
	}
	if s.Taken(testFleet, gw("one")) {
		t.Error("it is taken for taken before that")
	}
	close(release)
	s.progresses("one", "a acknowledged serving")
	if !s.Taken(testFleet, gw("one")) {
		t.Error("the Envoy has all, and it is not taken for taken")
	}
	if got := s.toldAfter("fence-3", "one"); got != before+2 {
		t.Errorf("it is told %d times that the Envoy takes all again, want once", got-before-1)
	}
}

func TestReconnect(t *testing.T) {
	ca := newAuthority(t)
	before := startScene(t, ca, fast())
	one, two := web("one", "cart", "pay"), web("two", "db")
	before.set("one", one)
	before.set("two", two)
	before.set("past", web("past", "old"))
	before.Ready(testFleet)
	e := newFakeEnvoy(t, testFleet, "fairlead/a")
	e.connect(before.addr, ca.client(testFleet))
	t.Cleanup(func() {
		e.disconnect()
		for _, v := range e.violations {
			t.Error(v)
		}
	})
	e.gets(one, two, web("past", "old"))
	for _, name := range []string{"one", "two", "past"} {
		before.progresses(name, "a acknowledged serving")
	}
	before.stop()
	e.disconnect()

	after := startScene(t, ca, fast())
	t.Cleanup(after.stop)
	from := e.count()
	e.connect(after.addr, ca.client(testFleet))
	after.set("one", one)
	after.asked("a", listeners)
	two = web("two", "db2")
	after.set("two", two)
	if got := e.sent(from); len(got) > 0 {
		t.Errorf("before it was ready the new controller sent %q", got)
	}
	after.Ready(testFleet)
	e.gets(one, two)
	after.progresses("one", "a acknowledged serving")
	after.progresses("two", "a acknowledged serving")
	for _, line := range e.sent(from) {
		if strings.Contains(line, "one") || strings.Contains(line, " cart") {
			t.Errorf("it was sent what it had: %q", line)
		}
	}
}

// An Envoy that comes back says which endpoints it has without knowing of the cluster
// that was sent to it before it said so, and that waits for the same endpoints.
func TestClusterThatOvertakesTheEndpointsOfAReturningEnvoy(t *testing.T) {
	s := newScene(t, fast())
	one, two := web("one", "cart"), web("two", "cart")
	s.set("one", one)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(one)
	e.disconnect()
	s.set("two", two)
	e.asking = func(k kind) {
		if k != assignments {
			return
		}
		eventually(t, "the new cluster on its way", func() (bool, string) { return s.flies(clusters, "two/cart"), "it is not" })
	}
	e.connect(s.addr, s.ca.client(testFleet))
	e.gets(one, two)
	s.progresses("two", "a acknowledged serving")
}

// The connection ends between a cluster and the endpoints that it has to hear of, of
// which the Envoy says that it has them when it comes back.
func TestConnectionEndsBehindACluster(t *testing.T) {
	opts := fast()
	opts.Wait = time.Hour // nothing may wait that long
	one, two := web("one", "cart", "slow"), web("two", "cart")
	changed := web("one", "cart", "slow")
	changed.Clusters["one/cart"] = clusterOf("one/cart", 3*time.Second)
	for _, c := range []struct {
		name   string
		refuse func(k kind, name string, m proto.Message) string
		before string
		next   func(*scene)
		want   []Resources
	}{
		{
			"of an Envoy that serves", nil, "a acknowledged serving",
			func(s *scene) { s.set("one", changed) },
			[]Resources{changed},
		},
		{
			"of an Envoy that starts",
			func(k kind, name string, _ proto.Message) string {
				if k == assignments && name == "slow" { // this cluster keeps it from starting
					return "bad value"
				}
				return ""
			},
			"a !ClusterLoadAssignment slow (slow: bad value)",
			func(s *scene) { s.set("two", two) },
			[]Resources{one, two},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t, opts)
			s.set("one", one)
			s.Ready(testFleet)
			e := newFakeEnvoy(t, testFleet, "fairlead/a")
			e.refuse = c.refuse
			e.connect(s.addr, s.ca.client(testFleet))
			t.Cleanup(e.disconnect)
			s.progresses("one", c.before)
			cut := make(chan struct{})
			e.mu.Lock()
			e.mute = func(k kind, _ response) {
				if k == clusters {
					e.cancel()
					close(cut)
				}
			}
			e.mu.Unlock()
			c.next(s)
			<-cut
			e.disconnect()
			e.mute, e.refuse = nil, nil
			e.connect(s.addr, s.ca.client(testFleet))
			e.gets(c.want...)
			s.progresses("one", "a acknowledged serving")
		})
	}
}

// What an Envoy brings along and no Gateway has goes in order too, also where it tells
// of its listeners after all else was dealt with.
func TestWhatNobodyHasGoesInOrder(t *testing.T) {
	ca := newAuthority(t)
	before := startScene(t, ca, fast())
	before.set("past", web("past", "old"))
	before.Ready(testFleet)
	e := before.envoy(t, "a")
	e.gets(web("past", "old"))
	before.stop()
	e.disconnect()

	after := startScene(t, ca, fast())
	t.Cleanup(after.stop)
	after.Ready(testFleet)
	e.asking = func(k kind) {
		if k != assignments {
			return
		}
		eventually(t, "the cluster to be given up", func() (bool, string) { return after.givesUp("past/old"), "it is not" })
	}
	e.connect(after.addr, ca.client(testFleet))
	e.gets()
}

// givesUp says whether a cluster that an Envoy brought along is to go.
func (s *scene) givesUp(cluster string) bool {
	s.Feed.mu.Lock()
	defer s.Feed.mu.Unlock()
	for str := range s.fleets[testFleet].streams {
		if _, ok := str.orphans.dropped[cluster]; ok {
			return true
		}
	}
	return false
}

// flies says whether a resource is on its way to an Envoy.
func (s *scene) flies(k kind, name string) bool {
	s.Feed.mu.Lock()
	defer s.Feed.mu.Unlock()
	for str := range s.fleets[testFleet].streams {
		if it := str.types[k].items[name]; it != nil && it.flying {
			return true
		}
	}
	return false
}

// What an Envoy asks for while its Gateway goes is the Gateway's to take away, and not
// something that it brought along from another controller.
func TestGatewayGoesBeforeItsTableIsAskedFor(t *testing.T) {
	opts := fast()
	opts.Wait = time.Hour // nothing may wait that long
	s := newScene(t, opts)
	one := web("one", "cart")
	s.set("one", one)
	s.Ready(testFleet)
	e := newFakeEnvoy(t, testFleet, "fairlead/a")
	t.Cleanup(e.disconnect)
	removed := make(chan struct{})
	remove := sync.OnceFunc(func() {
		s.Remove(testFleet, gw("one"))
		close(removed)
	})
	e.refuse = func(k kind, _ string, _ proto.Message) string {
		if k == listeners { // it asks for the table when it has this
			remove()
		}
		return ""
	}
	e.connect(s.addr, s.ca.client(testFleet))
	<-removed
	e.gets()
	two := web("two", "cart")
	s.set("two", two)
	e.gets(two)
	s.progresses("two", "a acknowledged serving")
}

func TestSlicesGoStraightToEDS(t *testing.T) {
	s := newScene(t, fast())
	r := web("one", "cart")
	s.set("one", r)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(r)
	s.progresses("one", "a acknowledged serving")
	before := e.count()
	s.Slice(sliceOf("cart", "10.0.0.1"))
	eventually(t, "the endpoints", func() (bool, string) {
		got := e.sent(before)
		return slices.Equal(got, []string{"ClusterLoadAssignment cart"}), fmt.Sprintf("%q", got)
	})
	s.Slice(sliceOf("other", "10.0.0.1"))
	s.SliceGone(gateway.Name{Namespace: "shop", Name: "cart-1"})
	eventually(t, "that they are gone", func() (bool, string) {
		got := e.sent(before)
		return slices.Equal(got, []string{"ClusterLoadAssignment cart", "ClusterLoadAssignment cart"}), fmt.Sprintf("%q", got)
	})
}

func TestAssignmentsAreForgotten(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.set("two", web("two", "cart", "pay"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"), web("two", "cart", "pay"))
	s.Remove(testFleet, gw("one"))
	e.gets(web("two", "cart", "pay"))
	s.Slice(sliceOf("cart", "10.0.0.1")) // still used by two
	moved := web("two", "cart", "pay")
	moved.Assignments["cart"] = endpoints.Assignment{Parts: []endpoints.Part{{Service: gateway.Name{Namespace: "shop", Name: "other"}, PortName: "http"}}}
	before := e.count()
	s.Slice(sliceOf("other", "10.0.0.2"))
	s.set("two", moved)
	eventually(t, "the other Service's endpoints", func() (bool, string) {
		got := e.sent(before)
		return slices.Contains(got, "ClusterLoadAssignment cart"), fmt.Sprintf("%q", got)
	})
	s.Remove(testFleet, gw("two"))
	e.gets()
	eventually(t, "that nothing is left behind", func() (bool, string) {
		s.Feed.mu.Lock()
		defer s.Feed.mu.Unlock()
		fl := s.fleet(testFleet)
		_, cart := s.table.Uses("cart")
		left := []int{len(fl.shared[assignments]), len(fl.gateways)}
		for str := range fl.streams {
			left = append(left, len(str.rollouts), len(str.active))
			for _, c := range str.types {
				left = append(left, len(c.items), len(c.pending))
			}
		}
		return !cart && slices.Max(left) == 0, fmt.Sprint(cart, left)
	})
}

func TestNewConnectionTakesOver(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	old := s.envoy(t, "a")
	old.gets(web("one", "cart"))
	young := s.envoy(t, "a")
	young.gets(web("one", "cart"))
	s.progresses("one", "a acknowledged serving")
	eventually(t, "the end of the old one", func() (bool, string) {
		old.mu.Lock()
		defer old.mu.Unlock()
		return old.err != nil, "it is still connected"
	})
}

func TestForgottenFleet(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"))
	s.Forget(testFleet)
	eventually(t, "the end of the stream", func() (bool, string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return e.err != nil, "it is still connected"
	})
	if d := e.differs(web("one", "cart")); d != "" {
		t.Errorf("the Envoy lost something: %s", d)
	}
	if got := s.Progress(testFleet, gw("one")); len(got.Envoys) > 0 {
		t.Errorf("there is still %v", got)
	}
}

func TestWhatCannotBeEncoded(t *testing.T) {
	s := newScene(t, fast())
	good := web("one", "cart")
	s.set("one", good)
	s.Ready(testFleet)
	e := s.envoy(t, "a")
	e.gets(good)
	bad := web("one", "cart", "pay")
	bad.Routes["one/http"].VirtualHosts[0].Domains = []string{"\xff"}
	err := s.Set(testFleet, gw("one"), bad)
	if err == nil || !strings.Contains(err.Error(), `"one/http"`) || !strings.Contains(err.Error(), "shop/one") {
		t.Errorf("the error is %v", err)
	}
	bad.Routes = good.Routes
	e.gets(bad)
}

func TestServeMayBeCalledAgain(t *testing.T) {
	s := newScene(t, fast())
	s.set("one", web("one", "cart"))
	s.Ready(testFleet)
	s.stop()
	s.serve(s.ca.identity(controller()).Server())
	t.Cleanup(func() { s.stop() })
	e := s.envoy(t, "a")
	e.gets(web("one", "cart"))
}
