// Package adopting is `kubectl fairlead adopt`: a cluster is taken over from another
// load-balancer controller, step by step, and back.
package adopting

import (
	"context"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/imports"
)

const long = `Takes a cluster over from another load-balancer controller, in steps. How far it has come is read from
the cluster each time; nothing else remembers it.

  Books     the addresses of all Services are entered into the ledger
  Pools     pools, advertisements and peers are made, and announce nothing yet
  Compare   the allocator keeps every address
  Decide    the other controller gives no addresses any more, Fairlead does; the other goes on announcing
  Announce  nodes announce for Fairlead: by BGP one after the other, then on layer 2
  End       the other controller is removed, and what was made for the adoption only

Without --apply it shows the steps and what the next one would write, and writes nothing. --apply does
the next step and waits until its check holds; with --all it goes on to the end. --undo takes the last
step that was begun back.

Exit codes: 0 all is done, or with --apply what was asked for; 1 something is to be done, is blocked, or
did not come true within --timeout; 2 the command could not do its work.`

// flags are those of the command.
type flags struct {
	apply, all, undo, remove bool
	timeout, pause, poll     time.Duration
}

// Command is `kubectl fairlead adopt`.
func Command(env *kube.Env) *cobra.Command {
	f := &flags{poll: time.Second}
	names := make([]string, 0, len(imports.Sources()))
	for _, s := range imports.Sources() {
		names = append(names, string(s))
	}
	c := &cobra.Command{
		Use: "adopt " + strings.Join(names, "|"), Short: "Take a cluster over from another controller, step by step", Long: long,
		Example: "  kubectl fairlead adopt metallb\n  kubectl fairlead adopt metallb --apply\n  kubectl fairlead adopt metallb --undo --apply",
		Args:    cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs), ValidArgs: names,
		RunE: func(c *cobra.Command, args []string) error {
			return run(c.Context(), env, adopt.Options{Source: imports.Source(args[0]), Remove: f.remove}, f)
		},
	}
	set := c.Flags()
	set.BoolVar(&f.apply, "apply", false, "Do the next step. Without this, nothing is written")
	set.BoolVar(&f.all, "all", false, "Go on to the end, or with --undo to the beginning")
	set.BoolVar(&f.undo, "undo", false, "Take the last step that was begun back")
	set.BoolVar(&f.remove, "remove", false, "In step End, delete the other controller's Deployment and DaemonSet")
	set.DurationVar(&f.timeout, "timeout", 5*time.Minute, "How long the check of a step, or of a node, may take to hold")
	set.DurationVar(&f.pause, "pause", 10*time.Second, "How long others get to see a change where nothing tells that they have: routers after each node, speakers in step End")
	return c
}

func run(ctx context.Context, env *kube.Env, o adopt.Options, f *flags) error {
	r, err := newRun(env, o, f)
	if err != nil {
		return err
	}
	return r.run(ctx)
}
