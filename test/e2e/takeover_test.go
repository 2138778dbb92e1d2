//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// takeoverPool is for the addresses that are taken over.
var takeoverPool = []string{"172.30.0.224-172.30.0.231", "fd00:30::224-fd00:30::22b"}

// legacy is a Service with a pinned IPv4 address and one of IPv6, and clients that
// come, and that stay, at both.
type legacy struct {
	*world
	addresses []netip.Addr
	nodes     []string // that announce them on layer 2
	probes    []*lab.Probe
	guests    []*lab.Guests
	// look counts the changes of what the client knows of the addresses, or its router.
	look *lab.Onlooker
}

func (w *world) legacy(edits ...func(*corev1.Service)) *legacy {
	w.Helper()
	l := w.pinned("172.30.0.226", edits...)
	for _, a := range l.addresses {
		w.settled(a)
		l.nodes = append(l.nodes, w.announcer(a, "any node", anyNode))
	}
	l.come(w.WatchNeighbours(testbed.Client, l.addresses))
	return l
}

// pinned makes the Service, without clients.
func (w *world) pinned(address string, edits ...func(*corev1.Service)) *legacy {
	w.Helper()
	w.backend("echo", 3)
	w.apply(w.clusterIP("echo", "echo"))
	l := &legacy{world: w}
	l.addresses = w.service("legacy", "echo", 2, append([]func(*corev1.Service){lab.LoadBalancerIP(address), lab.DualStack}, edits...)...)
	for _, a := range l.addresses {
		w.answers(a, 80)
	}
	return l
}

// come has the clients come, watched by an onlooker.
func (l *legacy) come(look *lab.Onlooker, err error) {
	l.Helper()
	if err != nil {
		l.Fatal(err)
	}
	l.look = look
	for _, a := range l.addresses {
		l.probes = append(l.probes, l.StartProbe(l.ctx, testbed.Client, a, 80, 5*time.Millisecond, probeTimeout))
		l.guests = append(l.guests, l.world.guests(lab.HTTP1, a, "legacy"))
	}
}

// unharmed says that nothing failed, and that the same nodes announce the addresses: nobody
// outside has noticed anything.
func (l *legacy) unharmed(during string) {
	l.Helper()
	if n, err := l.look.Stop(); n > 0 || err != nil {
		l.Errorf("%s: what is known of the addresses outside has changed %d times; %v", during, n, err)
	}
	for i, a := range l.addresses {
		l.none(l.probes[i].Stop(), fmt.Sprintf("%s of %s", during, a))
		got := l.guests[i].Stop()
		l.Logf("%s of %s: who stayed: %+v", during, a, got)
		if got.Broken > 0 || got.Failed > 0 || got.Asked == 0 {
			l.Errorf("%s of %s: %+v; want no connection to break and no request to fail", during, a, got)
		}
		if l.nodes != nil {
			l.announcer(a, "the same node", func(node string) bool { return node == l.nodes[i] })
		}
	}
}

// edge makes a Gateway that takes over, with a route that does what the Service did.
func (l *legacy) edge(class gatewayv1.ObjectName) {
	l.Helper()
	gw := lab.Gateway(l.namespace, "edge", string(class))
	gw.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/legacy"}
	l.apply(l.httpRoute("all", "edge", "echo"), gw)
	l.hands("gateway/edge")
}

// hands has the Service hand over, or not.
func (l *legacy) hands(to string) {
	l.Helper()
	edit(l.world, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: l.namespace, Name: "legacy"}}, func(s *corev1.Service) {
		if s.Annotations == nil {
			s.Annotations = map[string]string{}
		}
		s.Annotations[v1alpha1.AnnotationHandover] = to
	})
}

