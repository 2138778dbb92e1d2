// Command demo shows Fairlead at work: a cluster on this machine, Services that
// get addresses and answer a client outside of it, and a node that dies.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/test/testbed"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{Use: "demo", Short: "Show Fairlead at work", SilenceUsage: true, SilenceErrors: true}
	root.PersistentFlags().StringVar(&o.name, "name", testbed.DefaultName, "name of the testbed cluster")
	up := &cobra.Command{
		Use: "up", Short: "Start the demo (on the cluster of KUBECONFIG, if that is set)", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" {
				return o.onUsersCluster(c.Context(), kubeconfig)
			}
			return o.onTestbed(c.Context())
		},
	}
	up.Flags().IntVar(&o.nodes, "nodes", testbed.DefaultNodes, "nodes of the testbed cluster")
	up.Flags().StringVar(&o.addresses, "addresses", os.Getenv("DEMO_ADDRESSES"),
		"free addresses of your network, comma-separated prefixes or ranges; needed with KUBECONFIG (or set DEMO_ADDRESSES)")
	up.Flags().StringVar(&o.version, "version", os.Getenv("DEMO_VERSION"), "image tag to install with KUBECONFIG (or set DEMO_VERSION); the chart's own if empty")
	down := &cobra.Command{
		Use: "down", Short: "End the demo", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if kubeconfig := os.Getenv("KUBECONFIG"); kubeconfig != "" {
				return o.leaveUsersCluster(c.Context(), kubeconfig)
			}
			return testbed.Down(c.Context(), o.name, testbed.NewProgress(os.Stdout))
		},
	}
	root.AddCommand(up, down)
	return root
}

type options struct {
	name, addresses, version string
	nodes                    int
}

// steps prints numbered steps as they begin and end.
type steps struct{ n, of int }

func (s *steps) step(what, detail string, f func() (string, error)) error {
	s.n++
	fmt.Printf("[%d/%d] %-14s %s\n", s.n, s.of, what, detail)
	end := stopwatch()
	result, err := f()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	fmt.Printf("      %-14s %-40s %s\n", "", result, end())
	return nil
}
