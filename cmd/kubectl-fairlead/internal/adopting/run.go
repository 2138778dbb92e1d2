package adopting

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/adopt"
)

// runner is one call of the command.
type runner struct {
	env     *kube.Env
	options adopt.Options
	flags   *flags
	client  client.Client
	// shown are the addresses that Services showed at first.
	shown map[string]string
	// moved are those Services that showed others since, and what they showed.
	moved map[string]string
}

func newRun(env *kube.Env, o adopt.Options, f *flags) (*runner, error) {
	c, err := env.Client()
	if err != nil {
		return nil, err
	}
	return &runner{env: env, options: o, flags: f, client: c, moved: map[string]string{}}, nil
}

// look derives the steps from the cluster as it is now.
func (r *runner) look(ctx context.Context) (*adopt.Report, *kube.Reader, error) {
	reader := kube.NewReader(r.client)
	s, err := read(ctx, reader, r.options.Source)
	if err != nil {
		return nil, nil, err
	}
	s.Now = r.env.Now()
	r.compare(adopt.Shown(&s))
	report, err := adopt.Of(s, r.options)
	return report, reader, err
}

// compare remembers Services that show other addresses than at first.
func (r *runner) compare(now map[string]string) {
	if r.shown == nil {
		r.shown = now
	}
	for name, is := range now {
		if was := r.shown[name]; was != "" && was != is {
			r.moved[name] = fmt.Sprintf("Service %s showed %s, and shows %q now. See: kubectl fairlead explain service.", name, was, is)
		}
	}
}

func (r *runner) run(ctx context.Context) error {
	report, reader, err := r.look(ctx)
	if err != nil {
		return err
	}
	if len(reader.Gaps()) > 0 {
		return r.env.End(reader, false) // what is not seen would be taken for what is not there
	}
	if r.flags.apply {
		return r.apply(ctx)
	}
	v, err := newView(report, r.flags)
	if err != nil {
		return err
	}
	if err := r.env.Print(v); err != nil {
		return err
	}
	return r.env.End(reader, v.Next != "")
}

// apply does one step, or all of them, and shows how far it has come.
func (r *runner) apply(ctx context.Context) error {
	for {
		report, _, err := r.look(ctx)
		if err != nil {
			return err
		}
		step, _ := chosen(report, r.flags.undo)
		if step == nil {
			return r.close(ctx, nil)
		}
		if err := r.do(ctx, step.Name); err != nil {
			return r.close(ctx, err)
		}
		if !r.flags.all {
			return r.close(ctx, nil)
		}
	}
}

// close shows how far it has come, and ends as err does.
func (r *runner) close(ctx context.Context, err error) error {
	var stuck stuckError
	if err != nil && !errors.As(err, &stuck) {
		return err
	}
	report, reader, again := r.look(ctx)
	if again != nil {
		return again
	}
	v, again := newView(report, &flags{apply: true, undo: r.flags.undo})
	if again != nil {
		return again
	}
	v.diff, v.Waits, v.Stops = "", nil, nil
	if !r.env.Format.ForPrograms() {
		fmt.Fprintln(r.env.Streams.Out)
	}
	if again := r.env.Print(v); again != nil {
		return again
	}
	if err != nil {
		fmt.Fprintf(r.env.Streams.ErrOut, "\n%s\n", stuck)
	}
	for _, name := range slices.Sorted(maps.Keys(r.moved)) {
		fmt.Fprintf(r.env.Streams.ErrOut, "\n%s\n", r.moved[name])
	}
	return r.env.End(reader, err != nil || len(r.moved) > 0)
}

// stuckError says why a step did not come to its end.
type stuckError string

func (e stuckError) Error() string { return string(e) }

// do does a step, or takes it back, and waits until that holds.
func (r *runner) do(ctx context.Context, name adopt.Name) error {
	d := &doing{runner: r, name: name, begun: r.env.Now()}
	d.deadline = time.NewTimer(r.flags.timeout)
	defer d.deadline.Stop()
	for {
		report, _, err := r.look(ctx)
		if err != nil {
			return err
		}
		step := report.Step(name)
		if step == nil {
			return stuckError(fmt.Sprintf("There is no step %s any more: what it was about is gone.", name))
		}
		move := &step.Forth
		if r.flags.undo {
			move = &step.Back
		}
		switch {
		case move.Done:
			d.say("done")
			return nil
		case len(move.Stop) > 0:
			return stuckError(fmt.Sprintf("%s is blocked: %s", name, strings.Join(move.Stop, "\n")))
		case len(move.Writes) > 0:
			err = d.write(ctx, move)
		default:
			err = d.wait(ctx, move.Waits)
		}
		if err != nil {
			return err
		}
	}
}

