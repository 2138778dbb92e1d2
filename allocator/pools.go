package allocator

import (
	"cmp"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"time"
)

// ProblemReason says what is wrong with a pool.
type ProblemReason string

// What can be wrong with a pool. None of it keeps the rest of the pool, or
// another pool, from working.
const (
	// ProblemInvalidRange: a range is reversed, of both families, or not of
	// plain addresses. It is left out.
	ProblemInvalidRange ProblemReason = "InvalidRange"
	// ProblemOverlapping: the pool given first has the addresses in common.
	ProblemOverlapping ProblemReason = "Overlapping"
	// ProblemClusterRange: the cluster uses the addresses in common itself.
	ProblemClusterRange ProblemReason = "OverlapsCluster"
	// ProblemDuplicateName: a pool of that name was given before; this one is
	// left out.
	ProblemDuplicateName ProblemReason = "DuplicateName"
)

// PoolProblem is something that an operator should mend.
type PoolProblem struct {
	Pool   string
	Reason ProblemReason
	Range  Range  // of the pool
	Other  string // the other pool, or what the cluster range is
}

func (r Range) String() string {
	if r.From == r.To {
		return r.From.String()
	}
	return r.From.String() + "-" + r.To.String()
}

func (p PoolProblem) String() string {
	switch p.Reason {
	case ProblemInvalidRange:
		return fmt.Sprintf("Range %s of pool %s is not used: both ends must be addresses of one family, the lower one first. Correct it.", p.Range, p.Pool)
	case ProblemOverlapping:
		if p.Other == p.Pool {
			return fmt.Sprintf("Range %s of pool %s overlaps another range of the same pool. Its addresses count once; remove one of the two.", p.Range, p.Pool)
		}
		return fmt.Sprintf("Range %s of pool %s overlaps pool %s, which keeps the addresses in common. Remove them from one of the two.", p.Range, p.Pool, p.Other)
	case ProblemClusterRange:
		return fmt.Sprintf("Range %s of pool %s overlaps %s. These addresses are never given out; take them out of the pool.", p.Range, p.Pool, p.Other)
	case ProblemDuplicateName:
		return fmt.Sprintf("There is more than one pool %s. Only the first is used; rename the other.", p.Pool)
	}
	return string(p.Reason)
}

// pool is a Pool as the books use it. Index 0 of families is IPv4, 1 IPv6.
type pool struct {
	Pool
	families [2]*bucket
}

// bucket is the part of a pool in one family.
type bucket struct {
	pool     *pool
	family   Family
	excluded []span // of the pool and the cluster, sorted
	// free are the addresses that nobody has and that wait for nobody.
	free space
	// cooling are free addresses that wait, the longest free first.
	cooling            sorted[coolingItem]
	capacity           uint64
	assigned, reserved uint64
	// perNamespace counts addresses by namespace, if the pool has a limit.
	perNamespace map[string]int
	// queues are those whose claims this bucket could serve.
	queues []*queue
}

type coolingItem struct {
	since int64 // Unix seconds
	at    number
}

func compareCooling(a, b coolingItem) int {
	return cmp.Or(cmp.Compare(a.since, b.since), a.at.compare(b.at))
}

func index(f Family) int {
	if f == IPv4 {
		return 0
	}
	return 1
}

// wait is how long a released address of the pool waits at most.
func (p *pool) wait() time.Duration { return max(p.ReuseDelay, p.Retain, 0) }

// usable tells whether the bucket may hand out n, which lies in a range of it.
func (b *bucket) usable(n number) bool {
	if b.pool.AvoidBuggyIPs && b.family == IPv4 && buggyNumber(n) {
		return false
	}
	return !covers(b.excluded, n)
}

// lowest is the lowest address that is free and does not wait.
func (b *bucket) lowest() (number, bool) {
	for {
		n, ok := b.free.lowest()
		if !ok || !b.pool.AvoidBuggyIPs || b.family != IPv4 || !buggyNumber(n) {
			return n, ok
		}
		b.free.take(n) // never comes back, so that this costs once per address
	}
}

// room tells whether the bucket has an address for somebody.
func (b *bucket) room() bool {
	if b.cooling.count > 0 {
		return true
	}
	_, ok := b.lowest()
	return ok
}

