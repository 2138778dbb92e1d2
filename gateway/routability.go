package gateway

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
)

// RoutabilitySentinel has no meaning. It is reported where it is asked for
// (GEP-5093).
const RoutabilitySentinel gatewayv1.GatewayAddressRoutabilityType = "testing.x-k8s.io/sentinel"

// wish is an entry of spec.addresses that asks for one IP address.
type wish struct {
	index       int
	value       netip.Addr // zero: any
	routability gatewayv1.GatewayAddressRoutabilityType
	// hopeless says why the entry cannot be satisfied by anything.
	hopeless string
}

func (e wish) where() string { return fmt.Sprintf("spec.addresses[%d]", e.index) }

// external tells whether an entry wants an address of a pool, cluster whether it
// wants one of the Gateway's Service.
func (e wish) external() bool {
	return e.hopeless == "" && e.routability != gatewayv1.GatewayAddressRoutabilityCluster
}

func (e wish) cluster() bool {
	return e.hopeless == "" && e.routability == gatewayv1.GatewayAddressRoutabilityCluster
}

// read reads spec.addresses: entries for addresses, and pools.
func (a *Asked) read(list []gatewayv1.GatewaySpecAddress) (pools []allocator.Wish[string], problem *Problem) {
	unsupported := func(format string, args ...any) *Problem {
		return &Problem{Reason: string(gatewayv1.GatewayReasonUnsupportedAddress), Message: fmt.Sprintf(format, args...)}
	}
	for i, spec := range list {
		e := wish{index: i, routability: spec.Routability}
		kind := gatewayv1.IPAddressType
		if spec.Type != nil {
			kind = *spec.Type
		}
		switch e.routability {
		case gatewayv1.GatewayAddressRoutabilityDefault, gatewayv1.GatewayAddressRoutabilityCluster, RoutabilitySentinel:
		default:
			e.hopeless = fmt.Sprintf("routability %s is not supported. Leave it out, or write Cluster for an address inside of the cluster.", e.routability)
		}
		switch kind {
		case gatewayv1.IPAddressType:
			if spec.Value != "" {
				ip, err := netip.ParseAddr(spec.Value)
				if err != nil {
					return nil, unsupported("%s: %q is no IP address. Write one such as 192.0.2.7 or 2001:db8::7.", e.where(), spec.Value)
				}
				e.value = ip.Unmap()
			}
			a.entries = append(a.entries, e)
		case TypePool:
			if e.routability != gatewayv1.GatewayAddressRoutabilityDefault {
				return nil, unsupported("%s names a pool, and asks for routability %s. Leave that out: addresses of pools are for clients outside of the cluster.", e.where(), e.routability)
			}
			pools = append([]allocator.Wish[string]{{Value: spec.Value, Origin: e.where()}}, pools...)
		default:
			return nil, unsupported("%s is of type %s, which is not supported. Use IPAddress, or %s with the name of a pool.", e.where(), kind, TypePool)
		}
	}
	return pools, nil
}

// chooseFamilies keeps a claim to what the entries ask for: one address for each.
// Those with a value have its family, the others the families that are left.
func (a *Asked) chooseFamilies(c *allocator.Claim, w Wishes) {
	var written []allocator.Family
	open := 0
	for _, e := range a.entries {
		switch {
		case !e.external():
		case e.value.IsValid():
			c.Addresses = append(c.Addresses, allocator.Wish[netip.Addr]{Value: e.value, Origin: e.where()})
			written = appendNew(written, allocator.FamilyOf(e.value))
		default:
			open++
		}
	}
	if len(written)+open == 0 {
		return
	}
	families, left := pick(written, slices.Concat(w.Families, w.Cluster), open)
	a.giveUp(left, wish.external)
	c.Families, c.Policy = families, allocator.Require
	if len(written) == 0 && len(families) > 1 {
		c.Policy = allocator.Prefer
	}
}

