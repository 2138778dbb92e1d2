package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace/noop"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/feed"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/cpu"
)

// BenchmarkGatewayChange is one HTTPRoute that changes, or comes, among many on one
// Gateway, each with a hostname of its own: from what is read of the cache to what is
// set for the Envoys, and the statuses that are to be written. Anew builds all from
// nothing each time; own gives each route a Service of its own.
func BenchmarkGatewayChange(b *testing.B) {
	for _, n := range []int{20, 1000, 3000, 5000} {
		for _, own := range []bool{false, true} {
			for _, how := range []string{"anew", "changed", "added"} {
				b.Run(fmt.Sprintf("routes=%d/own=%v/%s", n, own, how), func(b *testing.B) { benchmarkChange(b, n, own, how) })
			}
		}
	}
}

func benchmarkChange(b *testing.B, n int, own bool, how string) {
	s := newScene(b, n, own)
	s.turn(b, false)
	b.ReportAllocs()
	i := 0
	var spent time.Duration
	defer func() { b.ReportMetric(float64(spent.Microseconds())/float64(b.N), "cpu-µs/op") }()
	for b.Loop() {
		i++
		began := cpu.Used(b)
		if how == "added" {
			s.routes.put(b, s.route(n+i, 0, own))
			if own {
				s.services.put(b, serviceOf(s.backend(n+i, own)))
			}
			s.turn(b, false)
			spent += cpu.Used(b) - began
			b.StopTimer()
			s.routes.drop(b, s.route(n+i, 0, own)) // so that there are as many as before
			s.turn(b, false)
			b.StartTimer()
			continue
		}
		s.routes.put(b, s.route(i%n, i, own))
		s.turn(b, how == "anew")
		spent += cpu.Used(b) - began
	}
}

// scene is a Gateway with routes in a cache.
type scene struct {
	g                *gateways
	gw               *gatewayv1.Gateway
	routes, services *shelf
}

func newScene(b *testing.B, n int, own bool) *scene {
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "1", Generation: 1}}
	gw.Spec.Listeners = []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}}
	s := &scene{gw: gw, routes: newShelf(), services: newShelf()}
	s.g = &gateways{
		shell: &shell{Options: Options{Clock: clock.RealClock{}}, tracer: noop.Tracer{}, client: cached{shelves: map[string]*shelf{"HTTPRoute": s.routes, "Service": s.services}}},
		fleet: fleet.Settings{Families: []corev1.IPFamily{corev1.IPv4Protocol}},
		feed:  feed.New(logr.Discard(), clock.RealClock{}, feed.Options{}),
		known: map[types.NamespacedName]*serving{}, said: map[subject]map[types.NamespacedName]answer{}, spoken: map[types.NamespacedName]spoken{},
	}
	for i := range n {
		s.services.put(b, serviceOf(s.backend(i, own)))
		s.routes.put(b, s.route(i, 0, own))
	}
	return s
}

func (s *scene) backend(i int, own bool) string {
	if own {
		return fmt.Sprintf("s%d", i)
	}
	return "s"
}

func serviceOf(name string) *corev1.Service {
	return &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
}

func (s *scene) route(i, version int, own bool) *gatewayv1.HTTPRoute {
	r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: fmt.Sprintf("r%d", i), UID: types.UID(fmt.Sprint(i)), Generation: int64(version + 1)}}
	r.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: "web"}}
	r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(fmt.Sprintf("host%d.example.com", i))}
	ref := gatewayv1.HTTPBackendRef{}
	ref.Name, ref.Port = gatewayv1.ObjectName(s.backend(i, own)), new(gatewayv1.PortNumber(80))
	path := fmt.Sprintf("/v%d", version)
	r.Spec.Rules = []gatewayv1.HTTPRouteRule{{Matches: []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{Value: &path}}}, BackendRefs: []gatewayv1.HTTPBackendRef{ref}}}
	return r
}

// turn does what becomes of the change of an object, as the reconcilers do but for
// addresses and writing.
func (s *scene) turn(b *testing.B, anew bool) {
	name := client.ObjectKeyFromObject(s.gw)
	for _, o := range append(s.routes.news, s.services.news...) {
		if r, ok := o.(*gatewayv1.HTTPRoute); ok {
			s.g.gatewaysOfRoute(context.Background(), r)
		} else {
			s.g.users.changed("Service", o.GetNamespace(), o.GetName())
		}
	}
	s.routes.news, s.services.news = nil, nil
	before := s.g.known[name]
	if anew {
		before = nil
	}
	l := &lookup{ctx: context.Background(), client: s.g.client}
	built, fresh, err := l.build(s.gw, before, s.g.users.begin(name))
	if err != nil {
		b.Fatal(err)
	}
	next := &serving{name: name, built: built, fleet: fleet.ID{Class: "c"}, front: fleet.Front{Ports: []fleet.FrontPort{{Number: 80, Transport: gateway.TCP, Envoy: 10080}}}}
	if before != nil {
		next.encoded, next.sent = before.encoded, before.sent
	}
	if err := s.g.publish(b.Context(), next, fleet.Config{}, &change{span: noop.Span{}}); err != nil {
		b.Fatal(err)
	}
	s.g.known[name] = next
	s.g.users.end(name, built.Lookups, fresh)
	for range 2 { // when it is built, and when it is acknowledged
		said := built.Status(gateway.Progress{})
		s.g.say(b.Context(), name, said.Routes, said.Policies)
	}
	s.g.answers.early = nil
}

// shelf is the objects of a kind, as the manager's cache keeps them.
type shelf struct {
	cache.Indexer
	news []client.Object
}

func newShelf() *shelf {
	return &shelf{Indexer: cache.NewIndexer(cache.MetaNamespaceKeyFunc, cache.Indexers{byParent: func(o any) ([]string, error) {
		return parentsOf(o.(client.Object)), nil
	}})}
}

func (s *shelf) put(b *testing.B, o client.Object) {
	if err := s.Update(o); err != nil {
		b.Fatal(err)
	}
	s.news = append(s.news, o)
}

func (s *shelf) drop(b *testing.B, o client.Object) {
	if err := s.Delete(o); err != nil {
		b.Fatal(err)
	}
	s.news = append(s.news, o)
}

// cached reads from shelves by kind, as the manager's client does: the objects are
// not copied, but what holds them is. Of other kinds there is nothing.
type cached struct {
	client.Client
	shelves map[string]*shelf
}

func kindRead(o any) string {
	switch o.(type) {
	case *gatewayv1.HTTPRoute, *gatewayv1.HTTPRouteList:
		return "HTTPRoute"
	case *corev1.Service:
		return "Service"
	}
	return ""
}

func (c cached) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	if s := c.shelves[kindRead(o)]; s != nil {
		if have, ok, _ := s.GetByKey(key.String()); ok {
			switch o := o.(type) {
			case *gatewayv1.HTTPRoute:
				*o = *have.(*gatewayv1.HTTPRoute)
			case *corev1.Service:
				*o = *have.(*corev1.Service)
			}
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func (c cached) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	s := c.shelves[kindRead(list)]
	if s == nil {
		return nil
	}
	var o client.ListOptions
	o.ApplyOptions(opts)
	value, _ := o.FieldSelector.RequiresExactMatch(byParent)
	found, err := s.ByIndex(byParent, value)
	if err != nil {
		return err
	}
	objects := make([]runtime.Object, len(found))
	for i, f := range found {
		objects[i] = f.(runtime.Object)
	}
	return meta.SetList(list, objects)
}
