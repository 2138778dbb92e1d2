package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// aims of the part api.
var (
	lagAim     = atMost(0.5) // seconds, 99th percentile
	backlogAim = atLeast(80) // percent of the API server's raw speed
)

// apiPart compares what the controller does with what the API server can take:
// the same writes by the same number of workers, made without any logic, on the
// same cluster, in turn with the controller's.
func apiPart(ctx context.Context, b *bench) (rows []row, err error) {
	clear, err := b.stage(ctx, scene{addresses: []string{manyIPv4}, backends: []string{"node1", "node2", "node3"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	lag, err := b.lag(ctx, b.pick(1000, 100))
	if err != nil {
		return nil, fmt.Errorf("lag: %w", err)
	}
	rows = append(rows, lag...)
	if err := b.removeServices(ctx); err != nil {
		return rows, err
	}
	backlog, err := b.backlog(ctx, b.pick(3000, 200), b.pick(2, 1))
	return append(rows, backlog...), err
}

// lag measures new Services one by one, while the controller and the speakers
// run.
func (b *bench) lag(ctx context.Context, n int) ([]row, error) {
	b.say("%d Services by %d creators", n, creators)
	seen, err := b.watchServices(ctx)
	if err != nil {
		return nil, err
	}
	defer seen.stop()
	start := time.Now()
	created, err := b.createServices(ctx, 0, n)
	if err != nil {
		return nil, err
	}
	end := time.Now()
	addressed, err := seen.await(ctx, n)
	if err != nil {
		return nil, err
	}
	var creates, lags, all []time.Duration
	for name, at := range addressed {
		c := created[name]
		creates = append(creates, c.answered.Sub(c.sent))
		lags = append(lags, max(at.Sub(c.answered), 0)) // the watch may be faster than the answer
		all = append(all, at.Sub(c.sent))
	}
	what := fmt.Sprintf("%d Services by %d creators: ", n, creators)
	rows := spread(what+"the API server's own time for a create", creates, aim{})
	rows = append(rows, spread(what+"from the Service being created to seeing its address in a watch", lags, lagAim)...)
	rows = append(rows, spread(what+"from sending the Service to seeing its address in a watch", all, aim{})...)
	last := slices.MaxFunc(slices.Collect(maps.Values(addressed)), time.Time.Compare)
	return append(
		rows,
		row{what: what + "created", figure: rate(n, start, end), unit: "Services/s", runs: 1},
		row{what: what + "served", figure: rate(n, start, last), unit: "Services/s", runs: 1},
	), nil
}

// backlog measures in rounds, so that what changes with time does not favour one
// side: raw writes, raw writes that the speakers follow, the controller.
func (b *bench) backlog(ctx context.Context, n, rounds int) ([]row, error) {
	var raw, announced, ours, fromStart, share, alike, writes []float64
	for i := range rounds {
		if err := b.stopController(ctx); err != nil {
			return nil, err
		}
		r, err := b.rawRound(ctx, n, false)
		if err != nil {
			return nil, fmt.Errorf("raw speed: %w", err)
		}
		a, err := b.rawRound(ctx, n, true)
		if err != nil {
			return nil, fmt.Errorf("raw speed with announcements: %w", err)
		}
		from, err := b.markAudit()
		if err != nil {
			return nil, err
		}
		o, s, err := b.backlogRound(ctx, n)
		if err != nil {
			return nil, fmt.Errorf("backlog: %w", err)
		}
		w, err := b.writesPerService(from, n)
		if err := errors.Join(err, b.removeServices(ctx)); err != nil {
			return nil, err
		}
		b.say("round %d of %d: raw %.0f/s, raw and announced %.0f/s, controller %.0f/s (%.0f/s from its start)", i+1, rounds, r, a, o, s)
		raw, announced, ours, fromStart = append(raw, r), append(announced, a), append(ours, o), append(fromStart, s)
		share, alike, writes = append(share, 100*o/r), append(alike, 100*o/a), append(writes, w)
	}
	what := fmt.Sprintf("backlog of %d Services: ", n)
	const unit = "Services/s"
	return []row{
		{what: what + "the API server's raw speed (same writes, no logic, nothing announced)", figure: median(raw), unit: unit, runs: rounds},
		{what: what + "raw speed while speakers announce and write it down", figure: median(announced), unit: unit, runs: rounds},
		{what: what + "served, from the first address to the last (speakers announce)", figure: median(ours), unit: unit, runs: rounds},
		{what: what + "served, from scaling the controller up to the last address", figure: median(fromStart), unit: unit, runs: rounds},
		{what: what + "served, as a share of the raw speed", figure: median(share), unit: "%", aim: backlogAim, runs: rounds},
		{what: what + "served, as a share of the raw speed while speakers announce", figure: median(alike), unit: "%", runs: rounds},
		{what: what + "writes of the controller until each is served, leases apart", figure: median(writes), unit: "per Service", beside: number(rawWrites) + " in the raw writes", runs: rounds},
	}, nil
}

// writesPerService counts what the controller has written since the mark.
func (b *bench) writesPerService(from mark, n int) (float64, error) {
	requests, err := b.requestsSince(from)
	if err != nil {
		return 0, err
	}
	_, writes, _ := sorted(requests)
	count := 0
	for i := range writes {
		if writes[i].who() == "controller" {
			count++
		}
	}
	return float64(count) / float64(n), nil
}

// rawRound writes as the controller would, and clears up.
func (b *bench) rawRound(ctx context.Context, n int, announced bool) (float64, error) {
	if err := b.prepareBacklog(ctx, n); err != nil {
		return 0, err
	}
	w, err := b.newRawWriter(ctx, announced)
	if err != nil {
		return 0, err
	}
	seen, err := b.watchServices(ctx)
	if err != nil {
		return 0, err
	}
	defer seen.stop()
	err = w.serveAll(ctx)
	var speed float64
	if err == nil {
		speed, _, err = seen.speed(ctx, n)
	}
	return speed, errors.Join(err, w.clear(ctx), b.removeServices(ctx))
}

// backlogRound starts the controller before a backlog.
func (b *bench) backlogRound(ctx context.Context, n int) (speed, fromStart float64, err error) {
	if err := b.prepareBacklog(ctx, n); err != nil {
		return 0, 0, err
	}
	seen, err := b.watchServices(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer seen.stop()
	start := time.Now()
	if err := b.askReplicas(ctx, controllerReplicas); err != nil {
		return 0, 0, err
	}
	speed, last, err := seen.speed(ctx, n)
	if err != nil {
		return 0, 0, err
	}
	return speed, rate(n, start, last), b.startController(ctx)
}

// prepareBacklog creates Services while no controller runs, and waits until what
// Kubernetes itself does about them is done.
func (b *bench) prepareBacklog(ctx context.Context, n int) error {
	if err := b.stopController(ctx); err != nil {
		return err
	}
	if _, err := b.createServices(ctx, 0, n); err != nil {
		return err
	}
	if err := b.awaitSlices(ctx, n); err != nil {
		return err
	}
	return sleep(ctx, settleKubernetes)
}

// settleKubernetes lets kube-proxies finish with new Services.
const settleKubernetes = 5 * time.Second