// chooseCluster finds the families in which the Gateway's Service needs an
// address.
func (a *Asked) chooseCluster(w Wishes) {
	open := 0
	for i := range a.entries {
		e := &a.entries[i]
		switch {
		case !e.cluster():
		case !e.value.IsValid():
			open++
		case slices.Contains(a.families, allocator.FamilyOf(e.value)):
			e.hopeless = "a Gateway has one address of each family inside of the cluster, and another entry asks for it."
		default:
			a.families = append(a.families, allocator.FamilyOf(e.value))
			a.static = append(a.static, e.value)
		}
	}
	var left int
	a.families, left = pick(a.families, slices.Concat(w.Cluster, w.Families), open)
	a.giveUp(left, wish.cluster)
}

// pick adds n further families to those that are there, as long as there are any.
func pick(have, from []allocator.Family, n int) (families []allocator.Family, left int) {
	families = slices.Clone(have)
	for _, f := range from {
		if n > 0 && !slices.Contains(families, f) {
			families = append(families, f)
			n--
		}
	}
	return families, n
}

// giveUp marks the last n entries without a value for which there is no family
// left.
func (a *Asked) giveUp(n int, of func(wish) bool) {
	for i := len(a.entries) - 1; i >= 0 && n > 0; i-- {
		if e := &a.entries[i]; of(*e) && !e.value.IsValid() {
			e.hopeless = "there is one address for each family of the cluster, and other entries have them."
			n--
		}
	}
}

// Inside are the families in which the Gateway's Service must have an address
// inside of the cluster, and those of the addresses that were written.
func (a *Asked) Inside() (families []allocator.Family, static []netip.Addr) {
	return a.families, a.static
}

// Address is an address of a Gateway for its status.
type Address struct {
	IP          netip.Addr
	Routability gatewayv1.GatewayAddressRoutabilityType
}

// Assignment is what has become of the wishes of a Gateway.
type Assignment struct {
	Addresses []Address
	// Unmet are the wishes that are not met, in words; Some: others are.
	Unmet []string
	Some  bool
}

// Assign matches addresses with wishes. External are those of pools, and refused
// says why there are not all; inside are those of the Gateway's Service, and
// unable says why it has not the ones that were written.
func (a *Asked) Assign(external []netip.Addr, refused *allocator.Refusal, inside []netip.Addr, unable string) Assignment {
	var out Assignment
	outer, inner := slices.Clone(external), slices.Clone(inside)
	why := "no address is assigned yet."
	if refused != nil {
		why = refused.String()
	}
	// Those that were written first: the others take what is left.
	for _, written := range []bool{true, false} {
		for _, e := range a.entries {
			switch {
			case e.value.IsValid() != written:
			case e.hopeless != "":
				out.miss(e, e.hopeless)
			case e.cluster():
				out.match(e, &inner, unableOr(unable, inside))
			default:
				out.match(e, &outer, why)
			}
		}
	}
	asksForAny := len(a.entries) == 0 || a.Claim != nil && !slices.ContainsFunc(a.entries, wish.external)
	if asksForAny && len(external) == 0 {
		out.Unmet = append(out.Unmet, why)
	}
	// What no entry asks for is what the Gateway keeps until it has what it wants,
	// or what it gets without asking.
	for _, ip := range outer {
		out.Addresses = append(out.Addresses, Address{IP: ip})
	}
	out.Some = len(out.Addresses) > 0
	slices.SortStableFunc(out.Addresses, func(x, y Address) int { return strings.Compare(string(x.Routability), string(y.Routability)) })
	return out
}

func unableOr(unable string, inside []netip.Addr) string {
	switch {
	case unable != "":
		return unable
	case len(inside) == 0:
		return "the Gateway's Service has no address yet."
	}
	return fmt.Sprintf("the Gateway's Service has the address %s already, which Kubernetes does not change. Make the Gateway anew to get another one.", inside[0])
}

// match takes an address for an entry out of a list.
func (a *Assignment) match(e wish, list *[]netip.Addr, why string) {
	i := slices.IndexFunc(*list, func(ip netip.Addr) bool { return !e.value.IsValid() || ip == e.value })
	if i < 0 {
		a.miss(e, why)
		return
	}
	a.Addresses = append(a.Addresses, Address{IP: (*list)[i], Routability: e.routability})
	*list = slices.Delete(*list, i, i+1)
}

func (a *Assignment) miss(e wish, why string) {
	a.Unmet = append(a.Unmet, e.where()+": "+why)
}
