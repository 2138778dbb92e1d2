package controllers

import (
	"context"
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// Annotations of the Gateway API's own CRDs.
const (
	bundleVersion = "gateway.networking.k8s.io/bundle-version"
	bundleChannel = "gateway.networking.k8s.io/channel"
)

func crdObject() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"}}
}

func (g *gateways) addClasses(mgr manager.Manager) error {
	everyClass := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request { return g.allClasses(ctx) })
	return builder.ControllerManagedBy(mgr).Named("gateway-classes").
		For(&gatewayv1.GatewayClass{}).
		WatchesRawSource(g.classes.source()).
		Watches(&v1alpha1.GatewayConfig{}, everyClass, builder.WithPredicates(generationChanged)).
		WatchesMetadata(crdObject(), everyClass, builder.WithPredicates(predicate.NewPredicateFuncs(gatewayCRD))).
		Watches(&appsv1.DaemonSet{}, handler.EnqueueRequestsFromMapFunc(g.classOfFleet), builder.WithPredicates(generationChanged)).
		Watches(&appsv1.Deployment{}, handler.EnqueueRequestsFromMapFunc(g.classOfFleet), builder.WithPredicates(generationChanged)).
		WithOptions(working(1)).
		Complete(reconcile.Func(g.reconcileClass))
}

func gatewayCRD(o client.Object) bool {
	return strings.HasSuffix(o.GetName(), "."+gatewayv1.GroupName)
}

func (g *gateways) allClasses(ctx context.Context) []reconcile.Request {
	var list gatewayv1.GatewayClassList
	if err := g.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		if gateway.Ours(&list.Items[i]) {
			out = append(out, requestFor("", list.Items[i].Name))
		}
	}
	return out
}

// classOfFleet asks for the class whose fleet a workload belongs to.
func (g *gateways) classOfFleet(_ context.Context, o client.Object) []reconcile.Request {
	name := o.GetLabels()[fleet.FleetLabel]
	if name == "" || o.GetNamespace() != g.Namespace {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, name)
	for _, s := range g.known {
		if s.fleet.Name() == name {
			return []reconcile.Request{requestFor("", s.fleet.Class)}
		}
	}
	return nil
}

// reconcileClass writes the status of a class of ours, keeps our finalizer on it
// while it has Gateways, and its fleets running.
func (g *gateways) reconcileClass(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := g.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	class := &gatewayv1.GatewayClass{}
	err := g.client.Get(ctx, req.NamespacedName, class)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, g.endFleets(ctx, req.Name, nil)
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading GatewayClass %s: %w", req.Name, err)
	}
	if !gateway.Ours(class) {
		return reconcile.Result{}, nil
	}
	problem, err := g.writeClass(ctx, class)
	if err != nil {
		return g.lost(err)
	}
	if err := g.finalize(ctx, class); err != nil {
		return g.lost(err)
	}
	g.wakeGateways(ctx, class)
	if problem != nil {
		return reconcile.Result{}, nil // what runs goes on as it is
	}
	look, err := g.runFleets(ctx, class)
	if err != nil {
		return g.lost(err)
	}
	return g.orLater(look, nil)
}