// segment is a piece of a pool's ranges. Segments of a family do not overlap.
type segment struct {
	span
	bucket *bucket
}

// bucketAt is the bucket in whose ranges a lies, usable or not.
func (b *Books) bucketAt(a netip.Addr) *bucket {
	n, segments := numberOf(a), b.segments[index(FamilyOf(a))]
	i, found := slices.BinarySearchFunc(segments, n, func(s segment, n number) int { return s.lo.compare(n) })
	if !found {
		i--
	}
	if i < 0 || !segments[i].contains(n) {
		return nil
	}
	return segments[i].bucket
}

func plain(a netip.Addr) bool { return a.IsValid() && a.Zone() == "" && !a.Is4In6() }

func (r Range) valid() bool {
	return plain(r.From) && plain(r.To) && r.From.Is4() == r.To.Is4() && !r.To.Less(r.From)
}

func (r Range) span() span { return span{numberOf(r.From), numberOf(r.To)} }

// merged sorts spans and joins those that overlap.
func merged(spans []span) []span {
	slices.SortFunc(spans, func(a, b span) int { return a.lo.compare(b.lo) })
	var out []span
	for _, s := range spans {
		if n := len(out); n > 0 && !out[n-1].hi.less(s.lo) {
			if out[n-1].hi.less(s.hi) {
				out[n-1].hi = s.hi
			}
			continue
		}
		out = append(out, s)
	}
	return out
}

// spansOf are the valid ranges of family f.
func spansOf(ranges []Range, f Family) []span {
	var out []span
	for _, r := range ranges {
		if r.valid() && FamilyOf(r.From) == f {
			out = append(out, r.span())
		}
	}
	return merged(out)
}

// SetPools replaces all pools and tells what is wrong with them. Every assigned
// address stays with its holder whatever the edit. Where pools overlap, the one
// given first has the addresses in common: the caller gives them in the order
// in which they came to be, so that a new pool cannot take over an old one's.
// An address in use keeps the name of its pool while that pool exists; when its
// holder, alone and without a wish for that pool, is decided again, the name
// follows the ranges. So the caller decides all holders again after an edit.
// All waiting holders are woken (Woken).
func (b *Books) SetPools(pools []Pool) []PoolProblem {
	b.given = slices.Clone(pools)
	return b.rebuild()
}

// SetClusterRanges replaces the addresses that the cluster uses itself: those of
// nodes, pods and Services. They are never given out, automatically or on
// request; who has one keeps it. PoolProblems tells which pools it concerns.
func (b *Books) SetClusterRanges(ranges []ClusterRange) {
	b.cluster = nil
	for _, r := range ranges {
		r.Range.From, r.Range.To = r.Range.From.Unmap(), r.Range.To.Unmap()
		if r.Range.valid() {
			b.cluster = append(b.cluster, r)
		}
	}
	b.rebuild()
}

// PoolProblems are what SetPools said, with the cluster ranges of now.
func (b *Books) PoolProblems() []PoolProblem { return slices.Clone(b.problems) }

func (b *Books) rebuild() []PoolProblem {
	b.problems = nil
	b.pools = make(map[string]*pool, len(b.given))
	b.segments = [2][]segment{}
	var ordered []*pool
	for _, g := range b.given {
		if b.pools[g.Name] != nil {
			b.problems = append(b.problems, PoolProblem{Pool: g.Name, Reason: ProblemDuplicateName})
			continue
		}
		p := &pool{Pool: g}
		b.pools[g.Name] = p
		ordered = append(ordered, p)
		b.addRanges(p)
	}
	slices.SortFunc(ordered, func(p, q *pool) int { return cmp.Compare(p.Name, q.Name) })
	b.setOrder(ordered)
	b.clusterSpans = [2][]span{}
	for _, f := range []Family{IPv4, IPv6} {
		var all []Range
		for _, c := range b.cluster {
			all = append(all, c.Range)
		}
		b.clusterSpans[index(f)] = spansOf(all, f)
		b.fill(f)
	}
	b.resetQueues()
	b.replaceEntries()
	return slices.Clone(b.problems)
}

