// Command tiers runs the project's tests, tier by tier, and prints a line for
// each: what passed, what failed, and what was not run and why.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/test/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var run string
	var clusters int
	root := &cobra.Command{
		Use: "tiers", Short: "Run all tests", Args: cobra.NoArgs, SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error { return runAll(c.Context(), run, clusters) },
	}
	root.PersistentFlags().StringVar(&run, "run", "", "regular expression of the tests to run")
	root.PersistentFlags().IntVar(&clusters, "clusters", 2, "how many clusters share the tests on a real one, at once, if all are run")
	root.AddCommand(
		&cobra.Command{
			Use: "unit", Short: "Run the tests that need no cluster", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				return report(runTier(c.Context(), unitTier(run, os.Getenv(assetsVariable))))
			},
		},
		&cobra.Command{
			Use: "e2e", Short: "Run the tests on a real cluster", Args: cobra.NoArgs,
			RunE: func(c *cobra.Command, _ []string) error {
				if reason := cannotHaveCluster(); reason != "" {
					return fmt.Errorf("the tests on a real cluster cannot run: %s", reason)
				}
				return report(runE2E(c.Context(), run, clusters))
			},
		},
		conformanceCommand(&run),
	)
	return root
}

// runAll builds Kubernetes once (from the cache where it is there), since the
// unit tests use its API server and the cluster all of it. They use the cluster's
// Envoy, too.
func runAll(ctx context.Context, run string, clusters int) error {
	if reason := cannotHaveCluster(); reason != "" {
		unit := runTier(ctx, unitTier(run, os.Getenv(assetsVariable)))
		return report(unit, result{tier: "busy", notRun: reason}, result{tier: "e2e", notRun: reason}, result{tier: "conformance", notRun: reason})
	}
	assets, err := buildKubernetes(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(assets)
	envoy, err := testbed.Envoy(ctx, testbed.NewProgress(os.Stdout))
	if err != nil {
		return fmt.Errorf("getting Envoy: %w", err)
	}
	if err := testbed.InstallRouters(ctx, testbed.NewProgress(os.Stdout)); err != nil {
		return fmt.Errorf("installing routers: %w", err)
	}
	unit := unitTier(run, assets)
	unit.env = append(unit.env, envoyVariable+"="+envoy.Binary)
	var results []result
	if run == "" {
		results = runBeside(ctx, unit)
	} else {
		results = []result{runTier(ctx, unit), {tier: "busy", notRun: "only some tests are asked for"}}
	}
	return report(append(
		results,
		runE2E(ctx, run, clusters),
		// Its report is of the moment, so it does not go into the tree.
		runConformance(ctx, conformanceOptions{run: run}, filepath.Join("build", "conformance")),
	)...)
}

func cannotHaveCluster() string {
	if os.Geteuid() != 0 {
		return "it needs root, to make network namespaces"
	}
	return ""
}
