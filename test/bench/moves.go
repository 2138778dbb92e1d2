package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// moves are ways in which speakers and nodes end that routers are told of, or that restart gracefully.
var moves = []struct {
	what        string
	full, quick int
	do, undo    func(context.Context, *bench, target) error
}{
	{"planned move: a node leaves the advertisement", 20, 1, leaveAdvertisement, joinAdvertisement},
	{"drain of a node", 20, 1, drainRouted, uncordon},
	{"rolling update of all speakers", 20, 1, rollSpeakers, nothing},
	{"kill -9 of a speaker", 20, 1, killSpeaker, renewSpeaker},
}

// movesPart counts what new connections see of them at 1000 a second.
func movesPart(ctx context.Context, b *bench) (rows []row, err error) {
	r, clear, err := b.stageRouted(ctx, scene{addresses: []string{routedIPv4, routedIPv6}, backends: []string{"node3"}}, 100*time.Millisecond, routedIPv4, routedIPv6)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	if err := r.giveSources(ctx, lab.FarDevice, farSegment); err != nil {
		return nil, err
	}
	addresses, err := r.serve(ctx)
	if err != nil {
		return nil, err
	}
	for _, m := range moves {
		what := "routed by three nodes, " + m.what
		var sum load
		var rates []float64
		broken, open := 0, 0
		n := b.pick(m.full, m.quick)
		for i := range n {
			t := target{name: serviceName(0), addresses: addresses, home: []string{"node1", "node2"}[i%2]}
			f, brokenNow, err := r.move(ctx, t, m.do)
			if err := errors.Join(err, m.undo(ctx, b, t), r.calm(ctx, addresses)); err != nil {
				return rows, fmt.Errorf("%s: %w", m.what, err)
			}
			sum.add(&f.load)
			rates = append(rates, f.rate())
			broken, open = broken+brokenNow, open+held
			b.say("%s, %d of %d: so far %d of %d new connections failed, %d of %d established ones broke", what, i+1, n, sum.failed, len(sum.took), broken, open)
		}
		rows = append(rows, moveRows(what, n, &sum, rates, broken, open)...)
	}
	return rows, nil
}

func moveRows(what string, n int, sum *load, rates []float64, broken, open int) []row {
	return append(floodRows(what, sum, rates, atMost(0)),
		row{what: fmt.Sprintf("%s: of %d established connections, broken", what, open), figure: float64(broken), unit: "connections", runs: n})
}

// move does something to a node while new connections come and others last.
func (r *routed) move(ctx context.Context, t target, do func(context.Context, *bench, target) error) (f *flood, broken int, err error) {
	var open connections
	defer func() { open.close() }()
	if err := r.holdSome(ctx, t.addresses[0], &open); err != nil {
		return nil, 0, err
	}
	f = r.startFlood(ctx, t.addresses[0], hostOf(0), floodEvery, floodSources(farSegment))
	defer f.stop()
	if err := errors.Join(sleep(ctx, afterwards), do(ctx, r.bench, t), sleep(ctx, afterwards)); err != nil {
		return f, 0, err
	}
	f.stop()
	return f, open.broken(), f.broken
}

// drainRouted empties a node, whose pods have their own time to end.
func drainRouted(ctx context.Context, b *bench, t target) error { return b.empty(ctx, t.home) }

// leaveAdvertisement has all nodes but a target's home announce, and waits until the router knows.
func leaveAdvertisement(ctx context.Context, b *bench, t target) error {
	others := metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{
		{Key: corev1.LabelHostname, Operator: metav1.LabelSelectorOpNotIn, Values: []string{t.home}},
	}}
	if err := b.selectAnnouncers(ctx, others); err != nil {
		return err
	}
	for _, a := range t.addresses {
		if err := b.spreadOver(ctx, a, clusterNodes-1); err != nil {
			return err
		}
	}
	return nil
}

func joinAdvertisement(ctx context.Context, b *bench, _ target) error { return b.selectAnnouncers(ctx) }

func (b *bench) selectAnnouncers(ctx context.Context, nodes ...metav1.LabelSelector) error {
	var a v1alpha1.BGPAdvertisement
	if err := b.lab.Client.Get(ctx, client.ObjectKey{Name: namespace}, &a); err != nil {
		return fmt.Errorf("reading the BGPAdvertisement: %w", err)
	}
	before := a.DeepCopy()
	a.Spec.NodeSelectors = nodes
	if err := b.lab.Client.Patch(ctx, &a, client.MergeFrom(before)); err != nil {
		return fmt.Errorf("choosing which nodes announce: %w", err)
	}
	return nil
}
