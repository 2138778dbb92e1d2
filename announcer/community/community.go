// Package community has the communities that a route of BGP carries: what they are, how they are written, and sets of them.
package community

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Standard is a community of four octets (RFC 1997).
type Standard uint32

// GracefulShutdown asks for any other way to be preferred (RFC 8326).
const GracefulShutdown Standard = 0xffff0000

// String writes the community as "64512:100".
func (c Standard) String() string { return fmt.Sprintf("%d:%d", uint32(c)>>16, uint32(c)&0xffff) }

// Large is a community of twelve octets (RFC 8092).
type Large struct{ Global, Local1, Local2 uint32 }

const largePrefix = "large:"

// String writes the community as "large:64512:1:2".
func (c Large) String() string {
	return fmt.Sprintf("%s%d:%d:%d", largePrefix, c.Global, c.Local1, c.Local2)
}

func (c Large) compare(with Large) int {
	return cmp.Or(cmp.Compare(c.Global, with.Global), cmp.Compare(c.Local1, with.Local1), cmp.Compare(c.Local2, with.Local2))
}

// wellKnown are the communities that have a name without anybody giving it (IANA's registry of well-known communities).
var wellKnown = map[string]Standard{
	"graceful-shutdown":   GracefulShutdown,
	"accept-own":          0xffff0001, // RFC 7611
	"blackhole":           0xffff029a, // RFC 7999
	"no-export":           0xffffff01, // RFC 1997
	"no-advertise":        0xffffff02, // RFC 1997
	"no-export-subconfed": 0xffffff03, // RFC 1997
	"no-peer":             0xffffff04, // RFC 3765
}

// WellKnown is the community of a well-known name.
func WellKnown(name string) (Standard, bool) {
	c, ok := wellKnown[name]
	return c, ok
}

// Set are the communities of one route. Those that Sorted and Union return are in order, each once.
type Set struct {
	Standard []Standard
	Large    []Large
}

// Equal says whether both are the same, in the same order.
func (s Set) Equal(with Set) bool {
	return slices.Equal(s.Standard, with.Standard) && slices.Equal(s.Large, with.Large)
}

// Union is what is in either.
func (s Set) Union(with Set) Set {
	switch {
	case len(with.Standard)+len(with.Large) == 0 || s.Equal(with):
		return s
	case len(s.Standard)+len(s.Large) == 0:
		return with
	}
	return Set{
		Standard: append(slices.Clone(s.Standard), with.Standard...),
		Large:    append(slices.Clone(s.Large), with.Large...),
	}.Sorted()
}

// Sorted puts s in order, each community once. It works in place.
func (s Set) Sorted() Set {
	slices.Sort(s.Standard)
	s.Standard = slices.Compact(s.Standard)
	slices.SortFunc(s.Large, Large.compare)
	s.Large = slices.Compact(s.Large)
	return s
}

// Read adds a community that is written by its numbers, "N:N" or "large:N:N:N".
func (s *Set) Read(text string) error {
	if rest, large := strings.CutPrefix(text, largePrefix); large {
		n, err := numbers(rest, 3, 32)
		if err != nil {
			return fmt.Errorf("reading the large community %q: %w", text, err)
		}
		s.Large = append(s.Large, Large{n[0], n[1], n[2]})
		return nil
	}
	n, err := numbers(text, 2, 16)
	if err != nil {
		return fmt.Errorf("reading the community %q: %w", text, err)
	}
	s.Standard = append(s.Standard, Standard(n[0]<<16|n[1]))
	return nil
}

func numbers(s string, count, bits int) ([]uint32, error) {
	parts := strings.Split(s, ":")
	if len(parts) != count {
		return nil, fmt.Errorf("it has %d numbers and needs %d", len(parts), count)
	}
	out := make([]uint32, 0, count)
	for _, p := range parts {
		n, err := strconv.ParseUint(p, 10, bits)
		if err != nil {
			return nil, fmt.Errorf("%q is not a number of %d bits", p, bits)
		}
		out = append(out, uint32(n))
	}
	return out, nil
}
