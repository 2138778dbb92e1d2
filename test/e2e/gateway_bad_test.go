//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// What a person gets wrong hurts only itself, and is said where it is: a Gateway of
// the same fleet goes on answering all the while.
func TestBadGatewaysHurtOnlyThemselves(t *testing.T) {
	w := newWorld(t, "172.30.0.170-172.30.0.179")
	class, a, _ := w.web()
	w.none(w.probing(a, func() {
		w.badRegex()
		w.withoutGrant()
		w.badCertificates(class)
		w.manyListeners(class)
		w.unknownParameters()
		w.foreignClass()
	}), "what is wrong")
}

// routeSays waits for a condition of a route, with a reason and words in it.
func (w *world) routeSays(name string, kind gatewayv1.RouteConditionType, reason gatewayv1.RouteConditionReason, words string) string {
	w.Helper()
	said := ""
	w.await(fmt.Sprintf("condition %s=False (%s) on route %s", kind, reason, name), func(ctx context.Context) error {
		var r gatewayv1.HTTPRoute
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, &r); err != nil {
			return err
		}
		for _, p := range r.Status.Parents {
			for _, c := range p.Conditions {
				if c.Type == string(kind) && c.Status == metav1.ConditionFalse && c.Reason == string(reason) && strings.Contains(c.Message, words) {
					said = c.Message
					return nil
				}
			}
		}
		return fmt.Errorf("it has %+v", r.Status.Parents)
	})
	return said
}

func (w *world) badRegex() {
	w.Helper()
	r := w.httpRoute("regex", "web", "echo")
	kind, value := gatewayv1.PathMatchRegularExpression, "/(?!cart).*"
	r.Spec.Rules[0].Matches = []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Type: &kind, Value: &value}}}
	w.apply(r)
	w.routeSays(r.Name, gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonUnsupportedValue, "RE2")
}

// withoutGrant wants the same answer whether or not the Service of the other namespace
// is there.
func (w *world) withoutGrant() {
	w.Helper()
	said := map[string]string{}
	for _, name := range []string{"fairlead-probe", "nothing-of-this-name"} {
		r := w.httpRoute(name, "web", name)
		elsewhere := gatewayv1.Namespace("default")
		r.Spec.Rules[0].BackendRefs[0].Namespace = &elsewhere
		if name == "fairlead-probe" {
			s := w.clusterIP(name, "echo")
			s.Namespace = string(elsewhere)
			w.apply(s)
			defer w.Client.Delete(w.ctx, s)
		}
		w.apply(r)
		words := w.routeSays(name, gatewayv1.RouteConditionResolvedRefs, gatewayv1.RouteReasonRefNotPermitted, "ReferenceGrant")
		said[strings.ReplaceAll(words, name, "NAME")] = name
	}
	if len(said) != 1 {
		w.Errorf("the answers tell a Service that is there from one that is not: %v", said)
	}
}

func (w *world) badCertificates(class gatewayv1.ObjectName) {
	w.Helper()
	w.apply(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "keyless"}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{"tls.crt": []byte("no PEM")},
	})
	mode := gatewayv1.TLSModeTerminate
	gw := lab.Gateway(w.namespace, "tls", string(class))
	gw.Spec.Listeners = nil
	for _, name := range []gatewayv1.ObjectName{"keyless", "missing"} {
		host := gatewayv1.Hostname(name + ".example.com")
		gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{
			Name: gatewayv1.SectionName(name), Port: 443, Protocol: gatewayv1.HTTPSProtocolType, Hostname: &host,
			TLS: &gatewayv1.ListenerTLSConfig{Mode: &mode, CertificateRefs: []gatewayv1.SecretObjectReference{{Name: name}}},
		})
	}
	w.apply(gw)
	w.await("the listeners to name their certificates", func(ctx context.Context) error {
		var have gatewayv1.Gateway
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(gw), &have); err != nil {
			return err
		}
		if len(have.Status.Listeners) != 2 {
			return fmt.Errorf("it tells of %d listeners", len(have.Status.Listeners))
		}
		for _, l := range have.Status.Listeners {
			c := meta.FindStatusCondition(l.Conditions, string(gatewayv1.ListenerConditionResolvedRefs))
			if c == nil || c.Reason != string(gatewayv1.ListenerReasonInvalidCertificateRef) || !strings.Contains(c.Message, w.namespace+"/"+string(l.Name)) {
				return fmt.Errorf("listener %s has %+v", l.Name, l.Conditions)
			}
		}
		return nil
	})
}

