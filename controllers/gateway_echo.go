package controllers

import (
	"slices"

	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// What we write into a status comes back as an event. With each route that comes these are
// its own status, and the number of routes in its Gateway's. Both are let go here, where
// that costs next to nothing; a reconciler would find that there is nothing to do.

// unanswered passes routes and policies whose status is not what Gateways say of them. A
// Gateway that has yet to say something of their spec asks for them when it does.
func (g *gateways) unanswered() predicate.Predicate {
	return predicate.NewPredicateFuncs(func(o client.Object) bool {
		select {
		case <-g.opened:
		default:
			return true // not all is said yet
		}
		said, current := g.answersOf(subjectOf(o), gateway.EditionOf(o))
		if !current {
			return false
		}
		_, _, differs := g.merge(o, said)
		return differs
	})
}

// unlessCounted passes updates of Gateways but those that set nothing else than how many
// routes there are, and that right.
func (g *gateways) unlessCounted() predicate.Predicate {
	return predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
		was, ok1 := e.ObjectOld.(*gatewayv1.Gateway)
		is, ok2 := e.ObjectNew.(*gatewayv1.Gateway)
		if !ok1 || !ok2 {
			return true
		}
		s := g.servingOf(client.ObjectKeyFromObject(is))
		return s == nil || !s.built.Counts(is.Status.Listeners) || !equality.Semantic.DeepEqual(uncounted(was), uncounted(is))
	}}
}

// uncounted is a Gateway without the numbers of its routes, and without what changes with
// each write.
func uncounted(gw *gatewayv1.Gateway) *gatewayv1.Gateway {
	out := *gw
	out.ResourceVersion, out.ManagedFields = "", nil
	out.Status.Listeners = slices.Clone(gw.Status.Listeners)
	for i := range out.Status.Listeners {
		out.Status.Listeners[i].AttachedRoutes = 0
	}
	return &out
}
