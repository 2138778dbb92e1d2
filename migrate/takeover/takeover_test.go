package takeover

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

var pace = Pace{Prepare: 3 * time.Second, Stay: time.Minute, Share: 4 * time.Second, Prove: 15 * time.Second, Close: 3 * time.Second}

// world is a ledger and two statuses, moved by Next and, in any order, by those who
// follow the ledger.
type world struct {
	phase                  Phase
	since, now             time.Time
	wanted, ready, reaches bool
	left                   bool
	proof                  Proof
	moves                  bool
	taker, giver           bool // show the address
	takerSince, giverSince time.Time
}

func (w *world) facts() Facts {
	return Facts{
		Wanted: w.wanted, Phase: w.phase, Since: w.since, Ready: w.ready, Reachable: w.reaches, Left: w.left, Proof: w.proof, Moves: w.moves, Now: w.now,
		TakerShows: w.taker, TakerHides: !w.taker, GiverShows: w.giver, GiverHides: !w.giver,
		TakerSince: w.takerSince, GiverSince: w.giverSince,
	}
}

func (w *world) step() Step {
	s := Next(w.facts(), pace)
	if s.Phase != w.phase {
		w.phase, w.since = s.Phase, w.now
	}
	return s
}

func (w *world) pass(d time.Duration) {
	w.now = w.now.Add(d)
}

func newWorld() *world {
	return &world{now: time.Unix(1000, 0), since: time.Unix(1000, 0), wanted: true, ready: true, reaches: true, giver: true, proof: Proven}
}

// run lets everybody do their part until the takeover moves no more.
func (w *world) run(until Phase) []Phase {
	var seen []Phase
	for range 100 {
		before := w.phase
		s := w.step()
		if w.phase != before {
			seen = append(seen, w.phase)
		}
		if w.phase == until {
			w.taker, w.giver = w.phase.TakerInFront(), w.phase.GiverInFront()
			return seen
		}
		w.taker, w.giver = w.phase.TakerInFront(), w.phase.GiverInFront()
		if !s.Wake.IsZero() {
			w.now = s.Wake
		}
	}
	return seen
}

func words(list []Phase) string {
	out := ""
	for _, p := range list {
		out += string(p) + " "
	}
	return out
}

func TestForwardAndBack(t *testing.T) {
	w := newWorld()
	if got := words(w.run(Done)); got != "Requested Prepared Shared Switched Done " {
		t.Fatal(got)
	}
	if got := w.now.Sub(time.Unix(1000, 0)); got != pace.Prepare+pace.Share+pace.Close {
		t.Errorf("it took %s", got)
	}
	for from, want := range map[Phase]string{
		Requested: " ", Prepared: "Requested  ", Shared: "Returning  ", Switched: "Shared Returning  ",
	} {
		w := newWorld()
		w.run(from)
		w.wanted = false
		if got := words(w.run(None)); got != want {
			t.Errorf("back from %s: %q, want %q", from, got, want)
		}
	}
}

func TestDoneIsNotUndone(t *testing.T) {
	w := newWorld()
	w.run(Done)
	w.wanted, w.ready = false, false
	if s := w.step(); s.Phase != Done {
		t.Errorf("%+v", s)
	}
}

func TestWaits(t *testing.T) {
	for name, change := range map[string]func(*world){
		"not ready":     func(w *world) { w.ready = false },
		"not reachable": func(w *world) { w.reaches = false },
	} {
		w := newWorld()
		change(w)
		if w.run(Done); w.phase != Requested {
			t.Errorf("%s: %s", name, w.phase)
		}
	}
	w := newWorld()
	w.proof = Disproven
	if w.run(Done); w.phase != Shared {
		t.Errorf("a node does not serve it: %s", w.phase)
	}
	w = newWorld()
	w.moves = true
	w.run(Prepared)
	if got := w.now.Sub(time.Unix(1000, 0)); w.phase != Prepared || got != pace.Stay {
		t.Errorf("the announcing node does not serve it: %s after %s", w.phase, got)
	}
	w = newWorld()
	w.proof = Unknown
	w.run(Done)
	if got := w.now.Sub(time.Unix(1000, 0)); w.phase != Done || got != pace.Prepare+pace.Prove+pace.Close {
		t.Errorf("nobody says: %s after %s", w.phase, got)
	}
	w = newWorld()
	w.left = true
	if w.run(Done); w.phase != Shared || !w.giver || !w.taker {
		t.Errorf("with ports left: %+v", w)
	}
}

