package allocator

// space is the set of free numbers of a pool and family, as spans that neither
// touch nor overlap. The lowest is at hand at once however many are taken.
type space struct{ spans sorted[span] }

func newSpace() space {
	return space{sorted[span]{compare: func(a, b span) int { return a.lo.compare(b.lo) }}}
}

func (s *space) lowest() (number, bool) {
	first, ok := s.spans.first()
	return first.lo, ok
}

// take removes n, if it is there.
func (s *space) take(n number) {
	p, at, ok := s.spans.floor(span{lo: n})
	if !ok || !s.spans.pieces[p][at].contains(n) {
		return
	}
	was := s.spans.pieces[p][at]
	switch {
	case was.lo == was.hi:
		s.spans.removeAt(p, at)
	case n == was.lo:
		s.spans.pieces[p][at].lo = n.next()
	case n == was.hi:
		s.spans.pieces[p][at].hi = n.prev()
	default:
		s.spans.pieces[p][at].hi = n.prev()
		s.spans.insert(span{n.next(), was.hi})
	}
}

// give adds n, which must not be there.
func (s *space) give(n number) {
	joined := span{n, n}
	if p, at, ok := s.spans.floor(span{lo: n}); ok {
		before := s.spans.pieces[p][at]
		if before.hi.next() == n {
			joined.lo = before.lo
			s.spans.removeAt(p, at)
		}
	}
	after := number{}
	if n != (number{^uint64(0), ^uint64(0)}) {
		after = n.next()
	}
	if p, at, ok := s.spans.find(span{lo: after}); ok && after != (number{}) {
		joined.hi = s.spans.pieces[p][at].hi
		s.spans.removeAt(p, at)
	}
	s.spans.insert(joined)
}
