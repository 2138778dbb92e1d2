package controllers

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/pki"
)

// metered is the value of a metric in the registry, of histograms the count; 0 if it
// is not there. Labels are name, value, and so on.
func metered(t testing.TB, name string, labels ...string) float64 {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "fairlead_controller_"+name {
			continue
		}
		for _, m := range f.GetMetric() {
			if sameLabels(m.GetLabel(), labels) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

func sameLabels(have []*dto.LabelPair, want []string) bool {
	var all []string
	for _, l := range have {
		all = append(all, l.GetName(), l.GetValue())
	}
	return slices.Equal(all, want)
}

// meters waits for the value of a metric.
func (w *world) meters(want float64, name string, labels ...string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%s%v is %v", name, labels, want), func() error {
		if got := metered(w.t, name, labels...); got != want {
			return fmt.Errorf("it is %v", got)
		}
		return nil
	})
}

// programmed brings a Gateway with a fleet of one Envoy to work.
func (w *world) programmed(address, class, name string) *fakeEnvoy {
	w.t.Helper()
	id := fleet.ID{Class: class}
	w.create(w.newGateway(name, class))
	w.fleetPod(id, "envoy-1", "node1", "10.0.0.7")
	e := w.envoy(address, id, "envoy-1")
	gw := w.says(name, gatewayv1.GatewayConditionProgrammed, metav1.ConditionFalse, gatewayv1.GatewayReasonPending)
	w.eventually("the Gateway has an address", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(gw), gw); err != nil {
			return err
		}
		if len(gw.Status.Addresses) == 0 {
			return fmt.Errorf("its status is %+v", gw.Status)
		}
		return nil
	})
	w.announce(netip.MustParseAddr(gw.Status.Addresses[0].Value))
	w.says(name, gatewayv1.GatewayConditionProgrammed, metav1.ConditionTrue, gatewayv1.GatewayReasonProgrammed)
	return e
}

func TestGatewaysAreMetered(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, address := w.withGateways()
	w.start(serve)
	class := w.class()
	w.programmed(address, class, "web")
	odd := w.newGateway("odd", class)
	odd.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{Group: "fairlead.dev", Kind: "GatewayConfig", Name: "missing"}}
	w.create(odd)
	w.meters(1, "gateways", "class", class, "state", stateProgrammed)
	w.meters(1, "gateways", "class", class, "state", stateRefused)
	w.meters(1, "gateway_envoys", "fleet", fleet.ID{Class: class}.Name())

	whole, partial := metered(t, "gateway_build_seconds", "scope", scopeWhole), metered(t, "gateway_build_seconds", "scope", scopePartial)
	changes, sent := metered(t, "gateway_change_seconds"), metered(t, "xds_resources_sent_total", "type", "RouteConfiguration")
	if whole == 0 || sent == 0 {
		t.Errorf("%v whole builds, %v route tables sent", whole, sent)
	}
	w.create(w.newRoute("all", "web", "nowhere"))
	refused := w.newRoute("refused", "web", "nowhere")
	refused.Spec.ParentRefs[0].SectionName = new(gatewayv1.SectionName("missing"))
	w.create(refused)
	w.meters(1, "gateway_routes", "kind", "HTTPRoute", "state", stateUnresolved)
	w.meters(1, "gateway_routes", "kind", "HTTPRoute", "state", stateRefused)
	w.eventually("the change is measured", func() error {
		got := []float64{
			metered(t, "gateway_build_seconds", "scope", scopePartial) - partial, metered(t, "gateway_change_seconds") - changes,
			metered(t, "xds_resources_sent_total", "type", "RouteConfiguration") - sent,
		}
		if slices.Min(got) < 1 {
			return fmt.Errorf("partial builds, changes and route tables: %v more", got)
		}
		return nil
	})
	if err := w.c.Delete(w.ctx(), odd); err != nil {
		t.Fatal(err)
	}
	w.eventually("no refused Gateway is counted", func() error {
		families, err := metrics.Registry.Gather()
		if err != nil {
			return err
		}
		for _, f := range families {
			for _, m := range f.GetMetric() {
				if sameLabels(m.GetLabel(), []string{"class", class, "state", stateRefused}) {
					return fmt.Errorf("%s is %v", f.GetName(), m)
				}
			}
		}
		return nil
	})
}

