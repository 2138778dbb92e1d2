package controllers

import (
	"context"
	"fmt"
	"reflect"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/feed"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/xds"
)

// gateways are the reconcilers of Gateways and of what runs for them.
//
// A change of what a Gateway follows from goes to build, which makes its Model
// and gives it to the feed. What becomes of it (an address, an Envoy that has
// acknowledged, a speaker that announces) goes to progress, which writes the
// Gateway's Service, its slices and its status, and builds nothing.
type gateways struct {
	*shell
	fleet fleet.Settings
	feed  *feed.Feed

	build, progress, answers, classes queue

	// bundle is an empty ClusterTrustBundle; nil: the API server has none.
	bundle client.Object
	// watching is set once all kinds are served and watched.
	watching atomic.Bool

	users users
	mu    sync.Mutex
	known map[types.NamespacedName]*serving
	ports map[string]*fleet.Ports // by fleet
	// said is what Gateways say of routes and policies.
	said map[subject]map[types.NamespacedName]answer
	// spoken is the same by Gateway.
	spoken map[types.NamespacedName]spoken
	// first are the Gateways that were there at the start and are not built
	// yet: noted is closed when they are known, opened when none is left.
	first   map[types.NamespacedName]struct{}
	noted   chan struct{}
	opened  chan struct{}
	opening sync.Once
	// running are the fingerprints of fleets as they were written last.
	running map[string]string
	// states are those of Gateways, for the metrics.
	states map[types.NamespacedName]string
	// changing is since when Gateways wait to be built anew.
	changing since
	// traces are those in which routes and policies are to be answered.
	traces memory[trace.SpanContext]
	// waiters are the EndpointSlices of Gateways that wait to be written, by
	// name, and until when.
	waiters memory[map[string]time.Time]
	// log is what is told to operators, and problem what was told last that is wrong
	// with the CRDs of the Gateway API; empty: nothing.
	log     logr.Logger
	problem string
	// settings of classes and Gateways that were good last, for what runs.
	settings map[types.NamespacedName]fleet.Config
}

// serving is what was built for a Gateway last. It is not modified.
type serving struct {
	name  types.NamespacedName
	uid   types.UID
	built *gateway.Built
	// encoded is what the Envoys are to have for it, and sent the same as the
	// feed has it.
	encoded xds.Resources
	sent    feed.Resources
	fleet   fleet.ID
	front   fleet.Front
	// decided are its addresses, and refused why it has not all it asks for.
	decided decided
	// generation of the Gateway that this was built from.
	generation int64
	// spent is how long it took to build and to encode it. Anew says that
	// nothing was taken from what was built before.
	spent time.Duration
	anew  bool
	// trace is of the change that this was built for, and builtAt when it was.
	trace   trace.SpanContext
	builtAt time.Time
	// good is what Envoys had all of last, as far as that was seen; nil: nothing.
	good *gateway.Built
	// class is the GatewayClass as it was then.
	class revision
}

// buildWorkers is how many Gateways are built at once.
const buildWorkers = 2

func (g *gateways) add(mgr manager.Manager) error {
	g.bundle = trustBundle(mgr)
	if err := indexGateways(mgr); err != nil {
		return err
	}
	for _, add := range []func(manager.Manager) error{g.addFirst, g.addBuild, g.addProgress, g.addAnswers, g.addClasses, g.addConfigs} {
		if err := add(mgr); err != nil {
			return fmt.Errorf("setting up the controllers of Gateways: %w", err)
		}
	}
	return nil
}

