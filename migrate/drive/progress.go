package drive

import (
	"fmt"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/migrate/plan"
)

// sight is what a holder says at a moment.
type sight struct {
	holder plan.Holder
	// gone: there is no such object.
	gone bool
	// asked: it has the annotations of the plan.
	asked     bool
	condition *metav1.Condition
}

// Line tells of one phase.
type Line struct {
	Phase string `json:"phase"`
	Text  string `json:"text"`
	// Took is the time since the phase before, in seconds.
	Took float64 `json:"seconds"`
}

// progress is what is known of a takeover that goes on. It is pure: the caller
// passes the time.
type progress struct {
	// stale are conditions that were there before anything was asked for: they tell
	// of another takeover until they change.
	stale map[plan.Holder]metav1.Condition
	// grace is how long a refusal must stand to be one: between two writes of
	// annotations the controller sees half of what is asked for.
	grace time.Duration

	// givers are those who hand over together, as far as they are there still: the
	// takeover goes on while there is one.
	givers []plan.Holder
	takers []plan.Holder
	// until is the phase with which it is over.
	until    string
	at       time.Time
	phase    int // how many of plan.Phases were reached
	refusals map[plan.Holder]refusal
	broken   string
	// waits is what the controller waits for, or why it does not go on.
	waits string
}

type refusal struct {
	words string
	since time.Time
}

func newProgress(p *plan.Plan, grace time.Duration, stale map[plan.Holder]metav1.Condition, now time.Time) *progress {
	return &progress{givers: p.Givers(), takers: p.Takers(), until: p.Until, stale: stale, grace: grace, at: now, refusals: map[plan.Holder]refusal{}}
}

// see takes a sight in, and gives a line for a phase that was reached.
func (p *progress) see(s sight, now time.Time) *Line {
	switch {
	case s.gone:
		p.gone(s.holder)
		return nil
	case !s.asked:
		p.broken = fmt.Sprintf("somebody took the annotations of %s away, which rolls the takeover back", s.holder)
		return nil
	}
	c := s.condition
	if c == nil || p.old(s.holder, c) {
		return nil
	}
	delete(p.stale, s.holder)
	reached := slices.Index(plan.Phases, c.Reason) + 1
	if reached == 0 && (c.Reason == plan.Waiting || c.Reason == plan.Returning) {
		p.waits = words(s.holder, c)
		return nil
	}
	if reached == 0 {
		if had, ok := p.refusals[s.holder]; !ok || had.words != words(s.holder, c) {
			p.refusals[s.holder] = refusal{words: words(s.holder, c), since: now}
		}
		return nil
	}
	delete(p.refusals, s.holder)
	p.waits = words(s.holder, c)
	if reached <= p.phase {
		return nil
	}
	line := &Line{Phase: c.Reason, Text: c.Message, Took: now.Sub(p.at).Seconds()}
	p.phase, p.at = reached, now
	return line
}

// gone takes in that a holder was deleted. Of several who hand over, one takes its
// ports with it, and the others go on.
func (p *progress) gone(h plan.Holder) {
	others := slices.DeleteFunc(slices.Clone(p.givers), func(g plan.Holder) bool { return g == h })
	if slices.Contains(p.takers, h) || len(others) == 0 {
		p.broken = fmt.Sprintf("%s was deleted", h)
		return
	}
	p.givers = others
	delete(p.refusals, h)
}

func words(h plan.Holder, c *metav1.Condition) string {
	return fmt.Sprintf("%s: %s: %s", h, c.Reason, c.Message)
}

// old tells whether a condition is the one from before.
func (p *progress) old(h plan.Holder, c *metav1.Condition) bool {
	was, ok := p.stale[h]
	return ok && was.Status == c.Status && was.Reason == c.Reason && was.Message == c.Message && was.LastTransitionTime.Equal(&c.LastTransitionTime)
}

// finished tells whether a holder says that the takeover came to its end.
func (p *progress) finished(s sight) bool {
	return s.condition != nil && s.condition.Reason == plan.Done && !p.old(s.holder, s.condition)
}

func (p *progress) done() bool { return p.phase > slices.Index(plan.Phases, p.until) }

// failed says why the takeover will not come to its end; empty: it may. Until says
// when a refusal that does not stand long enough yet will.
func (p *progress) failed(now time.Time) (why string, until time.Time) {
	if p.broken != "" {
		return p.broken, time.Time{}
	}
	for _, r := range p.refusals {
		ready := r.since.Add(p.grace)
		switch {
		case !now.Before(ready):
			return r.words, time.Time{}
		case until.IsZero() || ready.Before(until):
			until = ready
		}
	}
	return "", until
}

// under tells whether a condition is that of a takeover that goes on.
func under(c *metav1.Condition) bool {
	return c != nil && c.Reason != plan.Done && (c.Reason == plan.Returning || slices.Contains(plan.Phases, c.Reason))
}
