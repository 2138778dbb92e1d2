package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// The aims of a new Gateway, in milliseconds as the mean when it comes alone.
const (
	programmedWithin = 100
	// answersWithin comes on top of kube-proxy's sync, which is at most once a
	// second.
	answersWithin = 300
	proxySync     = 1000
)

// gatewaysPart makes new Gateways on a fleet that runs, one alone and many at once.
func gatewaysPart(ctx context.Context, b *bench) (rows []row, err error) {
	w, clear, err := b.stageWeb(ctx, "gateways", scene{addresses: []string{segmentIPv4}, backends: []string{"node1", "node2", "node3"}})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	o, err := w.watchGateways(ctx)
	if err != nil {
		return nil, err
	}
	defer o.stop()
	alone, err := w.gatewaysAlone(ctx, o, w.pick(20, 2))
	rows = append(rows, alone...)
	if err != nil {
		return rows, err
	}
	burst, err := w.gatewaysAtOnce(ctx, o, w.pick(40, 5))
	return append(rows, burst...), err
}

func gatewayName(i int) string { return fmt.Sprintf("g-%03d", i) }

// births is what some new Gateways took.
type births struct {
	mu                           sync.Mutex
	creates, programmed, answers []time.Duration
	last                         time.Time // when the last of them answered
}

// gatewaysAlone makes one after the other, each when nothing of the one before is
// there any more.
func (w *web) gatewaysAlone(ctx context.Context, o *gatewayObserver, n int) ([]row, error) {
	var all births
	for i := range n {
		if err := w.routeOf(ctx, i); err != nil {
			return nil, err
		}
		if err := w.awaitNoWrites(ctx); err != nil {
			return nil, err
		}
		if err := w.birth(ctx, o, i, 10*time.Millisecond, &all); err != nil {
			return nil, err
		}
		if err := w.removeGateway(ctx, i); err != nil {
			return nil, err
		}
	}
	const what = "a new Gateway alone"
	w.say("%s: programmed after %.0f ms, first 200 after %.0f ms", what, mean(milliseconds(all.programmed)), mean(milliseconds(all.answers)))
	return all.rows(what, atMost(programmedWithin), atMost(proxySync+answersWithin)), nil
}

// gatewaysAtOnce makes many in parallel.
func (w *web) gatewaysAtOnce(ctx context.Context, o *gatewayObserver, n int) ([]row, error) {
	const first = 100 // so that no name comes twice
	for i := first; i < first+n; i++ {
		if err := w.routeOf(ctx, i); err != nil {
			return nil, err
		}
	}
	if err := w.awaitNoWrites(ctx); err != nil {
		return nil, err
	}
	var all births
	start := time.Now()
	err := inParallel(ctx, n, first, first+n, func(ctx context.Context, i int) error {
		return w.birth(ctx, o, i, 100*time.Millisecond, &all)
	})
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%d new Gateways at once", n)
	took := all.last.Sub(start)
	w.say("%s: all answer after %s", what, took.Round(time.Millisecond))
	return append(all.rows(what, aim{}, aim{}),
		row{what: what + ": from the first being sent until the last answers", figure: 1000 * took.Seconds(), unit: "ms", runs: 1}), nil
}

// routeOf makes the route of a Gateway that is not there yet.
func (w *web) routeOf(ctx context.Context, i int) error {
	return w.lab.Apply(ctx, lab.HTTPRoute(namespace, gatewayName(i), gatewayName(i), backend))
}

// birth makes a Gateway, waits until it is programmed, and then asks it, on
// connections that are tried every so often. To ask before a speaker announces the
// address would have the client wait for its own next try to resolve it.
func (w *web) birth(ctx context.Context, o *gatewayObserver, i int, every time.Duration, all *births) error {
	name := gatewayName(i)
	sent := time.Now()
	if err := w.lab.Client.Create(ctx, lab.Gateway(namespace, name, w.class)); err != nil {
		return fmt.Errorf("creating Gateway %s: %w", name, err)
	}
	answered := time.Now()
	seen, err := o.await(ctx, name)
	if err != nil {
		return err
	}
	first, err := w.firstAnswer(ctx, seen.address, every)
	if err != nil {
		return fmt.Errorf("asking Gateway %s: %w", name, err)
	}
	all.mu.Lock()
	defer all.mu.Unlock()
	all.creates = append(all.creates, answered.Sub(sent))
	all.programmed = append(all.programmed, seen.at.Sub(answered))
	all.answers = append(all.answers, first.Sub(answered))
	if first.After(all.last) {
		all.last = first
	}
	return nil
}

