package gateway

import (
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
)

// groupKind names a kind of object; Group is empty for the core group.
type groupKind struct{ group, kind string }

var (
	kindGateway     = groupKind{gatewayv1.GroupName, "Gateway"}
	kindListenerSet = groupKind{gatewayv1.GroupName, "ListenerSet"}
	kindSecret      = groupKind{"", "Secret"}
	kindConfigMap   = groupKind{"", "ConfigMap"}
	kindService     = groupKind{"", "Service"}
	kindTrustBundle = groupKind{"certificates.k8s.io", "ClusterTrustBundle"}
)

// permitted tells whether an object may refer to one of another namespace
// (ReferenceGrant, GEP-709). Inside a namespace everything may.
func (b *builder) permitted(from groupKind, namespace string, to groupKind, target Name) bool {
	if namespace == target.Namespace {
		return true
	}
	for _, g := range b.objects.Grants(target.Namespace) {
		if grantsFrom(g, from, namespace) && grantsTo(g, to, target.Name) {
			return true
		}
	}
	return false
}

func grantsFrom(g *gatewayv1.ReferenceGrant, from groupKind, namespace string) bool {
	for _, f := range g.Spec.From {
		if string(f.Group) == from.group && string(f.Kind) == from.kind && string(f.Namespace) == namespace {
			return true
		}
	}
	return false
}

func grantsTo(g *gatewayv1.ReferenceGrant, to groupKind, name string) bool {
	for _, t := range g.Spec.To {
		if string(t.Group) == to.group && string(t.Kind) == to.kind && (t.Name == nil || *t.Name == "" || string(*t.Name) == name) {
			return true
		}
	}
	return false
}

// Granted tells whether ReferenceGrants of a holder's namespace let a holder of
// another one refer to it.
func Granted(grants []*gatewayv1.ReferenceGrant, from, to allocator.Key) bool {
	kind := map[string]groupKind{KindGateway: kindGateway, "Service": kindService}
	return slices.ContainsFunc(grants, func(g *gatewayv1.ReferenceGrant) bool {
		return grantsFrom(g, kind[from.Kind], from.Namespace) && grantsTo(g, kind[to.Kind], to.Name)
	})
}
