package allocator

import (
	"cmp"
	"math"
	"slices"
)

// selective tells whether the admission picks holders, rather than only
// ordering pools.
func (a *Admission) selective() bool {
	return a != nil && (a.Namespaces != nil || a.NamespaceSelectors != nil || a.HolderSelectors != nil || a.Classes != nil)
}

// admits tells whether the admission lets the claim's holder in.
func (a *Admission) admits(c *Claim) bool {
	if a == nil {
		return true
	}
	if a.Namespaces != nil || a.NamespaceSelectors != nil {
		if !slices.Contains(a.Namespaces, c.Key.Namespace) && !anyMatches(a.NamespaceSelectors, c.NamespaceLabels) {
			return false
		}
	}
	if a.HolderSelectors != nil && !anyMatches(a.HolderSelectors, c.Labels) {
		return false
	}
	return a.Classes == nil || slices.Contains(a.Classes, c.Class)
}

func anyMatches(selectors []Selector, labels map[string]string) bool {
	return slices.ContainsFunc(selectors, func(s Selector) bool { return s != nil && s(labels) })
}

// kindIndex is 1 for Gateways, 0 for every other kind.
func kindIndex(kind string) int {
	if kind == "Gateway" {
		return 1
	}
	return 0
}

func (p *pool) admission(kind string) *Admission {
	if kindIndex(kind) == 1 {
		return p.Gateways
	}
	return p.Services
}

func (p *pool) admits(c *Claim) bool { return p.admission(c.Key.Kind).admits(c) }

func priority(a *Admission) int {
	if a == nil || a.Priority == 0 {
		return math.MaxInt
	}
	return a.Priority
}

// setOrder prepares, for each kind, the pools that serve those who named none:
// first those that select holders (by priority, then name), then the others (by
// name). byName is sorted by name.
func (b *Books) setOrder(byName []*pool) {
	b.order = byName
	for i, kind := range []string{"Service", "Gateway"} {
		b.selective[i], b.unselective[i] = nil, nil
		for _, p := range byName {
			switch {
			case !p.AutoAssign || p.Draining:
			case p.admission(kind).selective():
				b.selective[i] = append(b.selective[i], p)
			default:
				b.unselective[i] = append(b.unselective[i], p)
			}
		}
		slices.SortStableFunc(b.selective[i], func(p, q *pool) int {
			return cmp.Compare(priority(p.admission(kind)), priority(q.admission(kind)))
		})
	}
}

// candidates are the pools that may serve the claim automatically, in order.
// For pools named explicitly it tells of the first that may not, why.
func (b *Books) candidates(c *Claim) ([]*pool, *Refusal) {
	if len(c.Pools) > 0 {
		return b.namedPools(c)
	}
	i := kindIndex(c.Key.Kind)
	matching := b.unselective[i]
	copied := false
	n := 0
	for _, p := range b.selective[i] {
		if !p.admits(c) {
			continue
		}
		if !copied {
			matching, copied = slices.Clone(matching), true
		}
		matching = slices.Insert(matching, n, p)
		n++
	}
	return matching, nil
}

func (b *Books) namedPools(c *Claim) (pools []*pool, refusal *Refusal) {
	refuse := func(r Refusal) {
		if refusal == nil {
			refusal = &r
		}
	}
	for _, w := range c.Pools {
		p := b.pools[w.Value]
		switch {
		case p == nil:
			refuse(Refusal{Reason: PoolUnknown, Pool: w.Value, Origin: w.Origin})
		case !p.admits(c):
			refuse(Refusal{Reason: PoolNotAdmitted, Pool: w.Value, Origin: w.Origin})
		case p.Draining:
			refuse(Refusal{Reason: PoolDraining, Pool: w.Value, Origin: w.Origin})
		case !slices.Contains(pools, p):
			pools = append(pools, p)
		}
	}
	return pools, refusal
}

// serves tells whether p is among the pools that may serve the claim automatically.
func (p *pool) serves(c *Claim) bool {
	if p.Draining || !p.admits(c) {
		return false
	}
	if len(c.Pools) == 0 {
		return p.AutoAssign
	}
	return names(c.Pools, p.Name)
}

func names(wishes []Wish[string], pool string) bool {
	return slices.ContainsFunc(wishes, func(w Wish[string]) bool { return w.Value == pool })
}
