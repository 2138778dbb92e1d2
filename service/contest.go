package service

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Pace bounds how often a contested Service is written, and how long a
// contested wish must stand before it is followed.
type Pace struct {
	// First is the first delay; each further one is twice as long, up to Max.
	First, Max time.Duration
	// Quiet is how long nothing must have been undone for a contest to be over.
	Quiet time.Duration
}

// defaultPace allows at most five corrections in the first 30 s of a fight.
var defaultPace = Pace{First: 2 * time.Second, Max: 5 * time.Minute, Quiet: 5 * time.Minute}

// delay is the n-th delay, n from 1.
func (p Pace) delay(n int) time.Duration {
	d := p.First
	for ; n > 1 && d < p.Max; n-- {
		d *= 2
	}
	return min(d, p.Max)
}

// Contest is what is remembered of one Service between two looks at it: what we
// wrote last, who undid it, and how what it asks for has changed. The zero value
// is the start, also after a restart: a contest that stands in the Service's
// conditions is then taken up again. It is a value: functions that change it
// return the new one.
//
// There are two kinds of contest.
//
// Over the status (bout): something that we applied was changed by somebody
// else, and we have put it right before. The first correction is free. The
// n-th comes at the earliest Pace.delay(n-1) after the one before: 2 s, 4 s, 8 s
// ... 5 min. Until then nothing is written at all. An attempt that fails counts
// like one that succeeds. It is over when a correction has stood for Pace.Quiet.
//
// Over the wish (asks): what is asked for changes back and forth. A new wish of
// a Service that has an address is followed when it has stood for Pace.First. A
// wish that had been left within Pace.Quiet and comes back, or one that changes
// again before it could be followed, is a turn. From the second turn on it is a
// contest: the Service keeps what it has until the wish has stood still for 30
// times Pace.First (a minute), twice as long for every further turn, at most
// Pace.Max.
type Contest struct {
	// Pace may be set at the start, for tests. Zero: the default.
	Pace Pace

	uid  types.UID
	bout bout
	asks asks
}

// of is the state for this Service: a new start when it is another object of
// the same name.
func (c Contest) of(svc *corev1.Service, now time.Time) Contest {
	if c.Pace == (Pace{}) {
		c.Pace = defaultPace
	}
	if c.uid == svc.UID && c.bout.begun {
		return c
	}
	fresh := Contest{Pace: c.Pace, uid: svc.UID}
	fresh.bout.begun = true
	if told := condition(svc.Status.Conditions, ConditionContested); told != nil {
		switch told.Reason {
		case ReasonStatusRewritten:
			fresh.bout.resume(told, now)
		case ReasonWishRewritten:
			fresh.asks.resume(told)
		}
	}
	return fresh
}

// Contested tells whether a contest is going on, for metrics.
func (c Contest) Contested() bool { return c.bout.contested || c.asks.contested }

// Wrote records that the Outcome's patch was written and what the API server
// answered.
func (c Contest) Wrote(answer *corev1.Service, now time.Time) Contest {
	c.bout.applied(answer)
	c.bout.failures, c.bout.hold = 0, time.Time{}
	if c.bout.corrections > 0 {
		c.bout.last = now
		c.bout.next = now.Add(c.Pace.delay(c.bout.corrections))
	}
	return c
}

// Failed records that the write of the Outcome's patch failed. The first two
// failures in a row may be tried again at once; from the third on they wait.
func (c Contest) Failed(now time.Time) Contest {
	c.bout.failures++
	if c.bout.failures > 2 {
		c.bout.hold = now.Add(c.Pace.delay(c.bout.failures - 2))
	}
	return c
}
