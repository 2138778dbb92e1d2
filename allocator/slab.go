package allocator

import "net/netip"

// slab gives out memory from pieces that are asked for at once: to ask for each
// value would cost more than to fill it in. A piece stays as long as one of its
// values is used; it is small for that.
type slab[T any] struct{ left []T }

const slabSize = 32

// take gives n zero values, with no room for more. It is never nil.
func (s *slab[T]) take(n int) []T {
	if n > len(s.left) || s.left == nil {
		s.left = make([]T, max(n, slabSize))
	}
	out := s.left[:n:n]
	s.left = s.left[n:]
	return out
}

// slabs are those of what the books make for each new address.
type slabs struct {
	entries  slab[entry]
	holders  slab[holder]
	holdings slab[Holding]
	needs    slab[netip.Addr]
	assigned slab[Assigned]
}
