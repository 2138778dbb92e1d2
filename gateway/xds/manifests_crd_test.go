package xds_test

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kjson "k8s.io/apimachinery/pkg/util/json"
	"k8s.io/kube-openapi/pkg/validation/spec"
	"k8s.io/kube-openapi/pkg/validation/strfmt"
	"k8s.io/kube-openapi/pkg/validation/validate"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/test/gatewayapi"
)

// looser is a pattern that only the experimental channel has.
var looser = regexp.MustCompile(`(?m)^.*pattern: \^\[!-~\].*$`)

// schemas are those of the CRDs by kind, without their rules in CEL: fields as in
// the experimental channel, and values as in either.
type schemas map[string]*validate.SchemaValidator

func readSchemas(t testing.TB) schemas {
	t.Helper()
	files, err := gatewayapi.CRDs("experimental")
	if err != nil {
		t.Fatal(err)
	}
	out := schemas{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd struct {
			Spec struct {
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct{ OpenAPIV3Schema *spec.Schema }
				}
			}
		}
		if err := yaml.Unmarshal(looser.ReplaceAll(text, nil), &crd); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		for _, v := range crd.Spec.Versions {
			if v.Name == "v1" {
				out[crd.Spec.Names.Kind] = validate.NewSchemaValidator(v.Schema.OpenAPIV3Schema, nil, "", strfmt.Default)
			}
		}
	}
	return out
}

// check holds an object to the schema of its kind.
func (s schemas) check(t failer, kind string, o runtime.Object) {
	text, err := json.Marshal(o)
	if err != nil {
		t.Fatalf("%v", err)
	}
	var value map[string]any
	if err := kjson.Unmarshal(text, &value); err != nil { // numbers as the API server reads them
		t.Fatalf("%v", err)
	}
	if s[kind] == nil {
		t.Fatalf("no CRD has kind %s", kind)
	}
	for _, problem := range s[kind].Validate(value).Errors {
		t.Errorf("%s: %v", kind, problem)
	}
}

// checkAll holds the objects to the schemas, with what is said of them as it is
// written, and has nothing written a second time.
func (s schemas) checkAll(t failer, in gateway.Input, said gateway.Said) {
	now := time.Now()
	g := in.Gateway.DeepCopy()
	g.Status, _ = gateway.MergeGateway(g.Status, said.Gateway, now)
	s.check(t, "Gateway", g)
	if _, again := gateway.MergeGateway(stored(t, g.Status), said.Gateway, now); again {
		t.Errorf("the Gateway's status is written again: %+v", g.Status)
	}
	for _, set := range in.ListenerSets {
		set = set.DeepCopy()
		for _, one := range said.ListenerSets {
			if one.Name == nameOf(set) {
				set.Status, _ = gateway.MergeListenerSet(set.Status, one.Status, now)
			}
		}
		s.check(t, "ListenerSet", set)
	}
	parents := func(kind string, o metav1.Object) gatewayv1.RouteStatus {
		out := gatewayv1.RouteStatus{Parents: []gatewayv1.RouteParentStatus{}}
		for _, r := range said.Routes {
			if r.Kind == kind && r.Name == nameOf(o) {
				out.Parents, _ = gateway.MergeParents(nil, r.Parents, now)
				if _, again := gateway.MergeParents(stored(t, out.Parents), r.Parents, now); again {
					t.Errorf("a route's status is written again: %+v", out)
				}
			}
		}
		return out
	}
	for _, r := range in.Routes.HTTP {
		r = r.DeepCopy()
		r.Status.RouteStatus = parents("HTTPRoute", r)
		s.check(t, "HTTPRoute", r)
	}
	for _, r := range in.Routes.GRPC {
		r = r.DeepCopy()
		r.Status.RouteStatus = parents("GRPCRoute", r)
		s.check(t, "GRPCRoute", r)
	}
	for _, r := range in.Routes.TLS {
		r = r.DeepCopy()
		r.Status.RouteStatus = parents("TLSRoute", r)
		s.check(t, "TLSRoute", r)
	}
	for _, p := range in.Objects.(*cluster).policies {
		p = p.DeepCopy()
		p.Status.Ancestors = []gatewayv1.PolicyAncestorStatus{}
		for _, one := range said.Policies {
			if one.Name == nameOf(p) {
				p.Status.Ancestors, _ = gateway.MergeAncestors(nil, []gatewayv1.PolicyAncestorStatus{one.Ancestor}, now)
			}
		}
		s.check(t, "BackendTLSPolicy", p)
	}
}

func nameOf(o metav1.Object) gateway.Name {
	return gateway.Name{Namespace: o.GetNamespace(), Name: o.GetName()}
}

// stored is a value as it comes back from the API server.
func stored[T any](t failer, value T) (out T) {
	text, err := json.Marshal(value)
	if err == nil {
		err = json.Unmarshal(text, &out)
	}
	if err != nil {
		t.Fatalf("%v", err)
	}
	return out
}
