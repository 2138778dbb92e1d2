package split

import (
	"fmt"
	"math/bits"
	"strings"
	"testing"
)

// sets say which characters count for which bit of a host's group: the bit is set if
// their number is even. A regular expression can tell that in one pass, and case does
// not matter to it; nothing else was found that mixes characters in the CEL of Envoy's
// formatters. Their order makes no difference. The sets were searched for: they spread
// the templates below, and have few ranges, since CEL bounds the size of an expression.
var sets = []string{
	"02345efgnoprstuvwx",
	"12467lmnopqrtu",
	"36789ghijlmnopyz",
	"34568fghijklnopqrtu",
	"13589efghijklmnyz",
	"03569efopqrs",
}

// either is a set in both cases.
func either(set string) string {
	letters := strings.TrimLeft(set, "0123456789")
	return set + strings.ToUpper(letters)
}

// expression gives a request's group, in CEL. The number of groups is a power of two.
func expression(groups int) string {
	var terms []string
	for bit := range bits.Len(uint(groups - 1)) {
		set := either(sets[bit])
		even := fmt.Sprintf("^(?:[^%[1]s:]|[%[1]s][^%[1]s:]*[%[1]s])*(?::|$)", set)
		terms = append(terms, fmt.Sprintf("(request.host.matches('%s') ? %d : 0)", even, 1<<bit))
	}
	return strings.Join(terms, " + ")
}

// groupOf is the same for a hostname or a Host header.
func groupOf(host string, groups int) int {
	host, _, _ = strings.Cut(host, ":")
	group := 0
	for bit := range bits.Len(uint(groups - 1)) {
		set, odd := either(sets[bit]), false
		for _, c := range host {
			odd = odd != strings.ContainsRune(set, c)
		}
		if !odd {
			group |= 1 << bit
		}
	}
	return group
}

// templates make hosts as people do.
var templates = map[string]func(i int) string{
	"counted":   func(i int) string { return fmt.Sprintf("host%d.example.com", i+1) },
	"padded":    func(i int) string { return fmt.Sprintf("host%05d.example.com", i) },
	"two parts": func(i int) string { return fmt.Sprintf("app%d.team%d.example.org", i%70, i/70) },
	"hex":       func(i int) string { return fmt.Sprintf("%08x.apps.example.net", uint32(i)*2654435761) },
	"words": func(i int) string {
		words := strings.Fields("shop cart pay auth user mail blog docs wiki chat api web img data store order search login admin portal")
		w := func(n int) string { return words[n%len(words)] }
		return fmt.Sprintf("%s-%s-%s.example.com", w(i), w(i/20), w(i/400))
	},
}

// TestSpread keeps the largest of 64 groups, which is what a change costs, near the mean.
func TestSpread(t *testing.T) {
	for name, host := range templates {
		for _, groups := range []int{16, 64} {
			const n = 5000
			sizes := make([]int, groups)
			for i := range n {
				sizes[groupOf(host(i), groups)]++
			}
			largest := 0
			for _, size := range sizes {
				largest = max(largest, size)
			}
			ratio := float64(largest*groups) / n
			t.Logf("%s, %d groups: the largest has %.2f times the mean", name, groups, ratio)
			if ratio > 4 {
				t.Errorf("%s, %d groups: %v", name, groups, sizes)
			}
		}
	}
}

func TestGroupIgnoresCaseAndPort(t *testing.T) {
	for _, groups := range []int{16, 64} {
		want := groupOf("host123.example.com", groups)
		for _, same := range []string{"HOST123.Example.COM", "host123.example.com:8080", "Host123.example.com:1"} {
			if got := groupOf(same, groups); got != want {
				t.Errorf("%s is in %d of %d, want %d", same, got, groups, want)
			}
		}
	}
}
