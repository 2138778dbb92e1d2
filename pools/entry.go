package pools

import (
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Nobody is the reservation of an address that a person set aside without
// naming a holder: no claim ever has this key. Such an Address is told from what
// is left of one of ours by its state, and by our finalizer.
var Nobody = allocator.Key{}

// ReadAddress reads an Address object into an entry of the books. It fails only on a
// name that is no address, which the CRD does not admit.
func ReadAddress(o *v1alpha1.Address) (allocator.Entry, error) {
	a, err := v1alpha1.ParseAddressName(o.Name)
	if err != nil {
		return allocator.Entry{}, err
	}
	e := allocator.Entry{Address: a, Pool: o.Spec.Pool}
	for i := range o.Spec.Holders {
		e.Holders = append(e.Holders, holdingOf(a, &o.Spec.Holders[i]))
	}
	if r := o.Spec.ReservedFor; r != nil {
		e.ReservedFor = &allocator.Key{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}
	}
	if r := o.Spec.Released; r != nil && len(e.Holders) == 0 {
		e.Released = &allocator.Release{Key: allocator.Key{Kind: r.Kind, Namespace: r.Namespace, Name: r.Name}, At: r.At.Time}
	}
	if len(e.Holders) == 0 && e.ReservedFor == nil && e.Released == nil && o.Spec.State == v1alpha1.AddressReserved && !slices.Contains(o.Finalizers, v1alpha1.AddressFinalizer) {
		key := Nobody
		e.ReservedFor = &key
	}
	return e, nil
}

// holdingOf reads a holder. What a foreign hand wrote among its needs that is no
// address is passed over: the next decision writes them anew.
func holdingOf(a netip.Addr, h *v1alpha1.AddressHolder) allocator.Holding {
	out := allocator.Holding{
		Key: allocator.Key{Kind: h.Kind, Namespace: h.Namespace, Name: h.Name}, UID: h.UID,
		SharingKey: h.SharingKey, ShareWith: h.ShareWith, Local: h.ExternalTrafficPolicy == "Local",
		Endpoints: h.Endpoints, Advertised: h.Labels, Since: h.Since.Time, Bound: h.State != v1alpha1.AddressPending,
	}
	for _, p := range h.Ports {
		out.Ports = append(out.Ports, allocator.Port{Protocol: p.Protocol, Port: uint16(p.Port)})
	}
	for _, s := range h.Needs {
		if n, err := netip.ParseAddr(s); err == nil {
			out.Needs = append(out.Needs, n.Unmap())
		}
	}
	if len(out.Needs) == 0 {
		out.Needs = []netip.Addr{a}
	}
	if t := h.Takeover; t != nil {
		out.Takeover = &allocator.Takeover{
			From:    allocator.Key{Kind: t.From.Kind, Namespace: t.From.Namespace, Name: t.From.Name},
			FromUID: t.FromUID, Phase: string(t.Phase), Since: t.Since.Time,
		}
		for _, g := range t.Also {
			out.Takeover.Also = append(out.Takeover.Also, allocator.Giver{Key: allocator.Key{Kind: g.Kind, Namespace: g.Namespace, Name: g.Name}, UID: g.UID})
		}
	}
	return out
}
