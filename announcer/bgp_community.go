package announcer

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Community is a community of four octets (RFC 1997).
type Community uint32

// String writes the community as "64512:100".
func (c Community) String() string { return fmt.Sprintf("%d:%d", uint32(c)>>16, uint32(c)&0xffff) }

// LargeCommunity is a community of twelve octets (RFC 8092).
type LargeCommunity struct{ Global, Local1, Local2 uint32 }

// String writes the community as "64512:1:2".
func (c LargeCommunity) String() string {
	return fmt.Sprintf("%d:%d:%d", c.Global, c.Local1, c.Local2)
}

func (c LargeCommunity) compare(with LargeCommunity) int {
	return cmp.Or(cmp.Compare(c.Global, with.Global), cmp.Compare(c.Local1, with.Local1), cmp.Compare(c.Local2, with.Local2))
}

// Communities are those of one route, sorted, each once.
type Communities struct {
	Standard []Community
	Large    []LargeCommunity
}

// Equal says whether both are the same.
func (c Communities) Equal(with Communities) bool {
	return slices.Equal(c.Standard, with.Standard) && slices.Equal(c.Large, with.Large)
}

// union is what is in either.
func (c Communities) union(with Communities) Communities {
	switch {
	case len(with.Standard)+len(with.Large) == 0 || c.Equal(with):
		return c
	case len(c.Standard)+len(c.Large) == 0:
		return with
	}
	return Communities{
		Standard: append(slices.Clone(c.Standard), with.Standard...),
		Large:    append(slices.Clone(c.Large), with.Large...),
	}.sorted()
}

func (c Communities) sorted() Communities {
	slices.Sort(c.Standard)
	c.Standard = slices.Compact(c.Standard)
	slices.SortFunc(c.Large, LargeCommunity.compare)
	c.Large = slices.Compact(c.Large)
	return c
}

// wellKnown are the communities that need no Community object (IANA's registry
// of well-known communities).
var wellKnown = map[string]Community{
	"graceful-shutdown":   0xffff0000, // RFC 8326
	"accept-own":          0xffff0001, // RFC 7611
	"blackhole":           0xffff029a, // RFC 7999
	"no-export":           0xffffff01, // RFC 1997
	"no-advertise":        0xffffff02, // RFC 1997
	"no-export-subconfed": 0xffffff03, // RFC 1997
	"no-peer":             0xffffff04, // RFC 3765
}

const largePrefix = "large:"

// parse reads a community by its number, "N:N" or "large:N:N:N", into c.
func (c *Communities) parse(s string) error {
	if rest, large := strings.CutPrefix(s, largePrefix); large {
		n, err := numbers(rest, 3, 32)
		if err != nil {
			return fmt.Errorf("reading the large community %q: %w", s, err)
		}
		c.Large = append(c.Large, LargeCommunity{n[0], n[1], n[2]})
		return nil
	}
	n, err := numbers(s, 2, 16)
	if err != nil {
		return fmt.Errorf("reading the community %q: %w", s, err)
	}
	c.Standard = append(c.Standard, Community(n[0]<<16|n[1]))
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

// aliasesIn are the names that Community objects give: of two objects that give
// one name the older counts, so that a new one changes nothing that is announced.
func aliasesIn(objects []CommunityAliases) map[string]alias {
	sorted := slices.Clone(objects)
	slices.SortFunc(sorted, func(a, b CommunityAliases) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	out := map[string]alias{}
	for _, o := range sorted {
		for name, value := range o.Values {
			if _, ok := out[name]; !ok {
				out[name] = alias{object: o.Name, value: value}
			}
		}
	}
	return out
}

// alias is what a name stands for, and the object that says so.
type alias struct{ object, value string }

// resolve finds out what communities stand for. It returns those that stand for
// nothing.
func resolve(written []string, aliases map[string]alias) (c Communities, unknown []string) {
	for _, s := range written {
		value := s
		a, named := aliases[s]
		known, isWellKnown := wellKnown[s]
		switch {
		case named:
			value = a.value
		case isWellKnown:
			c.Standard = append(c.Standard, known)
			continue
		}
		if err := c.parse(value); err != nil {
			unknown = append(unknown, s)
		}
	}
	return c.sorted(), unknown
}
