package agent

import (
	"testing"
	"time"
)

func TestPace(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	at := func(d time.Duration) time.Time { return start.Add(d) }
	// passes counts the writes that go through in a second of asking again and again.
	passes := func(p *pace, from time.Duration) (n int) {
		for d := time.Duration(0); d < time.Second; d += 5 * time.Millisecond {
			if p.wait(at(from+d)) == 0 {
				n++
			}
		}
		return n
	}
	few := newPace()
	for i := range calmBurst {
		few.arrived(at(time.Duration(i) * time.Millisecond))
	}
	if w := few.wait(at(100 * time.Millisecond)); w != 0 {
		t.Errorf("a few addresses at once make a status wait %s", w)
	}
	for i := range 100 { // as many as are calm, for long
		few.arrived(at(10*time.Second + time.Duration(i)*time.Second/calmArrivals))
	}
	if n := passes(few, 19*time.Second); n != 200 {
		t.Errorf("while few addresses are given, %d of 200 writes pass", n)
	}

	many := newPace()
	for i := range 300 {
		many.arrived(at(time.Duration(i) * 10 * time.Millisecond))
	}
	if n := passes(many, 2*time.Second); n < 1 || n > trickle+1 {
		t.Errorf("while many addresses are given, %d writes pass in a second, want about %d", n, trickle)
	}
	last := 2990 * time.Millisecond
	if w := many.wait(at(last + busyFor - time.Millisecond)); w > time.Millisecond {
		t.Errorf("shortly before it is calm, a write waits %s", w)
	}
	if n := passes(many, last+busyFor); n != 200 {
		t.Errorf("after the last of many, %d of 200 writes pass", n)
	}
}
