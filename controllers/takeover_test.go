package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/service"
)

const pinnedVIP = "192.0.2.9"

var hasty = takeover.Pace{Prepare: 50 * time.Millisecond, Share: 50 * time.Millisecond, Close: 50 * time.Millisecond}

// takeoverWorld is a Service with a pinned address and a Gateway that could serve it.
type takeoverWorld struct {
	*world
	class, xds string
	serve      func(*Options, *manager.Options)
	pace       takeover.Pace
}

func newTakeoverWorld(t *testing.T, pace takeover.Pace) *takeoverWorld {
	w := &takeoverWorld{world: newWorld(t), pace: pace}
	w.serve, w.xds = w.withGateways()
	w.pool("public", nil, "192.0.2.0/28")
	w.class = w.world.class()
	return w
}

func (w *takeoverWorld) run(change ...func(*Options, *manager.Options)) *replica {
	paced := func(o *Options, _ *manager.Options) { o.Takeover = w.pace }
	return w.start(append([]func(*Options, *manager.Options){w.serve, paced}, change...)...)
}

// restartsQuietly stops a replica and starts another one, which has nothing to write.
func (w *takeoverWorld) restartsQuietly(r *replica) {
	w.t.Helper()
	r.stop()
	r = w.run()
	w.recovered(r)
	if writes := w.settled(r); len(writes) > 0 {
		w.t.Errorf("a restart wrote %v", writes)
	}
}

// envoys has an Envoy run that acknowledges everything.
func (w *takeoverWorld) envoys() {
	id := fleet.ID{Class: w.class}
	w.fleetPod(id, "envoy-1", "node1", "10.0.0.7")
	w.envoy(w.xds, id, "envoy-1")
}

func (w *takeoverWorld) giver(change ...func(*corev1.Service)) {
	w.service("web", append([]func(*corev1.Service){func(s *corev1.Service) { s.Spec.LoadBalancerIP = pinnedVIP }, annotate(v1alpha1.AnnotationHandover, "gateway/edge")}, change...)...)
}

func (w *takeoverWorld) taker(change ...func(*gatewayv1.Gateway)) {
	gw := w.newGateway("edge", w.class)
	gw.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/web"}
	for _, f := range change {
		f(gw)
	}
	w.create(gw)
}

func (w *takeoverWorld) gateway() *gatewayv1.Gateway {
	gw := &gatewayv1.Gateway{}
	if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "edge"}, gw); err != nil {
		w.t.Fatal(err)
	}
	return gw
}

func (w *takeoverWorld) editGateway(change func(*gatewayv1.Gateway)) {
	w.t.Helper()
	w.eventually("editing the Gateway", func() error {
		gw := w.gateway()
		change(gw)
		return w.c.Update(w.ctx(), gw)
	})
}

// stands waits until both sides say the same of the takeover.
func (w *takeoverWorld) stands(reason string) {
	w.t.Helper()
	w.eventually("the takeover is "+reason, func() error {
		s := meta.FindStatusCondition(w.get("web").Status.Conditions, tell.Condition)
		g := meta.FindStatusCondition(w.gateway().Status.Conditions, tell.Condition)
		if s == nil || g == nil || s.Reason != reason || g.Reason != reason || (s.Status == metav1.ConditionTrue) != (reason == "Done") {
			return fmt.Errorf("the Service says %+v, the Gateway %+v", s, g)
		}
		return nil
	})
}

// front are the addresses that kube-proxy serves for the Gateway.
func (w *takeoverWorld) front(ctx context.Context) []string {
	s := &corev1.Service{}
	if err := w.c.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: fleet.FrontName("edge", w.class)}, s); err != nil {
		return nil
	}
	return ips(s)
}

// watched looks all the time that one of the two serves the address at least.
func (w *takeoverWorld) watched() (stop func()) { return w.watchedFor("web") }

