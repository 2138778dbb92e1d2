package controllers

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// holding has the controllers wait with the writes of an object until open is closed.
func holding(path string, open <-chan struct{}) func(*Options, *manager.Options) {
	return func(_ *Options, m *manager.Options) {
		m.NewClient = func(cfg *rest.Config, o client.Options) (client.Client, error) {
			cfg, o.HTTPClient = rest.CopyConfig(cfg), nil
			cfg.Wrap(func(next http.RoundTripper) http.RoundTripper {
				return roundTripper(func(r *http.Request) (*http.Response, error) {
					if r.Method != http.MethodGet && strings.HasSuffix(r.URL.Path, path) {
						<-open
					}
					return next.RoundTrip(r)
				})
			})
			return client.New(cfg, o)
		}
	}
}

// endpoints are what the EndpointSlices of a Gateway's Service list, and the names of
// these slices.
func (w *world) endpoints(front string) (names []string, out []discoveryv1.Endpoint) {
	w.t.Helper()
	var list discoveryv1.EndpointSliceList
	if err := w.c.List(w.ctx(), &list, client.InNamespace(w.ns), client.MatchingLabels{discoveryv1.LabelServiceName: front}); err != nil {
		w.t.Fatal(err)
	}
	for _, slice := range list.Items {
		names, out = append(names, slice.Name), append(out, slice.Endpoints...)
	}
	return names, out
}

// An Envoy that takes a new Gateway while its Service is being written is ready in
// the first EndpointSlice that is written for it, which is the only one.
func TestEnvoysAreLookedAtAfterTheServiceIsWritten(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/29")
	class, open := w.class(), make(chan struct{})
	release := sync.OnceFunc(func() { close(open) })
	front := fleet.FrontName("second", class)
	serve, address := w.withGateways()
	r := w.start(serve, holding("/services/"+front, open))
	t.Cleanup(release)
	id := fleet.ID{Class: class}
	w.create(w.newGateway("first", class))
	w.fleetPod(id, "envoy-1", "node1", "10.0.0.7")
	w.envoy(address, id, "envoy-1")
	w.eventually("the Envoy is known, and serves the first Gateway", func() error {
		if _, list := w.endpoints(fleet.FrontName("first", class)); len(list) != 1 || !*list[0].Conditions.Ready {
			return fmt.Errorf("listed are %+v", list)
		}
		return nil
	})
	w.create(w.newGateway("second", class))
	// That the Envoy has sent its acknowledgement does not say that the controller has it.
	w.eventually("the controller knows that the Envoy has taken the second Gateway", func() error {
		p := r.shell.gateways.Load().feed.Progress(id.Name(), gateway.Name{Namespace: w.ns, Name: "second"})
		if len(p.Envoys) != 1 || !p.Envoys[0].Serving {
			return fmt.Errorf("it knows %+v", p)
		}
		return nil
	})
	if names, _ := w.endpoints(front); len(names) > 0 {
		t.Fatalf("before its Service is written, there are %v", names)
	}
	release()
	w.says("second", gatewayv1.GatewayConditionAccepted, metav1.ConditionTrue, gatewayv1.GatewayReasonAccepted)
	writes := w.settled(r)
	names, list := w.endpoints(front)
	if len(names) != 1 || len(list) != 1 || !*list[0].Conditions.Ready {
		t.Fatalf("its slices %v list %+v", names, list)
	}
	path := "PATCH /apis/discovery.k8s.io/v1/namespaces/" + w.ns + "/endpointslices/" + names[0]
	if n := writes[path]; n != 1 {
		t.Errorf("its slice was written %d times, want once: %v", n, writes)
	}
}

// What others do at the same time is no error of ours, and is not logged as one.
func TestWhatOthersDoIsNoError(t *testing.T) {
	slices := schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}
	going := apierrors.NewForbidden(slices, "edge", errors.New("the namespace is being terminated"))
	going.ErrStatus.Details.Causes = append(going.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	refused := apierrors.NewForbidden(slices, "edge", errors.New("no such right"))
	for _, tt := range []struct {
		what string
		err  error
		want reconcile.Result
		told bool
	}{
		{"a conflict", apierrors.NewConflict(slices, "edge", errors.New("changed")), reconcile.Result{RequeueAfter: conflictPause}, false},
		{"an object that is gone", apierrors.NewNotFound(slices, "edge"), reconcile.Result{RequeueAfter: conflictPause}, false},
		{"a namespace that is being removed", going, reconcile.Result{}, false},
		{"a missing right", refused, reconcile.Result{}, true},
	} {
		got, err := (&gateways{}).lost(fmt.Errorf("writing: %w", tt.err))
		if got != tt.want || (err != nil) != tt.told {
			t.Errorf("%s: %+v, %v; want %+v, told %t", tt.what, got, err, tt.want, tt.told)
		}
	}
}

// A ListenerSet that was deleted and made anew does not get what is said of the old one, although its generation may be
// the same.
func TestStatusOfAListenerSetIsOfThatObject(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := gatewayv1.Install(scheme); err != nil {
		t.Fatal(err)
	}
	name := types.NamespacedName{Namespace: "shop", Name: "more"}
	for _, tt := range []struct {
		what  string
		about gateway.Edition
		wrote bool
	}{
		{"the object", gateway.Edition{UID: "new", Generation: 1}, true},
		{"an older spec", gateway.Edition{UID: "new"}, false},
		{"the object that was there before", gateway.Edition{UID: "old", Generation: 1}, false},
	} {
		set := &gatewayv1.ListenerSet{ObjectMeta: metav1.ObjectMeta{Namespace: name.Namespace, Name: name.Name, UID: "new", Generation: 1}}
		c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(set).WithStatusSubresource(set).Build()
		g := &gateways{shell: &shell{Options: Options{Clock: clock.RealClock{}}, tracer: noop.Tracer{}, client: c}}
		said := gateway.SetSaid{Name: gatewayName(name), Edition: tt.about}
		said.Status.Conditions = []metav1.Condition{{Type: "Accepted", Status: metav1.ConditionTrue, Reason: "Accepted", ObservedGeneration: tt.about.Generation}}
		if err := g.writeListenerSet(t.Context(), &said); err != nil {
			t.Fatalf("%s: %v", tt.what, err)
		}
		if err := c.Get(t.Context(), name, set); err != nil {
			t.Fatal(err)
		}
		if wrote := len(set.Status.Conditions) > 0; wrote != tt.wrote {
			t.Errorf("what is said is of %s: it was written: %t, want %t", tt.what, wrote, tt.wrote)
		}
	}
}
