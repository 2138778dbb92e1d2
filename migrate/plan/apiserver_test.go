package plan

import (
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/test/apiserver"
)

func apiServer(t *testing.T) client.Client {
	t.Helper()
	config := apiserver.Start(t, apiserver.Options{GatewayAPI: "standard", Flags: apiserver.DualStack})
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// applyPlan applies the objects of a plan as the command does.
func applyPlan(t *testing.T, c client.Client, p *Plan, opts ...client.ApplyOption) {
	t.Helper()
	for _, o := range p.Objects {
		ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: o.Name().Namespace}}
		if err := c.Create(t.Context(), ns); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		u := &unstructured.Unstructured{Object: o.Manifest}
		if err := c.Apply(t.Context(), client.ApplyConfigurationFromUnstructured(u.DeepCopy()), append(opts, client.FieldOwner(FieldManager))...); err != nil {
			t.Errorf("%s %s is refused: %v", o.Kind(), o.Name(), err)
		}
	}
}

// Every plan that nothing stands in the way of is taken by a real API server, and
// one after another on the same Gateway leave each other's listeners alone.
func TestPlansAreTaken(t *testing.T) {
	c := apiServer(t)
	taken := 0
	for _, name := range worlds(t) {
		in := readInput(t, filepath.Join("testdata", name+".in.yaml"), inOrder)
		p := Make(in)
		if len(p.Blocks()) > 0 || slices.ContainsFunc(p.Objects, func(o Object) bool { return !o.New }) {
			continue
		}
		taken++
		t.Run(name, func(t *testing.T) { applyPlan(t, c, p, client.DryRunAll) })
	}
	if taken < 5 {
		t.Errorf("only %d plans were tried", taken)
	}
	t.Run("one after another", func(t *testing.T) { oneAfterAnother(t, c) })
}

func oneAfterAnother(t *testing.T, c client.Client) {
	first := Make(readInput(t, "testdata/http.in.yaml", inOrder))
	applyPlan(t, c, first)
	key := client.ObjectKey{Namespace: "shop", Name: "web"}
	live := &gatewayv1.Gateway{}
	if err := c.Get(t.Context(), key, live); err != nil {
		t.Fatal(err)
	}
	live.Spec.Listeners = append(live.Spec.Listeners, gatewayv1.Listener{Name: "mine", Port: 81, Protocol: gatewayv1.HTTPProtocolType})
	if err := c.Update(t.Context(), live); err != nil {
		t.Fatal(err)
	}
	in := readInput(t, "testdata/second.in.yaml", inOrder)
	in.Cluster.Gateways = []*gatewayv1.Gateway{live}
	second := Make(in)
	if blocks := second.Blocks(); len(blocks) > 0 {
		t.Fatalf("blocked: %v", blocks)
	}
	applyPlan(t, c, second)
	if err := c.Get(t.Context(), key, live); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, l := range live.Spec.Listeners {
		names = append(names, string(l.Name))
	}
	if slices.Sort(names); !slices.Equal(names, []string{"db", "http", "mine"}) || len(live.Spec.Addresses) != 1 {
		t.Errorf("listeners %v, addresses %v", names, live.Spec.Addresses)
	}
	in.Cluster.Gateways = []*gatewayv1.Gateway{live}
	for _, o := range Make(in).Objects {
		if o.Kind() == "Gateway" {
			t.Errorf("planned again, the Gateway is written again: %v", o.Manifest)
		}
	}
	if in.To.Name != (gateway.Name{Namespace: "shop", Name: "web"}) {
		t.Fatalf("the file plans for %s", in.To)
	}
}
