package adopt

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

// reservation is an address that statuses show, and for whom it is kept.
type reservation struct {
	address  netip.Addr
	services []types.NamespacedName
}

// alone is the reference to the one Service it is for; nil: several share it.
func (r *reservation) alone() *v1alpha1.HolderReference {
	if len(r.services) != 1 {
		return nil
	}
	return &v1alpha1.HolderReference{Kind: service.KindService, Namespace: r.services[0].Namespace, Name: r.services[0].Name}
}

func (r *reservation) has(h v1alpha1.HolderReference) bool {
	return h.Kind == service.KindService && slices.Contains(r.services, types.NamespacedName{Namespace: h.Namespace, Name: h.Name})
}

// across tells whether Services of several namespaces have the address.
func (r *reservation) across() bool {
	return slices.ContainsFunc(r.services, func(s types.NamespacedName) bool { return s.Namespace != r.services[0].Namespace })
}

func (r *reservation) words() string {
	var out []string
	for _, s := range r.services {
		out = append(out, s.String())
	}
	return strings.Join(out, ", ")
}

// reservations are the addresses of pools that statuses of Services show which are to
// be taken over, as numbers.
func (a *adoption) reservations() []reservation {
	var list []allocator.Pool
	for _, group := range [][]v1alpha1.IPAddressPool{a.Pools, a.made.Pools} {
		for i := range group {
			p, _ := pools.Read(&group[i])
			list = append(list, p)
		}
	}
	set := pools.Addresses(list)
	found := map[netip.Addr][]types.NamespacedName{}
	for i := range a.Services {
		svc := &a.Services[i]
		if !a.adopts(svc) {
			continue
		}
		for _, x := range service.Shown(svc) {
			if set.Contains(x) {
				found[x] = append(found[x], types.NamespacedName{Namespace: svc.Namespace, Name: svc.Name})
			}
		}
	}
	var out []reservation
	for x, services := range found {
		slices.SortFunc(services, func(a, b types.NamespacedName) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
		out = append(out, reservation{x, services})
	}
	slices.SortFunc(out, func(a, b reservation) int { return a.address.Compare(b.address) })
	return out
}

// setAside tells whether an adoption has set an address aside for several.
func setAside(o *v1alpha1.Address) bool {
	return o.Annotations[v1alpha1.AnnotationAdopted] != "" && o.Spec.ReservedFor == nil && len(o.Spec.Holders) == 0
}

func (a *adoption) entry(x netip.Addr) *v1alpha1.Address {
	return a.entries[v1alpha1.AddressName(x)]
}

// books is the step that enters addresses into the ledger.
func (a *adoption) books() Step {
	s := Step{Name: Books}
	shared := 0
	for i := range a.wanted {
		r := &a.wanted[i]
		if len(r.services) > 1 {
			shared++
			if a.entry(r.address) == nil && a.decided() {
				continue // Fairlead enters it as it adopts the statuses
			}
		}
		w, stop := a.reserve(r)
		s.Forth.Writes, s.Forth.Stop = append(s.Forth.Writes, w...), append(s.Forth.Stop, stop...)
	}
	for i := range a.Ledger {
		o := &a.Ledger[i]
		switch u := ours(o, "Address"); {
		case len(o.Spec.Holders) > 0:
		case o.Annotations[v1alpha1.AnnotationAdopted] == string(a.Source):
			s.Back.Writes = append(s.Back.Writes, remove(u))
		case o.Annotations[v1alpha1.AnnotationAdopted] == string(a.Source)+found:
			s.Back.Writes = append(s.Back.Writes, Write{u, annotated(u, v1alpha1.AnnotationAdopted, "")})
		}
	}
	s.begun = len(s.Back.Writes) > 0
	s.Back.Done = !s.begun
	s.Forth.Done = a.ended || len(s.Forth.Writes)+len(s.Forth.Stop) == 0
	if !s.Forth.Done {
		s.Forth.Stop = slices.Concat(s.Forth.Stop, a.moving(), a.overlaps(), a.rivals())
	}
	s.What = plural.Count(len(a.wanted), "address") + " of statuses in the ledger"
	if shared > 0 {
		s.What += fmt.Sprintf(", %d of them shared", shared)
	}
	return s
}

// reserve gives what is to be written for one address, or what is in the way.
func (a *adoption) reserve(r *reservation) ([]Write, []string) {
	live, want := a.entry(r.address), a.addressFor(r)
	switch {
	case live == nil:
		return []Write{create(ours(want, "Address"))}, nil
	case len(live.Spec.Holders) > 0:
		for _, h := range live.Spec.Holders {
			if !r.has(h.HolderReference) {
				return nil, []string{fmt.Sprintf("%s, which %s shows, is held by %s %s/%s in the ledger. Give one of them another address.", r.address, r.words(), h.Kind, h.Namespace, h.Name)}
			}
		}
		return nil, nil
	case live.Spec.ReservedFor != nil:
		if want.Spec.ReservedFor != nil && *want.Spec.ReservedFor == *live.Spec.ReservedFor {
			return nil, nil
		}
		f := live.Spec.ReservedFor
		return nil, []string{fmt.Sprintf("%s, which %s shows, is reserved for %s %s/%s. Delete that reservation: kubectl delete address.fairlead.dev %s.", r.address, r.words(), f.Kind, f.Namespace, f.Name, live.Name)}
	case setAside(live) && live.Spec.Released == nil && len(r.services) > 1:
		return nil, nil
	case live.Annotations[v1alpha1.AnnotationAdopted] == string(a.Source), live.Spec.Released != nil && r.has(live.Spec.Released.HolderReference) && len(r.services) > 1:
		return []Write{remove(ours(live, "Address"))}, nil // it is made anew, as it is wanted now
	case live.Spec.Released != nil && r.has(live.Spec.Released.HolderReference) && want.Spec.ReservedFor != nil:
		before := ours(live, "Address")
		after := live.DeepCopy()
		after.Spec.ReservedFor = want.Spec.ReservedFor
		return []Write{{before, ours(after, "Address")}}, nil
	}
	return nil, []string{fmt.Sprintf("%s, which %s shows, is set aside in the ledger (%s). Delete that: kubectl delete address.fairlead.dev %s.", r.address, r.words(), live.Spec.State, live.Name)}
}

// addressFor is the Address that keeps an address.
func (a *adoption) addressFor(r *reservation) *v1alpha1.Address {
	return &v1alpha1.Address{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(r.address), Annotations: map[string]string{v1alpha1.AnnotationAdopted: string(a.Source)}},
		Spec:       v1alpha1.AddressSpec{Address: r.address.String(), ReservedFor: r.alone()},
	}
}

