package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/lab"
)

// backendAim is how many milliseconds a change of a backend may take until clients
// are served by the new one, as the mean.
var backendAim = atMost(30)

// backendNodes have the two backends that changes go between.
var backendNodes = []string{"node1", "node2"}

// The routes whose backend changes: one leads to a Service, of the same name, whose
// endpoints change, the other to one Service and then to the other.
const (
	moving   = "moving"
	swapping = "swapping"
)

// backendChange is a way in which a route's backend changes.
type backendChange struct {
	what, route string
	// to makes the backend on a node the only one.
	to func(ctx context.Context, w *web, node string) error
}

var backendChanges = []backendChange{
	{"the endpoints of a Service change", moving, moveEndpoints},
	{"a backendRef names another Service", swapping, swapBackendRef},
}

func (c backendChange) host() string { return c.route + ".bench.example" }

// backendsPart moves routes between two backends that both serve all the time,
// while clients ask for them, and takes pods away that do not wait for anybody.
func backendsPart(ctx context.Context, b *bench) (rows []row, err error) {
	w, clear, err := b.stageWeb(ctx, "backends", scene{addresses: []string{segmentIPv4}, backends: backendNodes, envoys: 1})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	if err := w.movable(ctx); err != nil {
		return nil, err
	}
	if err := w.scalable(ctx); err != nil {
		return nil, err
	}
	have := 1
	for _, n := range []int{20, b.pick(3000, 100)} {
		if err := w.addRoutes(ctx, have, n); err != nil {
			return rows, err
		}
		have = n
		for _, c := range backendChanges {
			more, err := w.moves(ctx, n, c)
			rows = append(rows, more...)
			if err != nil {
				return rows, fmt.Errorf("%d routes: %s: %w", n, c.what, err)
			}
		}
		more, err := w.scaleAway(ctx, n)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%d routes: pods are scaled away: %w", n, err)
		}
	}
	return rows, nil
}

// movable makes a Service per backend, and one whose endpoints are written by
// hand, so that a change of them is one write at a time that is known.
func (w *web) movable(ctx context.Context) error {
	free := lab.ClusterIP(namespace, moving, "")
	free.Spec.Selector = nil
	slice, err := w.movingSlice(ctx, backendNodes[0])
	if err != nil {
		return err
	}
	objects := []client.Object{free, slice}
	for _, n := range backendNodes {
		s := lab.ClusterIP(namespace, backendOn(n).Name, backend)
		s.Spec.Selector["on"] = n
		objects = append(objects, s)
	}
	first := map[string]string{moving: moving, swapping: backendOn(backendNodes[0]).Name}
	for _, c := range backendChanges {
		route := lab.HTTPRoute(namespace, c.route, mainGateway, first[c.route])
		route.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(c.host())}
		objects = append(objects, route)
	}
	return w.lab.Apply(ctx, objects...)
}

// servedBy is an answer of the backend on a node.
func servedBy(node string) func(answer) bool {
	return func(a answer) bool { return served(a) && strings.HasPrefix(a.pod, backendOn(node).Name+"-") }
}

// movingSlice has the backend on a node as its only endpoint.
func (w *web) movingSlice(ctx context.Context, node string) (*discoveryv1.EndpointSlice, error) {
	ip, err := w.backendIP(ctx, node)
	if err != nil {
		return nil, err
	}
	name, protocol, port, ready := "http", corev1.ProtocolTCP, int32(lab.EchoPort), true
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: moving, Labels: map[string]string{
			discoveryv1.LabelServiceName: moving, discoveryv1.LabelManagedBy: "bench",
		}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Ports:       []discoveryv1.EndpointPort{{Name: &name, Protocol: &protocol, Port: &port}},
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{ip}, Conditions: discoveryv1.EndpointConditions{Ready: &ready}, NodeName: &node}},
	}, nil
}

// backendIP is the address of the backend's pod on a node.
func (b *bench) backendIP(ctx context.Context, node string) (string, error) {
	var pods corev1.PodList
	if err := b.lab.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"on": node}); err != nil {
		return "", fmt.Errorf("looking for the backend on %s: %w", node, err)
	}
	if len(pods.Items) != 1 || pods.Items[0].Status.PodIP == "" {
		return "", fmt.Errorf("%s has %d backends, not one with an address", node, len(pods.Items))
	}
	return pods.Items[0].Status.PodIP, nil
}

func moveEndpoints(ctx context.Context, w *web, node string) error {
	slice, err := w.movingSlice(ctx, node)
	if err != nil {
		return err
	}
	return w.lab.Client.Update(ctx, slice)
}

func swapBackendRef(ctx context.Context, w *web, node string) error {
	patch := fmt.Appendf(nil, `[{"op":"replace","path":"/spec/rules/0/backendRefs/0/name","value":%q}]`, backendOn(node).Name)
	route := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: swapping}}
	return w.lab.Client.Patch(ctx, route, client.RawPatch("application/json-patch+json", patch))
}

// moves goes between the backends in one way.
func (w *web) moves(ctx context.Context, n int, c backendChange) ([]row, error) {
	// To where the way begins, which is where it ends; not measured.
	if err := w.move(ctx, c, backendNodes[1], nil); err != nil {
		return nil, err
	}
	var lags []time.Duration
	l := w.startLoad(ctx, loadEvery, c.host())
	defer l.stop()
	for i := range w.pick(40, 4) {
		if err := w.move(ctx, c, backendNodes[i%2], &lags); err != nil {
			return nil, err
		}
	}
	l.stop()
	w.say("%d routes, %s: mean %.1f ms, %d of %d requests failed", n, c.what, mean(milliseconds(lags)), l.failed, len(l.took))
	what := fmt.Sprintf("%d routes: %s", n, c.what)
	return append(lagRows(what+": until the new backend answers", lags, backendAim), l.rows(what)...), nil
}

// betweenMoves keeps changes apart, so that none waits for the one before.
const betweenMoves = 500 * time.Millisecond

// move makes the backend on a node the only one, and waits until it answers.
func (w *web) move(ctx context.Context, c backendChange, node string, lags *[]time.Duration) error {
	if err := sleep(ctx, betweenMoves); err != nil {
		return err
	}
	if err := c.to(ctx, w, node); err != nil {
		return fmt.Errorf("moving to %s: %w", node, err)
	}
	written := time.Now()
	seen, err := w.until(ctx, c.host(), servedBy(node))
	if err == nil && lags != nil {
		*lags = append(*lags, seen.at.Sub(written))
	}
	return err
}
