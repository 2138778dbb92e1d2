package bgp

import (
	"net/netip"
	"slices"
)

// ribOut is what one peer shall have and what it has been sent (the Adj-RIB-Out of RFC 4271 section 3.2), with a queue of
// the differences. It is not safe for concurrent use.
type ribOut struct {
	entries map[netip.Prefix]*entry
	queue   []netip.Prefix
	// can are the families that can be sent on the present connection; none while there is no connection.
	can    Families
	wanted int
	sent   int
}

type entry struct {
	want, has *attributes
	queued    bool
	// again sends the route even if the peer has it.
	again bool
}

func newRIBOut() *ribOut { return &ribOut{entries: map[netip.Prefix]*entry{}} }

// put makes the prefix wanted with the attributes and tells whether that is a change.
func (r *ribOut) put(p netip.Prefix, a Attributes, attrs *pool) (changed bool) {
	e := r.entries[p]
	switch {
	case e == nil:
		e = &entry{}
		r.entries[p] = e
	case e.want != nil && e.want.equal(a):
		return false
	}
	if e.want == nil {
		r.wanted++
	}
	e.want = attrs.intern(a)
	r.enqueue(p, e)
	return true
}

// drop makes one prefix unwanted and tells whether that is a change.
func (r *ribOut) drop(p netip.Prefix) bool {
	e := r.entries[p]
	if e == nil || e.want == nil {
		return false
	}
	r.unwant(p, e)
	return true
}

// use adds the attributes that are wanted or have been sent.
func (r *ribOut) use(used map[*attributes]bool) {
	for _, e := range r.entries {
		used[e.want], used[e.has] = true, true
	}
}

func (r *ribOut) unwant(p netip.Prefix, e *entry) {
	e.want = nil
	r.wanted--
	if e.has == nil && !e.queued {
		delete(r.entries, p)
		return
	}
	r.enqueue(p, e)
}

func (r *ribOut) enqueue(p netip.Prefix, e *entry) {
	if e.queued || r.can&familyOf(p) == 0 {
		return
	}
	e.queued = true
	r.queue = append(r.queue, p)
}

// connected begins anew for a peer that has nothing and takes the families.
func (r *ribOut) connected(can Families) {
	r.disconnected()
	r.can = can
	for p, e := range r.entries {
		r.enqueue(p, e)
	}
	slices.SortFunc(r.queue, netip.Prefix.Compare)
}

// disconnected forgets what the peer had.
func (r *ribOut) disconnected() {
	r.can, r.sent, r.queue = 0, 0, nil
	for p, e := range r.entries {
		e.has, e.queued, e.again = nil, false, false
		if e.want == nil {
			delete(r.entries, p)
		}
	}
}

// resend queues all routes of the families once more (RFC 2918).
func (r *ribOut) resend(f Families) {
	for p, e := range r.entries {
		if familyOf(p)&f != 0 && e.want != nil {
			e.again = true
			r.enqueue(p, e)
		}
	}
}

// A batch is what is to be sent at once: prefixes that the peer must lose, and those that it must have, by attributes.
type batch struct {
	withdraw []netip.Prefix
	announce []group
}

type group struct {
	attrs    *attributes
	prefixes []netip.Prefix
}

func (b batch) empty() bool { return len(b.withdraw) == 0 && len(b.announce) == 0 }

// next takes up to limit differences out of the queue and counts them as sent.
func (r *ribOut) next(limit int) batch {
	var b batch
	index := map[*attributes]int{}
	n := min(limit, len(r.queue))
	for _, p := range r.queue[:n] {
		e := r.entries[p]
		e.queued = false
		switch {
		case e.want == nil:
			if e.has != nil {
				r.sent--
				b.withdraw = append(b.withdraw, p)
			}
			delete(r.entries, p)
		case e.again || !e.want.same(e.has):
			if e.has == nil {
				r.sent++
			}
			e.has, e.again = e.want, false
			i, ok := index[e.want]
			if !ok {
				i = len(b.announce)
				index[e.want] = i
				b.announce = append(b.announce, group{attrs: e.want})
			}
			b.announce[i].prefixes = append(b.announce[i].prefixes, p)
		}
	}
	r.queue = r.queue[n:]
	if len(r.queue) == 0 {
		r.queue = nil
	}
	return b
}
