package controllers

import (
	"context"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// addressWorkers is how many Addresses are looked at at once.
const addressWorkers = 4

func (s *shell) addAddresses(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("addresses").
		For(&v1alpha1.Address{}).
		WatchesRawSource(s.addresses.source()).
		WithOptions(controller.Options{MaxConcurrentReconciles: addressWorkers, EnableWarmup: ptrTo(true)}).
		Complete(reconcile.Func(s.reconcileAddress))
}

// reconcileAddress takes in what happened to an Address and makes it again what
// the books say.
func (s *shell) reconcileAddress(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	if err := s.await(ctx); err != nil {
		return reconcile.Result{}, nil
	}
	a, err := v1alpha1.ParseAddressName(req.Name)
	if err != nil {
		// The CRD admits no such name.
		return reconcile.Result{}, reconcile.TerminalError(err)
	}
	// The object is shared with the cache and must not be changed.
	object := &v1alpha1.Address{}
	if err := s.client.Get(ctx, req.NamespacedName, object); apierrors.IsNotFound(err) {
		object = nil
	} else if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading Address %s: %w", req.Name, err)
	}
	if err := s.ledger.Observe(ctx, a, object); err != nil {
		return s.orLater(time.Time{}, err)
	}
	s.released()
	s.noteAddress(a)
	return reconcile.Result{}, nil
}
