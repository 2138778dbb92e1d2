package adopt

import (
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/plural"
	"github.com/fairlead/fairlead/pools"
)

// pools is the step that makes pools, advertisements and peers, announcing nothing.
func (a *adoption) pools() Step {
	s := Step{Name: Pools}
	for _, want := range a.imported {
		if !named(a.live, want) {
			s.Forth.Writes = append(s.Forth.Writes, create(annotated(want, v1alpha1.AnnotationAdopted, string(a.Source))))
		}
	}
	for _, o := range a.live {
		mine := o.GetAnnotations()[v1alpha1.AnnotationAdopted] == string(a.Source)
		bound := boundHere(o)
		s.begun = s.begun || mine || bound
		switch {
		case mine:
			s.Back.Writes = append([]Write{remove(o)}, s.Back.Writes...)
		case bound:
			s.Back.Writes = change(s.Back.Writes, o, loosened(o, true))
		}
		if a.isMade(o) && announcesHere(o) {
			s.Forth.Writes = change(s.Forth.Writes, o, tied(o, true))
		}
	}
	s.Back.Done = len(s.Back.Writes) == 0
	s.Forth.Done = a.ended || len(s.Forth.Writes) == 0
	s.What = a.counts()
	if !s.Forth.Done {
		s.Forth.Stop = slices.Concat(a.overlaps(), a.loud(), a.rivals())
	}
	return s
}

// shareAcross lets namespaces share addresses of pools that are imported, where they
// do: the other controller knows no such limit.
func (a *adoption) shareAcross() {
	for i := range a.made.Pools {
		p := &a.made.Pools[i]
		read, _ := pools.Read(p)
		set := pools.Addresses([]allocator.Pool{read})
		if slices.ContainsFunc(a.wanted, func(r reservation) bool { return r.across() && set.Contains(r.address) }) {
			p.Spec.Sharing = v1alpha1.SharingAcrossNamespaces
			if !slices.ContainsFunc(a.Pools, func(o v1alpha1.IPAddressPool) bool { return o.Name == p.Name }) {
				a.across = append(a.across, p.Name)
			}
		}
	}
}

// counts say what there is to be.
func (a *adoption) counts() string {
	n := map[string]int{}
	var kinds []string
	for _, o := range a.imported {
		k := o.GetKind()
		if n[k]++; n[k] == 1 {
			kinds = append(kinds, k)
		}
	}
	slices.Sort(kinds)
	parts := make([]string, 0, len(kinds))
	for _, k := range kinds {
		parts = append(parts, plural.Count(n[k], k))
	}
	if len(parts) == 0 {
		return "nothing that an import would make"
	}
	return strings.Join(parts, ", ") + ", which announce from labelled nodes only"
}

// liveIn are Fairlead's objects of the kinds that an import makes.
func liveIn(s *Snapshot) []*unstructured.Unstructured {
	return slices.Concat(
		allOurs(s.Communities, "Community"), allOurs(s.Profiles, "BFDProfile"), allOurs(s.Peers, "BGPPeer"),
		allOurs(s.Pools, "IPAddressPool"), allOurs(s.BGPAdvertisements, "BGPAdvertisement"), allOurs(s.L2Advertisements, "L2Advertisement"),
	)
}

// named tells whether a list has an object of this kind and name.
func named(list []*unstructured.Unstructured, o *unstructured.Unstructured) bool {
	return slices.ContainsFunc(list, func(l *unstructured.Unstructured) bool {
		return l.GetKind() == o.GetKind() && l.GetName() == o.GetName()
	})
}

// isMade tells whether an import makes this object.
func (a *adoption) isMade(o *unstructured.Unstructured) bool { return named(a.imported, o) }

// announcesHere tells whether an object of ours says from which nodes it announces.
// MetalLB's kinds have the same names.
func announcesHere(o *unstructured.Unstructured) bool {
	return slices.Contains([]string{"L2Advertisement", "BGPAdvertisement", "BGPPeer"}, o.GetKind())
}

func boundHere(o *unstructured.Unstructured) bool {
	return announcesHere(o) && bondOf(o.GetKind(), true).holds(selectorsOf(o))
}

// overlaps tells of pools that have addresses in common.
func (a *adoption) overlaps() []string {
	var list []allocator.Pool
	for _, o := range pools.ByAge(a.Pools) {
		p, _ := pools.Read(&o)
		list = append(list, p)
	}
	for i := range a.made.Pools {
		if p, _ := pools.Read(&a.made.Pools[i]); !slices.ContainsFunc(list, func(o allocator.Pool) bool { return o.Name == p.Name }) {
			list = append(list, p)
		}
	}
	var out []string
	for _, p := range allocator.New().SetPools(list) {
		out = append(out, p.String())
	}
	return out
}

// loud tells of advertisements that would announce the addresses from all nodes at
// once.
func (a *adoption) loud() []string {
	var out []string
	for i := range a.L2Advertisements {
		o := &a.L2Advertisements[i]
		if u := ours(o, "L2Advertisement"); !a.isMade(u) && !boundHere(u) && a.selects(o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors) {
			out = append(out, "L2Advertisement "+o.Name)
		}
	}
	for i := range a.BGPAdvertisements {
		o := &a.BGPAdvertisements[i]
		if u := ours(o, "BGPAdvertisement"); !a.isMade(u) && !boundHere(u) && a.selects(o.Spec.IPAddressPools, o.Spec.IPAddressPoolSelectors) {
			out = append(out, "BGPAdvertisement "+o.Name)
		}
	}
	for i, name := range out {
		out[i] = fmt.Sprintf("%s of Fairlead selects a pool that is imported, and would announce its addresses while %s still does. Let it name its own pools in spec.ipAddressPools, or delete it.", name, a.name)
	}
	return out
}

// selects tells whether an advertisement is for one of the pools that are imported.
func (a *adoption) selects(list []string, selectors []metav1.LabelSelector) bool {
	return slices.ContainsFunc(a.made.Pools, func(p v1alpha1.IPAddressPool) bool {
		if len(list)+len(selectors) == 0 || slices.Contains(list, p.Name) {
			return true
		}
		return len(selectors) > 0 && matches(selectors, p.Labels)
	})
}

// hasUnmarked tells whether Fairlead holds an address that it would not leave to the
// other controller.
func (a *adoption) hasUnmarked() bool {
	return slices.ContainsFunc(a.wanted, func(r reservation) bool {
		o := a.entry(r.address)
		return o != nil && len(o.Spec.Holders) > 0 && o.Annotations[v1alpha1.AnnotationAdopted] == ""
	})
}

// rivals tells when both controllers serve Services without a class.
func (a *adoption) rivals() []string {
	if !a.isDefault() || !a.goOn() {
		return nil
	}
	what := fmt.Sprintf("Fairlead and %s both serve Services without a class, and overwrite each other's statuses.", a.name)
	if a.Source == imports.MetalLB && a.hasUnmarked() {
		// Would Fairlead let go, it took what bears no mark out of the statuses.
		for _, d := range a.theirs.deciders {
			what += fmt.Sprintf(" Fairlead has their addresses, so stop MetalLB's controller: kubectl scale deployment -n %s %s --replicas=0.", d.Namespace, d.Name)
		}
		return []string{what}
	}
	return []string{fmt.Sprintf("%s Let Fairlead serve only its own until step %s: %s.", what, Decide, a.helm(false))}
}
