package allocator

import (
	"net/netip"
	"slices"
	"time"
)

// explicit checks the addresses asked for in a family.
func (b *Books) explicit(p *plan, c *Claim, f Family, out []wanted) ([]wanted, *Refusal) {
	for _, w := range c.Addresses {
		if FamilyOf(w.Value) != f || slices.ContainsFunc(out, func(o wanted) bool { return o.address == w.Value }) {
			continue
		}
		if refusal := b.unavailable(p, c, w.Value, out); refusal != nil {
			refusal.Origin, refusal.Family = w.Origin, f
			return out[:0], refusal
		}
		out = append(out, wanted{w.Value, w.Origin})
	}
	return out, nil
}

// unavailable tells why the claim cannot have address a, beside those that it
// asked for before it. A holder keeps what it has whatever the rules say now.
func (b *Books) unavailable(p *plan, c *Claim, a netip.Addr, with []wanted) *Refusal {
	e := b.entries[a]
	raw := b.bucketAt(a)
	if raw != nil && b.elsewhere(c, raw.pool.Name, FamilyOf(a)) {
		return &Refusal{Reason: AddressNotInPool, Address: a, Pool: raw.pool.Name}
	}
	if e != nil && e.holding(c.Key) != nil {
		return nil
	}
	if cr, ok := b.clusterRange(a); ok {
		return &Refusal{Reason: AddressInClusterRange, Address: a, What: cr.What}
	}
	reserved := e != nil && e.reserved != nil
	if reserved && *e.reserved != c.Key {
		r := &Refusal{Reason: AddressReserved, Address: a, Pool: e.pool}
		r.tell(c, *e.reserved)
		return r
	}
	if !reserved {
		if r := b.againstRules(c, a, raw, with); r != nil {
			return r
		}
	}
	if e == nil {
		return nil
	}
	if r := joinRefusal(c, e, raw); r != nil {
		return r
	}
	return b.retainedForOther(p.now, c, e)
}

// elsewhere tells whether the claim asks for other pools that have this family.
func (b *Books) elsewhere(c *Claim, pool string, f Family) bool {
	if len(c.Pools) == 0 || names(c.Pools, pool) {
		return false
	}
	return slices.ContainsFunc(c.Pools, func(w Wish[string]) bool {
		p := b.pools[w.Value]
		return p != nil && p.families[index(f)] != nil
	})
}

// againstRules tells which rule of its pool keeps the claim from address a.
func (b *Books) againstRules(c *Claim, a netip.Addr, bk *bucket, with []wanted) *Refusal {
	if bk == nil {
		return &Refusal{Reason: AddressOutsidePools, Address: a}
	}
	r := &Refusal{Address: a, Pool: bk.pool.Name}
	extra := 0
	for _, w := range with {
		if e := b.entries[w.address]; b.bucketAt(w.address) == bk && (e == nil || e.holding(c.Key) == nil) {
			extra++
		}
	}
	switch {
	case !bk.usable(numberOf(a)):
		r.Reason = AddressExcluded
	case !bk.pool.admits(c):
		r.Reason = PoolNotAdmitted
	case bk.pool.Draining:
		r.Reason = PoolDraining
	case !b.withinLimit(c, bk, a, extra-b.givingUp(c, bk)):
		r.Reason, r.Namespace, r.Limit = LimitReached, c.Key.Namespace, bk.pool.PerNamespaceLimit
	default:
		return nil
	}
	return r
}

// withinLimit tells whether the claim's namespace may have a beside extra others.
func (b *Books) withinLimit(c *Claim, bk *bucket, a netip.Addr, extra int) bool {
	if bk.perNamespace == nil {
		return true
	}
	if e := b.entries[a]; e != nil {
		for i := range e.holders {
			if e.holders[i].Key.Namespace == c.Key.Namespace {
				return true // counts already
			}
		}
	}
	return bk.within(c.Key.Namespace, extra)
}

// givingUp counts the addresses of the bucket that only this holder has in its
// namespace and that it will leave, as it asks for others.
func (b *Books) givingUp(c *Claim, bk *bucket) int {
	if bk.perNamespace == nil {
		return 0
	}
	h := b.holders.of(c.Key)
	if h == nil {
		return 0
	}
	n := 0
	for _, a := range h.addrs {
		e := b.entries[a]
		asked := slices.ContainsFunc(c.Addresses, func(w Wish[netip.Addr]) bool { return w.Value == a })
		if e.bucket != bk || asked {
			continue
		}
		if !slices.ContainsFunc(e.holders, func(o Holding) bool { return o.Key != c.Key && o.Key.Namespace == c.Key.Namespace }) {
			n++
		}
	}
	return n
}

// retainedForOther refuses an address that its last holder may still return to.
func (b *Books) retainedForOther(now time.Time, c *Claim, e *entry) *Refusal {
	if e.released == nil || e.reserved != nil || e.released.Key == c.Key {
		return nil
	}
	until, ok := b.retainedUntil(now, e)
	if !ok {
		return nil
	}
	r := &Refusal{Reason: AddressRetained, Address: e.address, Pool: e.pool, Until: until}
	r.tell(c, e.released.Key)
	if r.Holder != nil {
		r.Since = e.released.At
	}
	return r
}