// watchedFor is watched for a giver.
func (w *takeoverWorld) watchedFor(giver string) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() {
		for pace := time.NewTicker(3 * time.Millisecond); ctx.Err() == nil; <-pace.C {
			// The Gateway's first and last: it may have come to be in front between.
			a, s := w.front(ctx), &corev1.Service{}
			if err := w.c.Get(ctx, client.ObjectKey{Namespace: w.ns, Name: giver}, s); err != nil {
				continue
			}
			b := w.front(ctx)
			if ctx.Err() == nil && !slices.Contains(a, pinnedVIP) && !slices.Contains(b, pinnedVIP) && !slices.Contains(ips(s), pinnedVIP) {
				done <- fmt.Errorf("nobody serves %s: Service %s %v, the Gateway %v then %v", pinnedVIP, giver, ips(s), a, b)
				return
			}
		}
		done <- nil
	}()
	var once sync.Once
	return func() {
		w.t.Helper()
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				w.t.Error(err)
			}
		})
	}
}

// served waits until exactly the Service or exactly the Gateway serves and holds it.
func (w *takeoverWorld) served(by string) {
	w.t.Helper()
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, by)
	w.eventually(by+" alone serves the address", func() error {
		s, g := slices.Contains(ips(w.get("web")), pinnedVIP), slices.Contains(w.front(w.ctx()), pinnedVIP)
		if s != (by == "web") || g != (by == "edge") {
			return fmt.Errorf("the Service: %v, the Gateway: %v", s, g)
		}
		return nil
	})
}

func TestTakeover(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	r := w.run()
	w.giver()
	w.has("web", pinnedVIP)
	stop := w.watched()
	defer stop()
	w.taker()
	w.stands("Requested")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "edge", "web")
	if got := w.front(w.ctx()); len(got) > 0 {
		t.Errorf("the Gateway shows %v before it can serve", got)
	}
	w.envoys()
	w.stands("Done")
	w.served("edge")
	w.condition("web", service.ConditionAddress, metav1.ConditionFalse, service.ReasonHandedOver)
	w.told("web", "TakeoverRequested", "TakeoverShared", "TakeoverSwitched", "TakeoverDone")
	w.told("edge", "TakeoverRequested", "TakeoverPrepared", "TakeoverShared", "TakeoverSwitched", "TakeoverDone")
	// It keeps it when both annotations are gone, and the Service, which asks for it
	// still, does not want it back.
	w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
	w.editGateway(func(g *gatewayv1.Gateway) { delete(g.Annotations, v1alpha1.AnnotationTakeover) })
	w.settled(r)
	w.served("edge")
	w.condition("web", service.ConditionAddress, metav1.ConditionFalse, service.ReasonHandedOver)
	if got := w.gateway().Status.Addresses; len(got) != 1 || got[0].Value != pinnedVIP {
		t.Errorf("the Gateway has %+v", got)
	}
	// Nor after a restart.
	w.restartsQuietly(r)
	w.served("edge")
	stop()
	// Asked for another address by name, the Service gets that.
	w.edit("web", annotate(v1alpha1.AnnotationAddresses, "192.0.2.3"))
	w.has("web", "192.0.2.3")
}

// told waits until Events of these reasons are told about an object, each once.
func (w *takeoverWorld) told(about string, reasons ...string) {
	w.t.Helper()
	w.eventually("Events about "+about, func() error {
		var list eventsv1.EventList
		if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns)); err != nil {
			return err
		}
		n := map[string]int{}
		for _, e := range list.Items {
			if e.Regarding.Name == about {
				n[e.Reason]++
			}
		}
		for _, r := range reasons {
			if n[r] != 1 {
				return fmt.Errorf("%s is told %d times: %v", r, n[r], n)
			}
		}
		return nil
	})
}

