//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// takeoverPool is for the addresses that are taken over.
var takeoverPool = []string{"172.30.0.224-172.30.0.231", "fd00:30::224-fd00:30::22b"}

// handover is addresses that one side is to hand over to another, and clients that
// come, and that stay, at all of them.
type handover struct {
	*world
	from, to  lab.Side
	addresses []netip.Addr
	nodes     []string // that announce them on layer 2
	probes    []*lab.Probe
	guests    []*lab.Guests
	// look counts the changes of what the client knows of the addresses, or its router.
	look *lab.Onlooker
}

// legacy is a Service with a pinned IPv4 address and one of IPv6, which hands over.
func (w *world) legacy(edits ...func(*corev1.Service)) *handover {
	w.Helper()
	h := w.pinned("172.30.0.226", edits...)
	h.comeOnSegment()
	return h
}

// pinned makes the Service, without clients.
func (w *world) pinned(address string, edits ...func(*corev1.Service)) *handover {
	w.Helper()
	w.echoBackend()
	h := &handover{world: w, from: lab.ServiceSide(w.namespace, "legacy")}
	h.addresses = w.service("legacy", "echo", 2, append([]func(*corev1.Service){lab.LoadBalancerIP(address), lab.DualStack}, edits...)...)
	for _, a := range h.addresses {
		w.answers(a, 80)
	}
	return h
}

// echoBackend is what both sides lead to.
func (w *world) echoBackend() {
	w.Helper()
	w.backend("echo", 3)
	w.apply(w.clusterIP("echo", "echo"))
}

// comeOnSegment has the clients come once the same nodes announce the addresses on layer 2 for good.
func (h *handover) comeOnSegment() {
	h.Helper()
	for _, a := range h.addresses {
		h.settled(a)
		h.nodes = append(h.nodes, h.announcer(a, "any node", anyNode))
	}
	h.come(h.WatchNeighbours(testbed.Client, h.addresses))
}

// come has the clients come, watched by an onlooker.
func (h *handover) come(look *lab.Onlooker, err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
	h.look = look
	for _, a := range h.addresses {
		h.probes = append(h.probes, h.StartProbe(h.ctx, testbed.Client, a, 80, 5*time.Millisecond, probeTimeout))
		h.guests = append(h.guests, h.world.guests(lab.HTTP1, a, "legacy"))
	}
}

// unharmed says that nothing failed, and that the same nodes announce the addresses: nobody
// outside has noticed anything.
func (h *handover) unharmed(during string) {
	h.Helper()
	if changes, err := h.look.Stop(); len(changes) > 0 || err != nil {
		h.Errorf("%s: what is known of the addresses outside has changed %d times; %v\n%s", during, len(changes), err, strings.Join(changes, "\n"))
	}
	for i, a := range h.addresses {
		h.none(h.probes[i].Stop(), fmt.Sprintf("%s of %s", during, a))
		got := h.guests[i].Stop()
		h.Logf("%s of %s: who stayed: %+v", during, a, got)
		if got.Broken > 0 || got.Failed > 0 || got.Asked == 0 {
			h.Errorf("%s of %s: %+v; want no connection to break and no request to fail", during, a, got)
		}
		if h.nodes != nil {
			h.announcer(a, "the same node", func(node string) bool { return node == h.nodes[i] })
		}
	}
}

// edge makes a Gateway that takes over, with a route that does what the Service did.
func (h *handover) edge(class gatewayv1.ObjectName) {
	h.Helper()
	gw := lab.Gateway(h.namespace, "edge", string(class))
	h.takes(lab.GatewaySide(h.namespace, "edge", string(class)), gw)
	h.apply(h.httpRoute("all", "edge", "echo"))
	h.agrees()
}

// takes makes the object of the side that takes over, which asks for it from the start.
func (h *handover) takes(to lab.Side, o client.Object) {
	h.Helper()
	h.to = to
	o.SetAnnotations(lab.Takes(h.from, to))
	h.apply(o)
}

// agrees has the giving side agree, and disagrees has it take that back.
func (h *handover) agrees() {
	h.Helper()
	if err := h.Agree(h.ctx, h.from, h.to); err != nil {
		h.Fatal(err)
	}
}

