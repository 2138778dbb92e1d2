package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

// conflictPause is the wait after a write that somebody else's came before. The
// event of that write usually comes earlier.
const conflictPause = 200 * time.Millisecond

func (s *shell) addServices(mgr manager.Manager) error {
	options := working(s.Workers)
	options.CacheSyncTimeout = noTimeout // recovery may take as long as the API server is away
	return builder.ControllerManagedBy(mgr).Named("services").
		For(&corev1.Service{}, builder.WithPredicates(s.serviceEvents())).
		WatchesMetadata(namespaceObject(), handler.EnqueueRequestsFromMapFunc(s.servicesOfNamespace), builder.WithPredicates(labelsChanged)).
		WatchesRawSource(s.services.source()).
		WatchesRawSource(recovered(s.ready)).
		WithOptions(options).
		Complete(reconcile.Func(s.reconcileService))
}

// labelsChanged passes Namespaces only when their labels changed: pools may
// select them by label.
var labelsChanged = predicate.Funcs{
	CreateFunc:  func(event.CreateEvent) bool { return false },
	DeleteFunc:  func(event.DeleteEvent) bool { return false },
	GenericFunc: func(event.GenericEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return !labels.Equals(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
	},
}

// serviceEvents passes every event, and takes the time when a Service begins to
// ask for an address.
func (s *shell) serviceEvents() predicate.Predicate {
	see := func(o client.Object) bool {
		svc, ok := o.(*corev1.Service)
		if ok && s.isReady() && len(svc.Status.LoadBalancer.Ingress) == 0 && service.Ours(svc, s.Service) && !assigned(svc) {
			s.asking.see(client.ObjectKeyFromObject(svc), s.Clock.Now())
		}
		return true
	}
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool { return see(e.Object) },
		UpdateFunc: func(e event.UpdateEvent) bool { return see(e.ObjectNew) },
	}
}

