package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/service"
)

// addressWorkers is how many Addresses are looked at at once.
const addressWorkers = 4

func (s *shell) addAddresses(mgr manager.Manager) error {
	return builder.ControllerManagedBy(mgr).Named("addresses").
		For(&v1alpha1.Address{}).
		WatchesRawSource(s.addresses.source()).
		WithOptions(working(addressWorkers)).
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
	s.noteGateways(object)
	s.tellKept(object)
	return reconcile.Result{}, nil
}

// noteGateways lets the Gateways that hold an Address be looked at: whether they
// are programmed depends on who announces it.
func (s *shell) noteGateways(o *v1alpha1.Address) {
	g := s.gateways.Load()
	if g == nil || o == nil {
		return
	}
	for _, h := range o.Spec.Holders {
		if h.Kind == gateway.KindGateway {
			g.progress.add(requestFor(h.Namespace, h.Name))
		}
	}
}

// tellKept tells somebody who deletes an Address in use why it stays. The name of
// the Event is the same each time, so that it is told once.
func (s *shell) tellKept(o *v1alpha1.Address) {
	if o == nil || o.DeletionTimestamp == nil || len(o.Spec.Holders) == 0 {
		return
	}
	s.events.tellOnce(o, "kept-"+string(o.UID), service.Event{
		Type: corev1.EventTypeWarning, Reason: "AddressInUse", Action: "Keep",
		Note: fmt.Sprintf("The Address stays until %s gives it up. Delete the holder, or let it ask for another address.", o.Spec.Summary),
	})
}
