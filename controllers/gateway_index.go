package controllers

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Indices of the cache: routes and ListenerSets by their parents, policies by
// the Services that they target, Gateways by their class.
const (
	byParent = "parent"
	byTarget = "target"
	byClass  = "class"
)

// parentKey names a parent in the index.
func parentKey(kind, namespace, name string) string { return kind + "/" + namespace + "/" + name }

func indexGateways(mgr manager.Manager) error {
	type index struct {
		of      client.Object
		name    string
		extract client.IndexerFunc
	}
	indices := []index{
		{&gatewayv1.Gateway{}, byClass, func(o client.Object) []string {
			g, ok := o.(*gatewayv1.Gateway)
			if !ok {
				return nil
			}
			return []string{string(g.Spec.GatewayClassName)}
		}},
		{&gatewayv1.ListenerSet{}, byParent, func(o client.Object) []string {
			s, ok := o.(*gatewayv1.ListenerSet)
			if !ok {
				return nil
			}
			n := parentOfSet(s)
			return []string{parentKey("Gateway", n.Namespace, n.Name)}
		}},
		{&gatewayv1.BackendTLSPolicy{}, byTarget, func(o client.Object) []string {
			p, ok := o.(*gatewayv1.BackendTLSPolicy)
			if !ok {
				return nil
			}
			var out []string
			for _, t := range p.Spec.TargetRefs {
				if t.Group == "" && t.Kind == "Service" {
					out = append(out, p.Namespace+"/"+string(t.Name))
				}
			}
			return out
		}},
	}
	for _, o := range routeKinds() {
		indices = append(indices, index{o, byParent, parentsOf})
	}
	for _, i := range indices {
		if err := mgr.GetFieldIndexer().IndexField(context.Background(), i.of, i.name, i.extract); err != nil {
			return fmt.Errorf("indexing %T by %s: %w", i.of, i.name, err)
		}
	}
	return nil
}

// routeKinds are an empty object of each kind of route.
func routeKinds() []client.Object {
	return []client.Object{&gatewayv1.HTTPRoute{}, &gatewayv1.GRPCRoute{}, &gatewayv1.TLSRoute{}, &gatewayv1.TCPRoute{}, &gatewayv1.UDPRoute{}}
}

// parentRefsOf are the parentRefs of a route of any kind, and the status that
// they are answered in.
func parentRefsOf(o client.Object) ([]gatewayv1.ParentReference, *gatewayv1.RouteStatus) {
	switch r := o.(type) {
	case *gatewayv1.HTTPRoute:
		return r.Spec.ParentRefs, &r.Status.RouteStatus
	case *gatewayv1.GRPCRoute:
		return r.Spec.ParentRefs, &r.Status.RouteStatus
	case *gatewayv1.TLSRoute:
		return r.Spec.ParentRefs, &r.Status.RouteStatus
	case *gatewayv1.TCPRoute:
		return r.Spec.ParentRefs, &r.Status.RouteStatus
	case *gatewayv1.UDPRoute:
		return r.Spec.ParentRefs, &r.Status.RouteStatus
	}
	return nil, nil
}

// kindOfRoute names the kind of a route.
func kindOfRoute(o client.Object) string {
	switch o.(type) {
	case *gatewayv1.HTTPRoute:
		return "HTTPRoute"
	case *gatewayv1.GRPCRoute:
		return "GRPCRoute"
	case *gatewayv1.TLSRoute:
		return "TLSRoute"
	case *gatewayv1.TCPRoute:
		return "TCPRoute"
	case *gatewayv1.UDPRoute:
		return "UDPRoute"
	}
	return ""
}

// parentsOf are the index keys of the parents of a route.
func parentsOf(o client.Object) []string {
	refs, _ := parentRefsOf(o)
	var out []string
	for _, p := range refs {
		if p.Group != nil && *p.Group != gatewayv1.GroupName {
			continue
		}
		kind, namespace := "Gateway", o.GetNamespace()
		if p.Kind != nil {
			kind = string(*p.Kind)
		}
		if p.Namespace != nil {
			namespace = string(*p.Namespace)
		}
		if k := parentKey(kind, namespace, string(p.Name)); !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

// parentOfSet is the Gateway that a ListenerSet belongs to.
func parentOfSet(s *gatewayv1.ListenerSet) types.NamespacedName {
	n := types.NamespacedName{Namespace: s.Namespace, Name: string(s.Spec.ParentRef.Name)}
	if s.Spec.ParentRef.Namespace != nil {
		n.Namespace = string(*s.Spec.ParentRef.Namespace)
	}
	return n
}
