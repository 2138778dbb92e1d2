package allocator

import (
	"encoding/binary"
	"math"
	"math/bits"
	"net/netip"
)

// number is an address as an unsigned integer of its own family (an IPv4
// address is below 2^32), so that ranges of both families share one arithmetic.
type number struct{ hi, lo uint64 }

func numberOf(a netip.Addr) number {
	if a.Is4() {
		v := a.As4()
		return number{lo: uint64(binary.BigEndian.Uint32(v[:]))}
	}
	v := a.As16()
	return number{hi: binary.BigEndian.Uint64(v[:8]), lo: binary.BigEndian.Uint64(v[8:])}
}

func (n number) addr(f Family) netip.Addr {
	if f == IPv4 {
		var v [4]byte
		binary.BigEndian.PutUint32(v[:], uint32(n.lo))
		return netip.AddrFrom4(v)
	}
	var v [16]byte
	binary.BigEndian.PutUint64(v[:8], n.hi)
	binary.BigEndian.PutUint64(v[8:], n.lo)
	return netip.AddrFrom16(v)
}

func (n number) compare(m number) int {
	switch {
	case n.hi < m.hi || n.hi == m.hi && n.lo < m.lo:
		return -1
	case n == m:
		return 0
	}
	return 1
}

func (n number) less(m number) bool { return n.compare(m) < 0 }

// next is n+1; the caller knows that n is not the largest number.
func (n number) next() number {
	lo, carry := bits.Add64(n.lo, 1, 0)
	return number{n.hi + carry, lo}
}

// prev is n-1; the caller knows that n is not zero.
func (n number) prev() number {
	lo, borrow := bits.Sub64(n.lo, 1, 0)
	return number{n.hi - borrow, lo}
}

// span is a closed interval of numbers, lo <= hi.
type span struct{ lo, hi number }

func (s span) contains(n number) bool { return !n.less(s.lo) && !s.hi.less(n) }

// size is the count of numbers in s, saturating at the largest uint64.
func (s span) size() uint64 {
	lo, borrow := bits.Sub64(s.hi.lo, s.lo.lo, 0)
	hi, _ := bits.Sub64(s.hi.hi, s.lo.hi, borrow)
	if hi > 0 || lo == math.MaxUint64 {
		return math.MaxUint64
	}
	return lo + 1
}

// buggy counts the numbers of s that end in .0 or .255 as IPv4 addresses.
func (s span) buggy() uint64 {
	upTo := func(n uint64) uint64 { return n/256 + 1 + (n+1)/256 } // in [0, n]
	c := upTo(s.hi.lo)
	if s.lo.lo > 0 {
		c -= upTo(s.lo.lo - 1)
	}
	return c
}

// buggyNumber tells whether an IPv4 address ends in .0 or .255.
func buggyNumber(n number) bool { return n.lo&255 == 0 || n.lo&255 == 255 }

// without is s less cut, in order. cut is sorted and has no overlaps.
func (s span) without(cut []span) []span {
	var rest []span
	from := s.lo
	for _, c := range cut[firstNotBelow(cut, s.lo):] {
		if s.hi.less(c.lo) {
			break
		}
		if from.less(c.lo) {
			rest = append(rest, span{from, c.lo.prev()})
		}
		if !c.hi.less(s.hi) {
			return rest
		}
		from = c.hi.next()
	}
	return append(rest, span{from, s.hi})
}

// firstNotBelow is the index of the first span that ends at or after n.
func firstNotBelow(spans []span, n number) int {
	lo, hi := 0, len(spans)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if spans[mid].hi.less(n) {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func covers(spans []span, n number) bool {
	i := firstNotBelow(spans, n)
	return i < len(spans) && spans[i].contains(n)
}

func addSaturating(a, b uint64) uint64 {
	s, carry := bits.Add64(a, b, 0)
	if carry > 0 {
		return math.MaxUint64
	}
	return s
}
