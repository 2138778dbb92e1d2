//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
)

// envoys are the Envoys of a class that are not being removed, by node.
func (w *world) envoys(ctx context.Context, class gatewayv1.ObjectName) (map[string]*corev1.Pod, error) {
	var pods corev1.PodList
	id := fleet.ID{Class: string(class)}
	if err := w.Client.List(ctx, &pods, client.InNamespace(lab.Namespace), client.MatchingLabels{fleet.FleetLabel: id.Name()}); err != nil {
		return nil, err
	}
	out := map[string]*corev1.Pod{}
	for i := range pods.Items {
		if p := &pods.Items[i]; p.DeletionTimestamp == nil {
			out[p.Spec.NodeName] = p
		}
	}
	return out, nil
}

// controllers scales the controller, and waits until so many run.
func (w *world) controllers(ctx context.Context, n int) {
	w.Helper()
	if _, err := w.Cluster.Kubectl(ctx, "-n", lab.Namespace, "scale", "deployment/fairlead-controller", "--replicas="+strconv.Itoa(n)); err != nil {
		w.Fatal(err)
	}
	err := lab.Await(ctx, time.Minute, fmt.Sprintf("%d controllers", n), func(ctx context.Context) error {
		pods, err := w.Pods(ctx, "controller")
		if err == nil && len(pods) != n {
			err = fmt.Errorf("there are %d", len(pods))
		}
		return err
	})
	if err != nil {
		w.Fatal(err)
	}
}

// An Envoy that dies while no controller is there loses its address to a node whose
// Envoy serves; and one that comes back without configuration does not get it.
func TestDeadEnvoyWithoutController(t *testing.T) {
	w := newWorld(t, "172.30.0.140-172.30.0.149")
	w.backend("echo", 2)
	class := w.class()
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	first := w.announcer(a, "a node", anyNode)
	envoys := w.allListed("web", class)

	w.controllers(w.ctx, 0)
	t.Cleanup(func() { w.controllers(context.Background(), 2) })
	if err := w.kill(envoys[first], "envoy"); err != nil {
		t.Fatal(err)
	}
	second := w.announcer(a, "another node than "+first, func(n string) bool { return n != first })
	w.answers(a, 80)

	// Its pod is gone for good: another one takes its place, which no controller has
	// told anything.
	now := int64(0)
	if err := w.Client.Delete(w.ctx, envoys[second], &client.DeleteOptions{GracePeriodSeconds: &now}); err != nil {
		t.Fatal(err)
	}
	w.announcer(a, "a third node", func(n string) bool { return n != first && n != second })
	w.answers(a, 80)

	w.controllers(w.ctx, 2)
	w.gatewaySays("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionTrue, "")
	w.allListed("web", class)
	w.answers(a, 80)
}

// allListed waits until a Gateway's slices list an Envoy on every node of the
// testbed as ready, and gives them by node.
func (w *world) allListed(gw string, class gatewayv1.ObjectName) (envoys map[string]*corev1.Pod) {
	w.Helper()
	w.await("Envoys on all nodes to be listed", func(ctx context.Context) error {
		var nodes corev1.NodeList
		if err := w.Client.List(ctx, &nodes); err != nil {
			return err
		}
		var err error
		if envoys, err = w.envoys(ctx, class); err != nil {
			return err
		}
		return w.listed(ctx, gw, class, len(nodes.Items))
	})
	return envoys
}

// slices are the EndpointSlices of a Service of this world.
func (w *world) slices(ctx context.Context, service string) ([]discoveryv1.EndpointSlice, error) {
	var list discoveryv1.EndpointSliceList
	err := w.Client.List(ctx, &list, client.InNamespace(w.namespace), client.MatchingLabels{discoveryv1.LabelServiceName: service})
	return list.Items, err
}

// listed wants a Gateway's slices to list so many ready Envoys.
func (w *world) listed(ctx context.Context, gw string, class gatewayv1.ObjectName, want int) error {
	slices, err := w.slices(ctx, fleet.FrontName(gw, string(class)))
	if err != nil {
		return err
	}
	ready := map[string]bool{}
	for _, s := range slices {
		for _, e := range s.Endpoints {
			if e.Conditions.Ready != nil && *e.Conditions.Ready && e.TargetRef != nil {
				ready[e.TargetRef.Name] = true
			}
		}
	}
	if len(ready) != want {
		return fmt.Errorf("%d are listed as ready", len(ready))
	}
	return nil
}
