package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	probeEvery   = 20 * time.Millisecond
	probeTimeout = time.Second
	// afterwards is how long new connections are tried after a takeover.
	afterwards = 2 * time.Second
)

var takeoverAim = atMost(1) // seconds, 99th percentile

// The two cases that are told apart. Where a backend is on the cut node,
// kube-proxy keeps sending it its share until Kubernetes calls the node not
// ready, whoever announces the address.
var cutCases = []struct {
	what     string
	backends []string
	from     []string
	aim      aim
}{
	{"node cut off, backends on other nodes", []string{"node3"}, []string{"node1", "node2"}, takeoverAim},
	{"node cut off, a backend of three on it", []string{"node1", "node2", "node3"}, []string{"node1", "node2"}, aim{}},
}

func takeoverPart(ctx context.Context, b *bench) ([]row, error) {
	var rows []row
	for i, c := range cutCases {
		n := b.pick(30, 3)
		if i > 0 {
			n = b.pick(10, 1)
		}
		b.say("%s: %d cuts", c.what, n)
		cuts, err := b.cuts(ctx, scene{addresses: []string{segmentIPv4, segmentIPv6}, backends: c.backends, from: c.from}, n)
		rows = append(rows, cutRows(c.what, cuts, c.aim, i > 0)...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.what, err)
		}
	}
	return rows, nil
}

// cut is what a client saw of one.
type cut struct {
	again         [2]time.Duration // served again, IPv4 and IPv6
	tried, failed int              // new connections after that, for a while
	one           time.Duration    // after healing, until one host answers
	misled        int              // addresses that the ledger was wrong about once all had settled
}

func (b *bench) cuts(ctx context.Context, s scene, n int) (done []cut, err error) {
	clear, err := b.stage(ctx, s)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	targets, err := b.targets(ctx, 4)
	if err != nil {
		return nil, err
	}
	for i := range n {
		t := targets[i%len(targets)]
		// Gossip probes at a fixed pace; a cut comes at any moment of it.
		if err := sleep(ctx, time.Duration(i*137%1000)*time.Millisecond); err != nil {
			return done, err
		}
		c, err := b.cut(ctx, t)
		if err != nil {
			return done, fmt.Errorf("cut %d, of %s: %w", i+1, t.home, err)
		}
		b.say("cut %d of %d, %s: IPv4 again after %s, IPv6 after %s, then %d of %d connections failed",
			i+1, n, t.home, c.again[0].Round(time.Millisecond), c.again[1].Round(time.Millisecond), c.failed, c.tried)
		if err := b.awaitHomes(ctx, targets); err != nil {
			return append(done, c), err
		}
		c.misled, err = b.misled(ctx, targets)
		done = append(done, c)
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (b *bench) cut(ctx context.Context, t target) (cut, error) {
	return b.cutAnd(ctx, t, func() error { return nil })
}

// cutAnd cuts a node off, waits until its address is served again, does
// something, and heals.
func (b *bench) cutAnd(ctx context.Context, t target, do func() error) (c cut, err error) {
	var probes [2]*lab.Probe
	for i, a := range t.addresses {
		probes[i] = b.lab.StartProbe(ctx, testbed.Client, a, 80, probeEvery, probeTimeout)
		defer probes[i].Stop()
	}
	// Heal whatever happens.
	defer func() {
		healed := time.Now()
		err = errors.Join(err, b.cluster.Heal(t.home))
		if err == nil {
			c.one, err = b.awaitOne(ctx, t, healed)
		}
	}()
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return c, err
	}
	before := time.Now()
	if err := b.cluster.Cut(t.home); err != nil {
		return c, err
	}
	// A connection that began before the link was down may still have got its
	// answer: it does not count, but its time does.
	down := time.Now()
	for i, p := range probes {
		again, err := servedAgain(ctx, p, down)
		if err != nil {
			return c, fmt.Errorf("%s: %w", t.addresses[i], err)
		}
		c.again[i] = again + down.Sub(before)
	}
	served := time.Now()
	if err := sleep(ctx, afterwards); err != nil {
		return c, err
	}
	for _, p := range probes {
		c.count(p.Stop(), served)
	}
	return c, do()
}

// count adds the tries that began after a time.
func (c *cut) count(tries []lab.Try, from time.Time) {
	for _, t := range tries {
		if t.Start.Before(from) {
			continue
		}
		c.tried++
		if t.Err != nil {
			c.failed++
		}
	}
}

// neverAgain is how long a client waits to be served.
const neverAgain = 30 * time.Second

func servedAgain(ctx context.Context, p *lab.Probe, down time.Time) (time.Duration, error) {
	for time.Since(down) < neverAgain {
		if again, ok := lab.ServedAgain(p.Tries(), down); ok {
			return again, nil
		}
		if err := sleep(ctx, 50*time.Millisecond); err != nil {
			return 0, err
		}
	}
	return 0, fmt.Errorf("not served again within %s", neverAgain)
}

// lookAgain is the pause between two looks, each of which listens for 0.3 s.
const lookAgain = 20 * time.Millisecond

// awaitOne looks until one host answers for each address of a target, and says
// how long after healing the look began that saw it.
func (b *bench) awaitOne(ctx context.Context, t target, healed time.Time) (after time.Duration, err error) {
	err = awaitSlowly(ctx, time.Minute, lookAgain, "one host to answer for "+t.name, func(ctx context.Context) error {
		after = time.Since(healed)
		return inParallel(ctx, len(t.addresses), 0, len(t.addresses), func(ctx context.Context, i int) error {
			_, err := b.answering(ctx, t.addresses[i])
			return err
		})
	})
	return after, err
}

func cutRows(what string, cuts []cut, p99 aim, share bool) []row {
	if len(cuts) == 0 {
		return nil
	}
	var rows []row
	for i, family := range []string{"IPv4", "IPv6"} {
		var again []time.Duration
		for _, c := range cuts {
			again = append(again, c.again[i])
		}
		rows = append(rows, spread(what+": client served again, "+family, again, p99)...)
	}
	tried, failed, misled := 0, 0, 0
	var one []float64
	for _, c := range cuts {
		misled = max(misled, c.misled)
		tried, failed = tried+c.tried, failed+c.failed
		one = append(one, c.one.Seconds())
	}
	beside := "0"
	if share {
		beside = "a third: kube-proxy's choice of backends, not ours"
	}
	after := fmt.Sprintf("%s: of %d new connections in the %s after that, failed", what, tried, afterwards)
	return append(
		rows,
		row{what: after, figure: 100 * float64(failed) / float64(max(tried, 1)), unit: "%", beside: beside, runs: len(cuts)},
		row{what: what + ": healed, until one host alone answers for both addresses (looked for every 0.35 s), max", figure: percentile(one, 100), unit: "s", aim: atMost(1), runs: len(cuts)},
		row{what: what + ": healed and settled, addresses whose ledger entry names another node than the one that answers, max", figure: float64(misled), unit: "addresses", aim: atMost(0), runs: len(cuts)},
	)
}
