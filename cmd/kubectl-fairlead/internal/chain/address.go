package chain

import (
	"fmt"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/words"
)

// Address explains an address, whether anybody has it or not.
func Address(s *Snapshot, ip netip.Addr) *Report {
	r := &Report{Kind: kindAddress, Name: ip.String(), Problems: []Problem{}, Partly: s.Partly}
	i := slices.IndexFunc(s.Addresses, func(a v1alpha1.Address) bool { return a.Spec.Address == ip.String() })
	if i < 0 {
		r.free(s, ip)
		return r
	}
	a := &s.Addresses[i]
	r.About = string(a.Spec.State)
	r.keep(s, a)
	var seen []types.NamespacedName
	for i := range a.Spec.Holders {
		h := &a.Spec.Holders[i]
		note := "the holder since " + output.Age(h.Since, s.Now)
		if h.SharingKey != "" {
			note += ", sharing key " + h.SharingKey
		}
		note += takenOver(h)
		r.Asked = append(r.Asked, Asked{Value: words.Reference(h.HolderReference), Origin: "ports " + words.Ports(h.Ports), Note: note})
		if name := ServedBy(h); name.Name != "" && !slices.Contains(seen, name) {
			seen = append(seen, name)
		}
	}
	r.announce(s, a)
	for _, name := range seen {
		h := a.Spec.Holders[slices.IndexFunc(a.Spec.Holders, func(h v1alpha1.AddressHolder) bool { return ServedBy(&h) == name })]
		r.serve(s, name, h.ExternalTrafficPolicy, h.Kind == "Gateway")
	}
	return r
}

// takenOver says from whom a holder takes or has taken the address over.
func takenOver(h *v1alpha1.AddressHolder) string {
	switch t := h.Takeover; {
	case t == nil:
		return ""
	case t.Phase == v1alpha1.TakeoverDone:
		return ", taken over from " + givers(t)
	default:
		return fmt.Sprintf(", taking it over from %s (%s)", givers(t), t.Phase)
	}
}

// givers names all who give an address together.
func givers(t *v1alpha1.HolderTakeover) string {
	out := words.Reference(t.From)
	for _, g := range t.Also {
		out += ", " + words.Reference(g.HolderReference)
	}
	return out
}

// keep adds what the ledger says of the address itself.
func (r *Report) keep(s *Snapshot, a *v1alpha1.Address) {
	d := Decided{Address: a.Spec.Address, Pool: a.Spec.Pool, State: a.Spec.State, Since: a.CreationTimestamp}
	d.age = output.Age(d.Since, s.Now)
	switch {
	case a.Spec.State == v1alpha1.AddressRetained && a.Spec.Released != nil:
		rel := a.Spec.Released
		d.Note = fmt.Sprintf("it was that of %s until %s UTC and is kept for its return", words.Reference(rel.HolderReference), rel.At.UTC().Format(time.DateTime))
	case a.Spec.State == v1alpha1.AddressReserved && a.Spec.ReservedFor != nil:
		d.Note = "set aside for " + words.Reference(*a.Spec.ReservedFor)
	case a.Spec.State == v1alpha1.AddressReserved:
		d.Note = "set aside: nobody gets it"
	case a.Spec.State == v1alpha1.AddressPending:
		r.pending(a.Spec.Address)
	}
	r.Decided = append(r.Decided, d)
}

// free says where an address lies that nobody has.
func (r *Report) free(s *Snapshot, ip netip.Addr) {
	for i := range s.Pools {
		if set := announcer.FromPool(&s.Pools[i]).Addresses; set != nil && set.Contains(ip) {
			r.About = "nobody has it"
			r.Decided = append(r.Decided, Decided{Address: ip.String(), Pool: s.Pools[i].Name, State: "Free"})
			return
		}
	}
	r.About = "nobody has it, and it lies in no pool"
	if len(s.Pools) > 0 {
		r.wrong(ip.String()+" lies in no pool: nobody can get it.", "Add it to an IPAddressPool, or create an Address with reservedFor for the one who shall have it.")
	}
}
