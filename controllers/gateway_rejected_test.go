package controllers

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// rejectedOn says what a route and the Gateway web say of a rejection; empty: nothing.
func (w *world) rejectedOn(name string) (gw, route string, err error) {
	g, r := &gatewayv1.Gateway{}, &gatewayv1.HTTPRoute{}
	if err := errors.Join(
		w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: "web"}, g),
		w.c.Get(w.ctx(), client.ObjectKey{Namespace: w.ns, Name: name}, r)); err != nil {
		return "", "", err
	}
	if !meta.IsStatusConditionTrue(g.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed)) {
		return "", "", fmt.Errorf("the Gateway is not programmed: %+v", g.Status.Conditions)
	}
	if len(r.Status.Parents) != 1 {
		return "", "", fmt.Errorf("the route says %+v", r.Status)
	}
	words := func(list []metav1.Condition) string {
		if c := meta.FindStatusCondition(list, gateway.ConditionRejected); c != nil {
			return fmt.Sprintf("%s %s: %s", c.Status, c.Reason, c.Message)
		}
		return ""
	}
	return words(g.Status.Conditions), words(r.Status.Parents[0].Conditions), nil
}

// An Envoy that serves a Gateway does not take a later part of its configuration. That
// stands on the Gateway, which is still programmed, and on the route that has changed;
// it is written once; and it goes when the Envoy takes what comes next.
func TestRejectionIsToldWhileTheGatewayServes(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, address := w.withGateways()
	r := w.start(serve)
	class := w.class()
	w.create(w.newRoute("good", "web", "nowhere"))
	e := w.programmed(address, class, "web")
	e.mu.Lock()
	e.refuse = func(r *discoveryv3.Resource) string {
		if bytes.Contains(r.GetResource().GetValue(), []byte("bad.example.com")) {
			return "no such host, please"
		}
		return ""
	}
	e.mu.Unlock()
	quiet := func(name string) {
		t.Helper()
		w.eventually("nothing is said of a rejection on "+name, func() error {
			gw, route, err := w.rejectedOn(name)
			if gw+route != "" {
				err = errors.Join(err, fmt.Errorf("it is said %q and %q", gw, route))
			}
			return err
		})
	}
	quiet("good")
	bad := w.newRoute("bad", "web", "nowhere")
	bad.Spec.Hostnames = []gatewayv1.Hostname{"bad.example.com"}
	w.create(bad)
	w.eventually("the rejection is told", func() error {
		gw, route, err := w.rejectedOn("bad")
		if err != nil {
			return err
		}
		for _, said := range []string{gw, route} {
			want := "True RejectedByEnvoy: Envoy does not take RouteConfiguration " + w.ns + "/web/table/http/80: "
			if !strings.HasPrefix(said, want) || !strings.Contains(said, "no such host, please") {
				return fmt.Errorf("it is said %q, want %s and more", said, want)
			}
		}
		return nil
	})
	if _, route, err := w.rejectedOn("good"); err != nil || route != "" {
		t.Errorf("the other route says %q, %v", route, err)
	}
	before := w.settled(r)
	r.shell.gateways.Load().progress.add(requestFor(w.ns, "web"))
	if after := w.settled(r); fmt.Sprint(after) != fmt.Sprint(before) {
		t.Errorf("while the rejection stays, something is written: %v, before %v", after, before)
	}
	events := &corev1.EventList{}
	w.eventually("an Event tells of it", func() error {
		if err := w.c.List(w.ctx(), events, client.InNamespace(w.ns)); err != nil {
			return err
		}
		for _, ev := range events.Items {
			if ev.Reason == gateway.ReasonRejected && ev.InvolvedObject.Name == "web" {
				return nil
			}
		}
		return fmt.Errorf("there are %+v", events.Items)
	})
	if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(bad), bad); err != nil {
		t.Fatal(err)
	}
	bad.Spec.Hostnames = []gatewayv1.Hostname{"mended.example.com"}
	if err := w.c.Update(w.ctx(), bad); err != nil {
		t.Fatal(err)
	}
	quiet("bad")
	quiet("good")
}