func (h *handover) disagrees() {
	h.Helper()
	if err := h.Disagree(h.ctx, h.from); err != nil {
		h.Fatal(err)
	}
}

// back turns the handover round, and asks for it.
func (h *handover) back() {
	h.Helper()
	h.from, h.to = h.to, h.from
	if err := h.AskForTakeover(h.ctx, h.from, h.to); err != nil {
		h.Fatal(err)
	}
}

// stands waits until both sides say where the takeover stands.
func (h *handover) stands(reason takeover.Phase) {
	h.Helper()
	said := ""
	h.await("the takeover to be "+string(reason), func(ctx context.Context) error {
		err := h.TakeoverStands(ctx, string(reason), h.from, h.to)
		if err != nil && err.Error() != said {
			said = err.Error()
			h.Log(said)
		}
		return err
	})
}

// inFront waits until so many of the addresses are in the status of each side's Service.
func (h *handover) inFront(from, to int) {
	h.Helper()
	h.await(fmt.Sprintf("%d and %d addresses in front", from, to), func(ctx context.Context) error {
		a, err := h.Shows(ctx, h.from, h.addresses)
		if err != nil {
			return err
		}
		b, err := h.Shows(ctx, h.to, h.addresses)
		if err == nil && (a != from || b != to) {
			err = fmt.Errorf("%s shows %d of them, and %s %d", h.from, a, h.to, b)
		}
		return err
	})
}

// done waits until the taking side has all addresses, alone.
func (h *handover) done() {
	h.Helper()
	h.await("the takeover by "+h.to.String()+" to be done", func(ctx context.Context) error { return h.TakenOver(ctx, h.from, h.to, h.addresses) })
	h.inFront(0, len(h.addresses))
	for _, a := range h.addresses {
		h.answers(a, 80)
	}
}

// A Gateway takes the addresses of a Service over under load: no connection fails,
// none breaks, and the same nodes announce them.
func TestTakeover(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
	class := w.class()
	h.edge(class)
	h.done()
	h.unharmed("the takeover")
}

// The same by BGP: the router, which spreads over all nodes, hears of nothing.
func TestTakeoverByBGP(t *testing.T) {
	w := newWorld(t)
	w.offSegment()
	f := w.frr()
	// Without BFD: no node fails, and on a busy machine FRR, which has no priority like ours, may take one for dead.
	w.bgp(func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "" })
	h := w.pinned("203.0.113.6")
	routed := func() {
		for _, a := range h.addresses {
			w.paths(f, a, len(w.Cluster.Nodes()))
			w.nextHops(testbed.Router, a, len(w.Cluster.Nodes()))
		}
	}
	routed()
	h.come(w.WatchRoutes(testbed.Router, h.addresses))
	class := w.class()
	h.edge(class)
	h.done()
	h.unharmed("the takeover by BGP")
	routed()
}

// A takeover that is undone half way leaves the Service as it was.
func TestTakeoverUndone(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	more := corev1.ServicePort{Name: "more", Port: 81}
	h := w.legacy(func(s *corev1.Service) {
		more.TargetPort = s.Spec.Ports[0].TargetPort
		s.Spec.Ports = append(s.Spec.Ports, more)
	})
	class := w.class()
	h.edge(class)
	h.stands(takeover.Shared)
	h.inFront(2, 2)
	w.answers(h.addresses[0], 81)
	h.disagrees()
	h.inFront(2, 0)
	h.unharmed("a takeover undone")
	for _, a := range h.addresses {
		w.answers(a, 81)
	}
}

// What was handed over is given back under load by the same annotations, the other way
// round. The Service is Local: it is announced where it has a pod.
func TestTakeoverBack(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy(lab.Local)
	class := w.class()
	h.edge(class)
	h.done()
	h.back()
	h.done()
	h.unharmed("a takeover and the way back")
}

