//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/lab"
)

// class makes a GatewayClass of ours that goes with the world.
func (w *world) class(edits ...func(*gatewayv1.GatewayClass)) gatewayv1.ObjectName {
	w.Helper()
	c := lab.GatewayClass(w.namespace)
	for _, edit := range edits {
		edit(c)
	}
	w.apply(c)
	w.Cleanup(func() {
		if err := client.IgnoreNotFound(w.Client.Delete(context.Background(), c)); err != nil {
			w.Errorf("removing the GatewayClass: %v", err)
		}
	})
	return gatewayv1.ObjectName(c.Name)
}

// gateway creates a Gateway with one HTTP listener on port 80 and waits until it
// is programmed.
func (w *world) gateway(name string, class gatewayv1.ObjectName, edits ...func(*gatewayv1.Gateway)) []netip.Addr {
	w.Helper()
	gw := lab.Gateway(w.namespace, name, string(class))
	for _, edit := range edits {
		edit(gw)
	}
	w.apply(gw)
	return w.programmed(name)
}

// web makes a Gateway of that name, with a route to echo pods, of a class of the world's own, and waits until it answers
// by the Envoys of all nodes.
func (w *world) web() (class gatewayv1.ObjectName, a netip.Addr, envoys map[string]*corev1.Pod) {
	w.Helper()
	w.backend("echo", 2)
	class = w.class()
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a = w.gateway("web", class)[0]
	w.answers(a, 80)
	return class, a, w.allListed("web", class)
}

// programmed waits until a Gateway is, and gives its addresses.
func (w *world) programmed(name string) []netip.Addr {
	w.Helper()
	w.gatewaySays(name, gatewayv1.GatewayConditionProgrammed, metav1.ConditionTrue, "")
	gw := &gatewayv1.Gateway{}
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, gw); err != nil {
		w.Fatal(err)
	}
	var out []netip.Addr
	for _, a := range gw.Status.Addresses {
		out = append(out, mustAddr(a.Value))
	}
	return out
}

// gatewaySays waits for a condition of a Gateway at its current generation.
func (w *world) gatewaySays(name string, kind gatewayv1.GatewayConditionType, status metav1.ConditionStatus, reason string) metav1.Condition {
	w.Helper()
	var found metav1.Condition
	w.await(fmt.Sprintf("condition %s=%s (%s) on Gateway %s", kind, status, reason, name), func(ctx context.Context) error {
		var gw gatewayv1.Gateway
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, &gw); err != nil {
			return err
		}
		for _, c := range gw.Status.Conditions {
			if c.Type == string(kind) && c.Status == status && (reason == "" || c.Reason == reason) && c.ObservedGeneration == gw.Generation {
				found = c
				return nil
			}
		}
		return fmt.Errorf("it has %+v", gw.Status.Conditions)
	})
	return found
}

// httpRoute is a route of a Gateway to Services.
func (w *world) httpRoute(name, gateway string, services ...string) *gatewayv1.HTTPRoute {
	return lab.HTTPRoute(w.namespace, name, gateway, services...)
}

// clusterIP is a Service inside the cluster for the pods of a backend.
func (w *world) clusterIP(name, backend string) *corev1.Service {
	return lab.ClusterIP(w.namespace, name, backend)
}

// A person applies a class, a Gateway and a route, and the Gateway answers on an
// address of the same pool that serves Services.
func TestGatewayAnswers(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	w.backend("echo", 2)
	legacy := w.service("legacy", "echo", 1)[0]
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	got := w.gateway("web", w.class())
	if len(got) != 1 || got[0] == legacy {
		t.Fatalf("the Gateway has %v, and the Service %s", got, legacy)
	}
	if a := w.answers(got[0], 80); !strings.HasPrefix(a.Pod, "echo-") {
		t.Errorf("the Gateway at %s was answered by %+v", got[0], a)
	}
	o, err := w.address(w.ctx, got[0])
	if err != nil || o.Spec.Summary != "Gateway "+w.namespace+"/web" {
		t.Errorf("the ledger says %+v, %v", o.Spec, err)
	}
	w.announcer(got[0], "any node", anyNode)
}
