package agent

import (
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"
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

func TestManyAddressesAreTakenUpTogether(t *testing.T) {
	clock := clocktesting.NewFakeClock(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))
	a := &Agent{cfg: Config{Clock: clock}, pending: newPending(), status: &statusWriter{pace: newPace()}, stopped: make(chan struct{})}
	defer a.wg.Wait()
	defer close(a.stopped)
	arrives := func() (woken bool) {
		a.status.pace.arrived(clock.Now())
		a.noteAddress(func() {})
		select {
		case <-a.pending.wake:
			return true
		default:
			return false
		}
	}
	for i := range calmBurst {
		if !arrives() {
			t.Fatalf("address %d of a few waits for others", i+1)
		}
	}
	for range 2 {
		for i := range 10 {
			if arrives() {
				t.Fatalf("address %d of many wakes the loop", i+1)
			}
		}
		clock.Step(gathering)
		<-a.pending.wake
		a.pending.take()
	}
	clock.Step(time.Minute)
	if !arrives() {
		t.Error("when it is calm again, an address waits for others")
	}
}
