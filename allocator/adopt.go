package allocator

import (
	"net/netip"
	"slices"
	"time"
)

// Adopt takes addresses that a status shows and that have no entry, as an
// earlier controller leaves them. Exactly these are taken, each where it lies in
// a pool, is not excluded, and is free or shareable. What a pool says of holders
// (admission, limits, draining, autoAssign) and delays are not asked: the holder
// uses the address already. For each that cannot be adopted there is a refusal.
//
// An address of a family in which the books have another one for the holder is
// not adopted: the ledger is newer than the status.
func (b *Books) Adopt(now time.Time, c Claim, addresses []netip.Addr) Decision {
	claim, p := b.begin(now, &c)
	shown := make([]netip.Addr, len(addresses))
	for i, a := range addresses {
		shown[i] = a.Unmap()
	}
	current := b.current(c.Key, p.holder)
	needs := slices.Clone(current)
	for _, a := range shown {
		if slices.Contains(needs, a) {
			continue
		}
		if r := b.notAdoptable(claim, a, current, shown); r != nil {
			p.refuse(r)
			continue
		}
		needs = append(needs, a)
	}
	for _, a := range needs {
		p.needs = append(p.needs, wanted{a, b.origin(claim, a)})
	}
	orderByFamily(p.needs, claim.Families)
	return b.carryOut(p, claim)
}

func orderByFamily(needs []wanted, families []Family) {
	slices.SortStableFunc(needs, func(x, y wanted) int {
		return slices.Index(families, FamilyOf(x.address)) - slices.Index(families, FamilyOf(y.address))
	})
}

func (b *Books) notAdoptable(c *Claim, a netip.Addr, current, shown []netip.Addr) *Refusal {
	r := &Refusal{Address: a, Origin: "status"}
	if !plain(a) {
		r.Reason = AddressInvalid
		return r
	}
	r.Family = FamilyOf(a)
	if !slices.Contains(c.Families, r.Family) {
		r.Reason = FamilyMismatch
		return r
	}
	for _, has := range current {
		if FamilyOf(has) == r.Family && !slices.Contains(shown, has) {
			r.Reason = HasAnotherAddress
			return r
		}
	}
	if cr, ok := b.clusterRange(a); ok {
		r.Reason, r.What = AddressInClusterRange, cr.What
		return r
	}
	e, bk := b.entries[a], b.bucketAt(a)
	if e != nil && e.reserved != nil && *e.reserved != c.Key {
		r.Reason, r.Pool = AddressReserved, e.pool
		r.tell(c, *e.reserved)
		return r
	}
	switch {
	case e != nil && e.reserved != nil:
	case bk == nil:
		r.Reason = AddressOutsidePools
		return r
	case !bk.usable(numberOf(a)):
		r.Reason, r.Pool = AddressExcluded, bk.pool.Name
		return r
	}
	if e == nil {
		return nil
	}
	if clash := joinRefusal(c, e, bk); clash != nil {
		clash.Origin = "status"
		return clash
	}
	return nil
}
