package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/service"
)

// sharers are two Services on one address, with a port each, that hand it over; the second
// one to whom it says.
func (w *takeoverWorld) sharers(to string) {
	share := annotate(v1alpha1.AnnotationSharingKey, "k")
	w.giver(share)
	w.has("web", pinnedVIP)
	w.service("api", share, annotate(v1alpha1.AnnotationHandover, to), func(s *corev1.Service) {
		s.Spec.LoadBalancerIP, s.Spec.Ports[0].Port = pinnedVIP, 81
	})
	w.has("api", pinnedVIP)
}

// takesAll has a Gateway take over from both.
func takesAll(g *gatewayv1.Gateway) {
	g.Annotations[v1alpha1.AnnotationTakeover] = "service/web,service/api"
	g.Spec.Listeners = append(g.Spec.Listeners, gatewayv1.Listener{Name: "more", Port: 81, Protocol: gatewayv1.HTTPProtocolType})
}

// gatewaySays waits until the Gateway says so of the takeover.
func (w *takeoverWorld) gatewaySays(reason, word string) {
	w.t.Helper()
	w.eventually("the Gateway says "+word, func() error {
		c := meta.FindStatusCondition(w.gateway().Status.Conditions, tell.Condition)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, word) {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

// servedByAll waits until exactly these hold the address and show it.
func (w *takeoverWorld) servedByAll(names ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%v alone serve the address", names), func() error { return w.servedNow(names) })
}

func (w *takeoverWorld) servedNow(names []string) error {
	a, held := w.address(pinnedVIP), []string(nil)
	if a != nil {
		for _, h := range a.Spec.Holders {
			held = append(held, h.Name)
		}
	}
	slices.Sort(held)
	var shown []string
	for name, front := range map[string][]string{"api": ips(w.get("api")), "edge": w.front(w.ctx()), "web": ips(w.get("web"))} {
		if slices.Contains(front, pinnedVIP) {
			shown = append(shown, name)
		}
	}
	slices.Sort(shown)
	if !slices.Equal(held, names) || !slices.Equal(shown, names) {
		return fmt.Errorf("it is held by %v, and shown by %v", held, shown)
	}
	return nil
}

// All who share an address hand it over at once, and none before all agree.
func TestTakeoverOfAGroup(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	r := w.run()
	w.sharers("gateway/other")
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker(takesAll)
	w.gatewaySays(tell.ReasonWaiting, "/api does not agree")
	w.condition("web", tell.Condition, metav1.ConditionFalse, tell.ReasonWaiting)
	w.settled(r)
	w.servedByAll("api", "web")
	w.edit("api", annotate(v1alpha1.AnnotationHandover, "gateway/edge"))
	w.stands("Done")
	w.servedByAll("edge")
	for _, name := range []string{"web", "api"} {
		w.condition(name, tell.Condition, metav1.ConditionTrue, "Done")
		w.condition(name, service.ConditionAddress, metav1.ConditionFalse, service.ReasonHandedOver)
		w.told(name, "TakeoverShared", "TakeoverSwitched", "TakeoverDone")
	}
	// Nor do they ask for it when the annotations are gone, and after a restart.
	for _, name := range []string{"web", "api"} {
		w.edit(name, func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
	}
	w.editGateway(func(g *gatewayv1.Gateway) { delete(g.Annotations, v1alpha1.AnnotationTakeover) })
	w.settled(r)
	w.restartsQuietly(r)
	w.servedByAll("edge")
}

// One of them takes its word back, or has a port that the Gateway lacks: all go back, or
// all wait.
func TestTakeoverOfAGroupIsUndone(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.sharers("gateway/edge")
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/web,service/api" })
	w.gatewaySays("Shared", "no port 81/TCP, so Service "+w.ns+"/api serves that on")
	w.servedByAll("api", "edge", "web")
	w.edit("api", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
	w.servedByAll("api", "web")
	w.edit("api", annotate(v1alpha1.AnnotationHandover, "gateway/edge"))
	w.gatewaySays("Shared", "no port 81/TCP")
	// Named alone, the other cannot hand over: the Gateway has no sharing key.
	w.editGateway(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/web" })
	w.gatewaySays(tell.ReasonRefused, "")
	w.servedByAll("api", "web")
	// One that goes takes its ports with it, and the takeover goes on without it.
	w.editGateway(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/web,service/api" })
	w.gatewaySays("Shared", "no port 81/TCP")
	stopAPI()
	if err := w.c.Delete(w.ctx(), w.get("api")); err != nil {
		t.Fatal(err)
	}
	w.stands("Done")
	w.served("edge")
}

// Those who do not share all addresses cannot hand over together; and who shares an
// address cannot take over what others have of it, as it would lose its own part.
func TestTakeoverOfAGroupThatCannotBegin(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	share := annotate(v1alpha1.AnnotationSharingKey, "k")
	w.giver(share)
	w.has("web", pinnedVIP)
	w.service("api", annotate(v1alpha1.AnnotationHandover, "gateway/edge"))
	w.has("api", "192.0.2.0")
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker(takesAll)
	w.gatewaySays(tell.ReasonRefused, "do not have the same addresses")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "web")
	w.addressIs("192.0.2.0", v1alpha1.AddressBound, "api")
	// The second one comes to share the address with the Gateway.
	w.editGateway(func(g *gatewayv1.Gateway) {
		g.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/web", v1alpha1.AnnotationSharingKey: "k"}
		g.Spec.Listeners = g.Spec.Listeners[:1]
	})
	w.stands("Done")
	w.edit("api", func(s *corev1.Service) {
		s.Annotations[v1alpha1.AnnotationSharingKey], s.Spec.LoadBalancerIP, s.Spec.Ports[0].Port = "k", pinnedVIP, 81
	})
	w.has("api", pinnedVIP)
	stop := w.watched()
	defer stop()
	w.editGateway(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/api" })
	w.gatewaySays(tell.ReasonRefused, "shares an address with Service "+w.ns+"/api")
	w.addressIs(pinnedVIP, v1alpha1.AddressBound, "api", "edge")
}

// The controller is killed at each write of a takeover from two, and another one goes on.
func TestCrashInATakeoverOfAGroup(t *testing.T) { everyCrash(t, crashInGroup) }

func crashInGroup(t *testing.T, n int, back bool) (uncrashed bool) {
	w := newTakeoverWorld(t, hasty)
	crash, armed := newCrasher(n), make(chan struct{})
	first := w.crashing(crash, armed)
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.sharers("gateway/edge")
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	close(armed)
	until := w.following(crash, stopCrashed(t, crash, first))
	if !back {
		w.taker(takesAll)
		until("the Gateway alone has it", func() error { return w.servedNow([]string{"edge"}) })
		return !crash.struck()
	}
	w.taker(func(g *gatewayv1.Gateway) { g.Annotations[v1alpha1.AnnotationTakeover] = "service/web,service/api" })
	until("both sides serve it", func() error { return w.servedNow([]string{"api", "edge", "web"}) })
	w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationHandover) })
	until("the Services alone have it", func() error { return w.servedNow([]string{"api", "web"}) })
	return !crash.struck()
}

// gaveBoth is a Gateway that has what two Services handed over, which have endpoints of their own.
func gaveBoth(t *testing.T) (*takeoverWorld, *replica) {
	w := newTakeoverWorld(t, hasty)
	r := w.run()
	w.sharers("gateway/edge")
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker(takesAll)
	w.stands("Done")
	w.servedByAll("edge")
	w.ready("web")
	w.ready("api")
	return w, r
}

// givesBack has the Gateway hand over to both.
func givesBack(g *gatewayv1.Gateway) {
	g.Annotations = map[string]string{v1alpha1.AnnotationHandover: "service/web,service/api"}
}

// takesBack has one of the Services take over.
func takesBack(s *corev1.Service) {
	delete(s.Annotations, v1alpha1.AnnotationHandover)
	s.Annotations[v1alpha1.AnnotationTakeover] = "gateway/edge"
}

// What two handed over is given back to both at once, and not before both ask for it.
func TestTakeoverOfAGroupIsGivenBack(t *testing.T) {
	w, r := gaveBoth(t)
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	w.editGateway(givesBack)
	w.edit("web", takesBack)
	w.gatewaySays(tell.ReasonWaiting, "/api does not ask for it")
	w.settled(r)
	w.servedByAll("edge")
	w.edit("api", takesBack)
	w.servedByAll("api", "web")
	for _, name := range []string{"web", "api"} {
		w.condition(name, tell.Condition, metav1.ConditionTrue, "Done")
	}
	w.gatewaySays("Done", "Service "+w.ns+"/api and Service "+w.ns+"/web have "+pinnedVIP)
	for _, name := range []string{"web", "api"} {
		w.edit(name, func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationTakeover) })
	}
	w.editGateway(func(g *gatewayv1.Gateway) { delete(g.Annotations, v1alpha1.AnnotationHandover) })
	w.settled(r)
	w.restartsQuietly(r)
	w.servedByAll("api", "web")
}

// Of several who take over, all wait for the last, and all go back when one does.
func TestTakeoverByAGroupIsUndone(t *testing.T) {
	w, _ := gaveBoth(t)
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	w.unready("api")
	w.edit("web", takesBack)
	w.edit("api", takesBack)
	w.editGateway(givesBack)
	w.eventually("the one waits for the other", func() error {
		c := meta.FindStatusCondition(w.get("web").Status.Conditions, tell.Condition)
		if c == nil || c.Reason != "Prepared" && c.Reason != "Requested" || !strings.Contains(c.Message, "It goes on when Service "+w.ns+"/api has come as far.") {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	// A port that neither has keeps the Gateway in front.
	w.editGateway(func(g *gatewayv1.Gateway) {
		g.Spec.Listeners = append(g.Spec.Listeners, gatewayv1.Listener{Name: "third", Port: 82, Protocol: gatewayv1.HTTPProtocolType})
	})
	w.ready("api")
	w.gatewaySays("Shared", "Service "+w.ns+"/api and Service "+w.ns+"/web have no port 82/TCP")
	w.servedByAll("api", "edge", "web")
	w.edit("api", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationTakeover) })
	w.servedByAll("edge")
	w.edit("api", takesBack)
	w.servedByAll("api", "edge", "web")
	w.unready("api")
	w.eventually("the Gateway alone serves it", func() error {
		if len(ips(w.get("web")))+len(ips(w.get("api"))) > 0 || !slices.Contains(w.front(w.ctx()), pinnedVIP) {
			return fmt.Errorf("web has %v, api %v, the Gateway %v", ips(w.get("web")), ips(w.get("api")), w.front(w.ctx()))
		}
		return nil
	})
	w.ready("api")
	w.editGateway(func(g *gatewayv1.Gateway) { g.Spec.Listeners = g.Spec.Listeners[:2] })
	w.servedByAll("api", "web")
}

// Who hands over to several is not one of several who hand over.
func TestTakeoverFromManyToMany(t *testing.T) {
	w := newTakeoverWorld(t, hasty)
	w.run()
	w.sharers("gateway/edge,gateway/other")
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.taker(takesAll)
	w.gatewaySays(tell.ReasonRefused, "Either several give to one, or one gives to several.")
	w.servedByAll("api", "web")
}

// The controller is killed at each write of a takeover by two, and another one goes on.
func TestCrashInATakeoverByAGroup(t *testing.T) { everyCrash(t, crashByGroup) }

func crashByGroup(t *testing.T, n int, back bool) (uncrashed bool) {
	w := newTakeoverWorld(t, hasty)
	crash, armed := newCrasher(n), make(chan struct{})
	first := w.crashing(crash, armed)
	w.create(w.newGateway("other", w.class)) // for which a fleet runs
	w.envoys()
	w.sharers("gateway/edge")
	w.taker(takesAll)
	w.stands("Done")
	w.servedByAll("edge")
	w.ready("web")
	w.ready("api")
	stopWeb, stopAPI := w.watchedFor("web"), w.watchedFor("api")
	defer stopWeb()
	defer stopAPI()
	close(armed)
	until := w.following(crash, stopCrashed(t, crash, first))
	if back {
		w.editGateway(func(g *gatewayv1.Gateway) {
			g.Spec.Listeners = append(g.Spec.Listeners, gatewayv1.Listener{Name: "third", Port: 82, Protocol: gatewayv1.HTTPProtocolType})
		})
	}
	w.edit("web", takesBack)
	w.edit("api", takesBack)
	w.editGateway(givesBack)
	if !back {
		until("the Services alone have it", func() error { return w.servedNow([]string{"api", "web"}) })
		return !crash.struck()
	}
	until("all serve it", func() error { return w.servedNow([]string{"api", "edge", "web"}) })
	w.edit("web", func(s *corev1.Service) { delete(s.Annotations, v1alpha1.AnnotationTakeover) })
	until("the Gateway alone has it", func() error { return w.servedNow([]string{"edge"}) })
	return !crash.struck()
}
