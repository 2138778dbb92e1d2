package drive

import (
	"context"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/plan"
)

// Driver carries out plans with the rights of its client.
type Driver struct {
	client client.WithWatch
	now    func() time.Time
	// tell is given a line for each phase as it is reached.
	tell   func(Line)
	limits Limits
}

// Limits say how long things may take.
type Limits struct {
	// Timeout is for the whole takeover. Undo is for its rollback.
	Timeout, Undo time.Duration
	// Grace is how long a refusal of the controller must stand.
	Grace time.Duration
}

// New makes a Driver.
func New(c client.WithWatch, now func() time.Time, limits Limits, tell func(Line)) *Driver {
	return &Driver{client: c, now: now, tell: tell, limits: limits}
}

// Outcome is how a takeover ended.
type Outcome string

// The outcomes.
const (
	// Done: the new holder has the address.
	Done Outcome = "Done"
	// Undone: it did not come to its end, and the old holder serves as before.
	Undone Outcome = "Undone"
	// Unknown: it was called back, and the controller has not said yet that the old
	// holder serves as before.
	Unknown Outcome = "Unknown"
)

// Result is how a takeover ended, and why.
type Result struct {
	Outcome Outcome `json:"outcome"`
	Why     string  `json:"why,omitempty"`
	Phases  []Line  `json:"phases,omitempty"`
	Took    float64 `json:"seconds"`
}

// Run carries a plan out. It fails where it could not even begin, or was
// interrupted: then the takeover goes on, and Run with a new plan follows it.
func (d *Driver) Run(ctx context.Context, p *plan.Plan) (*Result, error) {
	start := d.now()
	stale := map[plan.Holder]metav1.Condition{}
	if !p.Underway {
		if err := d.begin(ctx, p, stale); err != nil {
			return nil, err
		}
	}
	r := &Result{}
	is := newProgress(p, d.limits.Grace, stale, start)
	why, err := d.follow(ctx, p, is, r)
	if err != nil {
		return nil, fmt.Errorf("%w: the takeover goes on without this command. Run it again to follow it, or take the annotation %s away from %s to roll back", err, v1alpha1.AnnotationTakeover, p.To)
	}
	r.Outcome, r.Why = Done, why
	if why != "" {
		if r.Outcome, err = d.undo(ctx, p, is); err != nil {
			return nil, fmt.Errorf("%s; and it could not be called back: %w", why, err)
		}
		if r.Outcome == Done {
			r.Why = ""
		}
	}
	r.Took = d.now().Sub(start).Seconds()
	return r, nil
}

// begin writes the objects, notes what conditions were there before, and asks.
func (d *Driver) begin(ctx context.Context, p *plan.Plan, stale map[plan.Holder]metav1.Condition) error {
	if err := d.apply(ctx, p); err != nil {
		return err
	}
	for _, h := range holders(p) {
		o := empty(h)
		if err := d.client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
			return fmt.Errorf("reading %s: %w", h, err)
		}
		if c := conditionOf(o); c != nil {
			stale[h] = *c
		}
	}
	return d.ask(ctx, p)
}

// follow waits for the end of a takeover, and says why it is none; empty: it is
// done. It fails where it is interrupted.
func (d *Driver) follow(ctx context.Context, p *plan.Plan, is *progress, r *Result) (string, error) {
	sights, stop := d.observe(ctx, p)
	defer stop()
	timeout := time.NewTimer(d.limits.Timeout)
	defer timeout.Stop()
	for {
		var stands <-chan time.Time
		switch why, until := is.failed(d.now()); {
		case is.done():
			return "", nil
		case why != "":
			return why, nil
		case !until.IsZero():
			stands = time.After(until.Sub(d.now()))
		}
		select {
		case <-ctx.Done():
			return "", ctx.Err()
		case <-timeout.C:
			return d.silence(is), nil
		case <-stands:
		case s := <-sights:
			if line := is.see(s, d.now()); line != nil {
				r.Phases = append(r.Phases, *line)
				d.tell(*line)
			}
		}
	}
}

// silence says where a takeover stands that took too long.
func (d *Driver) silence(is *progress) string {
	if is.waits != "" {
		return fmt.Sprintf("it was not done within %s. It stands at %s", d.limits.Timeout, is.waits)
	}
	return fmt.Sprintf("the controller said nothing of it within %s. See whether it runs, and whether its version knows takeovers: kubectl fairlead version", d.limits.Timeout)
}

// undo calls a takeover back, and waits until the controller has no more to do
// with it. It may have come to its end meanwhile.
func (d *Driver) undo(ctx context.Context, p *plan.Plan, is *progress) (Outcome, error) {
	var errs []error
	for _, h := range holders(p) {
		errs = append(errs, d.takeBack(ctx, p, h))
	}
	if err := errors.Join(errs...); err != nil {
		return Unknown, err
	}
	sights, stop := d.observe(ctx, p)
	defer stop()
	timeout := time.NewTimer(d.limits.Undo)
	defer timeout.Stop()
	over := map[plan.Holder]bool{}
	for len(over) < len(holders(p)) {
		select {
		case <-ctx.Done():
			return Unknown, ctx.Err()
		case <-timeout.C:
			return Unknown, nil
		case s := <-sights:
			if is.finished(s) {
				return Done, nil
			}
			if delete(over, s.holder); s.gone || !under(s.condition) {
				over[s.holder] = true
			}
		}
	}
	return Undone, nil
}
