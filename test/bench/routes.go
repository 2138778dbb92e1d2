package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// The aims of new routes.
const (
	// routeCPU is the controller's CPU for a change, in milliseconds.
	routeCPU = 5
	// routeOver is how much longer than Envoy's own work a change may take until
	// it is served, in milliseconds of the mean at one a second.
	routeOver = 30
	// busyTimes is how many times that it may be at ten a second.
	busyTimes = 2
)

// loadEvery is 100 requests a second.
const loadEvery = 10 * time.Millisecond

// pace is how fast routes come, and how many.
type pace struct {
	what        string
	every       time.Duration
	full, quick int
}

var paces = []pace{
	{"one a second", time.Second, 60, 3},
	{"ten a second", 100 * time.Millisecond, 300, 10},
}

// routesPart adds routes at some sizes of the table and paces, while clients ask
// for other routes, and waits for each to be served. One Envoy serves them: each
// takes the whole change, and on one machine several would wait for each other, as
// they do not on nodes of their own.
func routesPart(ctx context.Context, b *bench) (rows []row, err error) {
	w, clear, err := b.stageWeb(ctx, "routes", scene{addresses: []string{segmentIPv4}, backends: []string{"node1", "node2", "node3"}, envoys: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	have := 1
	for _, n := range []int{20, b.pick(1000, 50), b.pick(3000, 100), b.pick(5000, 150)} {
		if err := w.addRoutes(ctx, have, n); err != nil {
			return rows, err
		}
		have = n
		more, err := w.routesAt(ctx, n)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%d routes: %w", n, err)
		}
	}
	return rows, nil
}

// routesAt measures at one size. What a process uses while no route changes is
// measured with the same load, and taken off.
func (w *web) routesAt(ctx context.Context, n int) ([]row, error) {
	rest, err := w.changeRoutes(ctx, n, pace{what: "none", every: time.Second}, w.pick(30, 3))
	if err != nil {
		return nil, err
	}
	var rows []row
	var limit float64
	for i, p := range paces {
		c, err := w.changeRoutes(ctx, n, p, w.pick(p.full, p.quick))
		if err != nil {
			return rows, err
		}
		if err := w.removeRoutes(ctx, n, n+len(c.lags)); err != nil {
			return rows, err
		}
		// Envoy's own work is what it used at the pace at which changes do not
		// come together.
		if i == 0 {
			limit = max(0, c.perChange(rest, envoy)) + routeOver
		}
		w.say("%d routes, %s: mean %.1f ms, controller %.2f ms, Envoy %.1f ms of CPU", n, p.what, mean(milliseconds(c.lags)), c.perChange(rest, working), c.perChange(rest, envoy))
		rows = append(rows, c.rows(fmt.Sprintf("%d routes, new ones %s", n, p.what), rest, limit)...)
		limit *= busyTimes
	}
	return rows, nil
}

// changes is what some changes in a row did.
type changes struct {
	mu            sync.Mutex // guards these
	creates, lags []time.Duration
	failed        int // wrong answers for a route that was waited for

	load          *load
	took          time.Duration
	before, after usage
}

// changeRoutes adds routes from number n on at a pace, or waits as long where the
// pace has none.
func (w *web) changeRoutes(ctx context.Context, n int, p pace, count int) (c *changes, err error) {
	c = &changes{}
	c.load = w.startLoad(ctx, loadEvery, hostsOf(20)...)
	defer c.load.stop()
	if c.before, err = w.usage(ctx); err != nil {
		return nil, err
	}
	start := time.Now()
	if p.full == 0 {
		err = sleep(ctx, time.Duration(count)*p.every)
	} else {
		err = paced(ctx, p.every, count, func(ctx context.Context, i int) error { return w.newRoute(ctx, n+i, c) })
	}
	if err != nil {
		return nil, err
	}
	c.after, err = w.usage(ctx)
	c.took = time.Since(start)
	return c, err
}

func hostsOf(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = hostOf(i)
	}
	return out
}

// paced calls f with every number below n, one more every so often, and waits for
// all.
func paced(ctx context.Context, every time.Duration, n int, f func(context.Context, int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	results := make(chan error, n)
	begun := 0
	for begun < n && ctx.Err() == nil {
		select {
		case <-tick.C:
			i := begun
			begun++
			go func() {
				err := f(ctx, i)
				if err != nil {
					cancel() // the others are of no use
				}
				results <- err
			}()
		case <-ctx.Done():
		}
	}
	var err error
	for range begun {
		err = errors.Join(err, <-results)
	}
	return errors.Join(err, ctx.Err())
}

// newRoute creates a route and waits until it is served.
func (w *web) newRoute(ctx context.Context, i int, c *changes) error {
	sent := time.Now()
	if err := w.lab.Client.Create(ctx, w.route(i)); err != nil {
		return fmt.Errorf("creating HTTPRoute %s: %w", routeName(i), err)
	}
	answered := time.Now()
	seen, err := w.until(ctx, hostOf(i), served)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.creates, c.lags = append(c.creates, answered.Sub(sent)), append(c.lags, seen.at.Sub(answered))
	c.failed += seen.failed
	return nil
}

// perChange is the CPU, in milliseconds, that a process of a role used for a
// change, beyond what it used in the same time without changes.
func (c *changes) perChange(rest *changes, role string) float64 {
	idle := rest.after.cpuSince(rest.before, role).Seconds() / rest.took.Seconds()
	used := c.after.cpuSince(c.before, role).Seconds() - idle*c.took.Seconds()
	return 1000 * used / float64(len(c.lags))
}

func (c *changes) rows(what string, rest *changes, limit float64) []row {
	n := len(c.lags)
	rows := lagRows(what+": the API server's own time for a create", c.creates, aim{})[:1]
	rows = append(rows, lagRows(what+": from the route being created to its first 200", c.lags, atMost(limit))...)
	rows = append(rows,
		row{what: fmt.Sprintf("%s: of the answers until then, neither 404 nor 200", what), figure: float64(c.failed), unit: "answers", aim: atMost(0), runs: n},
		row{what: what + ": CPU of the controller", figure: c.perChange(rest, working), unit: "ms per change", aim: atMost(routeCPU), runs: n},
		row{what: what + ": CPU of the " + envoy + ", with the questions of who waits", figure: c.perChange(rest, envoy), unit: "ms per change", runs: n},
	)
	return append(rows, c.load.rows(what)...)
}
