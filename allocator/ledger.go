package allocator

import (
	"maps"
	"net/netip"
	"slices"
)

// equal compares what the ledger holds. Times are compared to the second.
func (e Entry) equal(o Entry) bool {
	return e.Address == o.Address && e.Pool == o.Pool && equalPointers(e.ReservedFor, o.ReservedFor) &&
		equalReleases(e.Released, o.Released) && slices.EqualFunc(e.Holders, o.Holders, Holding.equal)
}

func equalPointers(a, b *Key) bool { return a == b || a != nil && b != nil && *a == *b }

func equalReleases(a, b *Release) bool {
	return a == b || a != nil && b != nil && a.Key == b.Key && a.At.Equal(b.At)
}

func (h Holding) equal(o Holding) bool {
	return h.Key == o.Key && h.UID == o.UID && slices.Equal(h.Ports, o.Ports) && h.SharingKey == o.SharingKey &&
		slices.Equal(h.ShareWith, o.ShareWith) && h.Local == o.Local && h.Endpoints == o.Endpoints &&
		maps.Equal(h.Advertised, o.Advertised) && h.Since.Equal(o.Since) && slices.Equal(h.Needs, o.Needs) && h.Bound == o.Bound &&
		equalTakeovers(h.Takeover, o.Takeover)
}

// normal brings an entry to the books' form, and tells whether it is one at all:
// IPv4-mapped addresses become IPv4, times lose what is below a second, and a
// holder named twice counts once.
func (e Entry) normal() (Entry, bool) {
	e.Address = e.Address.Unmap()
	if !plain(e.Address) {
		return e, false
	}
	if e.Released != nil {
		e.Released = &Release{Key: e.Released.Key, At: second(e.Released.At)}
	}
	if len(e.Holders) == 0 {
		return e, true
	}
	e.Holders = slices.Clone(e.Holders)
	for i := range e.Holders {
		h := &e.Holders[i]
		h.Since = second(h.Since)
		if t := h.Takeover; t != nil {
			h.Takeover = &Takeover{From: t.From, FromUID: t.FromUID, Also: t.Also, Phase: t.Phase, Since: second(t.Since)}
		}
		if slices.ContainsFunc(h.Needs, netip.Addr.Is4In6) {
			h.Needs = slices.Clone(h.Needs)
			for j, a := range h.Needs {
				h.Needs[j] = a.Unmap()
			}
		}
	}
	for i := len(e.Holders) - 1; i > 0; i-- {
		if find(e.Holders[:i], e.Holders[i].Key) != nil {
			e.Holders = slices.Delete(e.Holders, i, i+1)
		}
	}
	return e, true
}

// Load tells the books what the API server has for an address: at the start, by
// a watch event, after a successful write of ours, after a conflict. It is the
// truth: where somebody else changed the entry, the books follow. What the
// books decided meanwhile and the caller has not written yet stays decided as
// far as the truth leaves room for it: a new holder where the address is free
// or shareable, a removal where the holder is unchanged. News that is none
// (the entry that was loaded last) changes nothing, so that late events of own
// writes do no harm.
//
// An entry whose address is IPv4-mapped counts as IPv4; one with a zone or
// without an address is ignored.
func (b *Books) Load(truth Entry) {
	truth, ok := truth.normal()
	if !ok {
		return
	}
	b.departures(truth)
	e := b.at(truth.Address)
	if e.written && (e.dirty && e.truth.equal(truth) || !e.dirty && e.export().equal(truth)) {
		return
	}
	var base Entry
	ours := e.export()
	switch {
	case e.dirty && e.truth != nil:
		base = *e.truth
	case !e.dirty && e.written:
		base = ours
	}
	merged := b.merge(base, ours, truth)
	endAbandoned(merged.Holders)
	e.written, e.dirty, e.truth = true, true, &truth
	b.change(e, func(e *entry) {
		e.holders, e.reserved, e.released, e.pool = merged.Holders, merged.ReservedFor, merged.Released, merged.Pool
	})
	b.settleHolders(merged.Holders)
	for _, h := range ours.Holders {
		if find(merged.Holders, h.Key) == nil {
			b.woken = append(b.woken, h.Key) // lost it
		}
	}
	for _, h := range merged.Holders {
		if find(ours.Holders, h.Key) == nil {
			for _, a := range b.retained[h.Key] { // not retained any more
				b.woken = append(b.woken, b.wake(a)...)
			}
		}
	}
	if len(merged.Holders) < len(ours.Holders) {
		b.woken = append(b.woken, b.alone(e)...)
	}
	b.wakeLater(ours, merged)
}

// merge applies to the truth what we changed since base and have not written.
func (b *Books) merge(base, ours, truth Entry) Entry {
	out := truth
	out.Holders = nil
	for _, t := range truth.Holders {
		was, is := find(base.Holders, t.Key), find(ours.Holders, t.Key)
		switch {
		case is == nil && (was != nil || b.departs(truth.Address, t.Key)): // we removed it
		case is == nil, was != nil && was.equal(*is): // news
			out.Holders = append(out.Holders, t)
		default: // we changed it, or made it and this is our write come back
			o := *is
			o.Since, o.Bound = t.Since, o.Bound || t.Bound
			out.Holders = append(out.Holders, o)
		}
	}
	for _, o := range ours.Holders {
		if find(base.Holders, o.Key) == nil && find(truth.Holders, o.Key) == nil && b.mayStandBeside(o, out) {
			out.Holders = append(out.Holders, o)
		}
	}
	if _, out.Pool = b.whereIs(truth.Address); len(out.Holders) > 0 {
		out.Pool = b.poolOf(truth.Address, truth.Pool)
	}
	switch {
	case len(out.Holders) > 0:
		out.Released = nil
	case out.Released == nil || equalReleases(base.Released, truth.Released):
		out.Released = ours.Released
	}
	return out
}

func find(holders []Holding, k Key) *Holding {
	for i := range holders {
		if holders[i].Key == k {
			return &holders[i]
		}
	}
	return nil
}

// mayStandBeside tells whether an unwritten holding can stay in view of the truth.
func (b *Books) mayStandBeside(h Holding, e Entry) bool {
	if e.ReservedFor != nil && *e.ReservedFor != h.Key {
		return false
	}
	bk := b.bucketAt(e.Address)
	for i := range e.Holders {
		if shareable(bk, h, &e.Holders[i]) != "" {
			return false
		}
	}
	return true
}

// Unload tells the books that the API server has no entry for a, or none any
// more. Where the books have holders for it, they stay, and the next decision
// for one of them touches the entry so that it is made again: a foreign
// deletion never takes an address. Without holders the entry is forgotten.
func (b *Books) Unload(a netip.Addr) {
	b.departures(Entry{Address: a.Unmap()})
	e := b.entries[a.Unmap()]
	if e == nil {
		return
	}
	before := e.export()
	wasDirty := e.dirty
	e.written, e.dirty, e.truth = false, true, nil
	b.change(e, func(e *entry) {
		if len(e.holders) > 0 {
			return
		}
		e.reserved, e.released = nil, nil
	})
	if len(before.Holders) > 0 && !wasDirty {
		for _, h := range before.Holders {
			b.woken = append(b.woken, h.Key)
		}
		return
	}
	b.wakeLater(before, e.export())
}
