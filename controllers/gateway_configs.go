package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/service"
)

// addConfigs keeps the status of GatewayConfigs.
func (g *gateways) addConfigs(mgr manager.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request { return g.allConfigs(ctx) })
	own := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		gw, ok := o.(*gatewayv1.Gateway)
		if !ok || parametersOf(gw) == nil {
			return nil
		}
		return []reconcile.Request{requestFor(gw.Namespace, parametersOf(gw).Name)}
	})
	return builder.ControllerManagedBy(mgr).Named("gateway-configs").
		Watches(&v1alpha1.GatewayConfig{}, all, builder.WithPredicates(generationChanged)).
		Watches(&gatewayv1.GatewayClass{}, all, builder.WithPredicates(generationChanged)).
		Watches(&gatewayv1.Gateway{}, own, builder.WithPredicates(generationChanged)).
		WithOptions(working(1)).
		Complete(reconcile.Func(g.reconcileConfig))
}

// allConfigs are all GatewayConfigs: what the one of a class allows concerns those
// of its Gateways.
func (g *gateways) allConfigs(ctx context.Context) []reconcile.Request {
	var list v1alpha1.GatewayConfigList
	if err := g.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var out []reconcile.Request
	for i := range list.Items {
		out = append(out, requestFor(list.Items[i].Namespace, list.Items[i].Name))
	}
	return out
}

func (g *gateways) reconcileConfig(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	config := &v1alpha1.GatewayConfig{}
	if err := g.client.Get(ctx, req.NamespacedName, config); err != nil {
		return reconcile.Result{}, client.IgnoreNotFound(err)
	}
	use, err := g.useOf(ctx, config)
	if err != nil {
		return reconcile.Result{}, err
	}
	next := config.DeepCopy()
	ready := fleet.Ready(config, use)
	if ready == nil {
		meta.RemoveStatusCondition(&next.Status.Conditions, v1alpha1.GatewayConfigReady)
	} else {
		ready.LastTransitionTime = metav1.NewTime(g.Clock.Now())
		meta.SetStatusCondition(&next.Status.Conditions, *ready)
	}
	if equality.Semantic.DeepEqual(config.Status, next.Status) {
		return reconcile.Result{}, nil
	}
	if err := g.patched(ctx, kindConfig, config, next); err != nil {
		return g.lost(err)
	}
	g.tellAll(config, gateway.ConditionEvents(config.Status.Conditions, next.Status.Conditions, v1alpha1.GatewayConfigReady))
	return reconcile.Result{}, nil
}

// useOf finds the classes and Gateways of ours that refer to a GatewayConfig.
func (g *gateways) useOf(ctx context.Context, config *v1alpha1.GatewayConfig) (fleet.Use, error) {
	var use fleet.Use
	var classes gatewayv1.GatewayClassList
	var gws gatewayv1.GatewayList
	if err := g.client.List(ctx, &classes, client.UnsafeDisableDeepCopy); err != nil {
		return use, fmt.Errorf("listing GatewayClasses: %w", err)
	}
	if err := g.client.List(ctx, &gws, client.InNamespace(config.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return use, fmt.Errorf("listing Gateways: %w", err)
	}
	ours := map[string]*gatewayv1.GatewayClass{}
	for i := range classes.Items {
		c := &classes.Items[i]
		if !gateway.Ours(c) {
			continue
		}
		ours[c.Name] = c
		if p := c.Spec.ParametersRef; p != nil && isConfig(string(p.Group), string(p.Kind)) && p.Namespace != nil && string(*p.Namespace) == config.Namespace && p.Name == config.Name {
			use.Classes = append(use.Classes, c.Name)
			_, faults := fleet.Merge(config, nil)
			use.Problems = append(use.Problems, faults...)
		}
	}
	slices.Sort(use.Classes)
	for i := range gws.Items {
		gw := &gws.Items[i]
		ref, class := parametersOf(gw), ours[string(gw.Spec.GatewayClassName)]
		if ref == nil || class == nil || !isConfig(string(ref.Group), string(ref.Kind)) || ref.Name != config.Name {
			continue
		}
		use.Gateways++
		ofClass, _, err := g.classConfig(ctx, class)
		if err != nil {
			return use, err
		}
		_, faults := fleet.Merge(ofClass, config)
		for _, f := range faults {
			if f.Source == fleet.FromGateway {
				use.Problems = append(use.Problems, f)
			}
		}
	}
	return use, nil
}

func isConfig(group, kind string) bool {
	return group == v1alpha1.GroupVersion.Group && kind == kindConfig
}

// tellAll tells Events about an object.
func (g *gateways) tellAll(about client.Object, events []gateway.Event) {
	for _, e := range events {
		kind := corev1.EventTypeNormal
		if e.Warning {
			kind = corev1.EventTypeWarning
		}
		g.events.tell(about, service.Event{Type: kind, Reason: e.Reason, Action: "Serve", Note: e.Message})
	}
}
