package members

import (
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer"
)

var (
	t0   = time.Unix(1e9, 0)
	addr = netip.MustParseAddrPort("10.0.0.1:7950")

	serving  = Meta{Incarnation: 1, Serving: true, Settled: true}
	leaving  = Meta{Incarnation: 1, Serving: true, Settled: true, Leaving: true}
	starting = Meta{Incarnation: 2}
	again    = Meta{Incarnation: 2, Serving: true, Settled: true}
)

// step is something that happens to the speaker x.
type step func(r *roster, now time.Time)

func hear(m Meta) step { return func(r *roster, now time.Time) { _ = r.heard(now, "x", addr, m) } }
func leave() step      { return func(r *roster, _ time.Time) { r.left("x") } }
func opine(answered bool) step {
	return func(r *roster, now time.Time) { r.opinion(now, "x", answered) }
}
func tick() step { return func(r *roster, now time.Time) { r.tick(now) } }

func TestRoster(t *testing.T) {
	const (
		absent, startingP, held, alive = announcer.Absent, announcer.Starting, announcer.Held, announcer.Alive
	)
	type at struct {
		second int
		do     step
		want   announcer.Presence
	}
	for name, steps := range map[string][]at{
		"a new speaker": {{0, hear(starting), startingP}, {1, hear(again), alive}},
		"a node is cut off": {
			{0, hear(serving), alive},
			{1, leave(), alive}, // until the second opinion
			{1, opine(false), absent},
			{2, hear(serving), absent}, // gossip may be late
			{2, opine(false), absent},
			{3, opine(true), alive},
		},
		"a node is cut off and its speaker is started anew": {
			{0, hear(serving), alive}, {1, leave(), alive}, {1, opine(false), absent}, {2, hear(again), alive},
		},
		"late gossip about a node that is gone": {
			{0, hear(serving), alive}, {1, leave(), alive}, {1, opine(false), absent}, {2, hear(serving), absent}, {3, leave(), absent},
		},
		"a speaker crashes and comes back": {
			{0, hear(serving), alive},
			{1, leave(), alive},
			{1, opine(true), held},
			{2, hear(starting), held},
			{3, hear(again), alive},
			{20, tick(), alive},
		},
		"a speaker restarts before anyone noticed": {{0, hear(serving), alive}, {1, hear(starting), held}, {2, hear(again), alive}},
		"a speaker crashes and stays away": {
			{0, hear(serving), alive},
			{1, leave(), alive},
			{1, opine(true), held},
			{10, tick(), held},
			{11, tick(), absent},
		},
		"a speaker crashes and its successor does not get ready": {
			{0, hear(serving), alive},
			{1, leave(), alive},
			{1, opine(true), held},
			{2, hear(starting), held},
			{11, tick(), startingP},
			{12, hear(again), alive},
		},
		"the successor crashes too": {
			{0, hear(serving), alive}, {1, hear(starting), held}, {2, leave(), held}, {2, opine(true), held}, {11, tick(), absent},
		},
		"a speaker crashes, then its node": {
			{0, hear(serving), alive},
			{1, leave(), alive},
			{1, opine(true), held},
			{2, opine(false), held},
			{2, opine(true), held},
			{3, opine(false), held},
			{3, opine(false), absent},
		},
		"an orderly stop": {{0, hear(serving), alive}, {1, hear(leaving), held}, {2, leave(), held}, {3, hear(again), alive}},
		"an orderly stop whose word got lost": {
			{0, hear(serving), alive}, {1, leave(), alive}, {1, opine(true), held}, {2, hear(again), alive},
		},
		"a false alarm":         {{0, hear(serving), alive}, {1, leave(), alive}, {1, hear(serving), alive}, {2, opine(false), alive}},
		"one that never served": {{0, hear(starting), startingP}, {1, leave(), absent}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoster("me", 10*time.Second)
			for n, s := range steps {
				s.do(r, t0.Add(time.Duration(s.second)*time.Second))
				got := absent
				if seat := r.seats["x"]; seat != nil {
					got = seat.presence()
				}
				if got != s.want {
					t.Fatalf("step %d, second %d: presence %d, want %d", n, s.second, got, s.want)
				}
			}
		})
	}
}

