package controllers

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

// allPools is the request that brings all pools into the books; every other
// request is for the status of one pool.
var allPools = requestFor("all", "pools")

func (s *shell) addPools(mgr manager.Manager) error {
	toAll := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{allPools}
	})
	b := builder.ControllerManagedBy(mgr).Named("pools").
		Watches(&v1alpha1.IPAddressPool{}, s.poolEvents()).
		Watches(&corev1.Node{}, toAll, builder.WithPredicates(nodeRangesChanged)).
		WatchesRawSource(s.pools.source()).
		WithOptions(working(1))
	if served(mgr, &networkingv1.ServiceCIDR{}) {
		b = b.Watches(&networkingv1.ServiceCIDR{}, toAll, builder.WithPredicates(generationChanged))
	}
	return b.Complete(reconcile.Func(s.reconcilePool))
}

// served tells whether the API server has a kind.
func served(mgr manager.Manager, o client.Object) bool {
	gvk, err := mgr.GetClient().GroupVersionKindFor(o)
	if err != nil {
		return false
	}
	_, err = mgr.GetRESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	return !meta.IsNoMatchError(err)
}

// poolEvents asks for all pools where one comes, goes or is edited, and for a
// pool whose status has changed, so that a foreign edit of it is put right. The
// change may as well be our own, while addresses are being given, so that comes
// no sooner than the next write may.
func (s *shell) poolEvents() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	edited := func(o client.Object, q queue) {
		q.Add(allPools)
		q.Add(requestFor("", o.GetName()))
	}
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, q queue) { edited(e.Object, q) },
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, q queue) { edited(e.Object, q) },
		UpdateFunc: func(_ context.Context, e event.UpdateEvent, q queue) {
			was, ok1 := e.ObjectOld.(*v1alpha1.IPAddressPool)
			is, ok2 := e.ObjectNew.(*v1alpha1.IPAddressPool)
			switch {
			case !ok1 || !ok2:
			case was.Generation != is.Generation:
				edited(is, q)
			case !equality.Semantic.DeepEqual(was.Status, is.Status):
				q.AddAfter(requestFor("", is.Name), s.PoolStatusEvery)
			}
		},
	}
}

var nodeRangesChanged = predicate.Funcs{
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*corev1.Node)
		is, ok2 := e.ObjectNew.(*corev1.Node)
		return ok1 && ok2 && !reflect.DeepEqual(pools.OfNode(was), pools.OfNode(is))
	},
}

func (s *shell) reconcilePool(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	if req == allPools {
		return reconcile.Result{}, s.configure(ctx)
	}
	return reconcile.Result{}, quiet(s.writePoolStatus(ctx, req.Name))
}

// configured is what the books were last configured with.
type configured struct {
	generations map[types.UID]int64
	ranges      []allocator.ClusterRange
	pools       map[string]allocator.Pool
	faults      map[string][]string
}

// configure brings the pools and the cluster's own ranges into the books, if they
// have changed.
func (s *shell) configure(ctx context.Context) error {
	s.configuring.Lock()
	defer s.configuring.Unlock()
	var list v1alpha1.IPAddressPoolList
	if err := s.client.List(ctx, &list); err != nil {
		return fmt.Errorf("listing IPAddressPools: %w", err)
	}
	ranges, err := s.clusterRanges(ctx)
	if err != nil {
		return err
	}
	next, read := readPools(list.Items, ranges)
	before := s.configured.Load()
	if before != nil && maps.Equal(before.generations, next.generations) && slices.Equal(before.ranges, next.ranges) {
		return nil
	}
	set := pools.Addresses(read)
	adoptions, err := s.adoptions(ctx, set.Contains)
	if err != nil {
		return err
	}
	s.serving.Lock()
	was := s.surroundings.pools.Swap(set)
	adopters := s.ledger.Configure(read, ranges, adoptions)
	s.configured.Store(next)
	s.serving.Unlock()
	s.wake(adopters)
	s.noteBounds(was, set)
	for _, p := range read {
		s.pools.add(requestFor("", p.Name))
	}
	if before == nil {
		return nil
	}
	return s.wakeConcerned(ctx, before, next)
}

// noteBounds lets the Addresses be looked at that lie in a pool and did not, or no
// longer do. Who hears of an edited pool as we do may have looked at them before.
func (s *shell) noteBounds(was, is *netipx.IPSet) {
	if was == nil {
		return // all are looked at when the books are rebuilt
	}
	for _, a := range s.ledger.Addresses() {
		if was.Contains(a) != is.Contains(a) {
			s.noteAddress(a)
		}
	}
}

