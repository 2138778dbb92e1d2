package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// The aims of a controller that has many routes.
var (
	sizeAim = atMost(200) // MiB
	restAim = atMost(10)  // millicores
)

// sizePart looks at controller and Envoys with many routes, at rest and when the
// controller starts.
func sizePart(ctx context.Context, b *bench) (rows []row, err error) {
	w, clear, err := b.stageWeb(ctx, "size", scene{addresses: []string{segmentIPv4}, backends: []string{"node1", "node2", "node3"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	// What earlier parts left in memory is not to be counted.
	if err := errors.Join(b.stopController(ctx), b.startController(ctx)); err != nil {
		return nil, err
	}
	n := b.pick(5000, 150)
	if err := w.addRoutes(ctx, 1, n); err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d routes", n)
	rest, err := w.restRows(ctx, what)
	rows = append(rows, rest...)
	if err != nil {
		return rows, err
	}
	var starts []coldStart
	for range b.pick(5, 1) {
		s, err := w.startCold(ctx, n)
		if err != nil {
			return append(rows, coldRows(what, n, starts)...), fmt.Errorf("cold start: %w", err)
		}
		starts = append(starts, s)
	}
	return append(rows, coldRows(what, n, starts)...), nil
}

// restRows watches while nothing happens and nobody asks.
func (w *web) restRows(ctx context.Context, what string) ([]row, error) {
	before, err := w.usage(ctx)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if err := sleep(ctx, time.Duration(w.pick(60, 5))*time.Second); err != nil {
		return nil, err
	}
	after, err := w.usage(ctx)
	if err != nil {
		return nil, err
	}
	took := time.Since(start)
	load := func(role string) float64 { return 1000 * after.cpuSince(before, role).Seconds() / took.Seconds() }
	return []row{
		{what: what + ": memory (RSS) of the controller", figure: after.memory(working), unit: "MiB", aim: sizeAim, runs: 1},
		{what: what + ": CPU of the controller at rest", figure: load(working), unit: "millicores", aim: restAim, runs: 1},
		{what: what + ": memory (RSS) of an Envoy (the largest)", figure: after.memory(envoy), unit: "MiB", runs: 1},
		{what: what + ": CPU of the " + envoy + " at rest", figure: load(envoy), unit: "millicores", runs: 1},
	}, nil
}

// coldStart is a start of the controllers beside Envoys that serve.
type coldStart struct {
	fromScale   time.Duration // from asking for controllers
	fromProcess time.Duration // from the start of the process that works
	wrong       int           // routes that were not served after it
	load        *load         // requests for all routes meanwhile
	mib         float64
}

// startCold starts the controllers after a route was added that only a controller
// can make known, and asks until it is served: the table that has it is one of all
// routes.
func (w *web) startCold(ctx context.Context, n int) (s coldStart, err error) {
	if err := w.stopController(ctx); err != nil {
		return s, err
	}
	if err := w.lab.Client.Create(ctx, w.route(n)); err != nil {
		return s, fmt.Errorf("creating HTTPRoute %s: %w", routeName(n), err)
	}
	s.load = w.startLoad(ctx, loadEvery, hostsOf(n)...)
	defer s.load.stop()
	start := time.Now()
	if err := w.askReplicas(ctx, controllerReplicas); err != nil {
		return s, err
	}
	seen, err := w.until(ctx, hostOf(n), served)
	if err != nil {
		return s, err
	}
	s.fromScale = seen.at.Sub(start)
	if s.wrong, err = w.unserved(ctx, n+1); err != nil {
		return s, err
	}
	if err := w.startController(ctx); err != nil {
		return s, err
	}
	if s.fromProcess, s.mib, err = w.worked(ctx, seen.at); err != nil {
		return s, err
	}
	w.say("cold start: served after %s, %s from the start of the process", s.fromScale.Round(time.Millisecond), s.fromProcess.Round(time.Millisecond))
	return s, w.removeRoutes(ctx, n, n+1)
}

// unserved counts the routes of [0, n) that do not answer with 200.
func (w *web) unserved(ctx context.Context, n int) (int, error) {
	var count atomic.Int64
	err := inParallel(ctx, 4, 0, n, func(ctx context.Context, i int) error {
		if got, err := w.ask(ctx, hostOf(i)); err != nil || !served(got) {
			count.Add(1)
		}
		return ctx.Err()
	})
	return int(count.Load()), err
}

// worked is how long the controller that works had been running at a time, and the
// memory that it has now.
func (w *web) worked(ctx context.Context, at time.Time) (time.Duration, float64, error) {
	leader, err := w.leader(ctx)
	if err != nil {
		return 0, 0, err
	}
	all, err := w.processes(ctx, "controller")
	if err != nil {
		return 0, 0, err
	}
	for _, p := range all {
		if p.Pod == leader {
			return workedAt(p, at)
		}
	}
	return 0, 0, fmt.Errorf("%s, which holds the controllers' Lease, has no process", leader)
}

func workedAt(p lab.Process, at time.Time) (time.Duration, float64, error) {
	now := time.Now()
	age, err := age(p.PID)
	if err != nil {
		return 0, 0, err
	}
	mib, err := residentMiB(p.PID)
	return age - now.Sub(at), mib, err
}

func coldRows(what string, n int, all []coldStart) []row {
	var fromScale, fromProcess []time.Duration
	var mib []float64
	wrong := 0
	var meanwhile load
	for _, s := range all {
		fromScale, fromProcess = append(fromScale, s.fromScale), append(fromProcess, s.fromProcess)
		mib, wrong = append(mib, s.mib), wrong+s.wrong
		meanwhile.add(s.load)
	}
	if len(all) == 0 {
		return nil
	}
	what += ", cold start of the controllers"
	const until = ": until Envoy has the full configuration, "
	rows := []row{
		{what: what + until + "from the start of the process, p50", figure: median(seconds(fromProcess)), unit: "s", runs: len(all)},
		{what: what + until + "from the start of the process, max", figure: percentile(seconds(fromProcess), 100), unit: "s", runs: len(all)},
		{what: what + until + "from scaling up, p50", figure: median(seconds(fromScale)), unit: "s", runs: len(all)},
		{what: what + until + "from scaling up, max", figure: percentile(seconds(fromScale), 100), unit: "s", runs: len(all)},
		{what: fmt.Sprintf("%s: of %d routes asked for after that, not served", what, len(all)*(n+1)), figure: float64(wrong), unit: "routes", aim: atMost(0), runs: len(all)},
		{what: what + ": memory (RSS) of the controller after it, max", figure: percentile(mib, 100), unit: "MiB", aim: sizeAim, runs: len(all)},
	}
	return append(rows, meanwhile.rows(what)...)
}
