package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// stopwatch returns a function that says how long it has been.
func stopwatch() func() string {
	start := time.Now()
	return func() string { return fmt.Sprintf("%.1f s", time.Since(start).Seconds()) }
}

// onTestbed is the demo on a cluster that it makes on this machine.
func (o options) onTestbed(ctx context.Context) error {
	say := testbed.NewProgress(os.Stdout)
	var cluster *testbed.Cluster
	var l *lab.Lab
	s := steps{of: 5}
	if err := s.step("Kubernetes", "programs of the cluster (built once, then cached)", func() (string, error) {
		_, err := testbed.Build(ctx, say)
		return "ok", err
	}); err != nil {
		return err
	}
	if err := s.step("cluster", fmt.Sprintf("%d nodes, dual stack", o.nodes), func() (string, error) {
		var err error
		cluster, err = testbed.Up(ctx, testbed.Config{Name: o.name, Nodes: o.nodes, Reuse: true, Detached: true, Progress: say})
		if err != nil {
			return "", err
		}
		l, err = lab.New(cluster)
		return "Ready", err
	}); err != nil {
		return err
	}
	if err := s.step("fairlead", "images, chart", func() (string, error) {
		// A tag of its own each time, so that a demo that is run again shows
		// the working tree as it is now.
		if err := l.LoadImages(ctx, fmt.Sprintf("demo-%d", time.Now().Unix())); err != nil {
			return "", err
		}
		return "Ready", l.Install(ctx, nil)
	}); err != nil {
		return err
	}
	examples := examplesFor("172.30.0.100-172.30.0.250", "fd00:30::100-fd00:30::2ff")
	examples.gateway = true
	if err := s.step("examples", examples.summary(), func() (string, error) { return "ok", examples.apply(ctx, l.Apply, l.AwaitReady) }); err != nil {
		return err
	}
	if err := s.step("from a client", "outside the cluster, by ARP and NDP:", func() (string, error) {
		rows, err := examples.visit(ctx, l)
		if err != nil {
			return "", err
		}
		printRows(rows)
		return "all answer", nil
	}); err != nil {
		return err
	}
	if o.nodes > 1 {
		if err := dieAndAnswer(ctx, l, examples); err != nil {
			return err
		}
	}
	return o.lookAround(cluster)
}

// dieAndAnswer cuts off the node that announces the first Service and shows how
// soon a client is served again.
func dieAndAnswer(ctx context.Context, l *lab.Lab, e examples) error {
	address := e.fixed()
	before, err := awaitAnnouncer(ctx, l.Client, address, "")
	if err != nil {
		return err
	}
	probe := l.StartProbe(ctx, testbed.Client, address, 80, 20*time.Millisecond, time.Second)
	defer probe.Stop()
	cut := time.Now()
	if err := l.Cluster.Cut(before); err != nil {
		return err
	}
	defer l.Cluster.Heal(before) //nolint:errcheck // the demo ends here; `down` removes the node in any case
	if err := lab.Await(ctx, 30*time.Second, address.String()+" to answer again", func(context.Context) error {
		if _, ok := lab.ServedAgain(probe.Tries(), cut); !ok {
			return fmt.Errorf("no new connection was answered yet")
		}
		return nil
	}); err != nil {
		return err
	}
	again, _ := lab.ServedAgain(probe.Stop(), cut)
	after, err := awaitAnnouncer(ctx, l.Client, address, before)
	if err != nil {
		return err
	}
	fmt.Printf("      %s cut off: %s answers again after %.2f s, now from %s\n", before, address, again.Seconds(), after)
	return nil
}

// lookAround leaves a file to source and says what to do next.
func (o options) lookAround(cluster *testbed.Cluster) error {
	dir := filepath.Join(lab.Root(), "build", o.name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder for the environment file: %w", err)
	}
	text := fmt.Sprintf("export KUBECONFIG=%q\nexport PATH=%q:\"$PATH\"\n", cluster.Kubeconfig(), filepath.Dir(cluster.Binary("kubectl")))
	if err := os.WriteFile(filepath.Join(dir, "env"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("writing the environment file: %w", err)
	}
	down := "make demo-down"
	if o.name != testbed.DefaultName {
		down += " NAME=" + o.name
	}
	fmt.Printf("\nLook around:  . build/%s/env && kubectl get addresses\nEnd it with:  %s\n", o.name, down)
	return nil
}
