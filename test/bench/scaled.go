package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// scaled is a Deployment whose pods end without waiting for anybody, with a Service
// and a route of that name.
const (
	scaled     = "scaled"
	scaledHost = scaled + ".bench.example"
	// scaledMost is how many pods it has, and scaledLeast what is left of them.
	scaledMost, scaledLeast = 3, 1
	// answersTake is how long a pod takes to answer, so that it always has
	// something to do when it ends.
	answersTake = "100ms"
)

// scalable makes the Deployment, and waits until it answers.
func (w *web) scalable(ctx context.Context) error {
	route := lab.HTTPRoute(namespace, scaled, mainGateway, scaled)
	route.Spec.Hostnames = []gatewayv1.Hostname{scaledHost}
	if err := w.lab.Apply(ctx, lab.Abrupt(lab.Echo(namespace, scaled, scaledMost)), lab.ClusterIP(namespace, scaled, scaled), route); err != nil {
		return err
	}
	if err := w.lab.AwaitReady(ctx, namespace, scaled); err != nil {
		return err
	}
	_, err := w.until(ctx, scaledHost, served)
	return err
}

// scaleAway takes pods away that have no preStop hook, and brings them back, while
// clients read from them.
func (w *web) scaleAway(ctx context.Context, n int) (rows []row, err error) {
	what := fmt.Sprintf("%d routes: pods without preStop are scaled away, %d of %d", n, scaledMost-scaledLeast, scaledMost)
	times := w.pick(10, 1)
	kinds := []string{"kept connections", "new connections"}
	target := netip.AddrPortFrom(w.address, 80).String()
	var asking []*lab.Questions
	for i := range kinds {
		q := lab.StartQuestions(ctx, "http://"+scaledHost+"/?delay="+answersTake, i == 0, loadEvery, patience, func(ctx context.Context) (net.Conn, error) {
			return w.cluster.Dial(ctx, testbed.Client, "tcp", target)
		})
		defer q.Stop()
		asking = append(asking, q)
	}
	for range times {
		for _, replicas := range []int32{scaledLeast, scaledMost} {
			if err := w.lab.Scale(ctx, namespace, scaled, replicas); err != nil {
				return nil, err
			}
		}
	}
	for i, q := range asking {
		seen := q.Stop()
		w.say("%s: on %s, %d of %d requests failed", what, kinds[i], seen.Failed, seen.Asked)
		r := row{
			what: fmt.Sprintf("%s: of %d requests on %s, failed", what, seen.Asked, kinds[i]), figure: float64(seen.Failed), unit: "requests", aim: atMost(0), runs: times,
		}
		if seen.Why != "" {
			r.what += " (the first: " + seen.Why + ")"
		}
		rows = append(rows, r)
	}
	return rows, nil
}