// TestNeverWithout moves everything at random: somebody who can serve is in front
// at every moment, and no way is taken away before the other has stood for a while.
func TestNeverWithout(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld()
		w.giverSince = w.now.Add(-time.Hour)
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) {
				if w.phase != Done && !w.taker && !w.giver {
					t.Fatalf("nobody is in front: %+v", w)
				}
			},
			"step":  func(*rapid.T) { w.step() },
			"time":  func(t *rapid.T) { w.pass(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond) },
			"want":  func(t *rapid.T) { w.wanted = rapid.Bool().Draw(t, "wanted") },
			"ready": func(t *rapid.T) { w.ready = rapid.Bool().Draw(t, "ready") },
			"proof": func(t *rapid.T) { w.proof = rapid.SampledFrom([]Proof{Unknown, Disproven, Proven}).Draw(t, "proof") },
			"left":  func(t *rapid.T) { w.left = rapid.Bool().Draw(t, "left") },
			"taker follows": func(t *rapid.T) {
				switch show := w.phase.TakerInFront(); {
				case show && !w.taker:
					w.taker, w.takerSince = true, w.now
				case !show && w.taker:
					if !w.giver || w.now.Sub(w.giverSince) < pace.Share {
						t.Fatalf("the taker goes while the giver is not proven: %+v", w)
					}
					w.taker, w.takerSince = false, w.now
				}
			},
			"giver follows": func(t *rapid.T) {
				switch show := w.phase.GiverInFront(); {
				case show && !w.giver:
					w.giver, w.giverSince = true, w.now
				case !show && w.giver:
					if !w.taker || w.now.Sub(w.takerSince) < pace.Share {
						t.Fatalf("the giver goes while the taker is not proven: %+v", w)
					}
					w.giver, w.giverSince = false, w.now
				}
			},
		})
	})
}

func TestRead(t *testing.T) {
	me := allocator.Key{Kind: "Gateway", Namespace: "a", Name: "g"}
	for value, want := range map[string]string{
		"service/web": "Service a/web", "Service/web": "Service a/web", "gateway/b/h": "Gateway b/h", " service/web ": "Service a/web",
		"web": "", "pod/web": "", "service/": "", "service/a/b/c": "", "service/A_/x": "", "gateway/g": "", "service//x": "",
		"service/web,service/api": "Service a/api and Service a/web", "service/api, service/web ,service/api": "Service a/api and Service a/web",
		"service/web,gateway/b/h,service/api": "Gateway b/h, Service a/api and Service a/web",
		"service/web,":                        "", ",": "", "service/web,gateway/g": "", "service/web;service/api": "", strings.Repeat("service/a,", 100) + "service/a": "Service a/a",
		many(65): "",
	} {
		s := Read(me, map[string]string{v1alpha1.AnnotationTakeover: value})
		got := Names(s.Takes)
		if got != want || (want == "") != (s.Problem != "") {
			t.Errorf("%q: %q, problem %q", value, got, s.Problem)
		}
	}
	both := Read(me, map[string]string{v1alpha1.AnnotationTakeover: "service/x", v1alpha1.AnnotationHandover: "service/y"})
	if both.Problem == "" {
		t.Error("both ways at once")
	}
	if s := Read(me, map[string]string{v1alpha1.AnnotationHandoverPorts: "lose"}); s.Problem == "" {
		t.Error("an unknown word for ports")
	}
}

