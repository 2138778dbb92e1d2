package service

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Limits of the API server.
const (
	maxMessage = 32768 // of a condition
	maxNote    = 1024  // of an Event
)

// capped shortens a text to at most so many bytes.
func capped(s string, most int) string {
	const more = "..."
	if len(s) <= most {
		return s
	}
	s = s[:most-len(more)]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n != 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + more
}

// assignedWords say what a Service has: the addresses first (addressesIn reads
// them back), the pools, and who asked.
func assignedWords(list []allocator.Assigned) string {
	var addresses []netip.Addr
	var pools, origins []string
	stray := false
	for _, a := range list {
		addresses = append(addresses, a.Address)
		if a.Pool == "" {
			stray = true
		} else {
			pools = appendNew(pools, a.Pool)
		}
		if a.Origin != "" {
			origins = appendNew(origins, a.Origin)
		}
	}
	s := joined(addresses)
	switch {
	case len(pools) > 1:
		s += " from pools " + strings.Join(pools, ", ")
	case len(pools) == 1:
		s += " from pool " + pools[0]
	}
	if stray {
		s += " (not all in a pool)"
		if len(pools) == 0 {
			s = joined(addresses) + " (in no pool)"
		}
	}
	if len(origins) > 0 {
		s += ", asked for by " + strings.Join(origins, " and ")
	}
	return s + "."
}

// addressesIn reads the addresses back that assignedWords begins with.
func addressesIn(message string) []netip.Addr {
	var out []netip.Addr
	for word := range strings.FieldsSeq(message) {
		a, err := netip.ParseAddr(strings.Trim(word, ",."))
		if err != nil {
			break
		}
		out = append(out, a)
	}
	return out
}

// sameWords tells whether two messages say the same, apart from counts in
// parentheses ("151 of 151 in use"): those change whenever anybody gets an
// address, and are no reason to write to everybody who waits.
func sameWords(a, b string) bool { return a == b || countless(a) == countless(b) }

func countless(s string) string {
	var out strings.Builder
	depth := 0
	words := strings.SplitAfter(s, " ")
	for _, w := range words {
		depth += strings.Count(w, "(")
		bare := strings.Trim(w, "(), .")
		if depth > 0 && bare != "" && strings.Trim(bare, "0123456789") == "" {
			w = strings.Replace(w, bare, "#", 1)
		}
		depth = max(0, depth-strings.Count(w, ")"))
		out.WriteString(w)
	}
	return out.String()
}

// clockWords is a time in a sentence: without the day, when that is today.
func clockWords(t, now time.Time) string {
	t, now = t.UTC(), now.UTC()
	if t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.Format("15:04:05 UTC")
	}
	return t.Format("2006-01-02 15:04:05 UTC")
}

// boutWords tell of a contest over the status.
func boutWords(b *bout, announced bool, now time.Time) string {
	u := b.undoing
	stays := "The address stays ours and is announced"
	switch {
	case len(b.want) == 0:
		stays = "The Service has no address meanwhile"
	case !announced:
		stays = "The address stays ours"
	}
	return fmt.Sprintf("%s wrote %s %s over %s %d times since %s. %s; the next correction is not before %s. "+
		"Give one of the two controllers a loadBalancerClass of its own, or make a second Service.",
		named(u.manager), u.field, u.theirs, u.ours, b.rewrites, clockWords(b.since, now), stays, clockWords(b.next, now))
}

// asksWords tell of a contest over the wish.
func asksWords(a *asks, has []netip.Addr, p Pace, now time.Time) string {
	var parts []string
	for _, c := range a.changed {
		parts = append(parts, fmt.Sprintf("%s wrote %s %s over %s", named(a.manager), c.place, valueWords(c.is), valueWords(c.was)))
	}
	if len(parts) == 0 {
		parts = []string{"What the Service asks for"}
	}
	keeps := "The Service gets no address meanwhile"
	if len(has) > 0 {
		keeps = "The Service keeps " + joined(has)
	}
	long := Pace{First: contestedFactor * p.First, Max: p.Max}.delay(max(1, a.turns-contestedFrom+1))
	return fmt.Sprintf("%s, and it goes back and forth since %s. %s; what is asked for is followed when it has not changed for %s. "+
		"Let only one writer ask, or ask with %s, which comes before all others.",
		strings.Join(parts, "; "), clockWords(a.began, now), keeps, long, v1alpha1.AnnotationAddresses)
}

func valueWords(v string) string {
	if v == "" {
		return "(nothing)"
	}
	return quoted(v)
}

func sameAddresses(a, b []netip.Addr) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(x netip.Addr) bool { return !slices.Contains(b, x) })
}
