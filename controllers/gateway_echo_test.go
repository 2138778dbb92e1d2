package controllers

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// counting is a Gateway that was built with two routes, and is as it was written.
func counting(t *testing.T) (*gateways, *gatewayv1.Gateway) {
	t.Helper()
	s := &scene{routes: newShelf(), services: newShelf()}
	for i := range 2 {
		if err := s.routes.Add(s.route(i, 0, false)); err != nil {
			t.Fatal(err)
		}
	}
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", Generation: 1, ResourceVersion: "1"}}
	gw.Spec.Listeners = []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
	l := &lookup{ctx: context.Background(), client: cached{shelves: map[string]*shelf{"HTTPRoute": s.routes, "Service": s.services}}}
	built := gateway.Build(l.inputOf(gw, nil))
	if l.err != nil {
		t.Fatal(l.err)
	}
	gw.Status, _ = gateway.MergeGateway(gw.Status, built.Status(gateway.Progress{}).Gateway, time.Unix(0, 0))
	name := client.ObjectKeyFromObject(gw)
	return &gateways{known: map[types.NamespacedName]*serving{name: {name: name, built: built}}}, gw
}

func TestOwnCountsComeBackUnseen(t *testing.T) {
	for _, tt := range []struct {
		what   string
		change func(was, is *gatewayv1.Gateway)
		passes bool
	}{
		{"our write of the number of routes", func(was, is *gatewayv1.Gateway) {
			was.Status.Listeners[0].AttachedRoutes = 1
			is.ManagedFields = []metav1.ManagedFieldsEntry{{Manager: "fairlead"}}
		}, false},
		{"a wrong number", func(_, is *gatewayv1.Gateway) { is.Status.Listeners[0].AttachedRoutes = 7 }, true},
		{"a listener less", func(_, is *gatewayv1.Gateway) { is.Status.Listeners = nil }, true},
		{"another name", func(_, is *gatewayv1.Gateway) { is.Status.Listeners[0].Name = "https" }, true},
		{"a condition", func(_, is *gatewayv1.Gateway) { is.Status.Conditions[0].Message = "Mine." }, true},
		{"a condition of a listener", func(_, is *gatewayv1.Gateway) { is.Status.Listeners[0].Conditions[0].Message = "Mine." }, true},
		{"an address", func(_, is *gatewayv1.Gateway) {
			is.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Value: "192.0.2.1"}}
		}, true},
		{"an annotation", func(_, is *gatewayv1.Gateway) { is.Annotations = map[string]string{"a": "b"} }, true},
		{"another object of the name", func(_, is *gatewayv1.Gateway) { is.UID = "2" }, true},
	} {
		g, was := counting(t)
		is := was.DeepCopy()
		is.ResourceVersion = "2"
		tt.change(was, is)
		if got := g.unlessCounted().Update(event.UpdateEvent{ObjectOld: was, ObjectNew: is}); got != tt.passes {
			t.Errorf("%s: passes %t, want %t", tt.what, got, tt.passes)
		}
	}
	g, gw := counting(t)
	g.known = nil
	if !g.unlessCounted().Update(event.UpdateEvent{ObjectOld: gw, ObjectNew: gw}) {
		t.Error("what is not built passes always")
	}
}

func TestOwnAnswersComeBackUnseen(t *testing.T) {
	opened := make(chan struct{})
	close(opened)
	route := (&scene{}).route(0, 0, false)
	current := gateway.EditionOf(route)
	said := gatewayv1.RouteParentStatus{ParentRef: route.Spec.ParentRefs[0], ControllerName: gateway.ControllerName, Conditions: []metav1.Condition{
		{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", ObservedGeneration: 1},
	}}
	own := *said.DeepCopy()
	own.Conditions[0].LastTransitionTime = metav1.NewTime(time.Unix(100, 0))
	wrong := *own.DeepCopy()
	wrong.Conditions[0].Status = metav1.ConditionFalse
	foreign := gatewayv1.RouteParentStatus{ParentRef: route.Spec.ParentRefs[0], ControllerName: "example.com/other"}
	for _, tt := range []struct {
		what   string
		opened chan struct{}
		said   gateway.Edition // that of which the Gateway speaks; none: it does not
		has    []gatewayv1.RouteParentStatus
		passes bool
	}{
		{"one that comes and of which nothing is said yet", opened, gateway.Edition{}, nil, false},
		{"one that has nothing of what is said", opened, current, nil, true},
		{"our own write", opened, current, []gatewayv1.RouteParentStatus{own}, false},
		{"our own write beside others'", opened, current, []gatewayv1.RouteParentStatus{foreign, own}, false},
		{"what somebody else made of it", opened, current, []gatewayv1.RouteParentStatus{wrong}, true},
		{"what is ours and nobody says", opened, gateway.Edition{}, []gatewayv1.RouteParentStatus{own}, true},
		{"another spec than what is spoken of", opened, gateway.Edition{UID: current.UID, Generation: 2}, []gatewayv1.RouteParentStatus{own}, false},
		{"another object of the name than what is spoken of", opened, gateway.Edition{UID: "8", Generation: 1}, nil, false},
		{"one of which not all may be said yet", make(chan struct{}), current, []gatewayv1.RouteParentStatus{own}, true},
	} {
		route.Status.Parents = tt.has
		g := &gateways{shell: &shell{Options: Options{Clock: clock.RealClock{}}}, opened: tt.opened, said: map[subject]map[types.NamespacedName]answer{}}
		if tt.said != (gateway.Edition{}) {
			g.said[subjectOf(route)] = map[types.NamespacedName]answer{{Namespace: "shop", Name: "web"}: {about: tt.said, parents: []gatewayv1.RouteParentStatus{said}}}
		}
		if got := g.unanswered().Update(event.UpdateEvent{ObjectOld: route, ObjectNew: route}); got != tt.passes {
			t.Errorf("%s: passes %t, want %t", tt.what, got, tt.passes)
		}
	}
}
