//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// An Envoy that is killed loses the address to a node whose Envoy serves, the Gateway
// stays programmed, and the one that kubelet starts in its place serves again.
func TestEnvoyKilled(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	class, a, before := w.web()
	first := w.announcer(a, "a node", anyNode)
	stop := w.watchProgrammed("web")
	if err := w.kill(before[first], "envoy"); err != nil {
		t.Fatal(err)
	}
	w.announcer(a, "another node than "+first, other(first))
	w.answers(a, 80)
	w.await("the Envoy of "+first+" to be started again", func(ctx context.Context) error {
		now, err := w.envoys(ctx, class)
		if err != nil {
			return err
		}
		p := now[first]
		if p == nil || p.UID != before[first].UID || len(p.Status.ContainerStatuses) != 1 || p.Status.ContainerStatuses[0].RestartCount == 0 {
			return fmt.Errorf("it is %+v", p)
		}
		return nil
	})
	w.allListed("web", class)
	w.answers(a, 80)
	if err := stop(); err != nil {
		t.Error(err)
	}
}

// watchProgrammed watches whether a Gateway stays programmed; stop ends it, and says
// what it was instead.
func (w *world) watchProgrammed(name string) (stop func() error) {
	w.Helper()
	watcher, err := w.Client.Watch(w.ctx, &gatewayv1.GatewayList{}, client.InNamespace(w.namespace))
	if err != nil {
		w.Fatal(err)
	}
	seen := make(chan error, 1)
	go func() {
		var errs []error
		for e := range watcher.ResultChan() {
			gw, ok := e.Object.(*gatewayv1.Gateway)
			if !ok || gw.Name != name {
				continue
			}
			for _, c := range gw.Status.Conditions {
				if c.Type == string(gatewayv1.GatewayConditionProgrammed) && c.Status != metav1.ConditionTrue {
					errs = append(errs, fmt.Errorf("Gateway %s was not programmed meanwhile: %s: %s", name, c.Reason, c.Message))
				}
			}
		}
		seen <- errors.Join(errs...)
	}()
	return func() error {
		watcher.Stop()
		return <-seen
	}
}

// New connections do not fail while the controller that leads is killed and another
// takes over, and no Envoy is taken out of a Gateway for it.
func TestGatewayWithoutItsLeader(t *testing.T) {
	w := newWorld(t, "172.30.0.110-172.30.0.119")
	class, a, _ := w.web()
	before := w.sliceVersions("web", class)
	w.none(w.probing(a, func() {
		w.killLeader()
		// A change shows that another one leads, and that the Envoys have come to it.
		next := w.httpRoute("next", "web", "echo")
		next.Spec.Hostnames = []gatewayv1.Hostname{"next.example.com"}
		w.apply(next)
		w.gateway("other", class)
	}), "the leader killed")
	if after := w.sliceVersions("web", class); !equal(before, after) {
		t.Errorf("the Gateway's slices were written: %v, now %v", before, after)
	}
}

// sliceVersions are the resourceVersions of a Gateway's slices, each with what it lists.
func (w *world) sliceVersions(gw string, class gatewayv1.ObjectName) map[string]string {
	w.Helper()
	all, err := w.slices(w.ctx, fleet.FrontName(gw, string(class)))
	if err != nil || len(all) == 0 {
		w.Fatalf("Gateway %s has %d slices: %v", gw, len(all), err)
	}
	out := map[string]string{}
	for _, s := range all {
		out[s.Name] = s.ResourceVersion
		for _, e := range s.Endpoints {
			out[s.Name] += fmt.Sprintf(" %s=%t", *e.NodeName, *e.Conditions.Ready)
		}
	}
	return out
}

// A node that announces a Gateway's address is drained without a new connection that
// fails, whether its Envoy stays, as one of a DaemonSet does, or is evicted.
func TestDrainOfNodeWithGateway(t *testing.T) {
	for kind, envoys := range map[v1alpha1.FleetWorkload]int{v1alpha1.FleetDaemonSet: len(shared.Cluster.Nodes()), v1alpha1.FleetDeployment: 2} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, "172.30.0.120-172.30.0.129")
			w.backend("echo", 3)
			class, _ := w.fleetClass(v1alpha1.FleetConfig{Workload: kind})
			w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
			a := w.gateway("web", class)[0]
			w.answers(a, 80)
			w.await("all Envoys to be listed", func(ctx context.Context) error { return w.listed(ctx, "web", class, envoys) })
			w.drainAnnouncer(a)
		})
	}
}

// drainAnnouncer drains the node that announces an address while new connections come.
func (w *world) drainAnnouncer(a netip.Addr) {
	w.Helper()
	node := w.announcer(a, "any node", anyNode)
	w.noneNew(w.probing(a, func() {
		w.drain(node, 2*time.Minute)
		w.announcer(a, "another node than "+node, other(node))
	}), "drain of "+node)
}

