package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// awayPart takes the API server and the controllers away, and looks from the
// client host at who answers for every address: before, while a node is cut off
// meanwhile, and after.
func awayPart(ctx context.Context, b *bench) (rows []row, err error) {
	clear, err := b.stage(ctx, scene{
		addresses: []string{segmentIPv4, segmentIPv6}, backends: []string{"node3"}, from: []string{"node1", "node2"},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	targets, err := b.targets(ctx, b.pick(50, 8))
	if err != nil {
		return nil, err
	}
	before, err := b.answered(ctx, targets, "")
	if err != nil {
		return nil, err
	}
	gone := time.Now()
	if err := b.stopController(ctx); err != nil {
		return nil, err
	}
	b.say("stopping the API server")
	if err := b.cluster.StopProcess(testbed.Control, testbed.APIServer); err != nil {
		return nil, err
	}
	seen, err := b.whileAway(ctx, targets, gone)
	if err := errors.Join(err, b.apiBack(ctx)); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("API server and controllers away for %s: ", seen.away.Round(time.Second))
	all := float64(2 * len(targets))
	return []row{
		{what: what + "addresses answered for by one node, before", figure: float64(before), unit: "addresses", aim: atLeast(all), runs: 1},
		{what: what + "while a node is cut off, by another one", figure: float64(seen.failedOver), unit: "addresses", aim: atLeast(all), runs: 1},
		{what: what + "the address of a node cut off, served again after", figure: seen.again.Seconds(), unit: "s", runs: 1},
		{what: what + "at the end", figure: float64(seen.after), unit: "addresses", aim: atLeast(all), runs: 1},
		{what: fmt.Sprintf("%sof %d new connections outside of the cut, failed", what, seen.tried), figure: float64(seen.failed), unit: "connections", aim: atMost(0), runs: 1},
	}, nil
}

type absence struct {
	away, again       time.Duration
	failedOver, after int
	tried, failed     int
}

// whileAway cuts a node off half-way through, and counts.
func (b *bench) whileAway(ctx context.Context, targets []target, gone time.Time) (seen absence, err error) {
	half := time.Duration(b.pick(300, 15)) * time.Second
	t := targets[0]
	if err := b.tryFor(ctx, t, half, &seen); err != nil {
		return seen, err
	}
	b.say("cutting %s off", t.home)
	c, err := b.cutAnd(ctx, t, func() error {
		seen.failedOver, err = b.answered(ctx, targets, t.home)
		return err
	})
	if err != nil {
		return seen, err
	}
	seen.again = max(c.again[0], c.again[1])
	// The node takes its addresses back in an orderly way.
	if err := b.tryFor(ctx, t, half, &seen); err != nil {
		return seen, err
	}
	seen.after, err = b.answered(ctx, targets, "")
	seen.away = time.Since(gone)
	return seen, err
}

// tryFor opens new connections to a target for a while.
func (b *bench) tryFor(ctx context.Context, t target, d time.Duration, seen *absence) error {
	var probes []*lab.Probe
	for _, a := range t.addresses {
		probes = append(probes, b.lab.StartProbe(ctx, testbed.Client, a, 80, 200*time.Millisecond, patience))
	}
	err := sleep(ctx, d)
	for _, p := range probes {
		tries := p.Stop()
		seen.tried += len(tries)
		seen.failed += len(lab.Failed(tries))
	}
	return err
}

// answered counts the addresses for which exactly one node answers, and another
// one than not.
func (b *bench) answered(ctx context.Context, targets []target, not string) (int, error) {
	macs, err := b.hardwareAddresses(ctx)
	if err != nil {
		return 0, err
	}
	var mu sync.Mutex
	count := 0
	err = inParallel(ctx, 4, 0, 2*len(targets), func(ctx context.Context, i int) error {
		who, err := b.whoHas(ctx, targets[i/2].addresses[i%2])
		if err != nil {
			return err
		}
		if len(who) == 1 && (not == "" || !slices.Contains(who, macs[not])) {
			mu.Lock()
			defer mu.Unlock()
			count++
		}
		return nil
	})
	return count, err
}

// apiBack starts the API server and the controllers.
func (b *bench) apiBack(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	if err := b.cluster.StartProcess(testbed.Control, testbed.APIServer); err != nil {
		return err
	}
	return errors.Join(b.cluster.AwaitAPI(ctx), b.startController(ctx))
}