func (s *shell) servicesOfNamespace(ctx context.Context, ns client.Object) []reconcile.Request {
	var list corev1.ServiceList
	if err := s.client.List(ctx, &list, client.InNamespace(ns.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if svc := &list.Items[i]; service.Ours(svc, s.Service) || service.Announced(svc, s.Service) {
			out = append(out, requestFor(svc.Namespace, svc.Name))
		}
	}
	return out
}

// reconcileService brings one Service, the ledger and the Service's status in line.
func (s *shell) reconcileService(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	if s.looked != nil {
		s.looked(req.NamespacedName)
	}
	ctx, span := s.tracer.Start(ctx, "service.reconcile", trace.WithAttributes(
		attribute.String("k8s.namespace.name", req.Namespace), attribute.String("k8s.service.name", req.Name)))
	defer span.End()
	s.serving.RLock()
	defer s.serving.RUnlock()
	// The object is shared with the cache and must not be changed.
	svc := &corev1.Service{}
	err := s.client.Get(ctx, req.NamespacedName, svc)
	switch {
	case apierrors.IsNotFound(err):
		return s.orLater(s.gone(ctx, req.NamespacedName))
	case err != nil:
		return reconcile.Result{}, fmt.Errorf("reading Service %s: %w", req, err)
	}
	s.unconfirmed.Delete(req.NamespacedName)
	switch {
	case service.Ours(svc, s.Service):
		return s.orLater(s.serve(ctx, svc))
	case service.Announced(svc, s.Service):
		return s.orLater(time.Time{}, s.follow(ctx, svc))
	}
	return s.orLater(s.disown(ctx, svc))
}

// orLater turns what is no error (somebody else was faster) into a later look.
func (s *shell) orLater(wake time.Time, err error) (reconcile.Result, error) {
	switch {
	case apierrors.IsConflict(err), errors.Is(err, errMoved), apierrors.IsNotFound(err):
		return reconcile.Result{RequeueAfter: conflictPause}, nil
	case err != nil:
		return reconcile.Result{}, err
	case wake.IsZero():
		return reconcile.Result{}, nil
	}
	return reconcile.Result{RequeueAfter: max(wake.Sub(s.Clock.Now()), time.Millisecond)}, nil
}

// gone releases what a deleted Service had. After a start the cache may not have
// a Service yet whose address the ledger has: then the API server is asked.
func (s *shell) gone(ctx context.Context, name types.NamespacedName) (time.Time, error) {
	if _, unsure := s.unconfirmed.Load(name); unsure {
		err := s.live.Get(ctx, name, &corev1.Service{})
		if err == nil {
			return s.Clock.Now().Add(time.Second), nil
		}
		if !apierrors.IsNotFound(err) {
			return time.Time{}, fmt.Errorf("reading Service %s: %w", name, err)
		}
		s.unconfirmed.Delete(name)
	}
	s.contests.forget(name)
	s.asking.forget(name)
	return time.Time{}, s.release(ctx, allocator.Key{Kind: service.KindService, Namespace: name.Namespace, Name: name.Name})
}

func (s *shell) release(ctx context.Context, k allocator.Key) error {
	if err := s.ledger.Release(ctx, k); err != nil {
		return fmt.Errorf("releasing the addresses of %s: %w", k, err)
	}
	s.released()
	return nil
}

// disown takes our entries out of the status of a Service that is not ours, then
// releases what it had. Where the Service goes back to the controller that it was
// adopted from, the addresses stay in its status: that one goes by them.
func (s *shell) disown(ctx context.Context, svc *corev1.Service) (time.Time, error) {
	name, key := client.ObjectKeyFromObject(svc), service.KeyOf(svc)
	held := s.ledger.Held(key)
	if service.Ours(svc, service.Config{Default: true}) {
		held = slices.DeleteFunc(slices.Clone(held), s.ledger.Adopted)
	}
	out := service.Clear(svc, held, s.contests.get(name), s.Clock.Now())
	if out.Changed && !out.Write {
		// The status shows the address still: nobody else may have it yet.
		s.contests.put(name, out.Contest)
		return out.Wake, nil
	}
	if out.Write {
		if err := s.writeStatus(ctx, svc, &out); err != nil {
			s.contests.put(name, out.Contest)
			return time.Time{}, err
		}
	}
	s.contests.forget(name)
	s.asking.forget(name)
	return time.Time{}, s.release(ctx, key)
}

// follow keeps in the ledger what another controller's status shows, so that it
// is announced. Nothing is written to such a Service.
func (s *shell) follow(ctx context.Context, svc *corev1.Service) error {
	reading, err := s.read(ctx, svc)
	if err != nil {
		return err
	}
	key := service.KeyOf(svc)
	if !reading.Asks() {
		return s.release(ctx, key)
	}
	d, err := s.ledger.Decide(ctx, reading.Claim)
	if err != nil {
		return err
	}
	return s.vacate(ctx, key, d.Leaving)
}

// serve gives a Service of ours what it asks for: first the ledger, then the
// status, then what it has left is freed.
func (s *shell) serve(ctx context.Context, svc *corev1.Service) (time.Time, error) {
	name, key := client.ObjectKeyFromObject(svc), service.KeyOf(svc)
	reading, err := s.read(ctx, svc)
	if err != nil {
		return time.Time{}, err
	}
	if err := s.readopt(ctx, svc, reading.Claim); err != nil {
		return time.Time{}, err
	}
	now := s.Clock.Now()
	asking, contest := s.contests.get(name).Ask(svc, reading, s.ledger.Held(key), now)
	side, err := s.sideOf(ctx, svc, &asking)
	if err != nil {
		return time.Time{}, err
	}
	decision, err := s.decide(ctx, svc, asking)
	if err != nil {
		s.contests.put(name, contest)
		return time.Time{}, err
	}
	said, err := s.stand(ctx, svc, &side, decision)
	if err != nil {
		return time.Time{}, err
	}
	out := service.Status(service.Input{
		Service: svc, Asking: asking, Decision: decision, Unannounced: s.unannounced(decision.Addresses),
		InPool: s.surroundings.inPool, Contest: contest, Now: now, Takeover: said,
	})
	if out.Write {
		if err := s.writeStatus(ctx, svc, &out); err != nil {
			s.contests.put(name, out.Contest)
			return time.Time{}, err
		}
		s.measure(svc, decision)
	}
	s.contests.put(name, out.Contest)
	if len(decision.Addresses) > 0 {
		s.asking.forget(name)
	}
	if out.Write || !out.Changed {
		if err := s.vacate(ctx, key, decision.Leaving); err != nil {
			return time.Time{}, err
		}
	}
	look, err := s.lookAgain(ctx, side.stage)
	return earliest(look, earliest(out.Wake, asking.Wake)), err
}

// decide asks the books for what a Service asks for now.
func (s *shell) decide(ctx context.Context, svc *corev1.Service, asking service.Asking) (allocator.Decision, error) {
	if !asking.Decide {
		return allocator.Decision{}, s.release(ctx, service.KeyOf(svc))
	}
	return s.allocate(ctx, asking.Claim)
}

// allocate asks the books for a decision on a claim.
func (s *shell) allocate(ctx context.Context, claim allocator.Claim) (allocator.Decision, error) {
	ctx, span := s.tracer.Start(ctx, "allocate")
	defer span.End()
	d, err := s.ledger.Decide(ctx, claim)
	if err != nil {
		span.RecordError(err)
		return d, err
	}
	if d.Refusal != nil {
		span.SetAttributes(attribute.String("fairlead.refusal", string(d.Refusal.Reason)))
	}
	return d, nil
}

// readopt gives a Service back what a foreign edit of the ledger took from it,
// as far as its status shows it and it is still free.
func (s *shell) readopt(ctx context.Context, svc *corev1.Service, claim allocator.Claim) error {
	if !s.ledger.Orphan(service.KeyOf(svc)) {
		return nil
	}
	shown := s.adoptable(svc, func(netip.Addr) bool { return true })
	if len(shown) == 0 {
		return nil
	}
	_, err := s.ledger.Adopt(ctx, claim, shown)
	return err
}

func (s *shell) vacate(ctx context.Context, k allocator.Key, leaving []netip.Addr) error {
	if len(leaving) == 0 {
		return nil
	}
	if err := s.ledger.Vacate(ctx, k, leaving); err != nil {
		return fmt.Errorf("freeing what %s has left: %w", k, err)
	}
	s.released()
	return nil
}

// writeStatus makes the one write of an outcome, then tells its Events.
func (s *shell) writeStatus(ctx context.Context, svc *corev1.Service, out *service.Outcome) error {
	ctx, span := s.tracer.Start(ctx, "status.write")
	defer span.End()
	answer := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	patch := client.RawPatch(types.StrategicMergePatchType, out.Patch())
	again := out.PatchAgain()
	if again != nil {
		patch = client.RawPatch(types.JSONPatchType, again)
	}
	err := s.Failpoint.around(ctx, PointServiceStatus, func() error {
		return s.client.Status().Patch(ctx, answer, patch, client.FieldOwner(v1alpha1.FieldManager))
	})
	if again != nil && apierrors.IsInvalid(err) {
		err = apierrors.NewConflict(corev1.Resource("services"), svc.Name, err) // a test of the patch failed
	}
	statusWrites.WithLabelValues("Service", resultOf(err)).Inc()
	now := s.Clock.Now()
	if err != nil {
		out.Contest = out.Contest.Failed(now)
		if !apierrors.IsConflict(err) {
			span.RecordError(err)
		}
		return fmt.Errorf("writing the status of Service %s/%s: %w", svc.Namespace, svc.Name, err)
	}
	out.Contest = out.Contest.Wrote(answer, now)
	if out.Contest.Contested() {
		corrections.WithLabelValues().Inc()
	}
	for _, e := range out.Events {
		s.events.tell(svc, e)
	}
	return nil
}

// measure counts a status write for the metrics.
func (s *shell) measure(svc *corev1.Service, d allocator.Decision) {
	name := client.ObjectKeyFromObject(svc)
	switch {
	case d.Refusal == nil && len(d.Addresses) > 0:
		decisions.WithLabelValues("given").Inc()
		s.gave.Store(s.Clock.Now().UnixNano())
		if began, ok := s.asking.began(name); ok {
			allocationLatency.Observe(s.Clock.Since(began).Seconds())
		}
	case len(d.Addresses) > 0:
		decisions.WithLabelValues("kept").Inc()
	default:
		decisions.WithLabelValues("refused").Inc()
	}
	if d.Refusal != nil {
		refusals.WithLabelValues(string(d.Refusal.Reason)).Inc()
	}
}

// earliest is the earlier of two times, where zero is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || (!b.IsZero() && b.Before(a)) {
		return b
	}
	return a
}