func (g *gateways) addBuild(mgr manager.Manager) error {
	b := builder.ControllerManagedBy(mgr).Named("gateways").
		WatchesRawSource(g.build.source()).
		Watches(&gatewayv1.Gateway{}, g.asking(func(_ context.Context, o client.Object) []reconcile.Request {
			return []reconcile.Request{requestFor(o.GetNamespace(), o.GetName())}
		}), builder.WithPredicates(specChanged)).
		Watches(&gatewayv1.ListenerSet{}, g.asking(func(_ context.Context, o client.Object) []reconcile.Request {
			s, ok := o.(*gatewayv1.ListenerSet)
			if !ok {
				return nil
			}
			return []reconcile.Request{{NamespacedName: parentOfSet(s)}}
		}), builder.WithPredicates(generationChanged)).
		Watches(&gatewayv1.ReferenceGrant{}, g.usersOf("ReferenceGrant", func(o client.Object) (string, string) { return o.GetNamespace(), "" })).
		Watches(&gatewayv1.BackendTLSPolicy{}, g.asking(g.gatewaysOfPolicy), builder.WithPredicates(generationChanged)).
		Watches(&corev1.Secret{}, g.usersOf("Secret", named)).
		Watches(&corev1.ConfigMap{}, g.usersOf("ConfigMap", named)).
		Watches(&corev1.Service{}, g.usersOf("Service", named), builder.WithPredicates(portsChanged)).
		WatchesMetadata(namespaceObject(), g.usersOf("Namespace", named), builder.WithPredicates(namespaceChanged)).
		Watches(&v1alpha1.GatewayConfig{}, g.asking(g.gatewaysOfConfig), builder.WithPredicates(generationChanged))
	if g.bundle != nil {
		b = b.Watches(g.bundle, g.usersOf("ClusterTrustBundle", named))
	}
	for _, kind := range routeKinds() {
		b = b.Watches(kind, g.asking(g.gatewaysOfRoute), builder.WithPredicates(generationChanged))
	}
	return b.WithOptions(working(buildWorkers)).Complete(reconcile.Func(g.reconcileBuild))
}

// specChanged passes a Gateway when it comes, goes, or its spec, labels or
// annotations change; its status is written by us.
var specChanged = predicate.Or[client.Object](generationChanged, predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}, deleting)

var deleting = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return (e.ObjectOld.GetDeletionTimestamp() == nil) != (e.ObjectNew.GetDeletionTimestamp() == nil)
}}

// portsChanged passes a Service when a route that leads to it may be built
// otherwise.
var portsChanged = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	was, ok1 := e.ObjectOld.(*corev1.Service)
	is, ok2 := e.ObjectNew.(*corev1.Service)
	return ok1 && ok2 && (was.UID != is.UID || was.Spec.Type != is.Spec.Type || !samePorts(was.Spec.Ports, is.Spec.Ports))
}}

func samePorts(a, b []corev1.ServicePort) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Name != y.Name || x.Port != y.Port || x.Protocol != y.Protocol || (x.AppProtocol == nil) != (y.AppProtocol == nil) || x.AppProtocol != nil && *x.AppProtocol != *y.AppProtocol {
			return false
		}
	}
	return true
}

// namespaceChanged passes Namespaces that come, go, or get other labels: one
// that was looked up may not have been there.
var namespaceChanged = predicate.Or[client.Object](predicate.LabelChangedPredicate{}, predicate.Funcs{
	UpdateFunc: func(event.UpdateEvent) bool { return false },
})

func named(o client.Object) (namespace, name string) { return o.GetNamespace(), o.GetName() }

// usersOf asks for the Gateways that have looked an object up, and notes for them
// that it has changed.
func (g *gateways) usersOf(kind string, key func(client.Object) (string, string)) handler.EventHandler {
	return g.asking(func(_ context.Context, o client.Object) []reconcile.Request {
		namespace, name := key(o)
		return requestsFor(g.users.changed(kind, namespace, name))
	})
}

// asking asks for Gateways to be built, and remembers since when they wait for it.
func (g *gateways) asking(of handler.MapFunc) handler.EventHandler {
	return handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, o client.Object) []reconcile.Request {
		out := of(ctx, o)
		if g.isReady() {
			for _, r := range out {
				g.changing.see(r.NamespacedName, g.Clock.Now())
			}
		}
		return out
	})
}

func requestsFor(names []types.NamespacedName) []reconcile.Request {
	out := make([]reconcile.Request, len(names))
	for i, n := range names {
		out[i] = reconcile.Request{NamespacedName: n}
	}
	return out
}

func (g *gateways) gatewaysOfPolicy(_ context.Context, o client.Object) []reconcile.Request {
	p, ok := o.(*gatewayv1.BackendTLSPolicy)
	if !ok {
		return nil
	}
	var out []reconcile.Request
	for _, t := range p.Spec.TargetRefs {
		out = append(out, requestsFor(g.users.changed("BackendTLSPolicy", p.Namespace, string(t.Name)))...)
	}
	return out
}

