package controllers

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// progressWorkers is how many Gateways' Services and statuses are written at
// once.
const progressWorkers = 4

func (g *gateways) addProgress(mgr manager.Manager) error {
	owned := func() handler.EventHandler {
		return handler.EnqueueRequestForOwner(mgr.GetScheme(), mgr.GetRESTMapper(), &gatewayv1.Gateway{}, handler.OnlyControllerOwner())
	}
	return builder.ControllerManagedBy(mgr).Named("gateway-progress").
		WatchesRawSource(g.progress.source()).
		// A foreign edit of what we have written is put right.
		Watches(&gatewayv1.Gateway{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(statusChanged, g.unlessCounted())).
		Watches(&gatewayv1.ListenerSet{}, handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
			s, ok := o.(*gatewayv1.ListenerSet)
			if !ok {
				return nil
			}
			return []reconcile.Request{{NamespacedName: parentOfSet(s)}}
		}), builder.WithPredicates(statusChanged)).
		Watches(&corev1.Service{}, owned()).
		Watches(&corev1.ServiceAccount{}, owned()).
		Watches(&discoveryv1.EndpointSlice{}, owned()).
		Watches(&discoveryv1.EndpointSlice{}, g.sliceEvents()).
		WithOptions(working(progressWorkers)).
		Complete(reconcile.Func(g.reconcileProgress))
}

// statusChanged passes updates that leave the spec as it is.
var statusChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	DeleteFunc: func(event.DeleteEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		return e.ObjectOld.GetGeneration() == e.ObjectNew.GetGeneration() && e.ObjectOld.GetResourceVersion() != e.ObjectNew.GetResourceVersion()
	},
}

// reconcileProgress writes what has become of a Gateway: first its Service and
// slices, from which the announcement follows, then its status, then what its
// addresses have left is freed.
func (g *gateways) reconcileProgress(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	s := g.servingOf(req.NamespacedName)
	if s == nil {
		return reconcile.Result{}, nil
	}
	ctx = g.within(ctx, s)
	shown := g.shown(s)
	front, err := g.writeFront(ctx, s, shown)
	if err != nil {
		return g.lost(err)
	}
	at, err := g.stageOf(ctx, s, front.envoys)
	if err != nil {
		return reconcile.Result{}, err
	}
	assigned := g.assign(s, front, shown)
	waiting := at.notYet(shown)
	if waiting == nil {
		waiting = g.waiting(s, front.envoys, assigned, shown)
	}
	unsaid, err := g.tellStatus(ctx, s, gateway.Progress{Assignment: assigned, Refused: s.decided.refused, Waiting: waiting, Takeover: conditionFor(at.view), Rejected: g.rejected(s)})
	if err != nil {
		return g.lost(err)
	}
	if err := g.giveUp(ctx, s); err != nil {
		return g.lost(err)
	}
	look, err := g.advance(ctx, s, at)
	if err != nil {
		return g.lost(err)
	}
	return reconcile.Result{RequeueAfter: sooner(sooner(front.look, look), unsaid)}, nil
}

// tellStatus writes what is to be said of a Gateway and of what is around it. What
// may yet become more in a moment is not said; it says after which time it is.
func (g *gateways) tellStatus(ctx context.Context, s *serving, p gateway.Progress) (unsaid time.Duration, err error) {
	installed, err := g.installed(ctx)
	if err != nil {
		return 0, err
	}
	p.Routability = installed.Experimental
	said := s.built.Status(p)
	g.noteState(s.name, said.Gateway.Conditions)
	g.say(ctx, s.name, said.Routes, said.Policies)
	if unsaid, err = g.writeGateway(ctx, s, &said); err != nil {
		return 0, err
	}
	for i := range said.ListenerSets {
		if err := g.writeListenerSet(ctx, &said.ListenerSets[i]); err != nil {
			return 0, err
		}
	}
	return unsaid, nil
}