// stands waits until both sides say where the takeover stands.
func (l *legacy) stands(reason string) {
	l.Helper()
	said := ""
	l.await("the takeover to be "+reason, func(ctx context.Context) error {
		var s corev1.Service
		var g gatewayv1.Gateway
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: "legacy"}, &s); err != nil {
			return err
		}
		if err := l.Client.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: "edge"}, &g); err != nil {
			return err
		}
		a, b := meta.FindStatusCondition(s.Status.Conditions, tell.Condition), meta.FindStatusCondition(g.Status.Conditions, tell.Condition)
		if a == nil || b == nil || a.Reason != reason || b.Reason != reason {
			if now := fmt.Sprintf("the Service says %+v, the Gateway %+v", a, b); now != said {
				said = now
				l.Log(now)
			}
			return fmt.Errorf("%s", said)
		}
		return nil
	})
}

// inFront waits until exactly these addresses are in the statuses of the Service and
// of the Gateway's own.
func (l *legacy) inFront(class gatewayv1.ObjectName, service, gateway int) {
	l.Helper()
	l.await(fmt.Sprintf("%d and %d addresses in front", service, gateway), func(ctx context.Context) error {
		for name, want := range map[string]int{"legacy": service, fleet.FrontName("edge", string(class)): gateway} {
			var s corev1.Service
			if err := l.Client.Get(ctx, client.ObjectKey{Namespace: l.namespace, Name: name}, &s); err != nil {
				return err
			}
			n := 0
			for _, in := range s.Status.LoadBalancer.Ingress {
				if in.IP == l.addresses[0].String() || in.IP == l.addresses[1].String() {
					n++
				}
			}
			if n != want {
				return fmt.Errorf("%s shows %+v", name, s.Status.LoadBalancer.Ingress)
			}
		}
		return nil
	})
}

// A Gateway takes the addresses of a Service over under load: no connection fails,
// none breaks, and the same nodes announce them.
func TestTakeover(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	l := w.legacy()
	class := w.class()
	l.edge(class)
	l.stands("Done")
	l.inFront(class, 0, 2)
	l.unharmed("the takeover")
	for _, a := range l.addresses {
		o, err := w.address(w.ctx, a)
		if err != nil || len(o.Spec.Holders) != 1 || o.Spec.Holders[0].Kind != "Gateway" {
			t.Errorf("%s is held by %+v: %v", a, o.Spec.Holders, err)
		}
		w.answers(a, 80)
	}
}

// The same by BGP: the router, which spreads over all nodes, hears of nothing.
func TestTakeoverByBGP(t *testing.T) {
	w := newWorld(t)
	w.offSegment()
	f := w.frr()
	w.bgp()
	l := w.pinned("203.0.113.6")
	routed := func() {
		for _, a := range l.addresses {
			w.paths(f, a, len(w.Cluster.Nodes()))
			w.nextHops(testbed.Router, a, len(w.Cluster.Nodes()))
		}
	}
	routed()
	l.come(w.WatchRoutes(testbed.Router, l.addresses))
	class := w.class()
	l.edge(class)
	l.stands("Done")
	l.inFront(class, 0, 2)
	l.unharmed("the takeover by BGP")
	routed()
}

// A takeover that is undone half way leaves the Service as it was.
func TestTakeoverUndone(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	more := corev1.ServicePort{Name: "more", Port: 81}
	l := w.legacy(func(s *corev1.Service) {
		more.TargetPort = s.Spec.Ports[0].TargetPort
		s.Spec.Ports = append(s.Spec.Ports, more)
	})
	class := w.class()
	l.edge(class)
	l.stands("Shared")
	l.inFront(class, 2, 2)
	w.answers(l.addresses[0], 81)
	l.hands("")
	l.inFront(class, 2, 0)
	l.unharmed("a takeover undone")
	for _, a := range l.addresses {
		w.answers(a, 81)
	}
}

