// Package root is the command that all others hang on.
package root

import (
	"context"
	"fmt"
	"sync"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/addresses"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/adopting"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/annotating"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/announcers"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/auditing"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/explain"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/importing"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/migrate"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/peers"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/pools"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/status"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/version"
)

const long = `Says what Fairlead does in a cluster, and why; what is wrong with it; and helps to move to it.

It reads with your own rights and goes on without what they do not give, which it names at the end.
It writes nothing unless a command has a flag --apply and you give it.

Exit codes, for scripts:
  0  nothing is wrong, and nothing would change
  1  something is wrong, or would change: the output says what
  2  the command could not do its work or not all of it: the cluster does not answer, rights are
     missing, an object is not there, the command line is no good`

// commands are all commands, in the order of help.
func commands(env *kube.Env) []*cobra.Command {
	return []*cobra.Command{
		explain.Command(env),
		status.Command(env),
		addresses.Command(env),
		pools.Command(env),
		announcers.Command(env),
		peers.Command(env),
		auditing.Command(env),
		importing.Command(env),
		adopting.Command(env),
		annotating.Command(env),
		migrate.Command(env),
		version.Command(env),
	}
}

// Command is the whole plugin, as `kubectl fairlead` and as `kubectl-fairlead`.
func Command(env *kube.Env) (*cobra.Command, error) {
	root := &cobra.Command{
		Use: "kubectl-fairlead", Annotations: map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl fairlead"},
		Short: "Explain, check and move to Fairlead", Long: long,
		SilenceUsage: true, SilenceErrors: true,
	}
	root.SetIn(env.Streams.In)
	root.SetOut(env.Streams.Out)
	root.SetErr(env.Streams.ErrOut)
	root.SetFlagErrorFunc(usage)
	env.AddFlags(root.PersistentFlags())
	if err := env.AddCompletions(root); err != nil {
		return nil, fmt.Errorf("setting up completion: %w", err)
	}
	root.AddCommand(commands(env)...)
	addCompletion(root)
	for _, c := range root.Commands() {
		explainArgs(c)
	}
	return root, nil
}

// explainArgs lets wrong arguments say where help is.
func explainArgs(c *cobra.Command) {
	if check := c.Args; check != nil {
		c.Args = func(c *cobra.Command, args []string) error {
			if err := check(c, args); err != nil {
				return usage(c, err)
			}
			return nil
		}
	}
	for _, below := range c.Commands() {
		explainArgs(below)
	}
}

// usage is an error of the command line, with where to read on.
func usage(c *cobra.Command, err error) error {
	return fmt.Errorf("%w\nSee: %s --help", err, c.CommandPath())
}

// logNothing keeps the log of libraries away, once for a program that runs several
// commands.
var logNothing = sync.OnceFunc(func() { klog.SetLogger(logr.Discard()) })

// Run runs the plugin and gives its exit code.
func Run(ctx context.Context, env *kube.Env, args []string) int {
	ctrllog.SetLogger(logr.Discard())
	logNothing()
	root, err := Command(env)
	if err == nil {
		root.SetArgs(args)
		err = root.ExecuteContext(ctx)
	}
	if err != nil && !exit.Said(err) {
		fmt.Fprintln(env.Streams.ErrOut, "Error:", err)
	}
	return exit.Code(err)
}