// A Gateway with an address of its own keeps it until the end, and has it back when
// the takeover is undone.
func TestTakeoverIsUndone(t *testing.T) {
	hour := time.Hour
	for phase, pace := range map[string]takeover.Pace{
		"Requested": hasty,
		"Prepared":  {Prepare: hour, Share: hasty.Share, Close: hasty.Close},
		"Shared":    hasty, // held by a port that the Gateway lacks
		"Switched":  {Prepare: hasty.Prepare, Share: hasty.Share, Close: hour},
	} {
		for side := range 2 {
			t.Run(fmt.Sprintf("%s %d", phase, side), func(t *testing.T) {
				w := newTakeoverWorld(t, pace)
				w.run()
				w.giver(func(s *corev1.Service) {
					if phase == "Shared" {
						s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{Name: "more", Port: 81})
						s.Spec.Ports[0].Name = "web"
					}
				})
				w.has("web", pinnedVIP)
				stop := w.watched()
				defer stop()
				w.taker(func(g *gatewayv1.Gateway) { g.Annotations = nil })
				if phase != "Requested" {
					w.envoys()
				}
				w.eventually("the Gateway has an address", func() error {
					if got := w.front(w.ctx()); len(got) != 1 || got[0] != "192.0.2.0" {
						return fmt.Errorf("it has %v", got)
					}
					return nil
				})
				w.editGateway(func(g *gatewayv1.Gateway) {
					g.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/web"}
				})
				w.stands(phase)
				if got := w.front(w.ctx()); !slices.Contains(got, "192.0.2.0") {
					t.Errorf("the Gateway's own address is gone: %v", got)
				}
				if side == 0 {
					w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
				} else {
					w.editGateway(func(g *gatewayv1.Gateway) { g.Annotations = nil })
				}
				w.served("web")
				w.addressIs("192.0.2.0", v1alpha1.AddressBound, "edge")
				w.eventually("the Gateway shows its own address", func() error {
					if got := w.front(w.ctx()); len(got) != 1 || got[0] != "192.0.2.0" {
						return fmt.Errorf("it has %v", got)
					}
					return nil
				})
			})
		}
	}
}

func TestTakeoverThatCannotBegin(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.giver(func(s *corev1.Service) { s.Annotations = nil })
	w.has("web", pinnedVIP)
	w.taker()
	says := func(reason, word string) {
		t.Helper()
		w.eventually("the Gateway says "+word, func() error {
			c := meta.FindStatusCondition(w.gateway().Status.Conditions, tell.Condition)
			if c == nil || c.Reason != reason || !strings.Contains(c.Message, word) {
				return fmt.Errorf("it says %+v", c)
			}
			return nil
		})
	}
	says(tell.ReasonWaiting, "fairlead.dev/handover=gateway/edge")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "web")
	w.edit("web", annotate(v1alpha1.AnnotationHandover, "gateway/other"))
	says(tell.ReasonWaiting, "does not agree")
	w.edit("web", annotate(v1alpha1.AnnotationHandover, "nonsense"))
	says(tell.ReasonRefused, "nonsense")
	w.edit("web", annotate(v1alpha1.AnnotationHandover, "gateway/edge"))
	w.editGateway(func(g *gatewayv1.Gateway) {
		g.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Value: "192.0.2.4"}}
	})
	says(tell.ReasonRefused, "192.0.2.4")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "web")
	w.editGateway(func(g *gatewayv1.Gateway) { g.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Value: pinnedVIP}} })
	w.stands("Done")
	w.served("edge")
}

