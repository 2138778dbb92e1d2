package adopt

import (
	"fmt"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/pools"
	"github.com/fairlead/fairlead/service"
)

// unkept says which addresses MetalLB would take from their Services when it gives
// addresses again: it goes by its own pools and annotations, and knows none of
// Fairlead's.
func (a *adoption) unkept() []string {
	if a.Source != imports.MetalLB {
		return nil
	}
	var list []allocator.Pool
	for i := range a.made.Pools {
		p, _ := pools.Read(&a.made.Pools[i])
		list = append(list, p)
	}
	theirs := pools.Addresses(list)
	var out []string
	for i := range a.wanted {
		r := &a.wanted[i]
		switch {
		case !theirs.Contains(r.address):
			out = append(out, fmt.Sprintf("MetalLB has no pool with %s, and would give %s another address. Ask for one that MetalLB has, or make it a Service of class %s.",
				r.address, r.words(), v1alpha1.LoadBalancerClass))
		case len(r.services) > 1 && !a.share(r.services):
			out = append(out, fmt.Sprintf("%s share %s, and MetalLB would leave it to one of them, since they do not bear the same %s. Annotate all of them with one.",
				r.words(), r.address, service.MetalLBSharing))
		}
	}
	return out
}

// share tells whether Services may share an address by MetalLB's rules.
func (a *adoption) share(names []types.NamespacedName) bool {
	keys := map[string]bool{}
	for i := range a.Services {
		svc := &a.Services[i]
		for _, n := range names {
			if n.Namespace == svc.Namespace && n.Name == svc.Name {
				keys[service.MetalLBSharingKey(svc.Annotations)] = true
			}
		}
	}
	return len(keys) == 1 && !keys[""]
}