// Shown are the addresses that Services show, by namespace and name.
func Shown(s *Snapshot) map[string]string {
	out := map[string]string{}
	for i := range s.Services {
		if svc := &s.Services[i]; svc.Spec.Type == corev1.ServiceTypeLoadBalancer {
			var list []string
			for _, x := range service.Shown(svc) {
				list = append(list, x.String())
			}
			slices.Sort(list)
			out[svc.Namespace+"/"+svc.Name] = strings.Join(list, ",")
		}
	}
	return out
}

// unheld are addresses that the ledger does not have as those of the Services that
// show them.
func (a *adoption) unheld() []string {
	var out []string
	for i := range a.wanted {
		r := &a.wanted[i]
		o := a.entry(r.address)
		for _, s := range r.services {
			ref := v1alpha1.HolderReference{Kind: service.KindService, Namespace: s.Namespace, Name: s.Name}
			if o == nil || !slices.ContainsFunc(o.Spec.Holders, func(h v1alpha1.AddressHolder) bool {
				return h.HolderReference == ref && h.State != v1alpha1.AddressPending
			}) {
				out = append(out, fmt.Sprintf("the ledger to have %s as that of %s", r.address, s))
			}
		}
	}
	return out
}

// strayed are reservations whose Service shows another address now.
func (a *adoption) strayed() []string {
	var out []string
	for i := range a.Ledger {
		o := &a.Ledger[i]
		ref := o.Spec.ReservedFor
		if ref == nil || o.Annotations[v1alpha1.AnnotationAdopted] != string(a.Source) || len(o.Spec.Holders) > 0 {
			continue
		}
		j := slices.IndexFunc(a.Services, func(svc corev1.Service) bool {
			return svc.Namespace == ref.Namespace && svc.Name == ref.Name && a.adopts(&svc)
		})
		if j < 0 {
			continue
		}
		if shows := service.Shown(&a.Services[j]); !slices.ContainsFunc(shows, func(x netip.Addr) bool { return v1alpha1.AddressName(x) == o.Name }) {
			out = append(out, fmt.Sprintf("%s is reserved for Service %s/%s, which shows %v now. See: kubectl fairlead explain service %s -n %s.", o.Spec.Address, ref.Namespace, ref.Name, shows, ref.Name, ref.Namespace))
		}
	}
	return out
}

// compare is the step that only asks the allocator.
func (a *adoption) compare() Step {
	s := Step{Name: Compare, What: "the allocator keeps every address that a status shows"}
	if !a.ended {
		s.Forth.Stop = a.moving()
	}
	s.Forth.Done = len(s.Forth.Stop) == 0
	if s.Forth.Done {
		n := 0
		for i := range a.outcomes {
			if len(a.outcomes[i].Has) > 0 {
				n++
			}
		}
		s.What = fmt.Sprintf("%s with an address would keep it", plural.Count(n, "Service"))
	}
	return s
}