// What was handed over is given back under load by the same annotations, the other way
// round. The Service is Local: it is announced where it has a pod.
func TestTakeoverBack(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	l := w.legacy(lab.Local)
	class := w.class()
	l.edge(class)
	l.stands("Done")
	l.inFront(class, 0, 2)
	edit(w, lab.Gateway(w.namespace, "edge", string(class)), func(g *gatewayv1.Gateway) {
		g.Annotations = map[string]string{v1alpha1.AnnotationHandover: "service/legacy"}
	})
	edit(w, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "legacy"}}, func(s *corev1.Service) {
		delete(s.Annotations, v1alpha1.AnnotationHandover)
		s.Annotations[v1alpha1.AnnotationTakeover] = "gateway/edge"
	})
	l.stands("Done")
	l.inFront(class, 2, 0)
	l.unharmed("a takeover and the way back")
}

// kubectl fairlead plans the way of a Service to a Gateway, writes what it takes, and
// drives the takeover under load. The Service's port is TCP, as nothing says otherwise.
func TestMigrateServiceToGateway(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	l := w.legacy()
	p, class := w.plugin(), w.class()
	migrate := []string{"migrate", "service", "legacy", "--to-gateway", "web", "--create", "--class", string(class), "--namespace=" + w.namespace}
	p.says(1, []string{"Gateway web (new)", "TCPRoute", "Nothing was written"}, migrate...)
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "web"}, &gatewayv1.Gateway{}); !apierrors.IsNotFound(err) {
		t.Fatalf("the plan alone made the Gateway: %v", err)
	}
	got := p.fairlead(w.ctx, append(migrate, "--apply")...)
	t.Logf("%s%s", got.out, got.errs)
	if got.code != 0 {
		t.Fatalf("it ends with %d", got.code)
	}
	for _, phase := range []string{"prepared", "shared", "switched", "done"} {
		if !strings.Contains(got.out, "\n"+phase) {
			t.Errorf("it does not tell of %s", phase)
		}
	}
	l.unharmed("kubectl fairlead migrate")
	for _, a := range l.addresses {
		p.says(0, []string{"Gateway " + w.namespace + "/web", "taken over from Service " + w.namespace + "/legacy", "Nothing is wrong."}, "explain", "address", a.String())
		w.answers(a, 80)
	}
	// Again: it is over, and nothing is left to do.
	p.says(0, []string{"done"}, append(migrate, "--apply")...)
}

// Two Services that share an address hand it over at once, each with its own port:
// kubectl fairlead makes a Gateway that does what both did.
func TestTakeoverOfAGroup(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	share := lab.Annotate(v1alpha1.AnnotationSharingKey, "k")
	l := w.legacy(share)
	second := w.service("second", "echo", 2, share, lab.DualStack, lab.LoadBalancerIP("172.30.0.226"), lab.Port(81))
	if second[0] != l.addresses[0] || second[1] != l.addresses[1] {
		t.Fatalf("the Services have %v and %v, want the same", l.addresses, second)
	}
	var probes []*lab.Probe
	for _, a := range second {
		w.answers(a, 81)
		probes = append(probes, w.StartProbe(w.ctx, testbed.Client, a, 81, 20*time.Millisecond, probeTimeout))
	}
	p, class := w.plugin(), w.class()
	migrate := []string{"migrate", "service", "legacy", "--with-sharers", "--to-gateway", "edge", "--create", "--class", string(class), "--namespace=" + w.namespace}
	p.says(1, []string{"Gateway edge (new)", "-> Service second", "moves from 2 Services to Gateway", "Nothing was written"}, migrate...)
	got := p.fairlead(w.ctx, append(migrate, "--apply")...)
	t.Logf("%s%s", got.out, got.errs)
	if got.code != 0 || !strings.Contains(got.out, "\ndone") {
		t.Fatalf("it ends with %d", got.code)
	}
	l.stands("Done")
	l.inFront(class, 0, 2)
	l.unharmed("a takeover from two")
	for i, p := range probes {
		w.none(p.Stop(), fmt.Sprintf("a takeover from two, at port 81 of %s", second[i]))
		o, err := w.address(w.ctx, second[i])
		if err != nil || len(o.Spec.Holders) != 1 || o.Spec.Holders[0].Kind != "Gateway" {
			t.Errorf("%s is held by %+v: %v", second[i], o.Spec.Holders, err)
		}
		w.answers(second[i], 81)
	}
}