func TestTakeoverFromAnotherNamespaceNeedsAGrant(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	other := w.ns + "-other"
	w.namespace(other, nil)
	svc := w.newService("web", annotate(v1alpha1.AnnotationHandover, "gateway/"+w.ns+"/edge"))
	svc.Namespace, svc.Spec.LoadBalancerIP = other, pinnedVIP
	w.create(svc)
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "web")
	w.taker(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/" + other + "/web" })
	w.eventually("it is refused", func() error {
		c := meta.FindStatusCondition(w.gateway().Status.Conditions, tell.Condition)
		if c == nil || c.Reason != tell.ReasonRefused || !strings.Contains(c.Message, "ReferenceGrant") {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	w.create(&gatewayv1.ReferenceGrant{
		ObjectMeta: metav1.ObjectMeta{Namespace: other, Name: "hand-over"},
		Spec: gatewayv1.ReferenceGrantSpec{
			From: []gatewayv1.ReferenceGrantFrom{{Group: gatewayv1.GroupName, Kind: "Gateway", Namespace: gatewayv1.Namespace(w.ns)}},
			To:   []gatewayv1.ReferenceGrantTo{{Kind: "Service"}},
		},
	})
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "edge")
}

// The controller is killed at each write of a takeover, and another one goes on.
func TestCrashInATakeover(t *testing.T) {
	everyCrash(t, crashInTakeover)
}

// everyCrash crashes at the first failpoint that is passed, at the second, and so on, on
// the way forward and on the way back.
func everyCrash(t *testing.T, f func(t *testing.T, n int, back bool) (uncrashed bool)) {
	for _, back := range []bool{false, true} {
		for n := 1; ; n++ {
			done := false
			t.Run(fmt.Sprintf("back=%v %d", back, n), func(t *testing.T) { done = f(t, n, back) })
			if done || t.Failed() {
				if n < 8 {
					t.Errorf("only %d failpoints were passed", n)
				}
				break
			}
		}
	}
}

func crashInTakeover(t *testing.T, n int, back bool) (uncrashed bool) {
	w := newTakeoverWorld(t, hasty)
	ports := func(s *corev1.Service) {
		if back {
			s.Spec.Ports = []corev1.ServicePort{{Name: "web", Port: 80}, {Name: "more", Port: 81}}
		}
	}
	crash, armed := newCrasher(n), make(chan struct{})
	first := w.crashing(crash, armed)
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.giver(ports)
	w.has("web", pinnedVIP)
	stop := w.watched()
	defer stop()
	close(armed)
	replaced := stopCrashed(t, crash, first)
	w.taker()
	until := w.following(crash, replaced)
	if back {
		until("Shared or further", func() error {
			if c := meta.FindStatusCondition(w.gateway().Status.Conditions, tell.Condition); c == nil || c.Reason != "Shared" {
				return fmt.Errorf("it says %+v", c)
			}
			return nil
		})
		w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
		until("the Service alone has it", func() error { return w.ends("web") })
	} else {
		until("the Gateway alone has it", func() error { return w.ends("edge") })
	}
	return !crash.struck()
}

// crashing runs a controller that crashes once it is armed.
func (w *takeoverWorld) crashing(crash *crasher, armed <-chan struct{}) *replica {
	return w.run(func(o *Options, _ *manager.Options) {
		o.Failpoint = func(ctx context.Context, point string) error {
			select {
			case <-armed:
				return crash.hook(ctx, strings.Replace(point, "front.", "service.front.", 1))
			default:
				return nil
			}
		}
	})
}

// stopCrashed stops a controller as soon as it has crashed, and then closes what it
// returns.
func stopCrashed(t *testing.T, crash *crasher, first *replica) (stopped <-chan struct{}) {
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		defer close(done)
		select {
		case <-crash.crashed:
			first.stop()
		case <-ctx.Done():
		}
	}()
	t.Cleanup(func() { cancel(); <-done })
	return done
}

// following waits for something, and starts another controller once the first one
// has crashed.
func (w *takeoverWorld) following(crash *crasher, stopped <-chan struct{}) func(string, func() error) {
	started := false
	return func(what string, check func() error) {
		w.t.Helper()
		w.eventually(what, func() error {
			if !started && crash.struck() {
				<-stopped
				started = true
				w.run()
			}
			return check()
		})
	}
}

// ends tells whether one of the two alone holds and serves the address.
func (w *takeoverWorld) ends(by string) error {
	s, g := slices.Contains(ips(w.get("web")), pinnedVIP), slices.Contains(w.front(w.ctx()), pinnedVIP)
	a := w.address(pinnedVIP)
	if a == nil || len(a.Spec.Holders) != 1 || a.Spec.Holders[0].Name != by || s != (by == "web") || g != (by == "edge") {
		return fmt.Errorf("the Service: %v, the Gateway: %v, held by %+v", s, g, a)
	}
	return nil
}

// ready lists an endpoint of a Service, as Kubernetes does.
func (w *takeoverWorld) ready(service string) {
	w.create(&discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: w.ns, Name: service + "-1", Labels: map[string]string{discoveryv1.LabelServiceName: service}},
		AddressType: discoveryv1.AddressTypeIPv4,
		Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"10.0.1.7"}, NodeName: ptr.To("node1"), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}}},
	})
}

// unready takes them away.
func (w *takeoverWorld) unready(service string) {
	w.t.Helper()
	o := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: service + "-1"}}
	if err := w.c.Delete(w.ctx(), o); err != nil {
		w.t.Fatal(err)
	}
}