func readPools(items []v1alpha1.IPAddressPool, ranges []allocator.ClusterRange) (*configured, []allocator.Pool) {
	next := &configured{generations: map[types.UID]int64{}, ranges: ranges, pools: map[string]allocator.Pool{}, faults: map[string][]string{}}
	var list []allocator.Pool
	for _, o := range pools.ByAge(items) {
		if o.DeletionTimestamp != nil {
			continue
		}
		p, faults := pools.Read(&o)
		next.generations[o.UID], next.pools[o.Name], next.faults[o.Name] = o.Generation, p, faults
		list = append(list, p)
	}
	return next, list
}

// wakeConcerned asks for new decisions on the Services that an edit of pools can
// concern: those that wait for whatever reason, and those in a pool that is not
// what it was.
func (s *shell) wakeConcerned(ctx context.Context, before, next *configured) error {
	changed := map[string]bool{}
	for name, p := range next.pools {
		if was, ok := before.pools[name]; !ok || !samePool(was, p) {
			changed[name] = true
		}
	}
	for name := range before.pools {
		if _, ok := next.pools[name]; !ok {
			changed[name] = true
		}
	}
	if g := s.gateways.Load(); g != nil {
		g.wakeConcerned(changed)
	}
	var list corev1.ServiceList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing Services: %w", err)
	}
	for i := range list.Items {
		svc := &list.Items[i]
		if !service.Ours(svc, s.Service) && !service.Announced(svc, s.Service) {
			continue
		}
		if !assigned(svc) || s.ledger.HoldsIn(service.KeyOf(svc), changed) {
			s.services.add(requestFor(svc.Namespace, svc.Name))
		}
	}
	return nil
}

// assigned tells whether a Service's own condition says that its wish is met.
func assigned(svc *corev1.Service) bool {
	return slices.ContainsFunc(svc.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == service.ConditionAddress && c.Status == "True" && c.Reason == service.ReasonAssigned
	})
}

// samePool compares what a pool says of itself. Selectors are functions, which
// do not compare: a pool that has some counts as changed.
func samePool(a, b allocator.Pool) bool {
	if hasSelectors(a) || hasSelectors(b) {
		return false
	}
	return reflect.DeepEqual(a, b)
}

func hasSelectors(p allocator.Pool) bool {
	for _, a := range []*allocator.Admission{p.Services, p.Gateways} {
		if a != nil && len(a.NamespaceSelectors)+len(a.HolderSelectors) > 0 {
			return true
		}
	}
	return false
}

// writePoolStatus writes what a pool's status should say, if it does not.
func (s *shell) writePoolStatus(ctx context.Context, name string) error {
	var pool v1alpha1.IPAddressPool
	err := s.client.Get(ctx, client.ObjectKey{Name: name}, &pool)
	if apierrors.IsNotFound(err) {
		forgetPool(name)
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading IPAddressPool %s: %w", name, err)
	}
	now := s.configured.Load()
	if now == nil || now.generations[pool.UID] != pool.Generation {
		// The books do not have this version of the pool yet: they get it
		// first, and then ask for this status.
		s.pools.add(allPools)
		return nil
	}
	usage := s.ledger.Usage(name)
	measurePool(name, usage)
	want := poolStatus(&pool, usage, now.faults[name], s.ledger.Problems(), seconds(s.Clock.Now()))
	if equality.Semantic.DeepEqual(pool.Status, want) {
		return nil
	}
	before := pool.DeepCopy()
	pool.Status = want
	err = s.Failpoint.around(ctx, PointPoolStatus, func() error { return s.patchStatus(ctx, before, &pool) })
	statusWrites.WithLabelValues("IPAddressPool", resultOf(err)).Inc()
	if err != nil {
		return fmt.Errorf("writing the status of IPAddressPool %s: %w", name, err)
	}
	return nil
}

// measurePool puts the usage of a pool into the metrics.
func measurePool(name string, usage map[allocator.Family]allocator.Usage) {
	for _, f := range []allocator.Family{allocator.IPv4, allocator.IPv6} {
		u, ok := usage[f]
		if !ok {
			continue
		}
		poolCapacity.WithLabelValues(name, f.String()).Set(float64(u.Capacity))
		poolAssigned.WithLabelValues(name, f.String()).Set(float64(u.Assigned))
		poolAvailable.WithLabelValues(name, f.String()).Set(float64(u.Available))
	}
}

func forgetPool(name string) {
	for _, g := range []*prometheus.GaugeVec{poolCapacity, poolAssigned, poolAvailable} {
		g.DeletePartialMatch(prometheus.Labels{"pool": name})
	}
}
