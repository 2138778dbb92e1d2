package migrate

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/drive"
	"github.com/fairlead/fairlead/migrate/plan"
)

const (
	// undoing is how long the controller may take to roll back.
	undoing = time.Minute
	// grace is how long a refusal must stand: the controller may see one annotation
	// before the other.
	grace = 5 * time.Second
)

// run is one call of the command.
type run struct {
	env    *kube.Env
	flags  *flags
	in     *plan.Input
	gather gatherer
	driver *drive.Driver
}

func newRun(env *kube.Env, f *flags, in *plan.Input) (*run, error) {
	c, err := env.WatchClient()
	if err != nil {
		return nil, err
	}
	r := &run{env: env, flags: f, in: in, gather: gatherer{need: kube.NewReader(c), want: kube.NewReader(c), in: in}}
	r.driver = drive.New(c, env.Now, drive.Limits{Timeout: f.timeout, Undo: undoing, Grace: grace}, r.tell)
	return r, nil
}

func (r *run) run(ctx context.Context) error {
	if err := r.gather.gather(ctx); err != nil {
		return err
	}
	p := plan.Make(*r.in)
	v := &View{Plan: p}
	if len(r.gather.need.Gaps()) == 0 && len(p.Blocks()) == 0 {
		var err error
		if v.diff, err = differences(ctx, r.driver, p); err != nil {
			return err
		}
		v.ask = !r.flags.apply
	}
	ready := r.flags.apply && len(r.gather.need.Gaps()) == 0 && len(p.Blocks()) == 0
	if !ready {
		if err := r.env.Print(v); err != nil {
			return err
		}
		if r.flags.apply && len(r.gather.need.Gaps()) > 0 {
			return r.env.End(r.gather.need, false)
		}
		return r.env.End(r.gather.need, true)
	}
	return r.apply(ctx, v)
}

// apply carries a plan out.
func (r *run) apply(ctx context.Context, v *View) error {
	missing, err := r.driver.Missing(ctx, v.Plan, r.flags.cleanup)
	if err != nil {
		return err
	}
	if len(missing) > 0 {
		words := make([]string, len(missing))
		for i, m := range missing {
			words[i] = "  " + m.String()
		}
		return fmt.Errorf("nothing was written, since these rights are missing:\n%s\nask an administrator for them", strings.Join(words, "\n"))
	}
	if !r.env.Format.ForPrograms() {
		if err := r.env.Print(v); err != nil {
			return err
		}
		fmt.Fprintln(r.env.Streams.Out)
	}
	if v.Result, err = r.driver.Run(ctx, v.Plan); err != nil {
		return err
	}
	if r.env.Format.ForPrograms() {
		if err := r.env.Print(v); err != nil {
			return err
		}
	} else {
		r.close(v)
	}
	return r.end(ctx, v)
}

// tell shows a phase as it is reached. The last one is told with the sum.
func (r *run) tell(l drive.Line) {
	if r.env.Format.ForPrograms() || l.Phase == plan.Done {
		return
	}
	fmt.Fprintf(r.env.Streams.Out, "%-9s %-44s %5.1f s\n", strings.ToLower(l.Phase), l.Text, l.Took)
}

// close says how it ended.
func (r *run) close(v *View) {
	out := r.env.Streams.Out
	switch v.Result.Outcome {
	case drive.Done:
		if v.Until == plan.Shared {
			fmt.Fprintf(out, "shared    %.1f s. %s %s the ports that %s has not.\n", v.Result.Took, v.GiverWords(), v.GiversDo("keep"), v.To)
			return
		}
		fmt.Fprintf(out, "done      %.1f s. Roll back: %s\n", v.Result.Took, v.Back())
	case drive.Undone:
		fmt.Fprintf(out, "undone    %.1f s. %s %s as before, since %s.\n", v.Result.Took, v.GiverWords(), v.GiversDo("serve"), v.Result.Why)
	default:
		fmt.Fprintf(out, "unknown   %.1f s. It was called back, since %s; and the controller has not said within %s that it has rolled back. See: kubectl describe %s %s -n %s\n",
			v.Result.Took, v.Result.Why, undoing, strings.ToLower(string(v.From.Kind)), v.From.Name.Name, v.From.Namespace)
	}
}

// end removes what was made for nothing, if that was asked for, and gives the exit
// code.
func (r *run) end(ctx context.Context, v *View) error {
	if v.Result.Outcome == drive.Done {
		return nil
	}
	if r.flags.cleanup && v.Result.Outcome == drive.Undone {
		if err := r.driver.Remove(ctx, v.Plan); err != nil {
			return err
		}
	}
	return exit.ErrWrong
}