// gatewaysOfRoute are the parents of a route. It is called for the old and the
// new state of a route that changes, so that a Gateway that it leaves hears of it.
func (g *gateways) gatewaysOfRoute(ctx context.Context, o client.Object) []reconcile.Request {
	refs, _ := parentRefsOf(o)
	route := gateway.Reference{Kind: kindOfRoute(o), Name: gateway.Name{Namespace: o.GetNamespace(), Name: o.GetName()}}
	var out []reconcile.Request
	for _, p := range refs {
		n := types.NamespacedName{Namespace: o.GetNamespace(), Name: string(p.Name)}
		if p.Namespace != nil {
			n.Namespace = string(*p.Namespace)
		}
		if p.Kind != nil && *p.Kind == "ListenerSet" {
			set := &gatewayv1.ListenerSet{}
			if err := g.client.Get(ctx, n, set); err != nil {
				continue
			}
			n = parentOfSet(set)
		}
		g.users.note(n, route)
		out = append(out, reconcile.Request{NamespacedName: n})
	}
	return out
}

// gatewaysOfConfig are the Gateways that a GatewayConfig may concern: its own
// namespace's, and those of classes that refer to it.
func (g *gateways) gatewaysOfConfig(ctx context.Context, o client.Object) []reconcile.Request {
	var list gatewayv1.GatewayList
	if err := g.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		gw := &list.Items[i]
		if ref := parametersOf(gw); ref != nil && gw.Namespace == o.GetNamespace() && ref.Name == o.GetName() || g.classRefersTo(ctx, string(gw.Spec.GatewayClassName), o) {
			out = append(out, requestFor(gw.Namespace, gw.Name))
		}
	}
	return out
}

// reconcileBuild makes the Model of a Gateway anew and gives it to the feed.
func (g *gateways) reconcileBuild(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := g.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	select {
	case <-g.noted:
	case <-ctx.Done():
		return reconcile.Result{}, nil
	}
	gw := &gatewayv1.Gateway{}
	err := g.client.Get(ctx, req.NamespacedName, gw)
	switch {
	case apierrors.IsNotFound(err):
		err = g.remove(ctx, req.NamespacedName)
	case err != nil:
		err = fmt.Errorf("reading Gateway %s: %w", req, err)
	case gw.DeletionTimestamp != nil:
		err = nil
	default:
		err = g.rebuild(ctx, gw)
	}
	if err == nil {
		g.builtFirst(req.NamespacedName)
	}
	return reconcile.Result{}, err
}

// rebuild builds a Gateway of ours; another one is let go.
func (g *gateways) rebuild(ctx context.Context, gw *gatewayv1.Gateway) error {
	name := client.ObjectKeyFromObject(gw)
	class, err := g.classOf(ctx, gw)
	if err != nil {
		return err
	}
	if class == nil {
		return g.remove(ctx, name)
	}
	config, refused, err := g.configFor(ctx, class, gw)
	if err != nil {
		return err
	}
	changed := g.users.begin(name)
	ctx, change := g.beginChange(ctx, gw, changed)
	s, err := g.serve(ctx, class, gw, config, refused, changed)
	if err != nil {
		g.users.fail(name, changed)
		g.fail(change, err)
		return err
	}
	s.good = g.goodBefore(name)
	// What cannot be encoded is left out, and the rest is served.
	unsent := g.publish(ctx, s, config, change)
	g.keep(s)
	g.sayFirst(ctx, s)
	if g.users.end(name, s.built.Lookups, s.anew) {
		g.build.add(reconcile.Request{NamespacedName: name})
	}
	g.progress.add(reconcile.Request{NamespacedName: name})
	return unsent
}

// serve builds a Gateway, and decides on its ports and addresses.
func (g *gateways) serve(ctx context.Context, class *gatewayv1.GatewayClass, gw *gatewayv1.Gateway, config fleet.Config, refused *gateway.Problem, changed references) (*serving, error) {
	s, err := g.made(ctx, gw, changed)
	if err != nil {
		return nil, err
	}
	s.class, s.fleet, s.trace, s.builtAt = revisionOf(class), fleetFor(class, gw, config), trace.SpanContextFromContext(ctx), g.Clock.Now()
	if s.front, err = g.frontFor(gw, s.built, config, s.fleet); err != nil {
		return nil, err
	}
	s.decided, err = g.decide(ctx, gw, s.built, config, s.front.Name(), refused)
	return s, err
}

