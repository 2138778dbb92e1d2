// Command run brings up a cluster on this machine with Fairlead and the Gateway
// API, runs the Gateway API's conformance suite from a host outside the cluster,
// and says what its report lacks.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/conformance"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{
		Use: "run", Short: "Run the Gateway API's conformance suite on a cluster of this machine", Args: cobra.NoArgs,
		SilenceUsage: true, SilenceErrors: true,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := o.complete(c.Context()); err != nil {
				return err
			}
			return run(c.Context(), o, os.Stdout)
		},
	}
	f := root.Flags()
	f.StringVar(&o.channel, "channel", conformance.Experimental, "release channel of the Gateway API's CRDs: standard or experimental")
	f.StringVar(&o.mode, "mode", modeShared, "how Envoys are run: shared or dedicated")
	f.StringVar(&o.tests, "run", "", "run only the tests whose names match this regular expression, as go test -run does below TestConformance; makes no report")
	f.StringVar(&o.version, "version", "", "version of Fairlead in the report and of its images; the working tree's if empty")
	f.StringVar(&o.name, "name", "conformance", "the cluster's name")
	f.BoolVar(&o.keep, "keep", false, "leave the cluster up, and take one that is")
	f.BoolVar(&o.skipInstall, "skip-install", false, "test a cluster of this name as it is, without another installation (for --keep)")
	f.StringVar(&o.reports, "reports", "", "folder for the report; conformance/reports if empty and the working tree is a commit, build/conformance otherwise")
	f.StringVar(&o.artefacts, "artefacts", "", "folder for what is kept of tests that fail, and for the suite's output; build/conformance/CHANNEL-MODE if empty")
	f.BoolVar(&o.json, "json", false, "print events as go test -json does")
	root.AddCommand(&cobra.Command{
		Use: "check REPORT", Short: "Say what a report of the suite lacks", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error { return expected{}.check(os.Stdout, args[0]) },
	})
	return root
}
