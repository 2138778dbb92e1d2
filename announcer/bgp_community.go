package announcer

import (
	"cmp"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/announcer/community"
)

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
func resolve(written []string, aliases map[string]alias) (c community.Set, unknown []string) {
	for _, s := range written {
		value := s
		a, named := aliases[s]
		known, isWellKnown := community.WellKnown(s)
		switch {
		case named:
			value = a.value
		case isWellKnown:
			c.Standard = append(c.Standard, known)
			continue
		}
		if err := c.Read(value); err != nil {
			unknown = append(unknown, s)
		}
	}
	return c.Sorted(), unknown
}