// What was handed over is given back by the same annotations, the other way round.
func TestTakeoverBack(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	r := w.run()
	w.giver()
	w.has("web", pinnedVIP)
	stop := w.watched()
	defer stop()
	w.taker()
	w.envoys()
	w.stands("Done")
	w.served("edge")
	w.editGateway(func(g *gatewayv1.Gateway) {
		g.Annotations = map[string]string{v1alpha1.AnnotationHandover: "service/web"}
	})
	w.edit("web", func(s *corev1.Service) {
		s.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "gateway/edge"}
	})
	w.stands("Requested") // no endpoint yet
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "edge", "web")
	if got := ips(w.get("web")); len(got) > 0 {
		t.Errorf("the Service shows %v before it can serve", got)
	}
	w.ready("web")
	w.stands("Done")
	w.served("web")
	w.condition("web", service.ConditionAddress, metav1.ConditionTrue, service.ReasonAssigned)
	// The Gateway wants nothing else meanwhile, nor after a restart.
	w.edit("web", func(s *corev1.Service) { s.Annotations = nil })
	w.settled(r)
	r.stop()
	r = w.run()
	w.recovered(r)
	w.settled(r)
	w.served("web")
	if got := w.gateway().Status.Addresses; len(got) > 0 {
		t.Errorf("the Gateway has %+v", got)
	}
}

// When the Gateway goes, the Service that handed over to it asks again. The pool keeps the
// address for the Gateway for a while.
func TestTakeoverEndsWithTheGateway(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	r := w.run()
	w.giver()
	w.has("web", pinnedVIP)
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker()
	w.stands("Done")
	w.served("edge")
	w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
	w.settled(r)
	if err := w.c.Delete(w.ctx(), w.gateway()); err != nil {
		t.Fatal(err)
	}
	w.condition("web", service.ConditionAddress, metav1.ConditionFalse, string(allocator.AddressRetained))
	w.edit("web", annotate(v1alpha1.AnnotationAddresses, "192.0.2.3"))
	w.has("web", "192.0.2.3")
}

// A Service of another class takes over from a Service, and a Gateway from a Gateway.
func TestTakeoverBetweenEquals(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.giver(annotate(v1alpha1.AnnotationHandover, "service/new"))
	w.has("web", pinnedVIP)
	class := v1alpha1.LoadBalancerClass
	w.service("new", annotate(v1alpha1.AnnotationTakeover, "service/web"), func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class })
	w.condition("new", tell.Condition, metav1.ConditionFalse, "Requested")
	w.ready("new")
	w.has("new", pinnedVIP)
	w.has("web")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "new")
	w.condition("new", tell.Condition, metav1.ConditionTrue, "Done")

	old := w.newGateway("old", w.class)
	old.Annotations = map[string]string{v1alpha1.AnnotationHandover: "gateway/edge"}
	w.create(old)
	w.addressIs("192.0.2.0", v1alpha1.AddressBound, "old")
	w.taker(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "gateway/old" })
	w.envoys()
	w.addressIs("192.0.2.0", v1alpha1.AddressBound, "edge")
	w.eventually("only the new Gateway shows the address", func() error {
		s := &corev1.Service{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: fleet.FrontName("old", w.class)}, s); err != nil {
			return err
		}
		if got := w.front(w.ctx()); len(ips(s)) > 0 || len(got) != 1 || got[0] != "192.0.2.0" {
			return fmt.Errorf("the old one %v, the new one %v", ips(s), got)
		}
		return nil
	})
}

// A Service that has an address keeps that: it cannot take over.
func TestTakeoverByAServiceWithAnAddress(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.giver(annotate(v1alpha1.AnnotationHandover, "service/new"))
	w.has("web", pinnedVIP)
	w.service("new")
	w.has("new", "192.0.2.0")
	w.edit("new", annotate(v1alpha1.AnnotationTakeover, "service/web"))
	w.condition("new", tell.Condition, metav1.ConditionFalse, tell.ReasonRefused)
	w.has("new", "192.0.2.0")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "web")
}
