package main

import (
	"context"
	"errors"
	"time"
)

// quietPart counts requests over a restart of the controllers and a rest, while
// nothing changes.
func quietPart(ctx context.Context, b *bench) (rows []row, err error) {
	clear, err := b.stage(ctx, scene{addresses: []string{manyIPv4}, backends: []string{"node1", "node2", "node3"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	n, rest := b.pick(1000, 100), time.Duration(b.pick(60, 10))*time.Second
	b.say("%d Services", n)
	if _, err := b.createServices(ctx, 0, n); err != nil {
		return nil, err
	}
	if err := b.settled(ctx, n); err != nil {
		return nil, err
	}
	b.say("restarting the controllers, then %s of rest", rest)
	from, err := b.markAudit()
	if err != nil {
		return nil, err
	}
	if err := errors.Join(b.stopController(ctx), b.startController(ctx)); err != nil {
		return nil, err
	}
	if err := sleep(ctx, rest); err != nil {
		return nil, err
	}
	requests, err := b.requestsSince(from)
	if err != nil {
		return nil, err
	}
	return quietRows(requests, n, rest), nil
}

// settled waits until all is announced and the writes that follow are done.
func (b *bench) settled(ctx context.Context, n int) error {
	if err := b.awaitAnnounced(ctx, n); err != nil {
		return err
	}
	return b.awaitNoWrites(ctx)
}

// awaitNoWrites waits until Fairlead writes nothing, leases apart.
func (b *bench) awaitNoWrites(ctx context.Context) error {
	return awaitSlowly(ctx, 2*time.Minute, time.Second, "Fairlead to have nothing more to write", func(ctx context.Context) error {
		from, err := b.markAudit()
		if err != nil {
			return err
		}
		if err := sleep(ctx, quietFor); err != nil {
			return err
		}
		last, err := b.requestsSince(from)
		if err != nil {
			return err
		}
		if _, writes, _ := sorted(last); len(writes) > 0 {
			return errors.New(tally(writes))
		}
		return nil
	})
}

// quietFor is longer than any delay after which Fairlead writes something.
const quietFor = 8 * time.Second

// sorted tells reads, writes, and the writes of leases apart.
func sorted(requests []request) (reads, writes, leases []request) {
	for _, r := range requests {
		switch {
		case !r.writes():
			reads = append(reads, r)
		case r.Object.Resource == "leases":
			leases = append(leases, r)
		default:
			writes = append(writes, r)
		}
	}
	return reads, writes, leases
}

func quietRows(requests []request, n int, rest time.Duration) []row {
	reads, writes, leases := sorted(requests)
	what := "controllers restarted, then " + rest.String() + " of rest, " + number(float64(n)) + " Services: "
	return []row{
		{what: what + "writes, leases apart " + tally(writes), figure: float64(len(writes)), unit: "requests", aim: atMost(0), runs: 1},
		{what: what + "writes of leases", figure: float64(len(leases)), unit: "requests", runs: 1, beside: tally(leases)},
		{what: what + "reads", figure: float64(len(reads)), unit: "requests", runs: 1, beside: tally(reads)},
	}
}