func FuzzRead(f *testing.F) {
	f.Add("service/a/b")
	f.Fuzz(func(t *testing.T, v string) {
		s := Read(allocator.Key{Kind: "Service", Namespace: "n", Name: "s"}, map[string]string{v1alpha1.AnnotationHandover: v})
		if s.Gives == nil {
			return
		}
		again := Read(s.Key, map[string]string{v1alpha1.AnnotationHandover: Word(*s.Gives, s.Key.Namespace)})
		if again.Gives == nil || *again.Gives != *s.Gives {
			t.Errorf("%q is not read back", v)
		}
	})
}

// many names so many Services.
func many(n int) string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf("service/s%d", i))
	}
	return strings.Join(out, ",")
}

func FuzzReadTakes(f *testing.F) {
	f.Add("service/a/b,gateway/c")
	f.Fuzz(func(t *testing.T, v string) {
		s := Read(allocator.Key{Kind: "Service", Namespace: "n", Name: "s"}, map[string]string{v1alpha1.AnnotationTakeover: v})
		again := Read(s.Key, map[string]string{v1alpha1.AnnotationTakeover: Words(s.Takes, s.Key.Namespace)})
		if !slices.Equal(again.Takes, s.Takes) {
			t.Errorf("%q is not read back: %v, then %v", v, s.Takes, again.Takes)
		}
	})
}

// What is said of several givers names all of them, and of each the ports that stay.
func TestSayOfAGroup(t *testing.T) {
	api, web := allocator.Key{Kind: "Service", Namespace: "a", Name: "api"}, allocator.Key{Kind: "Service", Namespace: "a", Name: "web"}
	v := View{
		Givers: []allocator.Giver{{Key: api, UID: "1"}, {Key: web, UID: "2"}}, Taker: allocator.Key{Kind: "Gateway", Namespace: "a", Name: "g"},
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Wanted: true,
		Left: []Left{{Giver: api, Ports: []allocator.Port{{Protocol: "TCP", Port: 81}}}, {Giver: web, Ports: []allocator.Port{{Protocol: "UDP", Port: 53}}, Drop: true}},
	}
	for phase, want := range map[Phase][]string{
		Requested: {"Service a/api and Service a/web serve it"},
		Shared:    {"Service a/api, Service a/web and Gateway a/g all serve", "no port 81/TCP, so Service a/api serves that on", "no port 53/UDP, which ends"},
		Switched:  {"Service a/api and Service a/web still hold it"},
		Returning: {"Service a/api and Service a/web serve 192.0.2.9 again"},
		Done:      {"Service a/api and Service a/web handed over", "Not all of them", "fairlead.dev/takeover=gateway/g on Service a/api"},
	} {
		v.Phase = phase
		for _, word := range want {
			if got := v.Say().Message; !strings.Contains(got, word) {
				t.Errorf("%s: %q does not say %q", phase, got, word)
			}
		}
	}
	if !v.Keeps() || !v.Gives(web) || v.Gives(v.Taker) {
		t.Errorf("it keeps ports %v, of web %v", v.Keeps(), v.Gives(web))
	}
	if got := v.Begin(time.Unix(9, 0)); got.From != api || got.FromUID != "1" || !slices.Equal(got.Also, v.Givers[1:]) || got.Phase != string(Requested) {
		t.Errorf("it begins as %+v", got)
	}
}

func TestSay(t *testing.T) {
	v := View{
		Givers: []allocator.Giver{{Key: allocator.Key{Kind: "Service", Namespace: "a", Name: "web"}}}, Taker: allocator.Key{Kind: "Gateway", Namespace: "b", Name: "g"},
		Wanted: true, Phase: Shared, Left: []Left{{Ports: []allocator.Port{{Protocol: "TCP", Port: 8080}}}},
	}
	if s := v.Say(); s.True || s.Reason != "Shared" || s.Message == "" {
		t.Errorf("%+v", s)
	}
	v.Phase = Done
	if s := v.Say(); !s.True || s.Reason != "Done" {
		t.Errorf("%+v", s)
	}
	v.Phase, v.Refused = None, "No."
	if s := v.Say(); s.True || s.Reason != tell.ReasonRefused || s.Message != "No." {
		t.Errorf("%+v", s)
	}
}
