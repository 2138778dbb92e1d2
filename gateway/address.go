package gateway

import (
	"fmt"
	"net/netip"

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
	Pools    []string
	Local    bool
	// NamespaceLabels are those of the Gateway's namespace.
	NamespaceLabels map[string]string
	// Endpoints is the Service whose endpoints decide where the addresses are
	// announced from.
	Endpoints string
}

// Claim is what a Gateway asks of the allocator. It fails where an entry of
// spec.addresses is of a kind that is not supported; then nothing is decided
// anew.
func (b *Built) Claim(w Wishes) (allocator.Claim, *Problem) {
	gw := b.in.Gateway
	c := allocator.Claim{
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
	if problem := readAddresses(gw, &c); problem != nil {
		return allocator.Claim{}, problem
	}
	return c, nil
}

// readAddresses reads spec.addresses.
func readAddresses(gw *gatewayv1.Gateway, c *allocator.Claim) *Problem {
	asked := map[allocator.Family]bool{}
	for i, a := range gw.Spec.Addresses {
		where := fmt.Sprintf("spec.addresses[%d]", i)
		kind := gatewayv1.IPAddressType
		if a.Type != nil {
			kind = *a.Type
		}
		if a.Routability != "" {
			return &Problem{
				Reason:  string(gatewayv1.GatewayReasonUnsupportedAddress),
				Message: fmt.Sprintf("%s asks for routability %s, which is not supported. Leave it out.", where, a.Routability),
			}
		}
		switch kind {
		case gatewayv1.IPAddressType:
			if a.Value == "" {
				continue
			}
			ip, err := netip.ParseAddr(a.Value)
			if err != nil {
				return &Problem{
					Reason:  string(gatewayv1.GatewayReasonUnsupportedAddress),
					Message: fmt.Sprintf("%s: %q is no IP address. Write one such as 192.0.2.7 or 2001:db8::7.", where, a.Value),
				}
			}
			ip = ip.Unmap()
			c.Addresses = append(c.Addresses, allocator.Wish[netip.Addr]{Value: ip, Origin: where})
			asked[allocator.FamilyOf(ip)] = true
		case TypePool:
			c.Pools = append([]allocator.Wish[string]{{Value: a.Value, Origin: where}}, c.Pools...)
		default:
			return &Problem{
				Reason:  string(gatewayv1.GatewayReasonUnsupportedAddress),
				Message: fmt.Sprintf("%s is of type %s, which is not supported. Use IPAddress, or %s with the name of a pool.", where, kind, TypePool),
			}
		}
	}
	onlyAsked(gw, c, asked)
	return nil
}

// onlyAsked keeps to the families of the addresses that are written: who writes
// one IPv4 address wants that one, and no IPv6 address beside it.
func onlyAsked(gw *gatewayv1.Gateway, c *allocator.Claim, asked map[allocator.Family]bool) {
	if len(asked) == 0 || len(c.Addresses) < len(gw.Spec.Addresses) {
		return
	}
	c.Families, c.Policy = nil, allocator.Require
	for _, w := range c.Addresses {
		c.Families = appendNew(c.Families, allocator.FamilyOf(w.Value))
	}
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
