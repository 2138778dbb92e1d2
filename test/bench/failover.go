package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// failovers are how soon routers see that a node is gone.
var failovers = []struct {
	what        string
	bfd         time.Duration
	full, quick int
	aim         aim
}{
	{"BFD 3 x 50 ms", 50 * time.Millisecond, 30, 2, failoverAim},
	{"BFD 3 x 100 ms", 100 * time.Millisecond, 30, 2, failoverAim},
	{"without BFD (hold time 3 s)", 0, 10, 1, aim{}},
}

// failoverPart cuts nodes off while a router spreads new connections over three.
func failoverPart(ctx context.Context, b *bench) (rows []row, err error) {
	for _, f := range failovers {
		what := "node cut off, one of three that a router spreads over, " + f.what
		n := b.pick(f.full, f.quick)
		b.say("%s: %d cuts", what, n)
		without, tried, failed, err := b.failover(ctx, f.bfd, n)
		if len(without) > 0 {
			rows = append(rows, spread(what+": from the cut until the last new connection began that was not answered at once", without, f.aim)...)
			rows = append(rows, row{what: fmt.Sprintf("%s: of %d new connections in the 2 s after that, failed", what, tried), figure: float64(failed), unit: "connections", aim: atMost(0), runs: n})
		}
		if err != nil {
			return rows, fmt.Errorf("%s: %w", f.what, err)
		}
	}
	return rows, nil
}

func (b *bench) failover(ctx context.Context, bfd time.Duration, n int) (without []time.Duration, tried, failed int, err error) {
	// The backend is on the node that is never cut off: what kube-proxy does about others is another matter.
	r, clear, err := b.stageRouted(ctx, scene{addresses: []string{routedIPv4, routedIPv6}, backends: []string{"node3"}}, bfd, routedIPv4, routedIPv6)
	if err != nil {
		return nil, 0, 0, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	addresses, err := r.serve(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	for i := range n {
		// BFD's packets come at a fixed pace; a cut comes at any moment of it.
		if err := errors.Join(r.calm(ctx, addresses), sleep(ctx, time.Duration(i*137%1000)*time.Millisecond)); err != nil {
			return without, tried, failed, err
		}
		node := []string{"node1", "node2"}[i%2]
		c, err := r.failOver(ctx, node, addresses[i/2%2])
		if err != nil {
			return without, tried, failed, fmt.Errorf("cut %d, of %s: %w", i+1, node, err)
		}
		r.say("cut %d of %d, %s: %s without service, then %d of %d connections failed", i+1, n, node, c.without.Round(time.Millisecond), c.failed, c.tried)
		without, tried, failed = append(without, c.without), tried+c.tried, failed+c.failed
	}
	return without, tried, failed, nil
}

type failedOver struct {
	without       time.Duration
	tried, failed int
}

func (r *routed) failOver(ctx context.Context, node string, a netip.Addr) (out failedOver, err error) {
	p := r.lab.StartProbe(ctx, testbed.Client, a, 80, bgpProbeEvery, bgpProbeTimeout)
	defer p.Stop()
	defer func() { err = errors.Join(err, r.cluster.Heal(node)) }()
	if err := sleep(ctx, 200*time.Millisecond); err != nil {
		return out, err
	}
	began := time.Now()
	if err := r.cluster.Cut(node); err != nil {
		return out, err
	}
	if err := r.spreadOver(ctx, a, clusterNodes-1); err != nil {
		return out, err
	}
	again := time.Now()
	if err := sleep(ctx, afterwards); err != nil {
		return out, err
	}
	tries := p.Stop()
	out.without = without(tries, began, again)
	for _, t := range tries {
		if t.Start.After(again) {
			out.tried++
			if t.Err != nil {
				out.failed++
			}
		}
	}
	return out, nil
}

// without is how long after a moment the last try began, before another one, that was not answered at once.
func without(tries []lab.Try, from, to time.Time) (d time.Duration) {
	for _, t := range tries {
		if (t.Err != nil || t.Took > late) && t.Start.After(from) && t.Start.Before(to) {
			d = max(d, t.Start.Sub(from))
		}
	}
	return d
}
