package controllers

import (
	"context"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"go.opentelemetry.io/otel/trace"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// subject is a route or policy, of which several Gateways may speak in one
// status.
type subject struct {
	kind string
	name types.NamespacedName
}

const policyKind = "BackendTLSPolicy"

// request carries the kind in front of the namespace: queues know names only.
func (s subject) request() reconcile.Request {
	return requestFor(s.kind+"/"+s.name.Namespace, s.name.Name)
}

func subjectFrom(r reconcile.Request) subject {
	kind, namespace, _ := strings.Cut(r.Namespace, "/")
	return subject{kind: kind, name: types.NamespacedName{Namespace: namespace, Name: r.Name}}
}

func subjectOf(o client.Object) subject {
	kind := kindOfRoute(o)
	if kind == "" {
		kind = policyKind
	}
	return subject{kind: kind, name: client.ObjectKeyFromObject(o)}
}

// object is an empty one of the subject's kind.
func (s subject) object() client.Object {
	switch s.kind {
	case "HTTPRoute":
		return &gatewayv1.HTTPRoute{}
	case "GRPCRoute":
		return &gatewayv1.GRPCRoute{}
	case "TLSRoute":
		return &gatewayv1.TLSRoute{}
	case "TCPRoute":
		return &gatewayv1.TCPRoute{}
	case "UDPRoute":
		return &gatewayv1.UDPRoute{}
	case policyKind:
		return &gatewayv1.BackendTLSPolicy{}
	}
	return nil
}

// answer is what one Gateway says of a subject.
type answer struct {
	about    gateway.Edition
	parents  []gatewayv1.RouteParentStatus
	ancestor *gatewayv1.PolicyAncestorStatus
}

// answerWorkers is how many statuses of routes are written at once.
const answerWorkers = 8

func (g *gateways) addAnswers(mgr manager.Manager) error {
	b := builder.ControllerManagedBy(mgr).Named("gateway-answers").WatchesRawSource(g.answers.source())
	// Also one that is nobody's any more may bear what we said of it.
	own := handler.EnqueueRequestsFromMapFunc(func(_ context.Context, o client.Object) []reconcile.Request {
		return []reconcile.Request{subjectOf(o).request()}
	})
	for _, kind := range append(routeKinds(), &gatewayv1.BackendTLSPolicy{}) {
		b = b.Watches(kind, own, builder.WithPredicates(g.unanswered()))
	}
	return b.WithOptions(working(answerWorkers)).Complete(reconcile.Func(g.reconcileAnswer))
}

// spoken is all that a Gateway says of routes and policies.
type spoken struct {
	routes   []*gateway.RouteSaid
	policies []gateway.PolicySaid
}

func answersIn(routes []*gateway.RouteSaid, policies []gateway.PolicySaid) map[subject]answer {
	out := make(map[subject]answer, len(routes)+len(policies))
	for _, r := range routes {
		out[subject{r.Kind, types.NamespacedName{Namespace: r.Namespace, Name: r.Name.Name}}] = answer{about: r.Edition, parents: r.Parents}
	}
	for _, p := range policies {
		out[subject{policyKind, types.NamespacedName{Namespace: p.Namespace, Name: p.Name.Name}}] = answer{about: p.Edition, ancestor: &p.Ancestor}
	}
	return out
}

// say takes in what a Gateway says of routes and policies, and asks for the
// statuses of those of which it says something new, or nothing any more. What it
// says of a route in the same words is the same pointer, mostly.
func (g *gateways) say(ctx context.Context, gw types.NamespacedName, routes []*gateway.RouteSaid, policies []gateway.PolicySaid) {
	var changed []subject
	g.mu.Lock()
	last := g.spoken[gw]
	formerRoutes, newRoutes := differing(last.routes, routes, func(a, b *gateway.RouteSaid) bool { return a == b })
	formerPolicies, newPolicies := differing(last.policies, policies, func(a, b gateway.PolicySaid) bool { return reflect.DeepEqual(a, b) })
	now := answersIn(newRoutes, newPolicies)
	for s := range answersIn(formerRoutes, formerPolicies) {
		if _, ok := now[s]; !ok {
			delete(g.said[s], gw)
			if len(g.said[s]) == 0 {
				delete(g.said, s)
			}
			changed = append(changed, s)
		}
	}
	for s, a := range now {
		if before, ok := g.said[s][gw]; ok && reflect.DeepEqual(before, a) {
			continue
		}
		if g.said[s] == nil {
			g.said[s] = map[types.NamespacedName]answer{}
		}
		g.said[s][gw] = a
		changed = append(changed, s)
	}
	g.spoken[gw] = spoken{routes, policies}
	if len(routes)+len(policies) == 0 {
		delete(g.spoken, gw)
	}
	g.mu.Unlock()
	within := trace.SpanContextFromContext(ctx)
	for _, s := range changed {
		if within.IsSampled() {
			g.traces.put(s.request().NamespacedName, within)
		}
		g.answers.add(s.request())
	}
}

// differing leaves of two lists what is between the beginning and the end that they
// have in common.
func differing[T any](a, b []T, equal func(x, y T) bool) (ofA, ofB []T) {
	for len(a) > 0 && len(b) > 0 && equal(a[0], b[0]) {
		a, b = a[1:], b[1:]
	}
	for len(a) > 0 && len(b) > 0 && equal(a[len(a)-1], b[len(b)-1]) {
		a, b = a[:len(a)-1], b[:len(b)-1]
	}
	return a, b
}

// answersOf are what Gateways say of a subject, in a fixed order, and whether
// all of it is about the given edition.
func (g *gateways) answersOf(s subject, of gateway.Edition) (list []answer, current bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	by := g.said[s]
	names := slices.SortedFunc(maps.Keys(by), func(a, b types.NamespacedName) int { return strings.Compare(a.String(), b.String()) })
	for _, n := range names {
		if by[n].about != of {
			return nil, false
		}
		list = append(list, by[n])
	}
	return list, true
}

// reconcileAnswer writes what all Gateways say of a route or policy into its
// status, in one write. Nothing is written before every Gateway was built once:
// what one has not said yet would be taken out.
func (g *gateways) reconcileAnswer(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
	select {
	case <-g.opened:
	case <-ctx.Done():
		return reconcile.Result{}, nil
	}
	s := subjectFrom(req)
	o := s.object()
	if o == nil {
		return reconcile.Result{}, reconcile.TerminalError(fmt.Errorf("nobody speaks of kind %q", s.kind))
	}
	within := g.traces.take(req.NamespacedName)
	err := g.client.Get(ctx, s.name, o, client.UnsafeDisableDeepCopy)
	if apierrors.IsNotFound(err) {
		return reconcile.Result{}, nil
	}
	if err != nil {
		return reconcile.Result{}, fmt.Errorf("reading %s %s: %w", s.kind, s.name, err)
	}
	said, current := g.answersOf(s, gateway.EditionOf(o))
	if !current {
		return reconcile.Result{}, nil // its Gateway is being built anew
	}
	have, next, differs := g.merge(o, said)
	if !differs {
		return reconcile.Result{}, nil
	}
	ctx = trace.ContextWithSpanContext(ctx, within)
	if err := g.restated(ctx, s.kind, o, have, next); err != nil {
		return g.lost(err)
	}
	return reconcile.Result{}, nil
}

// merge gives the status of an object as it is, and as it is with answers put in. The
// object, which is shared with the cache, stays as it is.
func (g *gateways) merge(o client.Object, said []answer) (have, next any, differs bool) {
	now := g.Clock.Now()
	if p, ok := o.(*gatewayv1.BackendTLSPolicy); ok {
		var all []gatewayv1.PolicyAncestorStatus
		for _, a := range said {
			if a.ancestor != nil {
				all = append(all, *a.ancestor)
			}
		}
		status := gatewayv1.PolicyStatus{}
		status.Ancestors, differs = gateway.MergeAncestors(p.Status.Ancestors, all, now)
		return p.Status, status, differs
	}
	_, was := parentRefsOf(o)
	var all []gatewayv1.RouteParentStatus
	for _, a := range said {
		all = append(all, a.parents...)
	}
	status := gatewayv1.RouteStatus{}
	status.Parents, differs = gateway.MergeParents(was.Parents, all, now)
	return *was, status, differs
}
