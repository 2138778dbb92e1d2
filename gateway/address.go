package gateway

import (
	"net/netip"
	"slices"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
)

// KindGateway is the kind of holder that a Gateway is.
const KindGateway = "Gateway"

// TypePool is the type of an entry of spec.addresses that names a pool.
const TypePool gatewayv1.AddressType = "fairlead.dev/pool"

// The annotation with which a Gateway shares its addresses, as a Service does.
const sharingKey = "fairlead.dev/sharing-key"

// KeyOf names a Gateway in the ledger.
func KeyOf(n Name) allocator.Key {
	return allocator.Key{Kind: KindGateway, Namespace: n.Namespace, Name: n.Name}
}

// Wishes is what of a Gateway's configuration decides its addresses.
type Wishes struct {
	// Families in order of preference; Required: all of them are needed.
	Families []allocator.Family
	Required bool
	// Cluster are all families of the cluster, its first one first.
	Cluster []allocator.Family
	Pools   []string
	Local   bool
	// NamespaceLabels are those of the Gateway's namespace.
	NamespaceLabels map[string]string
	// Endpoints is the Service whose endpoints decide where the addresses are
	// announced from.
	Endpoints string
}

// Asked is what a Gateway asks for of addresses.
type Asked struct {
	// Claim is for addresses of pools; nil: the Gateway wants none.
	Claim   *allocator.Claim
	entries []wish
	// families are those in which the Gateway's own Service must have an address
	// inside of the cluster, in order of preference; static are those addresses
	// that were written.
	families []allocator.Family
	static   []netip.Addr
}

// Ask reads what a Gateway asks for. It fails where an entry of spec.addresses is
// of a kind that is not supported; then nothing is decided anew.
func (b *Built) Ask(w Wishes) (*Asked, *Problem) {
	gw := b.in.Gateway
	out := &Asked{}
	pools, problem := out.read(gw.Spec.Addresses)
	if problem != nil {
		return nil, problem
	}
	out.chooseCluster(w)
	if len(out.entries) > 0 && len(pools) == 0 && !slices.ContainsFunc(out.entries, wish.external) {
		return out, nil
	}
	c := b.claim(w)
	c.Pools = append(pools, c.Pools...)
	out.chooseFamilies(c, w)
	out.Claim = c
	return out, nil
}

// claim is what a Gateway asks of the allocator, whatever its spec.addresses say.
func (b *Built) claim(w Wishes) *allocator.Claim {
	gw := b.in.Gateway
	c := &allocator.Claim{
		Key: KeyOf(Name{gw.Namespace, gw.Name}), UID: string(gw.UID), Families: w.Families, Local: w.Local,
		Class: string(gw.Spec.GatewayClassName), Labels: gw.Labels, NamespaceLabels: w.NamespaceLabels,
		Endpoints: w.Endpoints, Advertised: gw.Labels,
	}
	if !w.Required && len(w.Families) > 1 {
		c.Policy = allocator.Prefer
	}
	for _, p := range b.Model.Ports {
		c.Ports = append(c.Ports, allocator.Port{Protocol: string(p.Transport), Port: p.Number})
	}
	if key := gw.Annotations[sharingKey]; key != "" {
		c.SharingKey = allocator.Wish[string]{Value: key, Origin: "annotation " + sharingKey}
	}
	for _, p := range w.Pools {
		c.Pools = append(c.Pools, allocator.Wish[string]{Value: p, Origin: "its GatewayConfig"})
	}
	return c
}

// WaitingFor turns a refusal of the allocator into the reason for which a
// Gateway is not programmed.
func WaitingFor(r *allocator.Refusal) *Problem {
	reason := gatewayv1.GatewayReasonAddressNotUsable
	switch r.Reason {
	case allocator.PoolExhausted, allocator.NoPool, allocator.FamilyUnavailable, allocator.LimitReached, allocator.PoolDraining,
		allocator.PoolUnknown, allocator.PoolNotAdmitted, allocator.NoFamily:
		reason = gatewayv1.GatewayReasonAddressNotAssigned
	}
	return &Problem{Reason: string(reason), Message: r.String()}
}
