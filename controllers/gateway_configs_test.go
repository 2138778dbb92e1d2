package controllers

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// told waits for an Event about an object.
func (w *world) told(kind, name, reason, words string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("an Event %s about %s %s that says %q", reason, kind, name, words), func() error {
		var list eventsv1.EventList
		if err := w.c.List(w.ctx(), &list); err != nil {
			return err
		}
		var said []string
		for _, e := range list.Items {
			if e.Regarding.Kind != kind || e.Regarding.Name != name {
				continue
			}
			if e.Reason == reason && strings.Contains(e.Note, words) {
				return nil
			}
			said = append(said, e.Reason+": "+e.Note)
		}
		return fmt.Errorf("there are %q", said)
	})
}

// A GatewayConfig says whether it counts, once somebody refers to it, and what is
// wrong with it; Events tell when that changes.
func TestGatewayConfigSaysWhetherItCounts(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	w.start(serve)
	class := w.class()
	team := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "team"}}
	team.Spec.Pools = []string{"public"}
	wide := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: "wide"}}
	wide.Spec.Tracing = &v1alpha1.GatewayTracing{Endpoint: "collector.telemetry:4317"}
	w.create(team, wide)
	ready := func(name string, status metav1.ConditionStatus, reason, words string) {
		t.Helper()
		w.eventually(fmt.Sprintf("GatewayConfig %s says Ready=%s/%s", name, status, reason), func() error {
			c := &v1alpha1.GatewayConfig{}
			if err := w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, c); err != nil {
				return err
			}
			is := meta.FindStatusCondition(c.Status.Conditions, v1alpha1.GatewayConfigReady)
			if is == nil && status == "" {
				return nil
			}
			if is == nil || is.Status != status || is.Reason != reason || !strings.Contains(is.Message, words) || is.ObservedGeneration != c.Generation {
				return fmt.Errorf("it says %+v", c.Status.Conditions)
			}
			return nil
		})
	}
	gw := w.newGateway("web", class)
	gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{Group: "fairlead.dev", Kind: "GatewayConfig", Name: "team"}}
	w.create(gw)
	ready("team", metav1.ConditionTrue, fleet.ReasonInUse, "1 Gateway")
	w.told("Gateway", "web", "AddressAssigned", "192.0.2.")
	w.eventually("the Gateway's GatewayConfig says how Envoys run", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(team), team); err != nil {
			return err
		}
		team.Spec.Fleet = &v1alpha1.FleetConfig{Mode: v1alpha1.FleetDedicated}
		return w.c.Update(w.ctx(), team)
	})
	ready("team", metav1.ConditionFalse, fleet.ReasonInvalid, "spec.fleet")
	w.told("GatewayConfig", "team", fleet.ReasonInvalid, "spec.fleet")
	w.says("web", gatewayv1.GatewayConditionAccepted, metav1.ConditionFalse, gatewayv1.GatewayReasonInvalidParameters)
	w.told("Gateway", "web", "InvalidParameters", "spec.fleet")

	w.eventually("the class takes parameters from wide", func() error {
		c := &gatewayv1.GatewayClass{}
		if err := w.c.Get(w.ctx(), client.ObjectKey{Name: class}, c); err != nil {
			return err
		}
		namespace := gatewayv1.Namespace(w.ns)
		c.Spec.ParametersRef = &gatewayv1.ParametersReference{Group: "fairlead.dev", Kind: "GatewayConfig", Namespace: &namespace, Name: "wide"}
		return w.c.Update(w.ctx(), c)
	})
	ready("wide", metav1.ConditionTrue, fleet.ReasonInUse, "GatewayClass "+class)
	if err := w.c.Delete(w.ctx(), gw); err != nil {
		t.Fatal(err)
	}
	ready("team", "", "", "")
	var list eventsv1.EventList
	if err := w.c.List(w.ctx(), &list); err != nil {
		t.Fatal(err)
	}
	for _, e := range list.Items {
		if e.Regarding.Name == "web" && e.Regarding.Kind == "Gateway" && e.Reason == "AddressAssigned" && e.Type != corev1.EventTypeNormal {
			t.Errorf("%s is a %s", e.Reason, e.Type)
		}
	}
}

// A class whose parameters are of a kind that is not known, or are not there, says so
// and what to do, and so do its Gateways, until it is mended.
func TestUnknownParametersOfClass(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, _ := w.withGateways()
	w.start(serve)
	class := w.class()
	refer := func(ref *gatewayv1.ParametersReference) {
		t.Helper()
		w.eventually("the class has other parameters", func() error {
			c := &gatewayv1.GatewayClass{}
			if err := w.c.Get(w.ctx(), client.ObjectKey{Name: class}, c); err != nil {
				return err
			}
			c.Spec.ParametersRef = ref
			return w.c.Update(w.ctx(), c)
		})
	}
	namespace := gatewayv1.Namespace(w.ns)
	refer(&gatewayv1.ParametersReference{Group: "example.com", Kind: "What", Namespace: &namespace, Name: "none"})
	w.create(w.newGateway("web", class))
	for words, ref := range map[string]*gatewayv1.ParametersReference{
		`a What of group "example.com", which is not supported`: {Group: "example.com", Kind: "What", Namespace: &namespace, Name: "none"},
		`Refer to a GatewayConfig of group fairlead.dev, with`:  {Group: "fairlead.dev", Kind: "GatewayConfig", Name: "none"},
		"none does not exist": {Group: "fairlead.dev", Kind: "GatewayConfig", Namespace: &namespace, Name: "none"},
	} {
		refer(ref)
		w.eventually("the class says "+words, func() error {
			c := &gatewayv1.GatewayClass{}
			if err := w.c.Get(w.ctx(), client.ObjectKey{Name: class}, c); err != nil {
				return err
			}
			is := meta.FindStatusCondition(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted))
			if is == nil || is.Status != metav1.ConditionFalse || is.Reason != string(gatewayv1.GatewayClassReasonInvalidParameters) || !strings.Contains(is.Message, words) {
				return fmt.Errorf("it says %+v", is)
			}
			return nil
		})
		w.eventually("its Gateway says "+words, func() error {
			gw := w.says("web", gatewayv1.GatewayConditionAccepted, metav1.ConditionFalse, gatewayv1.GatewayReasonInvalidParameters)
			if is := meta.FindStatusCondition(gw.Status.Conditions, string(gatewayv1.GatewayConditionAccepted)); !strings.Contains(is.Message, words) {
				return fmt.Errorf("it says %q", is.Message)
			}
			return nil
		})
	}
	refer(nil)
	w.says("web", gatewayv1.GatewayConditionAccepted, metav1.ConditionTrue, gatewayv1.GatewayReasonAccepted)
}
