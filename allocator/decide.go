package allocator

import (
	"net/netip"
	"slices"
	"time"
)

// plan is what a claim shall have, worked out without changing the books.
type plan struct {
	now     time.Time
	holder  *holder // nil: has nothing yet
	needs   []wanted
	refused []Refusal
	note    *Refusal
	wants   []want
}

// scratch is memory that one decision leaves to the next.
type scratch struct {
	claim   Claim
	plan    plan
	search  search
	needs   []wanted
	open    []int
	entries []*entry
	chosen  [2][]wanted
}

type wanted struct {
	address netip.Addr
	origin  string
}

// addresses are the needs without their origins, in the list of the last decision
// if that had the same.
func (p *plan) addresses(s *slab[netip.Addr]) []netip.Addr {
	same := func(a netip.Addr, w wanted) bool { return a == w.address }
	if h := p.holder; h != nil && h.needs != nil && slices.EqualFunc(h.needs, p.needs, same) {
		return h.needs
	}
	out := s.take(len(p.needs))
	for i, w := range p.needs {
		out[i] = w.address
	}
	return out
}

func (p *plan) refuse(r *Refusal, w ...want) {
	p.refused = append(p.refused, *r)
	p.wants = append(p.wants, w...)
}

// Decide gives the claim its addresses, or says why not, and changes the books.
//
// What the holder has, it keeps unless its wish or its families changed or an
// operator drains the pool; and it keeps that too until the new addresses are its
// own (see Decision). Explicit addresses are given exactly, all or none.
// Other families are filled, in this order: what an interrupted decision had
// begun; a reservation for the holder; an address that holders with the same
// sharing key have; what the holder had before and is retained; the lowest free
// address of the first pool with room, if possible one pool for all families;
// and last the longest free of the addresses that still wait.
//
// The same claim decided again gives the same answer.
func (b *Books) Decide(now time.Time, c Claim) Decision {
	claim, p := b.begin(now, &c)
	if p.holder != nil {
		for _, a := range p.holder.addrs {
			b.follow(b.entries[a], claim)
		}
	}
	b.plan(p, claim)
	return b.carryOut(p, claim)
}

// begin prepares the scratch memory for a claim.
func (b *Books) begin(now time.Time, c *Claim) (*Claim, *plan) {
	s := &b.scratch
	s.claim = *c
	s.claim.normalise()
	s.plan = plan{now: second(now), holder: b.holders.of(c.Key), needs: s.needs[:0]}
	return &s.claim, &s.plan
}

func (c *Claim) normalise() {
	c.Ports = normalPorts(c.Ports)
	if len(c.Families) > 2 || len(c.Families) == 2 && c.Families[0] == c.Families[1] {
		var once []Family
		for _, f := range c.Families {
			if (f == IPv4 || f == IPv6) && !slices.Contains(once, f) {
				once = append(once, f)
			}
		}
		c.Families = once
	}
	if slices.ContainsFunc(c.Addresses, func(w Wish[netip.Addr]) bool { return w.Value.Is4In6() }) {
		c.Addresses = slices.Clone(c.Addresses)
		for i, w := range c.Addresses {
			c.Addresses[i].Value = w.Value.Unmap()
		}
	}
}

// plan fills p.
func (b *Books) plan(p *plan, c *Claim) {
	current := b.current(c.Key, p.holder)
	if refusal := contradiction(c); refusal != nil {
		refusal.Kept = len(current) > 0
		p.refuse(refusal)
		b.keep(p, c, current)
		return
	}
	chosen := &b.scratch.chosen // by position in c.Families
	chosen[0], chosen[1] = chosen[0][:0], chosen[1][:0]
	for i, f := range c.Families {
		var refusal *Refusal
		if chosen[i], refusal = b.explicit(p, c, f, chosen[i]); refusal != nil {
			refusal.Kept = len(current) > 0
			p.refuse(refusal, b.wantsOf(refusal)...)
			b.keep(p, c, current)
			return
		}
	}
	if !b.automatic(p, c, current, chosen) {
		b.keep(p, c, current)
		return
	}
	for i := range c.Families {
		p.needs = append(p.needs, chosen[i]...)
	}
	b.scratch.needs = p.needs
}

// wantsOf is what a claim waits for whose requested address is refused.
func (b *Books) wantsOf(r *Refusal) []want {
	wants := []want{{address: r.Address}}
	if r.Reason == LimitReached {
		wants = append(wants, want{pools: []*pool{b.pools[r.Pool]}, family: r.Family, limit: true})
	}
	return wants
}