// made builds a Gateway's Model, from what was built before if that will do.
func (g *gateways) made(ctx context.Context, gw *gatewayv1.Gateway, changed references) (s *serving, err error) {
	ctx, span := g.tracer.Start(ctx, "gateway.build")
	defer func() { ended(span, err) }()
	s = &serving{name: client.ObjectKeyFromObject(gw), uid: gw.UID, generation: gw.Generation}
	before := g.servingOf(s.name)
	if before != nil {
		s.encoded, s.sent = before.encoded, before.sent
	}
	l := &lookup{ctx: ctx, client: g.client, bundle: g.bundle}
	began := time.Now()
	s.built, s.anew, err = l.build(gw, before, changed)
	s.spent = time.Since(began)
	span.SetAttributes(attribute.String("fairlead.scope", s.scope()))
	return s, err
}

// keep remembers what was built, and what it says of others.
func (g *gateways) keep(s *serving) {
	g.mu.Lock()
	before := g.known[s.name]
	g.known[s.name] = s
	g.mu.Unlock()
	if before != nil {
		g.releasePorts(before, s)
	}
	if before != nil && before.fleet != s.fleet {
		g.feed.Remove(before.fleet.Name(), gatewayName(before.name))
	}
	if before == nil || before.fleet != s.fleet || !reflect.DeepEqual(before.front.Config, s.front.Config) {
		g.classes.add(requestFor("", s.fleet.Class))
	}
}

type workQueue = workqueue.TypedRateLimitingInterface[reconcile.Request]

func gatewayName(n types.NamespacedName) gateway.Name {
	return gateway.Name{Namespace: n.Namespace, Name: n.Name}
}

// remove lets a Gateway go that is gone, or not ours any more.
func (g *gateways) remove(ctx context.Context, name types.NamespacedName) error {
	g.mu.Lock()
	before := g.known[name]
	delete(g.known, name)
	delete(g.settings, name)
	delete(g.states, name)
	g.mu.Unlock()
	g.users.forget(name)
	g.changing.forget(name)
	g.waiters.forget(name)
	g.say(ctx, name, nil, nil)
	if before != nil {
		g.feed.Remove(before.fleet.Name(), gatewayName(name))
		g.releasePorts(before, nil)
		g.classes.add(requestFor("", before.fleet.Class))
	}
	if gone, err := g.goneFor(ctx, name); err != nil || !gone {
		return err
	}
	return g.release(ctx, gateway.KeyOf(gatewayName(name)))
}

// goneFor asks the API server whether a Gateway that has addresses is really
// gone: after a start the cache may not have it yet.
func (g *gateways) goneFor(ctx context.Context, name types.NamespacedName) (bool, error) {
	if len(g.ledger.Held(gateway.KeyOf(gatewayName(name)))) == 0 {
		return false, nil
	}
	gw := &gatewayv1.Gateway{}
	err := g.live.Get(ctx, name, gw)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("reading Gateway %s: %w", name, err)
	}
	class, err := g.classOf(ctx, gw)
	return class == nil, err
}

// servingOf is what was built for a Gateway last; nil: nothing.
func (g *gateways) servingOf(name types.NamespacedName) *serving {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.known[name]
}

// sliceEvents gives EndpointSlices to the feed, past all queues.
func (g *gateways) sliceEvents() handler.EventHandler {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ workQueue) { g.slice(e.Object) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, _ workQueue) { g.slice(e.ObjectNew) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ workQueue) {
			if s, ok := e.Object.(*discoveryv1.EndpointSlice); ok {
				g.feed.SliceGone(gateway.Name{Namespace: s.Namespace, Name: s.Name})
			}
		},
	}
}

func (g *gateways) slice(o client.Object) {
	s, ok := o.(*discoveryv1.EndpointSlice)
	if !ok {
		return
	}
	g.feed.Slice(s)
	if id := s.Labels[fleet.FleetLabel]; id != "" && s.Namespace == g.Namespace {
		g.fleetChanged(id)
	}
}
