package feed

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"
)

func drawResources(t *rapid.T, name string) Resources {
	services := rapid.SliceOfNDistinct(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 0, 4, rapid.ID[string]).Draw(t, "services")
	r := webAt(name, uint32(rapid.IntRange(80, 81).Draw(t, "port")), services...)
	if rapid.IntRange(0, 3).Draw(t, "no http") == 0 {
		clear(r.Listeners)
		clear(r.Routes)
	}
	if rapid.Bool().Draw(t, "tcp") {
		r.addTCP(name, rapid.SampledFrom([]string{"a", "f"}).Draw(t, "tcp service"))
	}
	if len(r.Routes) > 0 && rapid.Bool().Draw(t, "tls") {
		r.addTLS(name, rapid.SampledFrom([]string{"k1", "k2"}).Draw(t, "key"))
	}
	for _, c := range slices.Sorted(maps.Keys(r.Clusters)) {
		if rapid.Bool().Draw(t, "changed cluster") {
			r.Clusters[c] = clusterOf(c, 2*time.Second)
		}
	}
	return r
}

// Whatever happens, at no moment an Envoy that accepts all has a route or listener
// that refers to a cluster which is of no use; and in the end each has exactly what
// is wanted.
func TestEnvoysNeverDangleAndEndUpRight(t *testing.T) {
	ca := newAuthority(t)
	rapid.Check(t, func(t *rapid.T) { runStory(t, ca, false) })
}

// Whatever Envoys reject, they end up with everything else, and it is told exactly
// what they rejected.
func TestRejectionsHurtOnlyThemselves(t *testing.T) {
	ca := newAuthority(t)
	rapid.Check(t, func(t *rapid.T) { runStory(t, ca, true) })
}

// badHost and badTimeout mark what the tests' Envoys reject.
const (
	badHost    = "bad.example.com"
	badTimeout = 2 * time.Second
)

func refuseBad(k kind, _ string, m proto.Message) string {
	if s := fmt.Sprint(m); k == routes && strings.Contains(s, badHost) || k == clusters && strings.Contains(strings.ReplaceAll(s, " ", ""), "seconds:2") {
		return "bad value"
	}
	return ""
}

type story struct {
	*scene
	wanted map[string]Resources
	envoys []*fakeEnvoy
	bad    bool
}

func runStory(t *rapid.T, ca *authority, bad bool) {
	s := &story{scene: startScene(t, ca, fast()), wanted: map[string]Resources{}, bad: bad}
	defer func() {
		for _, e := range s.envoys {
			e.disconnect()
		}
		s.stop()
	}()
	for i := range 2 {
		e := newFakeEnvoy(t, testFleet, fmt.Sprintf("fairlead/e%d", i))
		if bad {
			e.refuse, e.checked = refuseBad, false
			e.anonymously = rapid.Bool().Draw(t, "anonymously")
		}
		if rapid.Bool().Draw(t, "slow") {
			e.mute = func(k kind, _ response) { time.Sleep(time.Duration(k) * time.Millisecond) }
		}
		s.envoys = append(s.envoys, e)
	}
	for range rapid.IntRange(1, 12).Draw(t, "steps") {
		s.step(t)
	}
	s.Ready(testFleet)
	for _, e := range s.envoys {
		if e.cancel == nil {
			e.connect(s.addr, ca.client(testFleet))
		}
	}
	s.end(t)
}

func (s *story) step(t *rapid.T) {
	name := rapid.SampledFrom([]string{"one", "two", "three"}).Draw(t, "gateway")
	e := s.envoys[rapid.IntRange(0, len(s.envoys)-1).Draw(t, "envoy")]
	switch rapid.SampledFrom([]string{"set", "set", "set", "remove", "connect", "disconnect", "slice", "ready", "pause", "restart"}).Draw(t, "what") {
	case "set":
		r := drawResources(t, name)
		if s.bad && len(r.Routes) > 0 && rapid.IntRange(0, 3).Draw(t, "bad table") == 0 {
			table := r.Routes[name+"/http"]
			table.VirtualHosts = append(table.VirtualHosts, &routev3.VirtualHost{Name: "bad", Domains: []string{badHost}})
		}
		s.wanted[name] = r
		s.set(name, r)
	case "remove":
		delete(s.wanted, name)
		s.Remove(testFleet, gw(name))
	case "connect":
		if e.cancel == nil {
			e.connect(s.addr, s.ca.client(testFleet))
		}
	case "disconnect":
		e.disconnect()
	case "slice":
		s.Slice(sliceOf(rapid.SampledFrom([]string{"a", "b"}).Draw(t, "service"), "10.0.0.1"))
	case "ready":
		s.Ready(testFleet)
	case "restart":
		s.restart()
	case "pause":
		time.Sleep(time.Millisecond) // so that some of it lands
	}
}

// restart lets another controller take over, that is not ready yet.
func (s *story) restart() {
	for _, e := range s.envoys {
		e.disconnect()
	}
	s.stop()
	s.scene = startScene(s.t, s.ca, fast())
	for name, r := range s.wanted {
		s.set(name, r)
	}
}

func (s *story) end(t *rapid.T) {
	for name, r := range s.wanted {
		for _, e := range s.envoys {
			eventually(t, "the end of "+name+" at "+e.pod, func() (bool, string) {
				if e.ended() != nil { // its last stream was taken for newer than this one
					e.disconnect()
					e.connect(s.addr, s.ca.client(testFleet))
				}
				return s.right(name, r, e)
			})
		}
	}
	var all []Resources
	for _, r := range s.wanted {
		all = append(all, r)
	}
	for _, e := range s.envoys {
		if !s.bad {
			eventually(t, "exactly the wanted state", func() (bool, string) {
				d := e.differs(all...)
				return d == "", d
			})
		}
		for _, v := range e.violations {
			t.Errorf("%s", v)
		}
	}
}

// right says whether an Envoy is told to have all of a Gateway but what it rejects.
func (s *story) right(name string, r Resources, e *fakeEnvoy) (bool, string) {
	var want []string
	for n, m := range r.Clusters {
		if s.bad && refuseBad(clusters, n, m) != "" {
			want = append(want, "Cluster "+n)
		}
	}
	for n, m := range r.Routes {
		if s.bad && refuseBad(routes, n, m) != "" {
			want = append(want, "RouteConfiguration "+n)
		}
	}
	slices.Sort(want)
	for _, got := range s.Progress(testFleet, gw(name)).Envoys {
		if got.Pod.String() != e.pod {
			continue
		}
		var has []string
		for _, x := range got.Rejections {
			has = append(has, x.Type+" "+x.Resource)
		}
		ok := slices.Equal(want, has) && s.acknowledged(got.Pod, gw(name)) == (len(want) == 0)
		return ok, fmt.Sprintf("%+v, want the rejections %q", got, want)
	}
	return false, "it is not connected"
}
