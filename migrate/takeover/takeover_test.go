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
	stood                  bool
	takerSince, giverSince time.Time
}

func (w *world) facts() Facts {
	return Facts{
		Wanted: w.wanted, Phase: w.phase, Since: w.since, Ready: w.ready, Reachable: w.reaches, Left: w.left, Proof: w.proof, Moves: w.moves, Now: w.now, Stood: w.stood,
		TakerShows: w.taker, TakerHides: !w.taker, GiverShows: w.giver, GiverHides: !w.giver,
		TakerSince: w.takerSince, GiverSince: w.giverSince,
	}
}

func (w *world) step() Step {
	s := Next(w.facts(), pace)
	if s.Phase != w.phase {
		w.stood = w.phase == Prepared && s.Phase == Shared
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

// A taker that cannot serve any longer goes at once where the giver was in front all the time.
func TestReturnsAtOnce(t *testing.T) {
	for stood, want := range map[bool]time.Duration{true: 0, false: pace.Share} {
		w := newWorld()
		w.run(Shared)
		w.stood, w.ready = stood, false
		began := w.now
		if w.run(Returning); w.phase != Returning || w.now.Sub(began) != want {
			t.Errorf("stood %t: %s after %s, want %s", stood, w.phase, w.now.Sub(began), want)
		}
	}
	w := newWorld()
	w.run(Shared)
	w.stood, w.ready, w.giver = true, false, false
	if s := w.step(); s.Phase != Shared {
		t.Errorf("the taker goes while the giver is not in front: %+v", s)
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
	f.Add("service/a/b,service/c")
	f.Fuzz(func(t *testing.T, v string) {
		s := Read(allocator.Key{Kind: "Service", Namespace: "n", Name: "s"}, map[string]string{v1alpha1.AnnotationHandover: v})
		again := Read(s.Key, map[string]string{v1alpha1.AnnotationHandover: Words(s.Gives, s.Key.Namespace)})
		if !slices.Equal(again.Gives, s.Gives) {
			t.Errorf("%q is not read back: %v, then %v", v, s.Gives, again.Gives)
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
		Done:      {"Service a/api and Service a/web handed over", "All annotations", "fairlead.dev/takeover=gateway/g on Service a/api and Service a/web and fairlead.dev/handover=service/api,service/web on Gateway a/g"},
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

// What is said of several takers names all of them.
func TestSayOfSeveralTakers(t *testing.T) {
	edge := allocator.Key{Kind: "Gateway", Namespace: "a", Name: "edge"}
	v := View{
		Givers: []allocator.Giver{{Key: edge, UID: "1"}}, Taker: allocator.Key{Kind: "Service", Namespace: "a", Name: "web"},
		Beside:    []allocator.Key{{Kind: "Service", Namespace: "a", Name: "api"}},
		Addresses: []netip.Addr{netip.MustParseAddr("192.0.2.9")}, Wanted: true,
		Left: []Left{{Giver: edge, Ports: []allocator.Port{{Protocol: "TCP", Port: 82}}}},
	}
	for phase, want := range map[Phase][]string{
		Requested: {"Service a/api and Service a/web are further holders of 192.0.2.9; Gateway a/edge serves it"},
		Shared:    {"Gateway a/edge, Service a/api and Service a/web all serve", "Service a/api and Service a/web have no port 82/TCP, so Gateway a/edge serves that on"},
		Switched:  {"Service a/api and Service a/web serve 192.0.2.9; Gateway a/edge still holds it"},
		Returning: {"Gateway a/edge serves 192.0.2.9 again; Service a/api and Service a/web still hold it"},
		Done:      {"Service a/api and Service a/web have 192.0.2.9, which Gateway a/edge handed over. All annotations", "fairlead.dev/takeover=service/api,service/web on Gateway a/edge and fairlead.dev/handover=gateway/edge on Service a/api and Service a/web"},
	} {
		v.Phase = phase
		for _, word := range want {
			if got := v.Say().Message; !strings.Contains(got, word) {
				t.Errorf("%s: %q does not say %q", phase, got, word)
			}
		}
	}
}

// Several who take over together come step by step, and the giver goes only when all are in front for good.
func TestSeveralTakers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0)
		giver, giverSince := true, now.Add(-time.Hour)
		takers := make([]*world, rapid.IntRange(2, 3).Draw(t, "takers"))
		for i := range takers {
			takers[i] = newWorld()
		}
		facts := func(w *world) Facts {
			f := w.facts()
			f.Now, f.GiverShows, f.GiverHides, f.GiverSince = now, giver, !giver, giverSince
			for _, other := range takers {
				if other != w {
					f.Beside(other.phase)
				}
			}
			return f
		}
		inFront := func() bool {
			return slices.ContainsFunc(takers, func(w *world) bool { return w.phase.GiverInFront() })
		}
		step := func(w *world) {
			s := Next(facts(w), pace)
			if s.Phase == w.phase {
				return
			}
			w.phase, w.since = s.Phase, now
			if s.Phase == Done { // the giver has the address no more, so that nobody takes it over from it any more
				for _, other := range takers {
					if other.phase != Done && (other.phase != Switched || !other.taker) {
						t.Fatalf("the giver is gone while one is %q and shows it: %v", other.phase, other.taker)
					}
					other.phase = Done
				}
			}
		}
		follow := func(w *world) {
			if show := w.phase.TakerInFront(); show != w.taker {
				if !show && (!giver || now.Sub(giverSince) < pace.Share) {
					t.Fatalf("a taker goes while the giver is not proven: %+v", w)
				}
				w.taker, w.takerSince = show, now
			}
		}
		giverFollows := func() {
			if show := inFront(); show != giver {
				for _, w := range takers {
					if !show && (!w.taker || now.Sub(w.takerSince) < pace.Share) {
						t.Fatalf("the giver goes while a taker is not proven: %+v", w)
					}
				}
				giver, giverSince = show, now
			}
		}
		one := func(t *rapid.T) *world { return takers[rapid.IntRange(0, len(takers)-1).Draw(t, "who")] }
		t.Repeat(map[string]func(*rapid.T){
			"":     func(*rapid.T) {},
			"step": func(t *rapid.T) { step(one(t)) },
			"time": func(t *rapid.T) {
				now = now.Add(time.Duration(rapid.IntRange(0, 5000).Draw(t, "ms")) * time.Millisecond)
			},
			"ready": func(t *rapid.T) { one(t).ready = rapid.Bool().Draw(t, "ready") },
			"want": func(t *rapid.T) {
				v := rapid.Bool().Draw(t, "wanted")
				for _, w := range takers {
					w.wanted = v
				}
			},
			"taker follows": func(t *rapid.T) { follow(one(t)) },
			"giver follows": func(*rapid.T) { giverFollows() },
		})
		// Wanted, ready, and given time, they come to the end together, wherever they were.
		for _, w := range takers {
			w.wanted, w.ready = true, true
		}
		for range 200 {
			for _, w := range takers {
				step(w)
				follow(w)
			}
			giverFollows()
			now = now.Add(time.Second)
		}
		for _, w := range takers {
			if w.phase != Done || giver {
				t.Fatalf("one has come to %q; the giver shows it: %v", w.phase, giver)
			}
		}
	})
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
