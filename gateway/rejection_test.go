package gateway

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// rejectedOf are the objects that bear ConditionRejected in what is said.
func rejectedOf(t *testing.T, s Said) []string {
	t.Helper()
	found := map[string]bool{}
	see := func(what string, list []metav1.Condition, generation int64) {
		c := meta.FindStatusCondition(list, ConditionRejected)
		if c == nil {
			return
		}
		found[what] = true
		if c.Status != metav1.ConditionTrue || c.Reason != ReasonRejected || c.ObservedGeneration != generation {
			t.Errorf("%s says %+v, of generation %d", what, c, generation)
		}
		if !strings.Contains(c.Message, "Envoy does not take Kind name: bad value.") {
			t.Errorf("%s does not name the resource and the reason: %q", what, c.Message)
		}
	}
	generation := s.Gateway.Conditions[0].ObservedGeneration
	see("gateway", s.Gateway.Conditions, generation)
	for _, l := range s.Gateway.Listeners {
		see("listener "+string(l.Name), l.Conditions, generation)
	}
	for _, r := range s.Routes {
		for _, p := range r.Parents {
			see(r.Kind+" "+r.String(), p.Conditions, r.Generation)
		}
	}
	for _, p := range s.Policies {
		see("policy "+p.String(), p.Ancestor.Conditions, p.Generation)
	}
	return slices.Sorted(maps.Keys(found))
}

// What an Envoy does not take is told on what it is made of, and on nothing else.
func TestRejectedIsToldOnWhatItIsMadeOf(t *testing.T) {
	backend := func(b *Built, begin string) string {
		i := slices.IndexFunc(b.Model.Backends, func(k Backend) bool { return strings.HasPrefix(k.ID, begin) })
		if i < 0 {
			t.Fatalf("no backend %s among %+v", begin, b.Model.Backends)
		}
		return b.Model.Backends[i].ID
	}
	for name, tt := range map[string]struct {
		world string
		of    func(b *Built) Part
		want  []string
	}{
		"a listener's port":      {"http", func(*Built) Part { return Part{Port: 80, Transport: TCP} }, []string{"gateway", "listener http"}},
		"a backend of one route": {"http", func(b *Built) Part { return Part{Backends: []string{backend(b, "shop/api/9000")}} }, []string{"HTTPRoute shop/paths", "gateway"}},
		"nothing that is known":  {"http", func(*Built) Part { return Part{} }, []string{"gateway"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := Build(readWorld(t, "testdata/"+tt.world+".in.yaml", inOrder).in)
			got := rejectedOf(t, b.Status(Progress{Rejected: []Rejection{{Resource: "Kind name", Message: "bad value", Of: tt.of(b)}}}))
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if got := rejectedOf(t, b.Status(Progress{})); len(got) > 0 {
				t.Errorf("without a rejection %v bear it", got)
			}
		})
	}
}

// Certificates, authorities, and what leads to backends with TLS.
func TestRejectedSecretsAreTold(t *testing.T) {
	b := Build(readWorld(t, "testdata/tls.in.yaml", inOrder).in)
	for _, c := range b.Model.Certificates {
		said := rejectedOf(t, b.Status(Progress{Rejected: []Rejection{{Resource: "Kind name", Message: "bad value", Of: Part{Certificates: []string{c.ID}}}}}))
		if !slices.ContainsFunc(said, func(s string) bool { return strings.HasPrefix(s, "listener ") }) {
			t.Errorf("certificate %s is told on %v", c.ID, said)
		}
	}
	b = Build(readWorld(t, "testdata/backendtls.in.yaml", inOrder).in)
	for _, k := range b.Model.Backends {
		if k.TLS == nil {
			continue
		}
		for _, of := range []Part{{Backends: []string{k.ID}}, {Authorities: k.TLS.Authorities}} {
			said := rejectedOf(t, b.Status(Progress{Rejected: []Rejection{{Resource: "Kind name", Message: "bad value", Of: of}}}))
			if want := "policy " + k.TLS.Policy.String(); len(of.Backends)+len(of.Authorities) > 0 && !slices.Contains(said, want) {
				t.Errorf("%+v is told on %v, want %s", of, said, want)
			}
		}
	}
}

// Of the routes of a table those have to answer that have changed since Envoy took it.
func TestRejectedTableIsToldOnRoutesThatHaveChanged(t *testing.T) {
	w := readWorld(t, "testdata/http.in.yaml", inOrder)
	good := Build(w.in)
	i := slices.IndexFunc(w.in.Routes.HTTP, func(r *gatewayv1.HTTPRoute) bool { return r.Name == "headers" })
	edited := w.in.Routes.HTTP[i].DeepCopy()
	edited.Generation++
	edited.Spec.Hostnames = []gatewayv1.Hostname{"new.example.com"}
	b := good.Rebuild(Change{
		Gateway: w.in.Gateway, Objects: w, Routes: Routes{HTTP: []*gatewayv1.HTTPRoute{edited}},
		Of: map[Reference]struct{}{{Kind: "HTTPRoute", Name: Name{"shop", "headers"}}: {}},
	})
	rejected := Rejection{Resource: "Kind name", Message: "bad value", Of: Part{Table: "http/80"}, Good: good}
	p := Progress{Rejected: []Rejection{rejected}}
	if diff := cmp.Diff([]string{"HTTPRoute shop/headers", "gateway", "listener http"}, rejectedOf(t, b.Status(p))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// After a start it is not known what Envoy took: any of a few may be it.
	p.Rejected[0].Good = nil
	if got := rejectedOf(t, b.Status(p)); len(got) <= 3 {
		t.Errorf("without a good one it is told on %v", got)
	}
	// What was said is not modified.
	if got := rejectedOf(t, b.Status(Progress{})); len(got) > 0 {
		t.Errorf("without a rejection %v bear it", got)
	}
}

// Of many routes none is named that is probably not it.
func TestRejectedTableOfManyRoutes(t *testing.T) {
	w := readWorld(t, "testdata/http.in.yaml", inOrder)
	for i := range manySuspects + 1 {
		r := w.in.Routes.HTTP[0].DeepCopy()
		r.Name += strings.Repeat("x", i+1)
		w.in.Routes.HTTP = append(w.in.Routes.HTTP, r)
	}
	got := rejectedOf(t, Build(w.in).Status(Progress{Rejected: []Rejection{{Resource: "Kind name", Message: "bad value", Of: Part{Table: "http/80"}}}}))
	if diff := cmp.Diff([]string{"gateway", "listener http"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
