package xds_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// A Gateway may have 1000 listeners, its own before those of ListenerSets.
const listeners = 1000

// ownMeta is an object of infra, the older the lower its number.
func ownMeta(kind string, number int) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "infra", Name: fmt.Sprintf("%s-%d", kind, number), Generation: 1, CreationTimestamp: metav1.NewTime(time.Unix(int64(number), 0))}
}

// full is a Gateway with as many listeners as its CRD admits, each on a port of its
// own, and so many ListenerSets that are as full.
func full(sets int) gateway.Input {
	in := gateway.Input{Gateway: &gatewayv1.Gateway{ObjectMeta: ownMeta("gw", 0)}}
	in.Gateway.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{From: new(gatewayv1.NamespacesFromAll)}}
	const most = 64
	list := func(set int) []gatewayv1.Listener {
		var out []gatewayv1.Listener
		for i := range most {
			out = append(out, gatewayv1.Listener{Name: gatewayv1.SectionName(fmt.Sprintf("l%d", i)), Port: gatewayv1.PortNumber(1 + most*set + i), Protocol: gatewayv1.HTTPProtocolType})
		}
		return out
	}
	in.Gateway.Spec.Listeners = list(0)
	for s := range sets {
		set := &gatewayv1.ListenerSet{ObjectMeta: ownMeta("set", s)}
		for _, l := range list(1 + s) {
			set.Spec.Listeners = append(set.Spec.Listeners, gatewayv1.ListenerEntry(l))
		}
		in.ListenerSets = append(in.ListenerSets, set)
	}
	return in
}

// TestManyListeners has those that are too many left out and told, the youngest
// first, whatever the order.
func TestManyListeners(t *testing.T) {
	c := newCluster(t)
	in := full(16) // with its own 64 these are 1088
	in.Objects = c
	slices.Reverse(in.ListenerSets)
	built := gateway.Build(in)
	if n := len(built.Model.Ports); n != listeners {
		t.Errorf("%d ports are served", n)
	}
	status := built.Status(gateway.Progress{})
	left := map[string]int{}
	for _, set := range status.ListenerSets {
		for _, l := range set.Status.Listeners {
			if accepted := l.Conditions[0]; accepted.Status != metav1.ConditionTrue {
				if accepted.Reason != string(gatewayv1.ListenerEntryReasonTooManyListeners) || !strings.Contains(accepted.Message, "1000 listeners") {
					t.Errorf("%+v", accepted)
				}
				left[set.Name.Name]++
			}
		}
	}
	if fmt.Sprint(left) != "map[set-14:24 set-15:64]" {
		t.Errorf("left out: %v", left)
	}
	if n := *status.Gateway.AttachedListenerSets; n != 15 {
		t.Errorf("%d ListenerSets are attached", n)
	}
	readSchemas(t).checkAll(t, withClass(in), status)
	if len(xds.Encode(built.Model, shifted, xds.Settings{}).Listeners) != listeners {
		t.Error("not all listeners are given to Envoy")
	}
}

func withClass(in gateway.Input) gateway.Input {
	in.Gateway = in.Gateway.DeepCopy()
	in.Gateway.Spec.GatewayClassName = "fairlead"
	for i, s := range in.ListenerSets {
		s = s.DeepCopy()
		s.Spec.ParentRef.Name = "gw-0"
		in.ListenerSets[i] = s
	}
	return in
}

// TestManyRules has Envoy take a route with far more rules than the CRD admits, on
// a Gateway with as many listeners as it does.
func TestManyRules(t *testing.T) {
	in := full(0)
	in.Objects = newCluster(t)
	route := &gatewayv1.HTTPRoute{ObjectMeta: ownMeta("route", 0)}
	route.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "gw-0"}}
	const rules = 1000
	for i := range rules {
		rule := gatewayv1.HTTPRouteRule{Matches: []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Value: new(fmt.Sprintf("/%d", i))}}}}
		ref := gatewayv1.HTTPBackendRef{}
		ref.Name, ref.Port = "web", new(gatewayv1.PortNumber(80))
		rule.BackendRefs = []gatewayv1.HTTPBackendRef{ref}
		route.Spec.Rules = append(route.Spec.Rules, rule)
	}
	in.Routes.HTTP = []*gatewayv1.HTTPRoute{route}
	built := gateway.Build(in)
	r := xds.Encode(built.Model, shifted, xds.Settings{})
	for name, table := range r.Routes {
		if n := len(table.VirtualHosts[0].Routes); n != rules {
			t.Fatalf("%s has %d routes", name, n)
		}
	}
	if n := len(r.Routes); n != len(in.Gateway.Spec.Listeners) {
		t.Errorf("%d tables", n)
	}
	envoytest.Validate(t, r)
}