// firstAnswer tries new connections beside each other, since one whose first
// packet is lost waits a second before it sends another.
func (w *web) firstAnswer(ctx context.Context, a netip.Addr, every time.Duration) (time.Time, error) {
	began := time.Now()
	probe := w.lab.StartProbe(ctx, testbed.Client, a, 80, every, patience)
	defer probe.Stop()
	var at time.Duration
	err := lab.Await(ctx, time.Minute, a.String()+" to answer", func(context.Context) error {
		tries := probe.Tries()
		var ok bool
		if at, ok = lab.ServedAgain(tries, began); ok {
			return nil
		}
		if len(tries) == 0 {
			return errors.New("no try has ended")
		}
		return tries[len(tries)-1].Err
	})
	return began.Add(at), err
}

// removeGateway removes a Gateway and its route, and waits until its Service is
// gone.
func (w *web) removeGateway(ctx context.Context, i int) error {
	name := gatewayName(i)
	for _, o := range []client.Object{lab.Gateway(namespace, name, w.class), lab.HTTPRoute(namespace, name, name)} {
		if err := w.lab.Client.Delete(ctx, o); err != nil {
			return fmt.Errorf("removing %T %s: %w", o, name, err)
		}
	}
	service := lab.LoadBalancer(namespace, fleet.FrontName(name, w.class), "")
	return lab.Await(ctx, time.Minute, "the Service of Gateway "+name+" to be gone", func(ctx context.Context) error {
		err := w.lab.Client.Get(ctx, client.ObjectKeyFromObject(service), service)
		if apierrors.IsNotFound(err) {
			return nil
		}
		return errors.Join(errors.New("it is there"), err)
	})
}

func (s *births) rows(what string, ofProgrammed, ofAnswers aim) []row {
	rows := lagRows(what+": the API server's own time for a create", s.creates, aim{})[:1]
	rows = append(rows, lagRows(what+": from being created to Programmed, seen in a watch", s.programmed, ofProgrammed)...)
	return append(rows, lagRows(what+": from being created to the first 200 for who asks once it is programmed, kube-proxy's sync with it", s.answers, ofAnswers)...)
}

// gatewayObserver notes when Gateways were first seen programmed.
type gatewayObserver struct {
	watcher watch.Interface
	done    chan struct{}

	mu   sync.Mutex
	seen map[string]*gatewaySeen
}

// gatewaySeen is a Gateway that is programmed once ready is closed.
type gatewaySeen struct {
	ready   chan struct{}
	at      time.Time
	address netip.Addr
}

func (w *web) watchGateways(ctx context.Context) (*gatewayObserver, error) {
	watcher, err := w.lab.Client.Watch(ctx, &gatewayv1.GatewayList{}, client.InNamespace(namespace))
	if err != nil {
		return nil, fmt.Errorf("watching Gateways: %w", err)
	}
	o := &gatewayObserver{watcher: watcher, done: make(chan struct{}), seen: map[string]*gatewaySeen{}}
	go o.run()
	return o, nil
}

func (o *gatewayObserver) run() {
	defer close(o.done)
	for e := range o.watcher.ResultChan() {
		gw, ok := e.Object.(*gatewayv1.Gateway)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		at := time.Now()
		if a, ok := programmed(gw); ok {
			o.note(gw.Name, at, a)
		}
	}
}

// of is what is known of a Gateway, now or later.
func (o *gatewayObserver) of(name string) *gatewaySeen {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.seen[name] == nil {
		o.seen[name] = &gatewaySeen{ready: make(chan struct{})}
	}
	return o.seen[name]
}

func (o *gatewayObserver) note(name string, at time.Time, a netip.Addr) {
	s := o.of(name)
	if s.at.IsZero() { // only run writes it
		s.at, s.address = at, a
		close(s.ready)
	}
}

func (o *gatewayObserver) await(ctx context.Context, name string) (*gatewaySeen, error) {
	s := o.of(name)
	limit := time.NewTimer(waitAtMost)
	defer limit.Stop()
	select {
	case <-s.ready:
		return s, nil
	case <-o.done:
		return nil, errors.New("the watch of Gateways has ended")
	case <-limit.C:
		return nil, fmt.Errorf("waiting %s for Gateway %s to be programmed", waitAtMost, name)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (o *gatewayObserver) stop() {
	o.watcher.Stop()
	<-o.done
}
