package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
		s.world.forget()
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
	index, err := s.announcerIndex(ctx)
	if err != nil {
		return reconcile.Result{}, err
	}
	c := l2AdvertisementReady(index, &ad)
	before := ad.DeepCopy()
	s.setCondition(&ad.Status.Conditions, &ad, c)
	if equality.Semantic.DeepEqual(before.Status, ad.Status) {
		return reconcile.Result{}, nil
	}
	err = s.patchStatus(ctx, before, &ad)
	statusWrites.WithLabelValues("L2Advertisement", resultOf(err)).Inc()
	if err := quiet(err); err != nil {
		return reconcile.Result{}, fmt.Errorf("writing the status of L2Advertisement %s: %w", req.Name, err)
	}
	return reconcile.Result{}, nil
}

// l2AdvertisementReady is the condition Ready of an L2Advertisement.
func l2AdvertisementReady(index *worldIndex, ad *v1alpha1.L2Advertisement) metav1.Condition {
	compiled, err := announcer.FromL2Advertisement(ad)
	if err != nil {
		return invalidSelector("L2Advertisement", err)
	}
	return readyOf(advertisementFine, index.CheckAdvertisement(compiled))
}

// advertisementFine is what is said of an advertisement of either kind with which
// nothing is wrong, and invalidSelector of one that cannot be used.
const advertisementFine = "The advertisement is in use."

func invalidSelector(kind string, err error) metav1.Condition {
	return metav1.Condition{
		Type: v1alpha1.AdvertisementReady, Status: metav1.ConditionFalse, Reason: "InvalidSelector",
		Message: fmt.Sprintf("A selector cannot be used, and nothing is announced by this %s: %v. Correct it.", kind, err),
	}
}