func TestFalseAlarmsAreCounted(t *testing.T) {
	r := newRoster("me", 10*time.Second)
	r.heard(t0, "x", addr, serving)
	r.left("x")
	r.heard(t0, "x", addr, serving)
	if r.falseAlarms != 1 {
		t.Errorf("%d false alarms, want 1", r.falseAlarms)
	}
	r.left("x")
	r.heard(t0, "x", addr, again)
	if r.falseAlarms != 1 {
		t.Errorf("%d false alarms: a restart is none", r.falseAlarms)
	}
}

func TestMergeTellsOfHeldSeats(t *testing.T) {
	theirs := newRoster("other", 10*time.Second)
	theirs.heard(t0, "x", addr, serving)
	theirs.heard(t0, "me", addr, serving)
	theirs.heard(t0.Add(time.Second), "x", addr, leaving)
	theirs.heard(t0.Add(time.Second), "me", addr, starting)
	now := t0.Add(3 * time.Second)
	mine := newRoster("me", 10*time.Second)
	mine.merge(now, theirs.heldSeats(now))
	if !mine.selfHeld {
		t.Error("we do not learn that our seat was held")
	}
	if p := mine.seats["x"].presence(); p != announcer.Held {
		t.Errorf("presence %d of a seat that another holds", p)
	}
	// The hold ends when theirs does.
	if mine.tick(t0.Add(10 * time.Second)); mine.seats["x"] == nil {
		t.Error("the hold ended too early")
	}
	if mine.tick(t0.Add(11 * time.Second)); mine.seats["x"] != nil {
		t.Error("the hold did not end")
	}
	mine.merge(now, []heldSeat{{node: "y", age: time.Hour}, {node: "z", age: -1}, {node: "w", meta: []byte("?")}})
	if len(mine.seats) != 0 {
		t.Errorf("nonsense was merged: %v", mine.seats)
	}
}

func TestIsolation(t *testing.T) {
	r := newRoster("me", 10*time.Second)
	for _, n := range []string{"a", "b", "c"} {
		r.heard(t0, n, addr, serving)
	}
	lose := func(n string) { r.left(n); r.opinion(t0, n, false) }
	lose("a")
	lose("b")
	if r.isolated() {
		t.Error("two of four are gone: that is no smaller side")
	}
	lose("c")
	if !r.isolated() {
		t.Error("all others are gone, and we do not count as cut off")
	}
	r.heard(t0, "a", addr, serving)
	r.opinion(t0, "a", true)
	if r.isolated() {
		t.Error("one is back, and we still count as cut off")
	}
	lose("a")
	r.forget(func(string) bool { return false })
	if r.isolated() {
		t.Error("nodes that no longer exist count as lost")
	}
}

func TestAlone(t *testing.T) {
	r := newRoster("me", time.Minute)
	if r.alone() {
		t.Error("alone although nobody was ever there")
	}
	r.heard(t0, "a", addr, serving)
	r.heard(t0, "b", addr, serving)
	r.heard(t0, "new", addr, starting)
	r.left("a")
	r.opinion(t0, "a", false)
	if r.alone() {
		t.Error("alone although b is there")
	}
	if n := r.silence(r.seen()); n != 1 {
		t.Errorf("silence lost %d, want b only: the new one never served, and a was lost already", n)
	}
	if !r.alone() || !r.isolated() {
		t.Error("not alone although all are lost")
	}
	r.heard(t0, "b", addr, serving)
	if r.alone() {
		t.Error("alone although b is heard again")
	}
	r.left("b")
	r.heard(t0, "c", addr, serving)
	r.left("c")
	if r.alone() {
		t.Error("alone although there is no second opinion on c yet")
	}
	r.opinion(t0, "b", false)
	r.opinion(t0, "c", true)
	if r.alone() {
		t.Error("alone although c's node answers, and only its speaker is away")
	}
}