// wakeGateways asks for the Gateways of a class that were not built under it as it
// is: it may have come after them, or refer to other parameters now.
func (g *gateways) wakeGateways(ctx context.Context, class *gatewayv1.GatewayClass) {
	var list gatewayv1.GatewayList
	if err := g.client.List(ctx, &list, client.MatchingFields{byClass: class.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return
	}
	for i := range list.Items {
		name := client.ObjectKeyFromObject(&list.Items[i])
		if s := g.servingOf(name); s == nil || s.fleet.Class != class.Name || s.class != revisionOf(class) {
			g.build.add(reconcile.Request{NamespacedName: name})
		}
	}
}

// revision is which spec of which object something follows from.
type revision struct {
	uid    types.UID
	number int64
}

func revisionOf(o client.Object) revision { return revision{o.GetUID(), o.GetGeneration()} }

// writeClass writes the status of a class, and gives back what is wrong with its
// parameters.
func (g *gateways) writeClass(ctx context.Context, class *gatewayv1.GatewayClass) (*gateway.Problem, error) {
	config, problem, err := g.classConfig(ctx, class)
	if err != nil {
		return nil, err
	}
	if problem == nil {
		if _, faults := fleet.Merge(config, nil); len(faults) > 0 {
			problem = invalidParameters(faults)
		}
	}
	installed, err := g.installed(ctx)
	if err != nil {
		return nil, err
	}
	next := class.DeepCopy()
	var differs bool
	next.Status, differs = gateway.MergeClass(class.Status, gateway.ClassStatus(class, installed, problem), g.Clock.Now())
	if !differs {
		return problem, nil
	}
	if err := g.patched(ctx, "GatewayClass", class, next); err != nil {
		return problem, err
	}
	g.tellAll(class, gateway.ConditionEvents(class.Status.Conditions, next.Status.Conditions, gateway.ClassTypes...))
	return problem, nil
}

// installed sums up the CRDs of the Gateway API.
func (g *gateways) installed(ctx context.Context) (gateway.Installed, error) {
	list := &metav1.PartialObjectMetadataList{TypeMeta: metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinitionList"}}
	if err := g.client.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
		return gateway.Installed{}, fmt.Errorf("listing CustomResourceDefinitions: %w", err)
	}
	var crds []gateway.CRD
	for i := range list.Items {
		if o := &list.Items[i]; gatewayCRD(o) {
			crds = append(crds, gateway.CRD{Name: o.Name, Version: o.Annotations[bundleVersion], Channel: o.Annotations[bundleChannel]})
		}
	}
	out := gateway.Judge(crds)
	out.TrustBundles = g.bundle != nil
	g.logInstalled(out.Problem)
	return out, nil
}

// logInstalled logs what is wrong with the CRDs of the Gateway API, or that nothing is
// any more, once each time it changes.
func (g *gateways) logInstalled(problem string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if problem == g.problem {
		return
	}
	g.problem = problem
	if problem != "" {
		g.log.Info("Gateways are served by CRDs of the Gateway API that are not those that Fairlead is made for", "problem", problem)
	} else {
		g.log.Info("The CRDs of the Gateway API are those that Fairlead is made for")
	}
}

// finalize keeps the finalizer that the Gateway API asks for on a class while it
// has Gateways.
func (g *gateways) finalize(ctx context.Context, class *gatewayv1.GatewayClass) error {
	var list gatewayv1.GatewayList
	if err := g.client.List(ctx, &list, client.MatchingFields{byClass: class.Name}, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing the Gateways of class %s: %w", class.Name, err)
	}
	next := class.DeepCopy()
	var changed bool
	if len(list.Items) > 0 {
		changed = class.DeletionTimestamp == nil && controllerutil.AddFinalizer(next, gatewayv1.GatewayClassFinalizerGatewaysExist)
	} else {
		changed = controllerutil.RemoveFinalizer(next, gatewayv1.GatewayClassFinalizerGatewaysExist)
	}
	if !changed {
		return nil
	}
	if err := g.client.Patch(ctx, next, client.MergeFromWithOptions(class, client.MergeFromWithOptimisticLock{}), client.FieldOwner(v1alpha1.FieldManager)); err != nil {
		return fmt.Errorf("writing the finalizer of GatewayClass %s: %w", class.Name, err)
	}
	return nil
}

// fleetsOf are the fleets that the Gateways of a class need, with the
// configuration of one of their Gateways, sorted.
func (g *gateways) fleetsOf(class string) []*serving {
	g.mu.Lock()
	defer g.mu.Unlock()
	by := map[fleet.ID]*serving{}
	for _, s := range g.known {
		if s.fleet.Class == class && (by[s.fleet] == nil || s.name.String() < by[s.fleet].name.String()) {
			by[s.fleet] = s
		}
	}
	out := make([]*serving, 0, len(by))
	for _, s := range by {
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b *serving) int { return strings.Compare(a.fleet.Name(), b.fleet.Name()) })
	return out
}
