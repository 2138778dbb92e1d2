package allocator

import (
	"cmp"
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// waiting remembers who waits for what. A claim that was refused for want of an
// address keeps its place in the order of arrival until it is served or gone.
//
// Claims that the same pools could serve wait in one queue, so that a release
// looks at a few queues and not at all waiting claims. A woken claim that is
// decided passes the baton: if there is room left for its queue, the next in it
// is woken.
type waiting struct {
	waiters map[Key]*waiter
	seq     uint64
	queues  map[string]*queue     // by pools, family and, with limits, namespace
	wishers map[netip.Addr]*queue // by address asked for
	woken   []Key                 // by Load, Unload, Expire, SetPools
}

type waiter struct {
	seq    uint64
	claim  *Claim
	queues []*queue
	woken  bool
}

type queue struct {
	name      string
	address   netip.Addr // of wishers
	buckets   []*bucket
	namespace string // set if a pool has a limit
	limit     bool
	sharing   string
	waiters   sorted[*waiter]
}

// want is what a claim waits for: an address, or one of the buckets.
type want struct {
	address netip.Addr
	pools   []*pool
	family  Family
	limit   bool   // waits only for its namespace to have less
	sharing string // a key: waits for an address to join
}

func newWaiting() waiting {
	return waiting{waiters: map[Key]*waiter{}, queues: map[string]*queue{}, wishers: map[netip.Addr]*queue{}}
}

func compareWaiters(a, b *waiter) int { return cmp.Compare(a.seq, b.seq) }

// Waiting gives the holders that wait, in the order in which they began to.
func (b *Books) Waiting() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		all := make([]*waiter, 0, len(b.waiters))
		for _, w := range b.waiters {
			all = append(all, w)
		}
		slices.SortFunc(all, compareWaiters)
		for _, w := range all {
			if !yield(w.claim.Key) {
				return
			}
		}
	}
}

// Woken gives, once, the holders that should be decided again because of Load,
// Unload, Expire, SetPools or SetClusterRanges, which give no Decision.
func (b *Books) Woken() []Key {
	out := b.woken
	b.woken = nil
	return out
}

// resetQueues wakes everybody: the pools are others now.
func (b *Books) resetQueues() {
	b.queues = map[string]*queue{}
	b.wishers = map[netip.Addr]*queue{}
	for k := range b.Waiting() {
		w := b.waiters[k]
		w.queues, w.woken = nil, true
		if !slices.Contains(b.woken, k) {
			b.woken = append(b.woken, k)
		}
	}
}

// enqueue replaces what the claim waits for. Nothing: it does not wait.
func (b *Books) enqueue(c *Claim, wants []want) {
	w := b.waiters[c.Key]
	if w == nil {
		if len(wants) == 0 {
			return
		}
		b.seq++
		w = &waiter{seq: b.seq}
		b.waiters[c.Key] = w
	}
	b.dequeue(w)
	if len(wants) == 0 {
		delete(b.waiters, c.Key)
		return
	}
	claim := *c
	w.claim, w.woken = &claim, false
	for _, t := range wants {
		q := b.queueFor(c, t)
		if !slices.Contains(w.queues, q) {
			w.queues = append(w.queues, q)
			q.waiters.insert(w)
		}
	}
}

func (b *Books) dequeue(w *waiter) {
	for _, q := range w.queues {
		q.waiters.remove(w)
		if q.waiters.count > 0 {
			continue
		}
		if q.address.IsValid() {
			delete(b.wishers, q.address)
			continue
		}
		delete(b.queues, q.name)
		for _, bk := range q.buckets {
			if i := slices.Index(bk.queues, q); i >= 0 {
				bk.queues = slices.Delete(bk.queues, i, i+1)
			}
		}
	}
	w.queues = nil
}

func (b *Books) queueFor(c *Claim, t want) *queue {
	if t.address.IsValid() {
		q := b.wishers[t.address]
		if q == nil {
			q = &queue{address: t.address, waiters: sorted[*waiter]{compare: compareWaiters}}
			b.wishers[t.address] = q
		}
		return q
	}
	if t.sharing != "" {
		name := "S:" + t.sharing
		if b.queues[name] == nil {
			b.queues[name] = &queue{name: name, sharing: t.sharing, waiters: sorted[*waiter]{compare: compareWaiters}}
		}
		return b.queues[name]
	}
	namespace := ""
	if slices.ContainsFunc(t.pools, func(p *pool) bool { return p.PerNamespaceLimit > 0 }) {
		namespace = c.Key.Namespace
	}
	name := b.queueName(c, t, namespace)
	q := b.queues[name]
	if q == nil {
		q = &queue{name: name, namespace: namespace, limit: t.limit, waiters: sorted[*waiter]{compare: compareWaiters}}
		for _, p := range t.pools {
			if bk := p.families[index(t.family)]; bk != nil {
				q.buckets = append(q.buckets, bk)
				bk.queues = append(bk.queues, q)
			}
		}
		b.queues[q.name] = q
	}
	return q
}

