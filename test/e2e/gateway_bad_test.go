//go:build e2e

package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
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

	"github.com/fairlead/fairlead/gateway"
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
		w.controlCharacters()
		w.withoutGrant()
		w.badCertificates(class)
		w.manyListeners(class)
		w.unknownParameters()
		w.foreignClass()
	}), "what is wrong")
	w.takenByEnvoy("web")
	w.takenByEnvoy("tls")
}

// What is as large as the API admits, and larger than Fairlead does, hurts nobody either: the Gateway whose routes and
// ListenerSets these are goes on answering all the while.
func TestGatewaysAtTheirLimits(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.194")
	class, a, _ := w.web()
	w.none(w.probing(a, func() {
		w.manyRules(a)
		w.manySets(class)
	}), "what is large")
	w.takenByEnvoy("web")
	w.takenByEnvoy("sets")
}

// takenByEnvoy wants no Envoy to have refused a part of a Gateway.
func (w *world) takenByEnvoy(name string) {
	w.Helper()
	var gw gatewayv1.Gateway
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, &gw); err != nil {
		w.Fatal(err)
	}
	if c := meta.FindStatusCondition(gw.Status.Conditions, gateway.ConditionRejected); c != nil {
		w.Errorf("an Envoy refuses a part of Gateway %s: %s", name, c.Message)
	}
}

// isRefused wants the API server to refuse an object as invalid, for a reason with these words.
func (w *world) isRefused(o client.Object, words string) {
	w.Helper()
	if err := w.Client.Create(w.ctx, o); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), words) {
		w.Errorf("the API server said of %T %s: %v; want a refusal with %q", o, o.GetName(), err, words)
	}
}

// controlCharacters tries what breaks out of its place in a message. The CRDs of the experimental channel have values of
// headers refused; what they let through is new paths, and names of headers to remove.
func (w *world) controlCharacters() {
	w.Helper()
	w.isRefused(w.splittingHeader("echo"), "value")

	path := "/cart\r\nX-Two: 2"
	r := w.httpRoute("control-path", "web", "echo")
	r.Spec.Rules[0].Filters = []gatewayv1.HTTPRouteFilter{{
		Type:       gatewayv1.HTTPRouteFilterURLRewrite,
		URLRewrite: &gatewayv1.HTTPURLRewriteFilter{Path: &gatewayv1.HTTPPathModifier{Type: gatewayv1.FullPathHTTPPathModifier, ReplaceFullPath: &path}},
	}}
	w.apply(r)
	w.routeSays(r.Name, gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonUnsupportedValue, "control characters")

	r = w.httpRoute("control-name", "web", "echo")
	r.Spec.Rules[0].Filters = []gatewayv1.HTTPRouteFilter{{
		Type:                  gatewayv1.HTTPRouteFilterRequestHeaderModifier,
		RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{Remove: []string{"X-One\r\nX-Two"}},
	}}
	w.apply(r)
	w.routeSays(r.Name, gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonUnsupportedValue, "no header that could be removed")
}

