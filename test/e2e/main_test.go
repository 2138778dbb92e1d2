//go:build e2e

// Package e2e tests Fairlead as its users see it: a real cluster, real ARP and
// NDP on real sockets, and a client outside the cluster.
package e2e

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// shared is the cluster that most tests use, one after the other.
var shared *lab.Lab

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	ctx := context.Background()
	say := testbed.NewProgress(os.Stdout)
	cluster, err := testbed.Up(ctx, testbed.Config{Name: clusterName(), Nodes: 3, Progress: say})
	if err != nil {
		fmt.Fprintln(os.Stderr, "bringing up the cluster:", err)
		return 1
	}
	defer cluster.Down()
	defer builtPlugin.remove()
	if shared, err = lab.New(cluster); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := shared.LoadImages(ctx, "e2e-1"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	start := time.Now()
	if err := shared.Install(ctx, defaultValues()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		shared.Dump(ctx, os.Stderr)
		return 1
	}
	fmt.Printf("chart installed in %s\n", time.Since(start).Round(100*time.Millisecond))
	code := m.Run()
	if code != 0 {
		shared.Dump(ctx, os.Stderr)
	}
	return code
}

// clusterName is what the testbed calls its clusters by default, so that these
// tests can run beside others on one machine.
func clusterName() string {
	if name := os.Getenv("FAIRLEAD_TESTBED_NAME"); name != "" {
		return name
	}
	return "e2e"
}

// defaultValues are what most tests want: the defaults, but for a settle time
// that does not make every test wait, and for a class of others that is announced.
func defaultValues() chart.Values {
	return chart.Values{
		"speaker":  chart.Values{"settle": "3s"},
		"services": chart.Values{"statusClasses": []any{nginxClass}},
	}
}