// kubectl fairlead plans the way of a Service to a Gateway, writes what it takes, and
// drives the takeover under load. The Service's port is TCP, as nothing says otherwise.
func TestMigrateServiceToGateway(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	h := w.legacy()
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
	h.unharmed("kubectl fairlead migrate")
	for _, a := range h.addresses {
		p.says(0, []string{"Gateway " + w.namespace + "/web", "taken over from Service " + w.namespace + "/legacy", "Nothing is wrong."}, "explain", "address", a.String())
		w.answers(a, 80)
	}
	// Again: it is over, and nothing is left to do.
	p.says(0, []string{"done"}, append(migrate, "--apply")...)
}

// Three Services that share an address hand it over at once, each with its own port, one of them of another namespace, and
// get it back so: kubectl fairlead makes a Gateway that does what they did, and drives all.
func TestTakeoverOfAGroup(t *testing.T) {
	w := newWorld(t, takeoverPool...)
	share := lab.Annotate(v1alpha1.AnnotationSharingKey, "k")
	team := w.anotherNamespace("team")
	edit(w, lab.Pool(w.pool), func(p *v1alpha1.IPAddressPool) { p.Spec.Sharing = v1alpha1.SharingAcrossNamespaces })
	h := w.legacy(share)
	w.apply(lab.Echo(team, "echo", 2),
		lab.LoadBalancer(w.namespace, "second", "echo", share, lab.DualStack, lab.LoadBalancerIP("172.30.0.226"), lab.Port(81)),
		lab.LoadBalancer(team, "third", "echo", share, lab.DualStack, lab.LoadBalancerIP("172.30.0.226"), lab.Port(82)))
	others := []struct {
		namespace, name string
		port            uint16
	}{{w.namespace, "second", 81}, {team, "third", 82}}
	var probes []*lab.Probe
	for _, o := range others {
		got, err := w.AwaitAddresses(w.ctx, o.namespace, o.name, 2)
		if err != nil || !slices.Equal(got, h.addresses) {
			t.Fatalf("%s has %v, want %v; %v", o.name, got, h.addresses, err)
		}
		for _, a := range got {
			w.answers(a, o.port)
			probes = append(probes, w.StartProbe(w.ctx, testbed.Client, a, o.port, 20*time.Millisecond, probeTimeout))
		}
	}
	p, class := w.plugin(), w.class()
	migrate := []string{"migrate", "service", "legacy", "--with-sharers", "--to-gateway", "edge", "--create", "--class", string(class), "--namespace=" + w.namespace}
	p.says(1, []string{"Gateway edge (new)", "-> Service second", "-> Service third", "moves from 3 Services to Gateway", "Nothing was written"}, migrate...)
	got := p.fairlead(w.ctx, append(migrate, "--apply")...)
	t.Logf("%s%s", got.out, got.errs)
	if got.code != 0 || !strings.Contains(got.out, "\ndone") {
		t.Fatalf("it ends with %d", got.code)
	}
	h.to = lab.GatewaySide(w.namespace, "edge", string(class))
	h.done()
	back := []string{"migrate", "gateway", "edge", "--to-service", "legacy", "--with-sharers", "--namespace=" + w.namespace}
	p.says(1, []string{"moves from Gateway edge to 3 Services", "Nothing was written"}, back...)
	got = p.fairlead(w.ctx, append(back, "--apply")...)
	t.Logf("%s%s", got.out, got.errs)
	if got.code != 0 || !strings.Contains(got.out, "\ndone") {
		t.Fatalf("the way back ends with %d", got.code)
	}
	h.stands(takeover.Done)
	h.inFront(2, 0)
	h.unharmed("a takeover from three, and back")
	for _, p := range probes {
		w.none(p.Stop(), "a takeover from three, and back, at the others' ports")
	}
	for _, a := range h.addresses {
		o, err := w.address(w.ctx, a)
		if err != nil || len(o.Spec.Holders) != 3 || slices.ContainsFunc(o.Spec.Holders, func(h v1alpha1.AddressHolder) bool { return h.Kind != service.KindService }) {
			t.Errorf("%s is held by %+v: %v", a, o.Spec.Holders, err)
		}
		for _, o := range others {
			w.answers(a, o.port)
		}
	}
}
