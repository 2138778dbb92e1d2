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
	// kept counts the prefixes that were put in the present generation.
	kept int
}

type entry struct {
	want, has *attributes
	gen       uint64
	queued    bool
	// again sends the route even if the peer has it.
	again bool
}

func newRIBOut() *ribOut { return &ribOut{entries: map[netip.Prefix]*entry{}} }

// put makes the prefix wanted with the attributes and tells whether that is a change. A prefix that has been put in this
// generation already is left as it is.
func (r *ribOut) put(p netip.Prefix, a Attributes, attrs *pool) (changed bool) {
	e := r.entries[p]
	switch {
	case e == nil:
		e = &entry{}
		r.entries[p] = e
	case e.gen == attrs.gen && e.want != nil:
		return false
	case e.want != nil && e.want.equal(a):
		r.kept++
		e.gen, e.want.gen = attrs.gen, attrs.gen
		return false
	}
	r.kept++
	if e.want == nil {
		r.wanted++
	}
	e.want, e.gen = attrs.intern(a), attrs.gen
	r.enqueue(p, e)
	return true
}

// sweep ends a generation: what has not been put in it is no longer wanted. It returns how many those were.
func (r *ribOut) sweep(gen uint64) (gone int) {
	kept := r.kept
	r.kept = 0
	if r.wanted == kept {
		return 0
	}
	for p, e := range r.entries {
		if e.want != nil && e.gen != gen {
			gone++
			r.unwant(p, e)
		}
	}
	return gone
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