// manyListeners is no error: 64 are what the API admits.
func (w *world) manyListeners(class gatewayv1.ObjectName) {
	w.Helper()
	got := w.gateway("many", class, func(gw *gatewayv1.Gateway) {
		gw.Spec.Listeners = nil
		for i := range 64 {
			gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{
				Name: gatewayv1.SectionName(fmt.Sprintf("l%d", i)), Port: gatewayv1.PortNumber(8000 + i), Protocol: gatewayv1.HTTPProtocolType,
			})
		}
	})
	w.apply(w.httpRoute("many", "many", "echo"))
	w.answers(got[0], 8000)
	w.answers(got[0], 8063)
}

func (w *world) classSays(name string, status metav1.ConditionStatus, reason string) {
	w.Helper()
	w.await(fmt.Sprintf("condition Accepted=%s (%s) on GatewayClass %s", status, reason, name), func(ctx context.Context) error {
		var c gatewayv1.GatewayClass
		if err := w.Client.Get(ctx, client.ObjectKey{Name: name}, &c); err != nil {
			return err
		}
		if got := meta.FindStatusCondition(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)); got == nil || got.Status != status || got.Reason != reason {
			return fmt.Errorf("it has %+v", c.Status.Conditions)
		}
		return nil
	})
}

func (w *world) unknownParameters() {
	w.Helper()
	namespace := gatewayv1.Namespace(lab.Namespace)
	c := lab.GatewayClass(w.namespace + "-lost")
	c.Spec.ParametersRef = &gatewayv1.ParametersReference{Group: "fairlead.dev", Kind: "GatewayConfig", Name: "nothing-of-this-name", Namespace: &namespace}
	w.apply(c)
	defer w.Client.Delete(w.ctx, c)
	w.classSays(c.Name, metav1.ConditionFalse, string(gatewayv1.GatewayClassReasonInvalidParameters))
}

// foreignClass wants nothing of ours on what another controller serves.
func (w *world) foreignClass() {
	w.Helper()
	c := lab.GatewayClass(w.namespace + "-foreign")
	c.Spec.ControllerName = "example.com/other"
	gw := lab.Gateway(w.namespace, "foreign", c.Name)
	route := w.httpRoute("foreign", "foreign", "echo")
	w.apply(c, gw, route)
	defer w.Client.Delete(w.ctx, c)
	// A Gateway made later is served, so the controller has seen the foreign one.
	w.gateway("after", gatewayv1.ObjectName(w.namespace))
	for _, o := range []client.Object{gw, route, c} {
		if err := w.Client.Get(w.ctx, client.ObjectKeyFromObject(o), o); err != nil {
			w.Fatal(err)
		}
		for _, f := range o.GetManagedFields() {
			if strings.Contains(f.Manager, "fairlead") {
				w.Errorf("%T %s was written by %s", o, o.GetName(), f.Manager)
			}
		}
	}
}

// Who may connect to a Gateway is told by its GatewayConfig, and holds on every node.
func TestGatewaySourceRanges(t *testing.T) {
	w := newWorld(t, "172.30.0.180-172.30.0.189")
	w.backend("echo", 2)
	config := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "few"}}
	config.Spec.SourceRanges = []v1alpha1.SourceRange{"192.0.2.0/24"}
	w.apply(config, w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", w.class(), func(gw *gatewayv1.Gateway) {
		gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{
			Group: "fairlead.dev", Kind: "GatewayConfig", Name: config.Name,
		}}
	})[0]
	w.announcer(a, "any node", anyNode)
	w.refuses(a)
	edit(w, config, func(c *v1alpha1.GatewayConfig) {
		c.Spec.SourceRanges = append(c.Spec.SourceRanges, testbed.SegmentV4)
	})
	w.answers(a, 80)
	edit(w, config, func(c *v1alpha1.GatewayConfig) { c.Spec.SourceRanges = c.Spec.SourceRanges[:1] })
	w.refuses(a)
}

// refuses waits until an address does not answer the client.
func (w *world) refuses(a netip.Addr) {
	w.Helper()
	w.await(fmt.Sprintf("%s not to answer", a), func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, probeTimeout)
		defer cancel()
		if answer, err := w.Get(ctx, testbed.Client, a, 80); err == nil {
			return fmt.Errorf("%s answered", answer.Pod)
		}
		return nil
	})
}
