package agent

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// calmArrivals is how many addresses may be given or freed in a second, and
	// calmBurst how many at once, before status writes make way for them.
	calmArrivals, calmBurst = 10, 20
	// busyFor is how long after such an address another one is expected.
	busyFor = time.Second
	// trickle is how many statuses a speaker writes in a second meanwhile: that it
	// works can be seen, and what it costs cannot.
	trickle = 1
	// lookAgain is how long a write waits before it looks whether it may.
	lookAgain = 100 * time.Millisecond
	// gathering is how long what happens to addresses is gathered meanwhile before
	// the loop takes it up, all at once.
	gathering = 200 * time.Millisecond
)

// pace lets the writes of statuses wait while addresses are given or freed by the
// hundreds: who asks for an address waits for those writes at the API server, and
// for a status nobody does. Announcing then goes on by the handful. It has no
// clock: the times of what happens go in.
type pace struct {
	mu        sync.Mutex
	calm      *rate.Limiter
	trickle   *rate.Limiter
	busyUntil time.Time
}

func newPace() *pace {
	return &pace{calm: rate.NewLimiter(calmArrivals, calmBurst), trickle: rate.NewLimiter(trickle, 1)}
}

// arrived takes that an address was given or freed.
func (p *pace) arrived(now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.calm.AllowN(now, 1) {
		p.busyUntil = now.Add(busyFor)
	}
}

// busy says whether addresses are being given or freed by the hundreds.
func (p *pace) busy(now time.Time) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now.Before(p.busyUntil)
}

// wait is how long a write of a status has to wait before it asks again; 0: it
// need not.
func (p *pace) wait(now time.Time) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !now.Before(p.busyUntil) || p.trickle.AllowN(now, 1) {
		return 0
	}
	return min(lookAgain, p.busyUntil.Sub(now))
}
