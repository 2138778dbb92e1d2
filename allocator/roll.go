package allocator

import (
	"hash/maphash"
	"iter"
	"net/netip"
	"slices"
)

// holder is what the books know of a Key.
type holder struct {
	key Key
	// addrs has it, in no particular order. Replaced or appended to, never
	// changed in place: the list may be that of a Holding's Needs.
	addrs []netip.Addr
	// needs are the addresses of the last decision; nil before the first.
	needs []netip.Addr
	// next has the same hash.
	next *holder
}

// inOrder are the addresses that the holder has, sorted.
func (h *holder) inOrder() []netip.Addr {
	if len(h.addrs) < 2 {
		return h.addrs // nearly always
	}
	return slices.SortedFunc(slices.Values(h.addrs), netip.Addr.Compare)
}

// roll finds holders by key. Its map is by the hash of the key: a map by the key
// itself would read the strings of all keys again each time that it grows. It
// remembers the answer it gave last, as one decision asks for the same holder
// several times.
type roll struct {
	hash   func(Key) uint64
	byHash map[uint64]*holder // the others of a hash follow by next
	count  int

	key  Key // asked for last
	code uint64
	last *holder
}

func newRoll() roll {
	seed := maphash.MakeSeed()
	return rollBy(func(k Key) uint64 { return maphash.Comparable(seed, k) })
}

func rollBy(hash func(Key) uint64) roll {
	return roll{hash: hash, byHash: map[uint64]*holder{}, code: hash(Key{})}
}

// of gives the holder of that key; nil: there is none.
func (r *roll) of(k Key) *holder {
	if r.key == k {
		return r.last
	}
	r.key, r.code = k, r.hash(k)
	r.last = r.byHash[r.code]
	for r.last != nil && r.last.key != k {
		r.last = r.last.next
	}
	return r.last
}

// add puts in a holder whose key has none.
func (r *roll) add(h *holder) {
	r.of(h.key)
	h.next = r.byHash[r.code]
	r.byHash[r.code], r.last = h, h
	r.count++
}

// remove takes out the holder of that key, which has one.
func (r *roll) remove(k Key) {
	gone := r.of(k)
	first := r.byHash[r.code]
	switch {
	case first != gone:
		for first.next != gone {
			first = first.next
		}
		first.next = gone.next
	case gone.next != nil:
		r.byHash[r.code] = gone.next
	default:
		delete(r.byHash, r.code)
	}
	r.last = nil
	r.count--
}

// keys gives the keys of all holders, in no particular order.
func (r *roll) keys() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, h := range r.byHash {
			for ; h != nil; h = h.next {
				if !yield(h.key) {
					return
				}
			}
		}
	}
}
