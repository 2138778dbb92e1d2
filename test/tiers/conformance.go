package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/spf13/cobra"
)

// conformanceOptions are those of the command conformance/run; empty ones are
// left to it.
type conformanceOptions struct {
	channel, mode, run string
	keep               bool
}

func conformanceCommand(run *string) *cobra.Command {
	var o conformanceOptions
	c := &cobra.Command{
		Use: "conformance", Short: "Run the Gateway API's conformance suite on a real cluster", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if reason := cannotHaveCluster(); reason != "" {
				return fmt.Errorf("the conformance suite cannot run: %s", reason)
			}
			o.run = *run
			return report(runConformance(c.Context(), o, ""))
		},
	}
	c.Flags().StringVar(&o.channel, "channel", "", "release channel of the Gateway API's CRDs: standard or experimental")
	c.Flags().StringVar(&o.mode, "mode", "", "how Envoys are run: shared or dedicated")
	c.Flags().BoolVar(&o.keep, "keep", false, "leave the cluster up")
	return c
}

// conformanceTier runs the program that conformance/run was built to. An empty
// folder for reports leaves it to the program where they go.
func conformanceTier(program string, o conformanceOptions, reports string) tier {
	t := tier{name: "conformance", depth: 2, program: program, args: []string{"--json"}}
	for _, flag := range []struct{ name, value string }{
		{"--channel", o.channel}, {"--mode", o.mode}, {"--run", o.run}, {"--reports", reports},
	} {
		if flag.value != "" {
			t.args = append(t.args, flag.name, flag.value)
		}
	}
	if o.keep {
		t.args = append(t.args, "--keep")
	}
	return t
}

// runConformance builds the program first: one that go run starts would not hear
// that it is to end, and leave its cluster.
func runConformance(ctx context.Context, o conformanceOptions, reports string) result {
	const name = "conformance"
	dir, err := os.MkdirTemp("", "fairlead-conformance-")
	if err != nil {
		return result{tier: name, broken: fmt.Errorf("making a folder for the program: %w", err)}
	}
	defer os.RemoveAll(dir)
	program := filepath.Join(dir, "run")
	build := exec.CommandContext(ctx, "go", "build", "-o", program, "./conformance/run")
	build.Stderr = os.Stderr
	if err := build.Run(); err != nil {
		return result{tier: name, broken: fmt.Errorf("building conformance/run: %w", err)}
	}
	return runTier(ctx, conformanceTier(program, o, reports))
}
