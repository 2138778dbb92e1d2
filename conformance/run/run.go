package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// nodes of the cluster: enough that an Envoy, its peers and a backend can be on
// different ones.
const nodes = 3

// testArtefacts is the folder that the testing package makes for what tests keep.
const testArtefacts = "_artifacts"

// run does all of it. It ends the cluster, unless that is to be kept.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	if err := o.makeFolders(); err != nil {
		return err
	}
	say := testbed.NewProgress(out)
	cluster, err := testbed.Up(ctx, testbed.Config{Name: o.name, Nodes: nodes, GatewayAPI: o.channel, Progress: say, Reuse: o.keep, Detached: o.keep})
	if err != nil {
		return err
	}
	if !o.keep {
		defer func() { err = errors.Join(err, cluster.Down()) }()
	}
	l, err := lab.New(cluster)
	if err != nil {
		return err
	}
	ran, err := o.prepareAndTest(ctx, l, out)
	if err != nil && ctx.Err() == nil {
		err = errors.Join(err, o.dump(ctx, l))
	}
	if !ran || o.report() == "" || ctx.Err() != nil {
		return err
	}
	want := expected{channel: o.channel, mode: o.mode, version: o.version}
	return errors.Join(err, want.check(out, o.report()))
}

// prepareAndTest also says whether the suite was run.
func (o options) prepareAndTest(ctx context.Context, l *lab.Lab, out io.Writer) (ran bool, err error) {
	binary, err := o.prepare(ctx, l, out)
	if err != nil {
		return false, err
	}
	// Envoys ask the suite's host in the case of ExternalAuth by gRPC.
	if err := l.Cluster.RouteToPods(ctx, testbed.Client); err != nil {
		return false, err
	}
	return true, o.suite(ctx, l.Cluster, binary, out)
}

// makeFolders also removes what an earlier run has left, so that it cannot be
// taken for this run's.
func (o options) makeFolders() error {
	if err := os.RemoveAll(filepath.Join(o.artefacts, testArtefacts)); err != nil {
		return fmt.Errorf("removing earlier artefacts: %w", err)
	}
	for _, dir := range []string{o.artefacts, o.reports} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("making a folder for results: %w", err)
		}
	}
	if path := o.report(); path != "" {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("removing an earlier report: %w", err)
		}
	}
	return nil
}

// prepare compiles the suite while Fairlead is installed, and returns the path of
// its program.
func (o options) prepare(ctx context.Context, l *lab.Lab, out io.Writer) (string, error) {
	binary := filepath.Join(o.artefacts, "conformance.test")
	group, gctx := errgroup.WithContext(ctx)
	group.Go(func() error { return o.compile(gctx, binary) })
	if !o.skipInstall {
		group.Go(func() error { return o.install(gctx, l, out) })
	}
	return binary, group.Wait()
}

// dump keeps what the tests' own artefacts do not have: the state of hosts and
// kube-proxies.
func (o options) dump(ctx context.Context, l *lab.Lab) error {
	f, err := os.Create(o.dumpPath())
	if err != nil {
		return fmt.Errorf("keeping the cluster's state: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	l.Dump(ctx, f)
	return f.Close()
}

func (o options) dumpPath() string { return filepath.Join(o.artefacts, "cluster.txt") }