// fleetClass makes a class with Envoys that run so, and the GatewayConfig that says it.
func (w *world) fleetClass(f v1alpha1.FleetConfig) (gatewayv1.ObjectName, *v1alpha1.GatewayConfig) {
	w.Helper()
	config := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "fleet"}}
	config.Spec.Fleet = &f
	w.apply(config)
	return w.class(func(c *gatewayv1.GatewayClass) {
		c.Spec.ParametersRef = &gatewayv1.ParametersReference{Group: "fairlead.dev", Kind: "GatewayConfig", Name: config.Name, Namespace: new(gatewayv1.Namespace(w.namespace))}
	}), config
}

// A fleet that has no Envoy announces nothing, and one that gets Envoys again serves as
// before, on the same address.
func TestFleetScaledToZeroAndBack(t *testing.T) {
	for kind, turn := range map[v1alpha1.FleetWorkload]struct{ off, on func(*v1alpha1.FleetConfig) }{
		v1alpha1.FleetDaemonSet: {
			func(c *v1alpha1.FleetConfig) { c.NodeSelector = map[string]string{"no-node.example.com/has": "this"} },
			func(c *v1alpha1.FleetConfig) { c.NodeSelector = nil },
		},
		v1alpha1.FleetDeployment: {
			func(c *v1alpha1.FleetConfig) { c.Replicas = new(int32(0)) },
			func(c *v1alpha1.FleetConfig) { c.Replicas = new(int32(2)) },
		},
	} {
		t.Run(string(kind), func(t *testing.T) {
			w := newWorld(t, "172.30.0.130-172.30.0.139")
			w.backend("echo", 2)
			class, config := w.fleetClass(v1alpha1.FleetConfig{Workload: kind})
			w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
			a := w.gateway("web", class)[0]
			w.answers(a, 80)

			edit(w, config, func(c *v1alpha1.GatewayConfig) { turn.off(c.Spec.Fleet) })
			w.gatewaySays("web", gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, string(gatewayv1.GatewayReasonNoResources))
			w.unannounced(a, "NoReadyEndpoint")

			edit(w, config, func(c *v1alpha1.GatewayConfig) { turn.on(c.Spec.Fleet) })
			if again := w.programmed("web")[0]; again != a {
				t.Errorf("the Gateway had %s, and has %s", a, again)
			}
			w.announcer(a, "any node", anyNode)
			w.answers(a, 80)
		})
	}
}

// Clients on long connections to an Envoy that ends are told to go elsewhere before it
// does, where their protocol has a word for it, and none of their questions fails.
func TestLongConnectionsThroughRollout(t *testing.T) {
	w := newWorld(t, "172.30.0.200-172.30.0.209")
	const web, calls = "web.example.com", "calls.example.com"
	w.backend("echo", 2)
	class := w.class()
	answering := lab.EchoGRPC(w.namespace, "calls", 2)
	w.apply(answering, w.clusterIP("echo", "echo"), w.clusterIP("calls", "calls"), w.httpRoute("all", "web", "echo"),
		lab.GRPCRoute(w.namespace, "calls", "web", calls, "calls"))
	if err := w.AwaitReady(w.ctx, w.namespace, "calls"); err != nil {
		t.Fatal(err)
	}
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	w.allListed("web", class)

	w.settled(a)
	all := map[string]*lab.Guests{}
	for _, kind := range []lab.GuestKind{lab.HTTP1, lab.HTTP2, lab.GRPC} {
		host := web
		if kind.CallsGRPC() {
			host = calls
		}
		all[kind.Name] = w.guests(kind, a, host)
	}
	w.rollOut("daemonset/"+fleet.ID{Class: string(class)}.Name(), 4*time.Minute)
	w.await("the old Envoys to end", func(ctx context.Context) error {
		var pods corev1.PodList
		err := w.Client.List(ctx, &pods, client.InNamespace(lab.Namespace), client.MatchingLabels{fleet.FleetLabel: fleet.ID{Class: string(class)}.Name()})
		if n := len(w.Cluster.Nodes()); err == nil && len(pods.Items) != n {
			err = fmt.Errorf("there are %d Envoys for %d nodes", len(pods.Items), n)
		}
		return err
	})
	for name, g := range all {
		got := g.Stop()
		t.Logf("%s: %+v", name, got)
		if got.Told < guestsOfKind || got.Broken > 0 || got.Failed > 0 || got.Asked == 0 {
			t.Errorf("%s: %+v; want all %d clients to be told to go, and nothing to fail", name, got, guestsOfKind)
		}
	}
}

// guestsOfKind is how many clients of each kind stay.
const guestsOfKind = 3

// guests are clients that stay at an address, as seen from the client host.
func (w *world) guests(kind lab.GuestKind, a netip.Addr, host string) *lab.Guests {
	w.Helper()
	target := netip.AddrPortFrom(a, 80).String()
	g, err := lab.StartGuests(w.ctx, kind, guestsOfKind, host, 200*time.Millisecond, probeTimeout, func(ctx context.Context) (net.Conn, error) {
		return w.Cluster.Dial(ctx, testbed.Client, "tcp", target)
	})
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { g.Stop() })
	return g
}