// queueName is the same for claims that the same pools could serve.
func (b *Books) queueName(c *Claim, t want, namespace string) string {
	var name strings.Builder
	name.WriteString(strconv.Itoa(int(t.family)))
	if t.limit {
		name.WriteByte('L')
	}
	name.WriteString(":" + namespace)
	i := kindIndex(c.Key.Kind)
	if u := b.unselective[i]; len(u) > 0 && len(u) == len(t.pools) && &u[0] == &t.pools[0] {
		return name.String() + "*" + strconv.Itoa(i) // the common case, without naming them all
	}
	for _, p := range t.pools {
		name.WriteByte('/')
		name.WriteString(p.Name)
	}
	return name.String()
}

// serves tells whether the bucket has an address for the queue.
func (q *queue) serves(bk *bucket) bool {
	return (q.limit || bk.room()) && bk.within(q.namespace, 0)
}

// within tells whether one more address than extra ones keeps to the limit.
func (b *bucket) within(namespace string, extra int) bool {
	return b.perNamespace == nil || b.perNamespace[namespace]+extra < b.pool.PerNamespaceLimit
}

// next is the first waiter from seq on that is not woken yet and accepted.
func (q *queue) next(seq uint64, accept func(*waiter) bool) *waiter {
	var found *waiter
	q.waiters.from(&waiter{seq: seq}, func(w *waiter) bool {
		if !w.woken && (accept == nil || accept(w)) {
			found = w
		}
		return found == nil
	})
	return found
}

// wake finds who can use an address that something changed about: the first who
// asked for it and, as that one may still want for something else, the first
// who would take any address of the pool.
func (b *Books) wake(a netip.Addr) []Key {
	if len(b.waiters) == 0 {
		return nil
	}
	var out []Key
	if w := b.nextWisher(a, 0); w != nil {
		w.woken = true
		out = append(out, w.claim.Key)
	}
	if e := b.entries[a]; e != nil {
		out = append(out, b.wakeForEntry(e)...)
	}
	if bk := b.bucketAt(a); bk != nil {
		out = append(out, b.wakeForBucket(bk, 0)...)
	}
	return out
}

// wakeForEntry wakes the one the address is reserved for, and the first who
// could join its holders.
func (b *Books) wakeForEntry(e *entry) (out []Key) {
	if e.reserved != nil {
		if w := b.waiters[*e.reserved]; w != nil && !w.woken {
			w.woken = true
			out = append(out, *e.reserved)
		}
	}
	for i := range e.holders {
		if q := b.queues["S:"+e.holders[i].SharingKey]; q != nil {
			out = append(out, b.wakeSharer(q, 0)...)
		}
	}
	return out
}

func (b *Books) wakeSharer(q *queue, seq uint64) []Key {
	w := q.next(seq, func(w *waiter) bool {
		return slices.ContainsFunc(w.claim.Families, func(f Family) bool {
			_, ok := b.joinable(w.claim, f)
			return ok
		})
	})
	if w == nil {
		return nil
	}
	w.woken = true
	return []Key{w.claim.Key}
}

// wakeForBucket wakes the first from seq on whom the bucket can serve.
func (b *Books) wakeForBucket(bk *bucket, seq uint64) []Key {
	var first *waiter
	for _, q := range bk.queues {
		if !q.serves(bk) {
			continue
		}
		if w := q.next(seq, nil); w != nil && (first == nil || w.seq < first.seq) {
			first = w
		}
	}
	if first == nil {
		return nil
	}
	first.woken = true
	return []Key{first.claim.Key}
}

// nextWisher is the first from seq on who asked for a and could have it now.
func (b *Books) nextWisher(a netip.Addr, seq uint64) *waiter {
	q := b.wishers[a]
	if q == nil {
		return nil
	}
	return q.next(seq, func(w *waiter) bool { return b.couldHave(w.claim, a) })
}

// passOn wakes the next after a woken waiter that has been decided or is gone,
// of those whom the same addresses could serve, where there is room. It only goes
// forward, so that it comes to an end.
func (b *Books) passOn(seq uint64, queues []*queue) []Key {
	var out []Key
	for _, q := range queues {
		switch {
		case q.address.IsValid():
			if w := b.nextWisher(q.address, seq+1); w != nil {
				w.woken = true
				out = append(out, w.claim.Key)
			}
		case q.sharing != "":
			out = append(out, b.wakeSharer(q, seq+1)...)
		}
		for _, bk := range q.buckets {
			if len(bk.queues) > 0 && bk.room() {
				out = append(out, b.wakeForBucket(bk, seq+1)...)
			}
		}
	}
	return out
}

// wakeLater remembers whom a change from outside may serve.
func (b *Books) wakeLater(before, after Entry) {
	if before.equal(after) {
		return
	}
	if !equalPointers(before.ReservedFor, after.ReservedFor) {
		for _, h := range after.Holders { // may have to leave a draining pool now
			b.woken = append(b.woken, h.Key)
		}
	}
	b.woken = append(b.woken, b.wake(before.Address)...)
}
