package allocator

import "slices"

// sorted is an ordered list without equal elements, in pieces of bounded size,
// so that adding and removing anywhere costs a search and a short move. The
// first element is at hand at once.
type sorted[T any] struct {
	compare func(a, b T) int
	pieces  [][]T
	count   int
}

const pieceSize = 128

// piece is the index of the piece where v is or belongs.
func (s *sorted[T]) piece(v T) int {
	lo, hi := 0, len(s.pieces)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if s.compare(s.pieces[mid][0], v) <= 0 {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return max(lo-1, 0)
}

// find gives the position of v, or where it belongs.
func (s *sorted[T]) find(v T) (piece, at int, found bool) {
	if len(s.pieces) == 0 {
		return 0, 0, false
	}
	piece = s.piece(v)
	at, found = slices.BinarySearchFunc(s.pieces[piece], v, s.compare)
	return piece, at, found
}

// insert adds v, or replaces the element equal to it.
func (s *sorted[T]) insert(v T) {
	if len(s.pieces) == 0 {
		s.pieces = [][]T{{v}}
		s.count = 1
		return
	}
	p, at, found := s.find(v)
	if found {
		s.pieces[p][at] = v
		return
	}
	s.count++
	s.pieces[p] = slices.Insert(s.pieces[p], at, v)
	if len(s.pieces[p]) <= pieceSize {
		return
	}
	// Elements mostly arrive in order: a split at the end leaves full pieces.
	cut := pieceSize / 2
	if p == len(s.pieces)-1 && at == pieceSize {
		cut = pieceSize
	}
	tail := slices.Clone(s.pieces[p][cut:])
	clear(s.pieces[p][cut:])
	s.pieces[p] = s.pieces[p][:cut]
	s.pieces = slices.Insert(s.pieces, p+1, tail)
}

func (s *sorted[T]) remove(v T) bool {
	p, at, found := s.find(v)
	if !found {
		return false
	}
	s.removeAt(p, at)
	return true
}

func (s *sorted[T]) removeAt(p, at int) {
	s.count--
	s.pieces[p] = slices.Delete(s.pieces[p], at, at+1)
	if len(s.pieces[p]) == 0 {
		s.pieces = slices.Delete(s.pieces, p, p+1)
	}
}

func (s *sorted[T]) first() (v T, ok bool) {
	if s.count == 0 {
		return v, false
	}
	return s.pieces[0][0], true
}

// floor gives the position of the last element not after v.
func (s *sorted[T]) floor(v T) (piece, at int, ok bool) {
	p, at, found := s.find(v)
	if found {
		return p, at, true
	}
	if at == 0 { // find goes to the piece that starts at or before v, if there is one
		return 0, 0, false
	}
	return p, at - 1, true
}

// from calls yield for each element not before v, in order, until it returns false.
func (s *sorted[T]) from(v T, yield func(T) bool) {
	p, at, _ := s.find(v)
	for ; p < len(s.pieces); p, at = p+1, 0 {
		for _, e := range s.pieces[p][at:] {
			if !yield(e) {
				return
			}
		}
	}
}

// all calls yield for each element in order until it returns false.
func (s *sorted[T]) all(yield func(T) bool) {
	for _, piece := range s.pieces {
		for _, e := range piece {
			if !yield(e) {
				return
			}
		}
	}
}
