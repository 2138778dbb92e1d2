package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

func (s *shell) addAdvertisements(mgr manager.Manager) error {
	all := handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		var list v1alpha1.L2AdvertisementList
		if err := s.client.List(ctx, &list); err != nil {
			return nil
		}
		var out []reconcile.Request
		for i := range list.Items {
			out = append(out, requestFor("", list.Items[i].Name))
		}
		return out
	})
	return builder.ControllerManagedBy(mgr).Named("l2advertisements").
		For(&v1alpha1.L2Advertisement{}).
		Watches(&v1alpha1.IPAddressPool{}, all, builder.WithPredicates(labelsOf)).
		Watches(&corev1.Node{}, all, builder.WithPredicates(nodeLabels)).
		WithOptions(working(1)).
		Complete(reconcile.Func(s.reconcileAdvertisement))
}

var nodeLabels = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	return !labels.Equals(e.ObjectOld.GetLabels(), e.ObjectNew.GetLabels())
}}

// reconcileAdvertisement says of an L2Advertisement whether it has an effect.
func (s *shell) reconcileAdvertisement(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	var ad v1alpha1.L2Advertisement
	if err := s.client.Get(ctx, req.NamespacedName, &ad); err != nil {
		if apierrors.IsNotFound(err) {
			return reconcile.Result{}, nil
		}
		return reconcile.Result{}, fmt.Errorf("reading L2Advertisement %s: %w", req.Name, err)
	}
	var pools v1alpha1.IPAddressPoolList
	var nodes corev1.NodeList
	if err := errors.Join(s.client.List(ctx, &pools), s.client.List(ctx, &nodes)); err != nil {
		return reconcile.Result{}, fmt.Errorf("listing pools and nodes: %w", err)
	}
	c := advertisementCondition(&ad, pools.Items, nodes.Items)
	c.ObservedGeneration, c.LastTransitionTime = ad.Generation, seconds(s.Clock.Now())
	before := ad.DeepCopy()
	meta.SetStatusCondition(&ad.Status.Conditions, c)
	if equality.Semantic.DeepEqual(before.Status, ad.Status) {
		return reconcile.Result{}, nil
	}
	err := s.patchStatus(ctx, before, &ad)
	statusWrites.WithLabelValues("L2Advertisement", resultOf(err)).Inc()
	if err := quiet(err); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing the status of L2Advertisement %s: %w", req.Name, err)
	}
	return reconcile.Result{}, nil
}

// advertisementCondition says what keeps an advertisement from having an effect.
func advertisementCondition(ad *v1alpha1.L2Advertisement, pools []v1alpha1.IPAddressPool, nodes []corev1.Node) metav1.Condition {
	no := func(reason, message string) metav1.Condition {
		return metav1.Condition{Type: v1alpha1.AdvertisementReady, Status: metav1.ConditionFalse, Reason: reason, Message: capped(message)}
	}
	compiled, err := announcer.FromL2Advertisement(ad)
	if err != nil {
		return no("InvalidSelector", fmt.Sprintf("A selector cannot be used, and nothing is announced by this L2Advertisement: %v. Correct it.", err))
	}
	if missing := missingPools(ad.Spec.IPAddressPools, pools); len(missing) > 0 {
		return no("PoolNotFound", fmt.Sprintf("There is no IPAddressPool %s. Everything else that is selected is announced. Create it, or take it out of spec.ipAddressPools.", strings.Join(missing, ", ")))
	}
	if len(compiled.Pools) == 0 && len(compiled.PoolSelectors) > 0 && !slices.ContainsFunc(pools, func(p v1alpha1.IPAddressPool) bool { return selects(compiled.PoolSelectors, p.Labels) }) {
		return no("NoPoolSelected", "No IPAddressPool has labels that spec.ipAddressPoolSelectors select. Label a pool, or change the selectors.")
	}
	if len(compiled.NodeSelectors) > 0 && !slices.ContainsFunc(nodes, func(n corev1.Node) bool { return selects(compiled.NodeSelectors, n.Labels) }) {
		return no("NoNodeSelected", "No Node has labels that spec.nodeSelectors select. Label a node, or change the selectors.")
	}
	return metav1.Condition{Type: v1alpha1.AdvertisementReady, Status: metav1.ConditionTrue, Reason: "InUse", Message: "The advertisement is in use."}
}

func missingPools(names []string, pools []v1alpha1.IPAddressPool) []string {
	var out []string
	for _, n := range names {
		if !slices.ContainsFunc(pools, func(p v1alpha1.IPAddressPool) bool { return p.Name == n }) {
			out = append(out, n)
		}
	}
	return out
}

func selects(selectors []labels.Selector, set map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s labels.Selector) bool { return s.Matches(labels.Set(set)) })
}