// When the first certificate of a Gateway ends is metered, as long as there is the Gateway.
func TestCertificatesAreMetered(t *testing.T) {
	w := newWorld(t)
	serve, _ := w.withGateways()
	w.start(serve)
	now := time.Now()
	authority, _, err := pki.Authority(nil, now, rand.Reader, pki.DefaultRules())
	if err != nil {
		t.Fatal(err)
	}
	gw := w.newGateway("web", w.class())
	gw.Spec.Listeners = nil
	var first time.Time
	for i, lives := range []time.Duration{48 * time.Hour, 24 * time.Hour, 72 * time.Hour} {
		rules := pki.DefaultRules()
		rules.Leaf = lives
		name := fmt.Sprintf("cert%d", i)
		leaf, _, err := pki.Leaf(nil, authority, pki.Controller(name+".example.com"), now, rand.Reader, rules)
		if err != nil {
			t.Fatal(err)
		}
		block, _ := pem.Decode(leaf[corev1.TLSCertKey])
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
		w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.ns, Name: name}, Type: corev1.SecretTypeTLS, Data: leaf})
		gw.Spec.Listeners = append(gw.Spec.Listeners, gatewayv1.Listener{
			Name: gatewayv1.SectionName(name), Port: gatewayv1.PortNumber(8443 + i), Protocol: gatewayv1.HTTPSProtocolType,
			TLS: &gatewayv1.ListenerTLSConfig{CertificateRefs: []gatewayv1.SecretObjectReference{{Name: gatewayv1.ObjectName(name)}}},
		})
	}
	w.create(gw)
	labels := []string{"gateway", "web", "namespace", w.ns}
	w.meters(float64(first.Unix()), "gateway_certificate_expiry_timestamp_seconds", labels...)
	if err := w.c.Delete(w.ctx(), gw); err != nil {
		t.Fatal(err)
	}
	w.meters(0, "gateway_certificate_expiry_timestamp_seconds", labels...)
}

func TestStateOfRoute(t *testing.T) {
	says := func(kind gatewayv1.RouteConditionType, status metav1.ConditionStatus) gatewayv1.RouteParentStatus {
		return gatewayv1.RouteParentStatus{Conditions: []metav1.Condition{{Type: string(kind), Status: status}}}
	}
	accepted, refused := says(gatewayv1.RouteConditionAccepted, metav1.ConditionTrue), says(gatewayv1.RouteConditionAccepted, metav1.ConditionFalse)
	unresolved := says(gatewayv1.RouteConditionResolvedRefs, metav1.ConditionFalse)
	for want, by := range map[string][][]gatewayv1.RouteParentStatus{
		stateAttached:   {{accepted}, {accepted, accepted}},
		stateUnresolved: {{accepted, unresolved}, {accepted}},
		stateRefused:    {{unresolved}, {accepted, refused}},
	} {
		said := map[types.NamespacedName]answer{}
		for i, parents := range by {
			said[types.NamespacedName{Name: fmt.Sprint(i)}] = answer{parents: parents}
		}
		if got := stateOfRoute(maps.Values(said)); got != want {
			t.Errorf("%v is %s, want %s", by, got, want)
		}
	}
}

func TestTraceFromTheRouteToTheEnvoy(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	serve, address := w.withGateways()
	spans := tracetest.NewInMemoryExporter()
	w.start(serve, func(o *Options, _ *manager.Options) {
		o.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	})
	w.programmed(address, w.class(), "web")
	w.create(w.newRoute("all", "web", "nowhere"))
	w.eventually("a trace leads from the route to the Envoy and to its status", func() error {
		var all []string
		for _, change := range spansOf(spans.GetSpans(), "gateway.change") {
			changed := fmt.Sprint(attributesOf(change))
			all = append(all, changed)
			if attributesOf(change)["fairlead.changed"] != fmt.Sprintf("[\"HTTPRoute %s/all\"]", w.ns) || attributesOf(change)["fairlead.envoys"] != "1" {
				continue
			}
			missing := map[string]bool{"gateway.build": true, "xds.encode": true, "xds.deliver": true, "status.write HTTPRoute": true, "status.write Gateway": true}
			for _, s := range spans.GetSpans() {
				if s.Parent.SpanID() == change.SpanContext.SpanID() {
					name := s.Name
					if kind := attributesOf(s)["k8s.object.kind"]; kind != "" {
						name += " " + kind
					}
					delete(missing, name)
				}
			}
			if len(missing) == 0 {
				return nil
			}
			all = append(all, fmt.Sprintf("missing: %v", missing))
		}
		return fmt.Errorf("there are %q", all)
	})
	// The first address of a Gateway is in the trace of the change that asks for it.
	for _, s := range spans.GetSpans() {
		if s.Name == "ledger.write" && s.Parent.IsValid() {
			return
		}
	}
	t.Error("no write of the ledger is part of a trace")
}

func spansOf(spans tracetest.SpanStubs, name string) tracetest.SpanStubs {
	return slices.DeleteFunc(spans, func(s tracetest.SpanStub) bool { return s.Name != name })
}

func attributesOf(s tracetest.SpanStub) map[string]string {
	out := map[string]string{}
	for _, a := range s.Attributes {
		out[string(a.Key)] = a.Value.String()
	}
	return out
}