// addRanges gives p the parts of its ranges that no pool has yet.
func (b *Books) addRanges(p *pool) {
	for _, r := range p.Ranges {
		if !r.valid() {
			b.problems = append(b.problems, PoolProblem{Pool: p.Name, Reason: ProblemInvalidRange, Range: r})
			continue
		}
		f := FamilyOf(r.From)
		i := index(f)
		if p.families[i] == nil {
			p.families[i] = newBucket(p, f)
		}
		s := r.span()
		segments := b.segments[i]
		at, _ := slices.BinarySearchFunc(segments, s.lo, func(g segment, n number) int { return g.hi.compare(n) })
		var taken []span
		var last *pool
		for j := at; j < len(segments) && !s.hi.less(segments[j].lo); j++ {
			taken = append(taken, segments[j].span)
			if other := segments[j].bucket.pool; other != last {
				last = other
				b.problems = append(b.problems, PoolProblem{Pool: p.Name, Reason: ProblemOverlapping, Range: r, Other: other.Name})
			}
		}
		for _, piece := range s.without(taken) {
			k, _ := slices.BinarySearchFunc(b.segments[i], piece.lo, func(g segment, n number) int { return g.lo.compare(n) })
			b.segments[i] = slices.Insert(b.segments[i], k, segment{piece, p.families[i]})
		}
		b.clusterProblems(p, r)
	}
}

func (b *Books) clusterProblems(p *pool, r Range) {
	for _, c := range b.cluster {
		if FamilyOf(c.Range.From) == FamilyOf(r.From) && !r.To.Less(c.Range.From) && !c.Range.To.Less(r.From) {
			b.problems = append(b.problems, PoolProblem{Pool: p.Name, Reason: ProblemClusterRange, Range: r, Other: c.What})
		}
	}
}

func newBucket(p *pool, f Family) *bucket {
	n := &bucket{pool: p, family: f, free: newSpace(), cooling: sorted[coolingItem]{compare: compareCooling}}
	if p.PerNamespaceLimit > 0 {
		n.perNamespace = map[string]int{}
	}
	return n
}

// fill makes the free space of all buckets of a family, as if nobody held anything.
func (b *Books) fill(f Family) {
	i := index(f)
	for _, p := range b.pools {
		if bk := p.families[i]; bk != nil {
			bk.excluded = merged(append(spansOf(p.Exclude, f), b.clusterSpans[i]...))
		}
	}
	for _, s := range b.segments[i] {
		for _, piece := range s.without(s.bucket.excluded) {
			s.bucket.free.spans.insert(piece)
			size := piece.size()
			if s.bucket.pool.AvoidBuggyIPs && f == IPv4 {
				size -= piece.buggy()
			}
			s.bucket.capacity = addSaturating(s.bucket.capacity, size)
		}
	}
}

// clusterRange is the cluster range that a lies in.
func (b *Books) clusterRange(a netip.Addr) (ClusterRange, bool) {
	if !covers(b.clusterSpans[index(FamilyOf(a))], numberOf(a)) {
		return ClusterRange{}, false
	}
	for _, c := range b.cluster {
		if c.Range.From.Is4() == a.Is4() && !a.Less(c.Range.From) && !c.Range.To.Less(a) {
			return c, true
		}
	}
	return ClusterRange{}, false
}

// Usage counts the addresses of a pool by family. A family in which the pool has
// neither ranges nor strays is left out; nil: there is no such pool.
func (b *Books) Usage(name string) map[Family]Usage {
	p := b.pools[name]
	if p == nil {
		return nil
	}
	out := map[Family]Usage{}
	for i, f := range []Family{IPv4, IPv6} {
		u := Usage{Strays: b.strays[strayKey{name, f}]}
		if bk := p.families[i]; bk != nil {
			u.Capacity, u.Assigned, u.Reserved = bk.capacity, bk.assigned, bk.reserved
			u.Available = bk.capacity
			if u.Available != math.MaxUint64 {
				u.Available -= bk.assigned + bk.reserved
			}
			u.Cooling = uint64(bk.cooling.count)
			for _, q := range bk.queues {
				u.Waiting += uint64(q.waiters.count)
			}
		} else if u.Strays == 0 {
			continue
		}
		out[f] = u
	}
	return out
}
