package kube

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
)

// Env is what a command works with. The flags in it are read when the command
// runs.
type Env struct {
	// Streams are where a command reads from and writes to.
	Streams genericiooptions.IOStreams
	// Config are the flags of kubectl, which say where the cluster is, who asks, and
	// in which namespace.
	Config *genericclioptions.ConfigFlags
	// Format is how the result is shown (-o).
	Format output.Format
	// AllNamespaces is whether all namespaces are meant (-A).
	AllNamespaces bool
	// Now is the clock.
	Now func() time.Time
	// Connect makes the client. Tests put their own here.
	Connect func() (client.Client, error)
}

// NewEnv is an Env with kubectl's flags at their defaults.
func NewEnv(streams genericiooptions.IOStreams, now func() time.Time) *Env {
	e := &Env{Streams: streams, Config: genericclioptions.NewConfigFlags(true), Format: output.Plain, Now: now}
	e.Config.CacheDir = nil // nothing is cached between two calls
	e.Connect = e.connect
	return e
}

// AddFlags adds the flags that all commands have.
func (e *Env) AddFlags(flags *pflag.FlagSet) {
	e.Config.AddFlags(flags)
	flags.VarP(&e.Format, "output", "o", "How the result is shown")
	flags.BoolVarP(&e.AllNamespaces, "all-namespaces", "A", false, "All namespaces, whatever --namespace says")
}

// AddCompletions completes the values of the flags of AddFlags.
func (e *Env) AddCompletions(c *cobra.Command) error {
	return errors.Join(
		c.RegisterFlagCompletionFunc("output", cobra.FixedCompletions(output.Formats, cobra.ShellCompDirectiveNoFileComp)),
		c.RegisterFlagCompletionFunc("namespace", e.completeNamespaces),
		c.RegisterFlagCompletionFunc("context", e.completeConfig(contexts)),
		c.RegisterFlagCompletionFunc("cluster", e.completeConfig(clusters)),
		c.RegisterFlagCompletionFunc("user", e.completeConfig(users)),
	)
}

// Namespace is the one that the command is about: of the flag, else of the
// context, else "default".
func (e *Env) Namespace() (string, error) {
	ns, _, err := e.Config.ToRawKubeConfigLoader().Namespace()
	if err != nil {
		return "", fmt.Errorf("reading the kubeconfig for its namespace: %w", err)
	}
	return ns, nil
}

// Scope is Namespace, or "" where all are meant (-A).
func (e *Env) Scope() (string, error) {
	if e.AllNamespaces {
		return "", nil
	}
	return e.Namespace()
}

// Filter is the namespace that was asked for by flag, or "": for commands that show
// the whole cluster unless told otherwise.
func (e *Env) Filter() string {
	if e.AllNamespaces || e.Config.Namespace == nil {
		return ""
	}
	return *e.Config.Namespace
}

// ReadFile reads a file that is named on the command line; "-" is stdin.
func (e *Env) ReadFile(name string) ([]byte, error) {
	if name == "-" {
		text, err := io.ReadAll(e.Streams.In)
		if err != nil {
			return nil, fmt.Errorf("reading stdin: %w", err)
		}
		return text, nil
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return nil, fmt.Errorf("reading the manifests: %w", err)
	}
	return text, nil
}

// Show is a command that reads, shows what it made of that, and ends as End does.
func (e *Env) Show(read func(context.Context, *Reader) (shown output.Result, wrong bool, err error)) func(*cobra.Command, []string) error {
	return func(c *cobra.Command, _ []string) error {
		r, err := e.Reader()
		if err != nil {
			return err
		}
		shown, wrong, err := read(c.Context(), r)
		if err != nil {
			return err
		}
		if err := e.Print(shown); err != nil {
			return err
		}
		return e.End(r, wrong)
	}
}

// Print writes the result of a command.
func (e *Env) Print(r output.Result) error { return output.Print(e.Streams.Out, e.Format, r) }

// End ends a command whose output is written: it says what could not be read, and
// gives the error that stands for the exit code. wrong: the output says that
// something is wrong, or would change.
func (e *Env) End(r *Reader, wrong bool) error {
	gaps := r.Gaps()
	if len(gaps) > 0 {
		if err := writeGaps(e.Streams.ErrOut, gaps); err != nil {
			return err
		}
	}
	switch {
	case wrong:
		return exit.ErrWrong
	case len(gaps) > 0:
		return exit.ErrPartly
	}
	return nil
}