// contradiction is what is wrong with a claim whatever the pools are.
func contradiction(c *Claim) *Refusal {
	if len(c.Families) == 0 || slices.ContainsFunc(c.Families, func(f Family) bool { return f != IPv4 && f != IPv6 }) {
		return &Refusal{Reason: NoFamily}
	}
	for _, w := range c.Addresses {
		if !plain(w.Value) {
			return &Refusal{Reason: AddressInvalid, Address: w.Value, Origin: w.Origin}
		}
		if f := FamilyOf(w.Value); !slices.Contains(c.Families, f) {
			return &Refusal{Reason: FamilyMismatch, Address: w.Value, Family: f, Origin: w.Origin}
		}
	}
	return nil
}

// current are the addresses that the holder has and means to keep, in its order:
// those of its last decision or, after a restart, of its newest holding.
func (b *Books) current(k Key, h *holder) []netip.Addr {
	if h == nil {
		return nil
	}
	needs := h.needs
	if needs == nil {
		needs = b.newestNeeds(k, h)
	}
	lost := func(a netip.Addr) bool { return !slices.Contains(h.addrs, a) }
	if !slices.ContainsFunc(needs, lost) {
		return needs
	}
	return slices.DeleteFunc(slices.Clone(needs), lost)
}

func (b *Books) newestNeeds(k Key, h *holder) []netip.Addr {
	var newest *Holding
	for _, a := range h.inOrder() {
		if g := b.entries[a].holding(k); newest == nil || g.Since.After(newest.Since) {
			newest = g
		}
	}
	if len(newest.Needs) == 0 { // not written by us
		return h.addrs
	}
	return newest.Needs
}

// keep plans to leave the holder what it has. A half of an interrupted decision
// that was never announced is given back.
func (b *Books) keep(p *plan, c *Claim, current []netip.Addr) {
	p.needs = p.needs[:0]
	for _, f := range c.Families {
		for _, a := range current {
			if FamilyOf(a) == f && b.complete(c.Key, a) {
				p.needs = append(p.needs, wanted{a, b.origin(c, a)})
			}
		}
	}
	for i := range p.refused {
		p.refused[i].Kept, p.refused[i].Partly = len(p.needs) > 0, false
	}
}

// complete tells whether the holding is bound, or has all that it needs to be.
func (b *Books) complete(k Key, a netip.Addr) bool {
	h := b.entries[a].holding(k)
	return h.Bound || !slices.ContainsFunc(h.Needs, func(n netip.Addr) bool {
		e := b.entries[n]
		return e == nil || e.holding(k) == nil
	})
}

// origin is where the wish that the address meets was written: the address, or
// one of the pools it may count to. Empty: nobody wished for it.
func (b *Books) origin(c *Claim, a netip.Addr) string {
	for _, w := range c.Addresses {
		if w.Value == a {
			return w.Origin
		}
	}
	if len(c.Pools) == 0 {
		return ""
	}
	if e := b.entries[a]; e != nil && names(c.Pools, e.pool) {
		return poolOrigin(c, e.pool)
	}
	if bk := b.bucketAt(a); bk != nil {
		return poolOrigin(c, bk.pool.Name)
	}
	return ""
}

// poolOrigin is where the wish for the pool was written.
func poolOrigin(c *Claim, pool string) string {
	for _, w := range c.Pools {
		if w.Value == pool {
			return w.Origin
		}
	}
	return ""
}

// carryOut changes the books as planned.
func (b *Books) carryOut(p *plan, c *Claim) Decision {
	var d Decision
	needs := p.addresses(&b.slabs.needs)
	assigned := b.give(p, c, needs, &d)
	if h := p.holder; h != nil {
		h.needs = needs
		d.Leaving = leaving(h)
		if !assigned || len(needs) > 1 { // else it is new and Bound
			b.settle(c.Key, h)
		}
	}
	b.answer(p, c, &d)
	if assigned && len(b.waiters) > 0 {
		for _, a := range b.retained[c.Key] { // not retained any more
			d.Wake = append(d.Wake, b.wake(a)...)
		}
	}
	d.Wake = append(d.Wake, b.queueUp(p, c)...)
	return d
}