// doing is a step underway.
type doing struct {
	*runner
	name     adopt.Name
	begun    time.Time
	deadline *time.Timer
	// told are what was said to be awaited last.
	told []string
	// last are what was written last, if it is taken back when it has no effect.
	last []adopt.Write
}

func (d *doing) write(ctx context.Context, m *adopt.Move) error {
	lacks, err := missing(ctx, d.client, m.Writes)
	if err != nil {
		return err
	}
	if len(lacks) > 0 {
		words := make([]string, len(lacks))
		for i, l := range lacks {
			words[i] = "  " + l.String()
		}
		return fmt.Errorf("step %s was not written, since these rights are missing:\n%s\nask an administrator for them", d.name, strings.Join(words, "\n"))
	}
	done, err := write(ctx, d.client, m.Writes, m.Together)
	if len(done) > 0 {
		says := m.Says
		if says == "" || len(done) < len(m.Writes) {
			says = summary(done)
		}
		d.say(says)
		d.told = nil
		if d.last = done; !m.Fragile {
			d.last = nil
		}
		d.deadline.Reset(d.flags.timeout)
	}
	switch {
	case err != nil && !passes(err):
		return err
	case err != nil && unanswered(err):
		return d.wait(ctx, []string{"the webhook that admits this to answer. Start the controller that serves it, or delete its ValidatingWebhookConfiguration (" + err.Error() + ")"})
	case err != nil:
		return d.pass(ctx, []string{err.Error()})
	case m.Settle:
		return d.sleep(ctx, d.flags.pause)
	}
	return nil
}

// wait waits a little for what a move waits for.
func (d *doing) wait(ctx context.Context, waits []string) error {
	if !slices.Equal(d.told, waits) {
		d.told = waits
		d.say("waits for " + shorten(waits))
	}
	return d.pass(ctx, waits)
}

// pass lets a little time pass. When there is none left, what was written last is
// taken back, if it is fragile.
func (d *doing) pass(ctx context.Context, waits []string) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-d.deadline.C:
	case <-time.After(d.flags.poll):
		return nil
	}
	why := fmt.Sprintf("%s did not come true within %s. It waits for %s.", d.name, d.flags.timeout, strings.Join(waits, "; for "))
	switch {
	case d.flags.undo:
		return stuckError(why + " Run it again to go on.")
	case len(d.last) == 0:
		return stuckError(why + " Run it again to go on, or with --undo to go back.")
	}
	var inverse []adopt.Write
	for _, w := range slices.Backward(d.last) {
		inverse = append(inverse, w.Inverse())
	}
	if _, err := write(ctx, d.client, inverse, len(inverse) > 1); err != nil {
		return fmt.Errorf("%s And it could not be taken back: %w", why, err)
	}
	return stuckError(why + " So what was written last was taken back (" + summary(inverse) + "), and the other controller announces there as before.")
}

func (d *doing) sleep(ctx context.Context, t time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(t):
		return nil
	}
}

// say tells a line of progress.
func (d *doing) say(text string) {
	if d.env.Format.ForPrograms() {
		return
	}
	name := strings.ToLower(string(d.name))
	if d.flags.undo {
		name = "undo " + name
	}
	fmt.Fprintf(d.env.Streams.Out, "%-14s %6.1f s  %s\n", name, d.env.Now().Sub(d.begun).Seconds(), text)
}

// most is how many objects a line of progress has room for.
const most = 4

// summary says what was created, changed and deleted, in its order.
func summary(list []adopt.Write) string {
	var out strings.Builder
	last := ""
	for i, w := range list {
		if i == most && len(list) > most+1 {
			fmt.Fprintf(&out, " and %d more", len(list)-most)
			break
		}
		switch does := strings.ToLower(doesOf(w)); {
		case i == 0:
			out.WriteString(does + "d ")
		case does != last:
			out.WriteString("; " + does + "d ")
		default:
			out.WriteString(", ")
		}
		last = strings.ToLower(doesOf(w))
		out.WriteString(w.Object().GetKind() + " " + w.Object().GetName())
	}
	return out.String()
}

func shorten(list []string) string {
	if len(list) > 2 {
		return fmt.Sprintf("%s; and for %d more", list[0], len(list)-1)
	}
	return strings.Join(list, "; for ")
}
