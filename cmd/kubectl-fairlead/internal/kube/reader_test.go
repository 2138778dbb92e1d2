package kube

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
)

func named(ns, name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name}}
}

// world is a cluster in which Services may be read in namespace shop only, which
// knows no Gateways, and whose nodes cannot be read at all.
func world(t *testing.T) client.Client {
	t.Helper()
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	services := schema.GroupResource{Resource: "services"}
	mapper := meta.NewDefaultRESTMapper(nil)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Service"), meta.RESTScopeNamespace)
	return fake.NewClientBuilder().WithScheme(scheme).WithRESTMapper(mapper).
		WithObjects(named("shop", "legacy"), named("shop", "late"), named("shop", "api"), named("web", "le")).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				var o client.ListOptions
				o.ApplyOptions(opts)
				switch list.(type) {
				case *corev1.ServiceList:
					if o.Namespace != "shop" {
						return apierrors.NewForbidden(services, "", errors.New("no"))
					}
				case *gatewayv1.GatewayList, *v1alpha1.AddressList:
					return &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: "g", Kind: "K"}}
				case *corev1.NodeList:
					return errors.New("no route to host")
				}
				return c.List(ctx, list, opts...)
			},
			Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if key.Namespace != "shop" {
					return apierrors.NewForbidden(services, key.Name, errors.New("no"))
				}
				return c.Get(ctx, key, o, opts...)
			},
		}).Build()
}

func TestReaderGoesOn(t *testing.T) {
	r := NewReader(world(t))
	var services corev1.ServiceList
	for range 2 {
		if err := r.List(t.Context(), &services); err != nil || len(services.Items) != 0 {
			t.Errorf("what may not be listed: %v, %d", err, len(services.Items))
		}
	}
	if err := r.List(t.Context(), &services, client.InNamespace("shop")); err != nil || len(services.Items) != 3 {
		t.Errorf("what may be listed: %v, %d", err, len(services.Items))
	}
	for _, tt := range []struct {
		ns, name string
		found    bool
	}{{"shop", "legacy", true}, {"shop", "none", false}, {"web", "le", false}} {
		if found, err := r.Get(t.Context(), client.ObjectKey{Namespace: tt.ns, Name: tt.name}, &corev1.Service{}); err != nil || found != tt.found {
			t.Errorf("%s/%s: %v, %v", tt.ns, tt.name, found, err)
		}
	}
	var gateways gatewayv1.GatewayList
	if err := r.List(t.Context(), &gateways); err != nil || !r.Absent(&gateways) || !r.Absent(&gatewayv1.Gateway{}) || r.Absent(&services) {
		t.Errorf("a kind that is not known: %v, %v", err, r.Absent(&gateways))
	}
	if err := r.List(t.Context(), &corev1.NodeList{}); err == nil || !strings.Contains(err.Error(), "listing Node: no route") {
		t.Errorf("another error: %v", err)
	}
	if err := r.Need(t.Context(), &v1alpha1.AddressList{}); !errors.Is(err, ErrNotInstalled) {
		t.Errorf("without Fairlead: %v", err)
	}
	want := []Gap{{Verb: "list", Resource: "services"}, {Verb: "get", Resource: "services", Namespace: "web", Name: "le"}}
	if got := r.Gaps(); !slices.Equal(got, want) {
		t.Errorf("gaps %v", got)
	}
}

func TestEnd(t *testing.T) {
	for _, tt := range []struct {
		gap, wrong bool
		err        error
		says       string
	}{
		{false, false, nil, ""},
		{false, true, exit.ErrWrong, ""},
		{true, false, exit.ErrPartly, "  list services\n"},
		{true, true, exit.ErrWrong, `"kubectl auth can-i list services -A"`},
	} {
		streams, _, _, errs := genericiooptions.NewTestIOStreams()
		env := NewEnv(streams, time.Now)
		r := NewReader(world(t))
		if tt.gap {
			if err := r.List(t.Context(), &corev1.ServiceList{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := env.End(r, tt.wrong); !errors.Is(err, tt.err) || !strings.Contains(errs.String(), tt.says) || tt.says == "" && errs.Len() > 0 {
			t.Errorf("gap %v, wrong %v: %v\n%s", tt.gap, tt.wrong, err, errs)
		}
	}
}

func TestComplete(t *testing.T) {
	c := &cobra.Command{}
	c.SetContext(t.Context())
	for _, tt := range []struct {
		namespace string
		args      []string
		begun     string
		want      []string
	}{
		{"shop", nil, "l", []string{"late", "legacy"}},
		{"shop", nil, "", []string{"api", "late", "legacy"}},
		{"shop", []string{"legacy"}, "l", nil}, // one name only
		{"web", nil, "", nil},                  // the right is missing
	} {
		env := NewEnv(genericiooptions.NewTestIOStreamsDiscard(), time.Now)
		env.Connect = func() (client.Client, error) { return world(t), nil }
		*env.Config.Namespace = tt.namespace
		if got, _ := env.Complete(&corev1.ServiceList{})(c, tt.args, tt.begun); !slices.Equal(got, tt.want) {
			t.Errorf("%s %q %q: completed with %q", tt.namespace, tt.args, tt.begun, got)
		}
	}
}