// splittingHeader is a route to a Service, of Gateway web, that sets a header whose value has a line of its own.
func (w *world) splittingHeader(service string) *gatewayv1.HTTPRoute {
	r := w.httpRoute("control-header", "web", service)
	r.Spec.Rules[0].Filters = []gatewayv1.HTTPRouteFilter{{
		Type:                  gatewayv1.HTTPRouteFilterRequestHeaderModifier,
		RequestHeaderModifier: &gatewayv1.HTTPHeaderFilter{Set: []gatewayv1.HTTPHeader{{Name: "X-One", Value: "1\r\nX-Two: 2"}}},
	}}
	return r
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

// badCertificates has a listener for each way in which a certificate is wrong, beside one whose certificate is right.
// An expired one is served: whether to trust it is for clients to say.
func (w *world) badCertificates(class gatewayv1.ObjectName) {
	w.Helper()
	host := func(name string) string { return name + ".example.com" }
	good, _ := w.certificate("good", host("good"))
	_, other := w.certificate("other", host("other"))
	w.certificate("expired", host("expired"), func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) })
	secret := func(name string, kind corev1.SecretType, certificate, key []byte) *corev1.Secret {
		s := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}, Type: kind, Data: map[string][]byte{corev1.TLSCertKey: certificate}}
		if key != nil {
			s.Data[corev1.TLSPrivateKeyKey] = key
		}
		return s
	}
	w.isRefused(secret("keyless", corev1.SecretTypeTLS, good, nil), corev1.TLSPrivateKeyKey)
	elsewhere := secret("fairlead-probe", corev1.SecretTypeTLS, good, other)
	elsewhere.Namespace = "default"
	w.apply(secret("keyless", corev1.SecretTypeTLS, good, []byte{}), secret("untyped", corev1.SecretTypeOpaque, good, nil), secret("crossed", corev1.SecretTypeTLS, good, other), elsewhere)
	w.Cleanup(func() {
		if err := client.IgnoreNotFound(w.Client.Delete(context.Background(), elsewhere)); err != nil {
			w.Error(err)
		}
	})

	invalid, unpermitted := string(gatewayv1.ListenerReasonInvalidCertificateRef), string(gatewayv1.ListenerReasonRefNotPermitted)
	cases := []struct{ name, namespace, reason, words string }{
		{"good", "", "", ""},
		{"expired", "", "", ""},
		{"keyless", "", invalid, "tls.key is missing"},
		{"crossed", "", invalid, "do not make a pair"},
		{"untyped", "", invalid, "of type kubernetes.io/tls"},
		{"missing", "", invalid, "of type kubernetes.io/tls"},
		{"fairlead-probe", "default", unpermitted, "ReferenceGrant"},
		{"nothing-of-this-name", "default", unpermitted, "ReferenceGrant"},
	}
	mode := gatewayv1.TLSModeTerminate
	gw := lab.Gateway(w.namespace, "tls", string(class))
	gw.Spec.Listeners = nil
	for _, c := range cases {
		ref := gatewayv1.SecretObjectReference{Name: gatewayv1.ObjectName(c.name)}
		if c.namespace != "" {
			ref.Namespace = new(gatewayv1.Namespace(c.namespace))
		}
		gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{
			Name: gatewayv1.SectionName(c.name), Port: 443, Protocol: gatewayv1.HTTPSProtocolType, Hostname: new(gatewayv1.Hostname(host(c.name))),
			TLS: &gatewayv1.ListenerTLSConfig{Mode: &mode, CertificateRefs: []gatewayv1.SecretObjectReference{ref}},
		})
	}
	w.apply(w.httpRoute("tls", "tls", "echo"), gw)
	a := w.programmed("tls")[0]
	said := map[string]string{}
	w.await("the listeners to name their certificates", func(ctx context.Context) error {
		var have gatewayv1.Gateway
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(gw), &have); err != nil {
			return err
		}
		if len(have.Status.Listeners) != len(cases) {
			return fmt.Errorf("it tells of %d listeners", len(have.Status.Listeners))
		}
		for i, l := range have.Status.Listeners {
			want := cases[i]
			c := meta.FindStatusCondition(l.Conditions, string(gatewayv1.ListenerConditionResolvedRefs))
			switch {
			case c == nil || string(l.Name) != want.name:
				return fmt.Errorf("listener %s has %+v", l.Name, l.Conditions)
			case want.reason == "" && c.Status == metav1.ConditionTrue:
			case c.Status != metav1.ConditionFalse || c.Reason != want.reason || !strings.Contains(c.Message, want.words) || !strings.Contains(c.Message, want.name):
				return fmt.Errorf("listener %s has %+v", l.Name, *c)
			}
			if want.namespace != "" {
				said[want.name] = strings.ReplaceAll(c.Message, want.name, "NAME")
			}
		}
		return nil
	})
	if said["fairlead-probe"] != said["nothing-of-this-name"] {
		w.Errorf("the answers tell a Secret that is there from one that is not: %v", said)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(good)
	w.await("the good certificate to be served", func(ctx context.Context) error { return w.handshake(ctx, a, host("good"), roots) })
	for _, c := range cases[1:] {
		err := w.handshake(w.ctx, a, host(c.name), roots)
		var expired x509.CertificateInvalidError
		if was := errors.As(err, &expired) && expired.Reason == x509.Expired; err == nil || was != (c.name == "expired") {
			w.Errorf("a client that asks for %s got %v", host(c.name), err)
		}
	}
}

// handshake has the client host ask port 443 of an address for a host by TLS. Of a certificate the time is looked at
// before who signed it.
func (w *world) handshake(ctx context.Context, a netip.Addr, host string, roots *x509.CertPool) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := w.Cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(a, 443).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	return tls.Client(conn, &tls.Config{ServerName: host, RootCAs: roots}).HandshakeContext(ctx)
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

func (w *world) classSays(name string, status metav1.ConditionStatus, reason, words string) {
	w.Helper()
	w.await(fmt.Sprintf("condition Accepted=%s (%s) on GatewayClass %s", status, reason, name), func(ctx context.Context) error {
		var c gatewayv1.GatewayClass
		if err := w.Client.Get(ctx, client.ObjectKey{Name: name}, &c); err != nil {
			return err
		}
		if got := meta.FindStatusCondition(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)); got == nil || got.Status != status || got.Reason != reason || !strings.Contains(got.Message, words) {
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
	w.classSays(c.Name, metav1.ConditionFalse, string(gatewayv1.GatewayClassReasonInvalidParameters), "nothing-of-this-name")

	strange := lab.GatewayClass(w.namespace + "-strange")
	strange.Spec.ParametersRef = &gatewayv1.ParametersReference{Group: "example.com", Kind: "Strange", Name: "x"}
	w.apply(strange)
	defer w.Client.Delete(w.ctx, strange)
	w.classSays(strange.Name, metav1.ConditionFalse, string(gatewayv1.GatewayClassReasonInvalidParameters), "GatewayConfig")
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
