package plan

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	kyaml "k8s.io/apimachinery/pkg/util/yaml"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
)

// asked is the first document of a file: what is to be planned.
type asked struct {
	From, To           string // kind/namespace/name
	Create             bool
	WithSharers        bool
	Class, Ports       string
	HTTP, Streams      []int32
	TLS                map[int32][]string
	RefusesSecondOwner bool
}

func inOrder(int, func(i, j int)) {}

// readInput reads a file: what is asked for, then what is in the cluster.
func readInput(t *testing.T, path string, shuffle func(n int, swap func(i, j int))) Input {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	docs := kyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(raw)))
	first, err := docs.Read()
	if err != nil {
		t.Fatal(err)
	}
	var a asked
	if err := yaml.UnmarshalStrict(first, &a); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	in := Input{
		From: holder(t, a.From), To: holder(t, a.To),
		Options: Options{Create: a.Create, Class: a.Class, Ports: a.Ports, HTTP: a.HTTP, Streams: a.Streams, TLS: a.TLS, WithSharers: a.WithSharers},
		Cluster: Cluster{RefusesSecondOwner: a.RefusesSecondOwner, Namespaces: map[string]map[string]string{}},
	}
	objects := readObjects(t, path, docs)
	shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	for _, o := range objects {
		place(t, &in.Cluster, o)
	}
	return in
}

func holder(t *testing.T, s string) Holder {
	t.Helper()
	parts := strings.Split(s, "/")
	if len(parts) != 3 {
		t.Fatalf("%q is not kind/namespace/name", s)
	}
	return Holder{Kind: Kind(strings.ToUpper(parts[0][:1]) + parts[0][1:]), Name: gateway.Name{Namespace: parts[1], Name: parts[2]}}
}

func readObjects(t *testing.T, path string, docs *kyaml.YAMLReader) []runtime.Object {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	decode := serializer.NewCodecFactory(scheme, serializer.EnableStrict).UniversalDeserializer()
	var out []runtime.Object
	for {
		doc, err := docs.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		o, _, err := decode.Decode(doc, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", path, err, doc)
		}
		if m, ok := o.(metav1.Object); ok && m.GetGeneration() == 0 {
			m.SetGeneration(1)
		}
		out = append(out, o)
	}
}

func place(t *testing.T, c *Cluster, o runtime.Object) {
	t.Helper()
	switch o := o.(type) {
	case *corev1.Service:
		c.Services = append(c.Services, o)
	case *corev1.Namespace:
		c.Namespaces[o.Name] = o.Labels
	case *gatewayv1.Gateway:
		c.Gateways = append(c.Gateways, o)
	case *gatewayv1.GatewayClass:
		c.Classes = append(c.Classes, o)
	case *gatewayv1.ReferenceGrant:
		c.Grants = append(c.Grants, o)
	case *v1alpha1.GatewayConfig:
		c.Configs = append(c.Configs, o)
	case *v1alpha1.Address:
		c.Addresses = append(c.Addresses, o)
	case *gatewayv1.HTTPRoute, *gatewayv1.GRPCRoute, *gatewayv1.TLSRoute, *gatewayv1.TCPRoute, *gatewayv1.UDPRoute:
		addRoute(&c.Routes, o.(metav1.Object))
	default:
		t.Fatalf("%T has no place in the test's world", o)
	}
}