// give writes the needed addresses down for the holder, new and kept ones, and
// tells whether there was a new one.
func (b *Books) give(p *plan, c *Claim, needs []netip.Addr, d *Decision) (assigned bool) {
	entries := b.scratch.entries[:0]
	for _, a := range needs {
		e := b.at(a)
		entries = append(entries, e)
		was := e.holding(c.Key)
		if was == nil {
			b.assign(e, c, needs, p.now)
			assigned = true
			if c.SharingKey.Value != "" {
				d.Wake = append(d.Wake, b.wake(a)...)
			}
			continue
		}
		if refusal := b.refresh(e, c, needs); refusal != nil {
			p.refuse(refusal, want{address: a})
		}
		if was.sharesOtherwise(e.holding(c.Key)) {
			d.Wake = append(d.Wake, b.wake(a)...)
		}
	}
	b.scratch.entries = entries
	if p.holder == nil && assigned {
		p.holder = b.holders.of(c.Key)
	}
	return assigned
}

// answer fills in what the holder has now and what there is to write.
func (b *Books) answer(p *plan, c *Claim, d *Decision) {
	entries := b.scratch.entries
	if len(entries) > 0 {
		d.Addresses = b.slabs.assigned.take(len(entries))
	}
	for i, w := range p.needs {
		b.noteDraining(p, w.address, w.origin)
		d.Addresses[i] = Assigned{w.address, entries[i].pool, w.origin, entries[i].holding(c.Key).Since}
	}
	d.Bound = len(entries) > 0
	d.Touched = b.touched(c.Key, entries, d.Leaving)
	d.touchDeparted(b, c.Key)
	d.refuseWith(p)
}

func (d *Decision) refuseWith(p *plan) {
	d.Refused, d.Note = p.refused, p.note
	if len(p.refused) > 0 {
		d.Refusal = &p.refused[0]
	}
}

// queueUp notes what the claim waits for, and passes the baton if it was woken.
func (b *Books) queueUp(p *plan, c *Claim) []Key {
	w := b.waiters[c.Key]
	if w == nil || !w.woken {
		b.enqueue(c, p.wants)
		return nil
	}
	seq, queues := w.seq, w.queues
	b.enqueue(c, p.wants)
	return b.passOn(seq, queues)
}

func leaving(h *holder) []netip.Addr {
	if len(h.addrs) == len(h.needs) {
		return nil
	}
	var out []netip.Addr
	for _, a := range h.addrs {
		if !slices.Contains(h.needs, a) {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// assign gives the address of e to the claim's holder.
func (b *Books) assign(e *entry, c *Claim, needs []netip.Addr, now time.Time) {
	b.arrived(e.address, c.Key)
	e.soil()
	before, pool := e.holders, e.pool
	if len(before) == 0 {
		e.pool = b.surrounding(e)
	}
	e.holders = b.slabs.holdings.take(len(before) + 1)
	copy(e.holders, before)
	h := &e.holders[len(before)]
	*h = holdingOf(c)
	h.Since, h.Needs, h.Bound = now, needs, len(needs) == 1
	h.Takeover = e.takeoverOn(c)
	e.released = nil
	b.derive(e, before, e.reserved, pool)
}

// settle makes those holdings Bound whose other needs stand in the ledger.
func (b *Books) settle(k Key, h *holder) {
	if h == nil {
		return
	}
	missing := 0
	for _, a := range h.needs {
		if e := b.entries[a]; e == nil || e.holding(k) == nil {
			return
		} else if !e.confirmed(k) {
			missing++
		}
	}
	for _, a := range h.needs {
		e := b.entries[a]
		others := missing
		if !e.confirmed(k) {
			others--
		}
		if others > 0 || e.holding(k).Bound {
			continue
		}
		b.change(e, func(e *entry) {
			e.holders = slices.Clone(e.holders)
			e.holding(k).Bound = true
		})
	}
}

func (b *Books) settleHolders(holders []Holding) {
	for _, h := range holders {
		if len(h.Needs) > 1 {
			b.settle(h.Key, b.holders.of(h.Key))
		}
	}
}

// touched orders the writes: new addresses, then the rest, with what the first
// ones still need to become Bound.
func (b *Books) touched(k Key, needs []*entry, leaving []netip.Addr) []netip.Addr {
	if len(needs) == 1 && len(leaving) == 0 && !needs[0].confirmed(k) {
		return slices.Clip(needs[0].holding(k).Needs) // the common case, without a list of its own
	}
	var out []netip.Addr
	for _, e := range needs {
		if !e.confirmed(k) {
			out = append(out, e.address)
		}
	}
	pending := len(out) - 1 // the last new one is written Bound
	for _, e := range needs {
		switch {
		case e.confirmed(k) && e.dirty:
			out = append(out, e.address)
		case !e.confirmed(k) && pending > 0:
			out = append(out, e.address)
			pending--
		}
	}
	for _, a := range leaving {
		if b.entries[a].dirty {
			out = append(out, a)
		}
	}
	return out
}
