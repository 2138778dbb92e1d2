package allocator

import (
	"net/netip"
	"slices"
)

// search looks for addresses of the families that a claim did not name one of.
type search struct {
	b           *Books
	p           *plan
	c           *Claim
	candidates  []*pool
	poolRefusal *Refusal // of a pool asked for
	// preferred is the pool of another family's address.
	preferred *pool
}

func (s *search) prefer(bk *bucket) {
	if s.preferred == nil && bk != nil {
		s.preferred = bk.pool
	}
}

// find fills chosen at the open positions as far as there is room.
func (s *search) find(open []int, chosen *[2][]wanted) {
	take := func(i int, a netip.Addr) {
		if len(s.c.Families) > 1 {
			s.prefer(s.b.bucketAt(a))
		}
		chosen[i] = append(chosen[i], wanted{a, s.b.origin(s.c, a)})
	}
	for _, i := range open {
		if a, ok := s.own(s.c.Families[i]); ok {
			take(i, a)
		}
	}
	left := 0
	for _, i := range open {
		if len(chosen[i]) == 0 {
			left++
		}
	}
	if left == 2 {
		s.preferred = s.both()
	}
	for _, i := range open {
		if len(chosen[i]) > 0 {
			continue
		}
		if a, ok := s.fromPools(s.c.Families[i]); ok {
			take(i, a)
		}
	}
}

// both is the first pool that has a free address of either family.
func (s *search) both() *pool {
	for _, p := range s.candidates {
		if s.fresh(p.families[0]) && s.fresh(p.families[1]) {
			return p
		}
	}
	return nil
}

func (s *search) fresh(bk *bucket) bool {
	if bk == nil || !bk.within(s.c.Key.Namespace, -s.b.givingUp(s.c, bk)) {
		return false
	}
	_, ok := bk.lowest()
	return ok
}

func (s *search) fromPools(f Family) (netip.Addr, bool) {
	i := index(f)
	if p := s.preferred; p != nil && s.mayPrefer(p) && s.fresh(p.families[i]) {
		return s.lowest(p.families[i])
	}
	for _, p := range s.candidates {
		if s.fresh(p.families[i]) {
			return s.lowest(p.families[i])
		}
	}
	for _, p := range s.candidates {
		bk := p.families[i]
		if bk == nil || !bk.within(s.c.Key.Namespace, -s.b.givingUp(s.c, bk)) {
			continue
		}
		if item, ok := bk.cooling.first(); ok {
			return item.at.addr(f), true
		}
	}
	return netip.Addr{}, false
}

func (s *search) lowest(bk *bucket) (netip.Addr, bool) {
	n, ok := bk.lowest()
	return n.addr(bk.family), ok
}

// mayPrefer tells whether the pool of the other family may serve: it is a
// candidate, or the holder named an address of it and no pool.
func (s *search) mayPrefer(p *pool) bool {
	if p.serves(s.c) {
		return true
	}
	named := slices.ContainsFunc(s.c.Addresses, func(w Wish[netip.Addr]) bool {
		bk := s.b.bucketAt(w.Value)
		return bk != nil && bk.pool == p
	})
	return named && len(s.c.Pools) == 0 && !p.Draining && p.admits(s.c)
}

// own is an address that is the holder's before anybody else's.
func (s *search) own(f Family) (netip.Addr, bool) {
	if a, ok := s.unfinished(f); ok {
		return a, true
	}
	if a, ok := s.reservation(f); ok {
		return a, true
	}
	if a, ok := s.b.joinable(s.c, f); ok {
		return a, true
	}
	return s.returning(f)
}

// reservation is the lowest address that a person reserved for the holder.
func (s *search) reservation(f Family) (lowest netip.Addr, ok bool) {
	for _, a := range s.b.reservations[s.c.Key] {
		if FamilyOf(a) == f && (!ok || a.Less(lowest)) && s.b.unavailable(s.p, s.c, a, nil) == nil && s.wished(a) {
			lowest, ok = a, true
		}
	}
	return lowest, ok
}

// wished tells whether a reserved address meets the wish for a pool.
func (s *search) wished(a netip.Addr) bool {
	return len(s.c.Pools) == 0 || names(s.c.Pools, s.b.entries[a].pool)
}

// unfinished is an address that an interrupted decision meant for the holder.
func (s *search) unfinished(f Family) (netip.Addr, bool) {
	h := s.p.holder
	if h == nil {
		return netip.Addr{}, false
	}
	for _, held := range h.inOrder() {
		g := s.b.entries[held].holding(s.c.Key)
		if g.Bound {
			continue
		}
		for _, a := range g.Needs {
			bk := s.b.bucketAt(a)
			if FamilyOf(a) == f && !slices.Contains(h.addrs, a) && bk != nil && (bk.pool.serves(s.c) || s.mayPrefer(bk.pool)) &&
				s.b.unavailable(s.p, s.c, a, nil) == nil {
				return a, true
			}
		}
	}
	return netip.Addr{}, false
}

// returning is the address that the holder gave up last and that is retained.
func (s *search) returning(f Family) (found netip.Addr, ok bool) {
	var best *entry
	for _, a := range s.b.retained[s.c.Key] {
		e := s.b.entries[a]
		if FamilyOf(a) != f || e.bucket == nil || !e.bucket.pool.serves(s.c) || !s.b.withinLimit(s.c, e.bucket, a, 0) {
			continue
		}
		if _, retained := s.b.retainedUntil(s.p.now, e); !retained {
			continue
		}
		if best == nil || e.released.At.After(best.released.At) || e.released.At.Equal(best.released.At) && a.Less(best.address) {
			best = e
		}
	}
	if best == nil {
		return netip.Addr{}, false
	}
	return best.address, true
}

// wants are what could serve the family later.
func (s *search) wants(f Family) []want {
	wants := []want{{pools: s.candidates, family: f}}
	if key := s.c.SharingKey.Value; key != "" {
		wants = append(wants, want{sharing: key})
	}
	return wants
}

// refusal tells why no address of the family was found.
func (s *search) refusal(f Family) *Refusal {
	r := &Refusal{Family: f}
	var limited *pool
	var full []*pool
	for _, p := range s.candidates {
		bk := p.families[index(f)]
		switch {
		case bk == nil:
		case !bk.within(s.c.Key.Namespace, 0) && limited == nil:
			limited = p
		default:
			full = append(full, p)
		}
	}
	switch {
	case len(full) > 0:
		bk := full[0].families[index(f)]
		r.Reason, r.Pool, r.InUse, r.Capacity = PoolExhausted, full[0].Name, bk.assigned+bk.reserved, bk.capacity
		r.Pools = poolNames(full)
	case limited != nil:
		r.Reason, r.Pool, r.Namespace, r.Limit = LimitReached, limited.Name, s.c.Key.Namespace, limited.PerNamespaceLimit
	case s.poolRefusal != nil:
		refusal := *s.poolRefusal
		refusal.Family = f
		return &refusal
	case len(s.candidates) == 0:
		r.Reason = NoPool
		return r
	default:
		r.Reason, r.Pool, r.Pools = FamilyUnavailable, s.candidates[0].Name, poolNames(s.candidates)
	}
	if len(s.c.Pools) > 0 {
		r.Origin = poolOrigin(s.c, r.Pool)
	}
	return r
}

func poolNames(pools []*pool) []string {
	if len(pools) < 2 {
		return nil
	}
	out := make([]string, len(pools))
	for i, p := range pools {
		out[i] = p.Name
	}
	return out
}