// retainedUntil is the time until which a released address is kept for its last
// holder. A holder that has another address of the family now does not return:
// what it left is not retained.
func (b *Books) retainedUntil(now time.Time, e *entry) (time.Time, bool) {
	if e.released == nil || e.bucket == nil {
		return time.Time{}, false
	}
	until := e.released.At.Add(e.bucket.pool.Retain)
	if !now.Before(until) {
		return until, false
	}
	if h := b.holders.of(e.released.Key); h != nil {
		for _, a := range h.addrs {
			if a.Is4() == e.address.Is4() {
				return until, false
			}
		}
	}
	return until, true
}

// noteDraining tells a holder that its pool is draining and that it stays there
// because it asked for it.
func (b *Books) noteDraining(p *plan, a netip.Addr, origin string) {
	if origin == "" || p.note != nil {
		return
	}
	if pool := b.poolAt(a); pool != nil && pool.Draining {
		p.note = &Refusal{Reason: PoolDraining, Address: a, Family: FamilyOf(a), Pool: pool.Name, Origin: origin, Kept: true}
	}
}

// poolAt is the pool of an assigned address: the one it lies in, else the one it
// was given from, which an edit has taken it out of. Nil: neither is there.
func (b *Books) poolAt(a netip.Addr) *pool {
	if bk := b.bucketAt(a); bk != nil {
		return bk.pool
	}
	if e := b.entries[a]; e != nil {
		return b.pools[e.pool]
	}
	return nil
}

// automatic fills the families without explicit addresses. False: the claim
// cannot be served, and p says why.
func (b *Books) automatic(p *plan, c *Claim, current []netip.Addr, chosen *[2][]wanted) bool {
	s := &b.scratch.search
	*s = search{b: b, p: p, c: c}
	open := b.scratch.open[:0] // positions of families that need a new address
	var moving [2]netip.Addr
	for i, f := range c.Families {
		if len(chosen[i]) > 0 {
			s.prefer(b.bucketAt(chosen[i][0].address))
			continue
		}
		a, move := b.kept(p, c, current, f)
		if a.IsValid() && !move {
			chosen[i] = append(chosen[i], wanted{a, b.origin(c, a)})
			s.prefer(b.entries[a].bucket)
			continue
		}
		moving[i] = a
		open = append(open, i)
	}
	b.scratch.open = open
	if len(open) == 0 {
		return true
	}
	s.candidates, s.poolRefusal = b.candidates(c)
	s.find(open, chosen)
	possible := true
	for _, i := range open {
		if len(chosen[i]) == 0 && !b.without(s, i, moving[i], chosen) {
			possible = false // look on: the claim waits for every family it lacks
		}
	}
	return possible
}

// without decides what becomes of a family for which no address was found.
func (b *Books) without(s *search, i int, has netip.Addr, chosen *[2][]wanted) bool {
	p, c := s.p, s.c
	f := c.Families[i]
	refusal := s.refusal(f)
	stays := wanted{has, ""}
	if has.IsValid() {
		stays.origin = b.origin(c, has)
		if b.onlyDraining(c, has) {
			refusal = &Refusal{Reason: PoolDraining, Address: has, Family: f, Pool: b.poolAt(has).Name, Kept: true}
			if p.note == nil {
				p.note = refusal
			}
			p.wants = append(p.wants, s.wants(f)...)
			chosen[i] = append(chosen[i], stays)
			return true
		}
	}
	served := has.IsValid()
	for j := range c.Families {
		served = served || len(chosen[j]) > 0
	}
	refusal.Partly = c.Policy == Prefer && served
	p.refuse(refusal, s.wants(f)...)
	if c.Policy != Prefer || !served {
		return false
	}
	if has.IsValid() {
		chosen[i] = append(chosen[i], stays)
	}
	return true
}

// onlyDraining tells whether draining is the only reason for the holder to leave
// the address.
func (b *Books) onlyDraining(c *Claim, a netip.Addr) bool {
	return len(c.Pools) == 0 || names(c.Pools, b.entries[a].pool)
}

// kept is the address of the family that the holder has, if any, and whether it
// should get another one: the wish for pools is not met by it, or its pool is
// draining and nobody wished for that pool.
func (b *Books) kept(p *plan, c *Claim, current []netip.Addr, f Family) (netip.Addr, bool) {
	var first netip.Addr
	var firstMoves bool
	try := func(addrs []netip.Addr) bool {
		for _, a := range addrs {
			if FamilyOf(a) != f {
				continue
			}
			move := b.shouldMove(c, a)
			if !first.IsValid() || !move {
				first, firstMoves = a, move
			}
			if !move {
				return true
			}
		}
		return false
	}
	if try(current) {
		return first, false
	}
	if h := p.holder; h != nil && len(h.addrs) > len(current) {
		try(h.inOrder())
	}
	return first, firstMoves
}

func (b *Books) shouldMove(c *Claim, a netip.Addr) bool {
	if e := b.entries[a]; len(c.Pools) == 0 && e.reserved != nil && *e.reserved == c.Key {
		return false
	}
	bk := b.bucketAt(a)
	if len(c.Pools) > 0 {
		return !names(c.Pools, b.entries[a].pool) && (bk == nil || !names(c.Pools, bk.pool.Name))
	}
	pool := b.poolAt(a)
	return pool != nil && pool.Draining
}
