package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// Addresses of the nodes' segment that a router's routes lead to as well.
const (
	bothIPv4 = "172.30.0.208/29"
	bothIPv6 = "fd00:30::208/125"
)

// sides are where clients of an address are that is announced in both ways. The API server's host is never cut off.
var sides = []struct{ what, host string }{
	{"a client on the segment (layer 2)", testbed.Control},
	{"a client behind the router (BGP)", testbed.Client},
}

// seenBySides is what clients of both sides saw of the nodes and speakers that ended.
type seenBySides [2]struct {
	without       []time.Duration // from each end until the last new connection began that was not answered at once
	tried, failed int
}

// bothPart ends nodes and speakers that announce one pool on layer 2 and by BGP at once.
func bothPart(ctx context.Context, b *bench) (rows []row, err error) {
	r, clear, err := b.stageRouted(ctx, scene{
		addresses: []string{bothIPv4, bothIPv6}, backends: []string{"node3"}, from: []string{"node1", "node2"}, both: true,
	}, 100*time.Millisecond, bothIPv4, bothIPv6)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	targets, err := b.targets(ctx, 2)
	if err != nil {
		return nil, err
	}
	cuts, err := r.bothSides(ctx, targets, b.pick(20, 2), r.cutForAWhile)
	for i, s := range sides {
		if len(cuts[i].without) == 0 {
			continue
		}
		aim := []aim{takeoverAim, failoverAim}[i]
		rows = append(rows, spread("node that announces on layer 2 cut off, seen by "+s.what+": from the cut until the last new connection began that was not answered at once",
			cuts[i].without, aim)...)
	}
	if err != nil {
		return rows, fmt.Errorf("cutting nodes off: %w", err)
	}
	kills, err := r.bothSides(ctx, targets, b.pick(10, 1), r.killAndRenew)
	for i, s := range sides {
		if len(kills[i].without) == 0 {
			continue
		}
		rows = append(rows, row{
			what:   fmt.Sprintf("kill -9 of the speaker that announces on layer 2, seen by %s: of %d new connections, failed", s.what, kills[i].tried),
			figure: float64(kills[i].failed), unit: "connections", aim: atMost(0), runs: len(kills[i].without),
		})
	}
	if err != nil {
		return rows, fmt.Errorf("killing speakers: %w", err)
	}
	return rows, nil
}

// bothSides does something to a target's home so many times, while clients of both sides open connections.
func (r *routed) bothSides(ctx context.Context, targets []target, n int, do func(context.Context, target) error) (seen seenBySides, err error) {
	for i := range n {
		t := targets[i%len(targets)]
		if err := errors.Join(r.calm(ctx, t.addresses), sleep(ctx, time.Duration(i*137%1000)*time.Millisecond)); err != nil {
			return seen, err
		}
		var probes []*lab.Probe
		for _, s := range sides {
			p := r.lab.StartProbe(ctx, s.host, t.addresses[i/len(targets)%2], 80, bgpProbeEvery, patience)
			defer p.Stop()
			probes = append(probes, p)
		}
		if err := sleep(ctx, 200*time.Millisecond); err != nil {
			return seen, err
		}
		began := time.Now()
		if err := do(ctx, t); err != nil {
			return seen, err
		}
		for side, p := range probes {
			seen.add(side, p.Stop(), began)
		}
		r.say("%d of %d, %s: on the segment %s, behind the router %s without service", i+1, n, t.home,
			seen[0].without[i].Round(time.Millisecond), seen[1].without[i].Round(time.Millisecond))
		if err := r.awaitHomes(ctx, targets); err != nil {
			return seen, err
		}
	}
	return seen, nil
}

func (s *seenBySides) add(side int, tries []lab.Try, began time.Time) {
	s[side].failed += len(lab.Failed(tries))
	s[side].tried += len(tries)
	s[side].without = append(s[side].without, without(tries, began, time.Now()))
}

// cutForAWhile cuts a node off, and heals it once all had time to go on without it.
func (r *routed) cutForAWhile(ctx context.Context, t target) error {
	if err := r.cluster.Cut(t.home); err != nil {
		return err
	}
	return errors.Join(sleep(ctx, afterwards), r.cluster.Heal(t.home))
}

func (r *routed) killAndRenew(ctx context.Context, t target) error {
	return errors.Join(killSpeaker(ctx, r.bench, t), sleep(ctx, afterwards), renewSpeaker(ctx, r.bench, t))
}