// sooner is the shorter of two waits, of which 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// giveUp frees what a Gateway has left, once its status does not show it. While a
// takeover may be undone it keeps what it had before.
func (g *gateways) giveUp(ctx context.Context, s *serving) error {
	key := gateway.KeyOf(gatewayName(s.name))
	if s.decided.taking {
		return nil
	}
	if s.insideOnly() && len(s.decided.Leaving) > 0 {
		return g.release(ctx, key)
	}
	return g.vacate(ctx, key, s.decided.Leaving)
}

// lost is what comes of an error: what somebody else changed at the same time is
// looked at again soon. In a namespace that is being removed nothing can be created,
// and the removal of the Gateway is the next that is heard of it.
func (g *gateways) lost(err error) (reconcile.Result, error) {
	if apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) {
		return reconcile.Result{}, nil
	}
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) || apierrors.IsAlreadyExists(err) {
		return reconcile.Result{RequeueAfter: conflictPause}, nil
	}
	return reconcile.Result{}, err
}

// writeGateway writes the status of a Gateway, if it differs and is built from
// what the Gateway is now.
func (g *gateways) writeGateway(ctx context.Context, s *serving, said *gateway.Said) (unsaid time.Duration, err error) {
	gw := &gatewayv1.Gateway{}
	if err := g.client.Get(ctx, s.name, gw, client.UnsafeDisableDeepCopy); err != nil {
		return 0, client.IgnoreNotFound(err)
	}
	if gw.Generation != s.generation || gw.UID != s.uid {
		return 0, nil // the newer one is being built
	}
	now := g.Clock.Now()
	status, differs := gateway.MergeGateway(gw.Status, said.Gateway, now)
	if !differs {
		return 0, nil
	}
	if unsaid = gateway.UntilFirstWord(gw, said.Gateway, s.builtAt, now); unsaid > 0 {
		return unsaid, nil
	}
	if err := g.restated(ctx, "Gateway", gw, gw.Status, status); err != nil {
		return 0, err
	}
	g.tellAll(gw, gateway.StatusEvents(gw.Status, status))
	return 0, nil
}

func (g *gateways) writeListenerSet(ctx context.Context, said *gateway.SetSaid) error {
	name := types.NamespacedName{Namespace: said.Name.Namespace, Name: said.Name.Name}
	set := &gatewayv1.ListenerSet{}
	if err := g.client.Get(ctx, name, set, client.UnsafeDisableDeepCopy); err != nil {
		return client.IgnoreNotFound(err)
	}
	if gateway.EditionOf(set) != said.Edition {
		return nil // the newer one is being built
	}
	status, differs := gateway.MergeListenerSet(set.Status, said.Status, g.Clock.Now())
	if !differs {
		return nil
	}
	return g.restated(ctx, "ListenerSet", set, set.Status, status)
}

// patched writes a status and counts it.
func (g *gateways) patched(ctx context.Context, kind string, before, after client.Object) error {
	return g.counted(ctx, kind, before, func(ctx context.Context) error { return g.patchStatus(ctx, before, after) })
}

// restated does the same for a status of which each field is written as a whole.
func (g *gateways) restated(ctx context.Context, kind string, o client.Object, before, after any) error {
	return g.counted(ctx, kind, o, func(ctx context.Context) error { return g.restate(ctx, o, before, after) })
}

func (g *gateways) counted(ctx context.Context, kind string, o client.Object, write func(context.Context) error) (err error) {
	ctx, span := g.tracer.Start(ctx, "status.write", trace.WithAttributes(attribute.String("k8s.object.kind", kind)))
	defer func() { ended(span, err) }()
	err = write(ctx)
	statusWrites.WithLabelValues(kind, resultOf(err)).Inc()
	if err != nil {
		return fmt.Errorf("writing the status of %s %s: %w", kind, client.ObjectKeyFromObject(o), err)
	}
	return nil
}
