package controllers

import (
	"context"
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	certificatesv1beta1 "k8s.io/api/certificates/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// lookup answers the questions of a Build from the cache. Errors other than
// "there is none" are kept: a Build that met one is thrown away.
type lookup struct {
	ctx    context.Context
	client client.Client
	// bundle is an empty ClusterTrustBundle; nil: the API server has none.
	bundle client.Object
	err    error
}

func (l *lookup) get(n gateway.Name, o client.Object) bool {
	err := l.client.Get(l.ctx, client.ObjectKey{Namespace: n.Namespace, Name: n.Name}, o, client.UnsafeDisableDeepCopy)
	if err != nil && client.IgnoreNotFound(err) != nil && l.err == nil {
		l.err = fmt.Errorf("reading %T %s: %w", o, n, err)
	}
	return err == nil
}

// Namespace gives the labels of a namespace.
func (l *lookup) Namespace(name string) (map[string]string, bool) {
	o := &metav1.PartialObjectMetadata{TypeMeta: namespaceKind()}
	ok := l.get(gateway.Name{Name: name}, o)
	return o.Labels, ok
}

// Secret gives a Secret of type kubernetes.io/tls; others are not in the cache.
func (l *lookup) Secret(n gateway.Name) *corev1.Secret {
	o := &corev1.Secret{}
	if !l.get(n, o) {
		return nil
	}
	return o
}

// ConfigMap gives a ConfigMap, of which only CA certificates are kept.
func (l *lookup) ConfigMap(n gateway.Name) *corev1.ConfigMap {
	o := &corev1.ConfigMap{}
	if !l.get(n, o) {
		return nil
	}
	return o
}

// Service gives a Service.
func (l *lookup) Service(n gateway.Name) *corev1.Service {
	o := &corev1.Service{}
	if !l.get(n, o) {
		return nil
	}
	return o
}

// Grants are the ReferenceGrants of a namespace.
func (l *lookup) Grants(namespace string) []*gatewayv1.ReferenceGrant {
	var list gatewayv1.ReferenceGrantList
	l.list(&list, client.InNamespace(namespace))
	return pointers(list.Items)
}

// Policies are the BackendTLSPolicies of a Service.
func (l *lookup) Policies(service gateway.Name) []*gatewayv1.BackendTLSPolicy {
	var list gatewayv1.BackendTLSPolicyList
	l.list(&list, client.InNamespace(service.Namespace), client.MatchingFields{byTarget: service.String()})
	return pointers(list.Items)
}

// TrustBundle gives the certificates of a ClusterTrustBundle.
func (l *lookup) TrustBundle(name string) (text string, ok, served bool) {
	if l.bundle == nil {
		return "", false, false
	}
	o, _ := l.bundle.DeepCopyObject().(client.Object)
	ok = l.get(gateway.Name{Name: name}, o)
	switch b := o.(type) {
	case *certificatesv1.ClusterTrustBundle:
		text = b.Spec.TrustBundle
	case *certificatesv1beta1.ClusterTrustBundle:
		text = b.Spec.TrustBundle
	}
	return text, ok, true
}

// trustBundle is an empty ClusterTrustBundle of the newest version that the API
// server has; nil: it has none.
func trustBundle(mgr manager.Manager) client.Object {
	for _, o := range []client.Object{&certificatesv1.ClusterTrustBundle{}, &certificatesv1beta1.ClusterTrustBundle{}} {
		if served(mgr, o) {
			return o
		}
	}
	return nil
}

func (l *lookup) list(list client.ObjectList, opts ...client.ListOption) {
	if err := l.client.List(l.ctx, list, append(opts, client.UnsafeDisableDeepCopy)...); err != nil && l.err == nil {
		l.err = fmt.Errorf("listing %T: %w", list, err)
	}
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// setsOf are the ListenerSets of a Gateway.
func (l *lookup) setsOf(gw *gatewayv1.Gateway) []*gatewayv1.ListenerSet {
	var list gatewayv1.ListenerSetList
	l.list(&list, client.MatchingFields{byParent: parentKey("Gateway", gw.Namespace, gw.Name)})
	return slices.DeleteFunc(pointers(list.Items), func(s *gatewayv1.ListenerSet) bool { return s.DeletionTimestamp != nil })
}

// inputOf reads all that a Gateway's Model follows from. Nothing in it may be
// changed: it is shared with the cache.
func (l *lookup) inputOf(gw *gatewayv1.Gateway, sets []*gatewayv1.ListenerSet) gateway.Input {
	in := gateway.Input{Gateway: gw, ListenerSets: sets, Objects: l}
	parents := []string{parentKey("Gateway", gw.Namespace, gw.Name)}
	for _, s := range sets {
		parents = append(parents, parentKey("ListenerSet", s.Namespace, s.Name))
	}
	in.Routes.HTTP = routesOf(l, parents, func(r *gatewayv1.HTTPRouteList) []gatewayv1.HTTPRoute { return r.Items })
	in.Routes.GRPC = routesOf(l, parents, func(r *gatewayv1.GRPCRouteList) []gatewayv1.GRPCRoute { return r.Items })
	in.Routes.TLS = routesOf(l, parents, func(r *gatewayv1.TLSRouteList) []gatewayv1.TLSRoute { return r.Items })
	in.Routes.TCP = routesOf(l, parents, func(r *gatewayv1.TCPRouteList) []gatewayv1.TCPRoute { return r.Items })
	in.Routes.UDP = routesOf(l, parents, func(r *gatewayv1.UDPRouteList) []gatewayv1.UDPRoute { return r.Items })
	return in
}

// changeOf reads those routes that may have changed.
func (l *lookup) changeOf(gw *gatewayv1.Gateway, changed references) gateway.Change {
	c := gateway.Change{Gateway: gw, Of: changed, Objects: l}
	for r := range changed {
		switch r.Kind {
		case "HTTPRoute":
			c.Routes.HTTP = appendThere(l, c.Routes.HTTP, r.Name, &gatewayv1.HTTPRoute{})
		case "GRPCRoute":
			c.Routes.GRPC = appendThere(l, c.Routes.GRPC, r.Name, &gatewayv1.GRPCRoute{})
		case "TLSRoute":
			c.Routes.TLS = appendThere(l, c.Routes.TLS, r.Name, &gatewayv1.TLSRoute{})
		case "TCPRoute":
			c.Routes.TCP = appendThere(l, c.Routes.TCP, r.Name, &gatewayv1.TCPRoute{})
		case "UDPRoute":
			c.Routes.UDP = appendThere(l, c.Routes.UDP, r.Name, &gatewayv1.UDPRoute{})
		}
	}
	return c
}

func appendThere[T client.Object](l *lookup, list []T, n gateway.Name, into T) []T {
	if !l.get(n, into) || into.GetDeletionTimestamp() != nil {
		return list
	}
	return append(list, into)
}

// build builds a Gateway: anew, or from before with what has changed since.
func (l *lookup) build(gw *gatewayv1.Gateway, before *serving, changed references) (built *gateway.Built, anew bool, err error) {
	sets := l.setsOf(gw)
	if before != nil && before.built.Fits(gw, sets) {
		built = before.built.Rebuild(l.changeOf(gw, changed))
	} else {
		built, anew = gateway.Build(l.inputOf(gw, sets)), true
	}
	return built, anew, l.err
}

// routesOf are the routes of a kind that name one of the parents, each once.
func routesOf[T any, L any, PL interface {
	*L
	client.ObjectList
}](l *lookup, parents []string, items func(PL) []T) []*T {
	var out []*T
	seen := map[client.ObjectKey]bool{}
	for _, p := range parents {
		list := PL(new(L))
		l.list(list, client.MatchingFields{byParent: p})
		found := items(list)
		for i := range found {
			o, ok := any(&found[i]).(client.Object)
			if !ok || o.GetDeletionTimestamp() != nil {
				continue
			}
			if key := client.ObjectKeyFromObject(o); !seen[key] {
				seen[key] = true
				out = append(out, &found[i])
			}
		}
	}
	return out
}
