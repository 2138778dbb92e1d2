package service

import (
	"crypto/sha256"
	"encoding/binary"
	"net/netip"
	"slices"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
)

// Asking is what the books are to be asked now.
type Asking struct {
	// Reading is what is followed: the newest wish or, while that has not
	// stood long enough, the one before.
	Reading Reading
	// Claim is to be decided, if Decide is set. Otherwise there is nothing to
	// decide: the Service has nothing and waits for its wish to be mended (it
	// has no Problems: it asks for nothing). The books should then forget
	// that it waits.
	Claim  allocator.Claim
	Decide bool
	// HeldBack is set while a newer wish is not followed yet.
	HeldBack bool
	// Wake is when the newer wish will have stood long enough; zero: there is
	// none.
	Wake time.Time
	// unknown is set while a contest that is older than this process keeps
	// the wish in force from being known: what is told of it stays as it is.
	unknown bool
}

// asks remembers how the wish of a Service has changed.
type asks struct {
	followed *wish       // what is in force; nil: not known
	seen     signature   // the newest wish
	wrote    []written   // and where it is written
	since    time.Time   // when it became so
	recent   []signature // wishes seen lately, the newest last; none: no look taken yet
	turns    int

	contested bool
	began     time.Time // of the turns
	changed   []change  // the places that changed last
	manager   string    // who changed them
}

// wish is the part of a Reading that people write.
type wish struct {
	sum      signature
	problems []Problem
	hints    []Hint
	claim    allocator.Claim // the wishes in it only
}

type signature [16]byte

// sign tells lists of strings apart by a few bytes, so that little needs to be
// remembered of many Services.
func sign(parts ...string) signature {
	b := make([]byte, 0, 256)
	for _, p := range parts {
		b = binary.AppendUvarint(b, uint64(len(p)))
		b = append(b, p...)
	}
	sum := sha256.Sum256(b)
	return signature(sum[:16])
}

// remembered is how many wishes are known again when they come back.
const remembered = 8

func wishOf(r Reading) *wish {
	c := allocator.Claim{
		Families: r.Claim.Families, Policy: r.Claim.Policy, Addresses: r.Claim.Addresses, Pools: r.Claim.Pools,
		SharingKey: r.Claim.SharingKey, ShareWith: r.Claim.ShareWith,
	}
	return &wish{sum: signWish(c, r.Problems, r.Hints), problems: r.Problems, hints: r.Hints, claim: c}
}

func signWish(c allocator.Claim, problems []Problem, hints []Hint) signature {
	parts := append(make([]string, 0, 16), c.SharingKey.Value, c.SharingKey.Origin, strconv.Itoa(int(c.Policy)), familyNames(c.Families))
	section := func(n int) { parts = append(parts, strconv.Itoa(n)) }
	section(len(c.Addresses))
	for _, w := range c.Addresses {
		parts = append(parts, w.Value.String(), w.Origin)
	}
	section(len(c.Pools))
	for _, w := range c.Pools {
		parts = append(parts, w.Value, w.Origin)
	}
	section(len(c.ShareWith))
	parts = append(parts, c.ShareWith...)
	section(len(problems))
	for _, p := range problems {
		parts = append(parts, p.Reason, p.String())
	}
	for _, h := range hints {
		parts = append(parts, h.Reason, h.Message)
	}
	return sign(parts...)
}

// in puts a wish into a Reading: who asks, for which ports, stays.
func (w *wish) in(r Reading) Reading {
	c := r.Claim
	c.Families, c.Policy, c.Addresses, c.Pools = w.claim.Families, w.claim.Policy, w.claim.Addresses, w.claim.Pools
	c.SharingKey, c.ShareWith = w.claim.SharingKey, w.claim.ShareWith
	return Reading{Claim: c, Problems: w.problems, Hints: w.hints, wrote: r.wrote}
}

// Ask says what of a Reading is followed now. Held are the addresses that the
// books have for the Service.
func (c Contest) Ask(svc *corev1.Service, r Reading, held []netip.Addr, now time.Time) (Asking, Contest) {
	c = c.of(svc, now)
	w := wishOf(r)
	c.asks.see(svc, w.sum, r.wrote, c.Pace, now)
	var out Asking
	out.Reading = r
	if ready := c.asks.since.Add(c.asks.patience(c.Pace, len(held) > 0)); now.Before(ready) {
		out.Wake = ready
	} else {
		c.asks.followed, c.asks.contested = w, false
	}
	switch f := c.asks.followed; {
	case f == nil: // after a restart in the middle of a contest
		out.HeldBack, out.unknown = true, true
		out.Reading.Problems, out.Reading.Hints = nil, nil
		out.Claim, out.Decide = keep(r.Claim, held)
		return out, c
	case f.sum != w.sum:
		out.HeldBack = true
		out.Reading = f.in(r)
	}
	if len(out.Reading.Problems) > 0 {
		out.Claim, out.Decide = keep(out.Reading.Claim, held)
		return out, c
	}
	out.Claim, out.Decide = out.Reading.Claim, out.Reading.Asks()
	return out, c
}

// keep is the claim of a Service that is to have what it has and nothing else.
func keep(c allocator.Claim, held []netip.Addr) (allocator.Claim, bool) {
	c.Addresses, c.Pools = nil, nil
	var families []allocator.Family
	for _, a := range held {
		c.Addresses = append(c.Addresses, allocator.Wish[netip.Addr]{Value: a})
		families = appendNew(families, allocator.FamilyOf(a))
	}
	slices.SortStableFunc(families, func(a, b allocator.Family) int {
		return slices.Index(c.Families, a) - slices.Index(c.Families, b)
	})
	c.Families, c.Policy = families, allocator.Require
	return c, len(held) > 0
}

// see takes note of the newest wish.
func (a *asks) see(svc *corev1.Service, sum signature, wrote []written, p Pace, now time.Time) {
	switch {
	case len(a.recent) == 0:
		a.seen, a.wrote, a.since = sum, wrote, now
		a.recent = []signature{sum}
		return
	case sum == a.seen:
		return
	}
	if now.Sub(a.since) >= p.Quiet {
		a.turns, a.contested, a.recent = 0, false, []signature{a.seen}
	}
	unsettled := a.followed == nil || a.followed.sum != a.seen
	if slices.Contains(a.recent, sum) || unsettled {
		if a.turns == 0 {
			a.began = a.since
		}
		a.turns++
	}
	a.recent = appendNew(slices.Clip(a.recent), sum)
	if len(a.recent) > remembered {
		a.recent = a.recent[1:]
	}
	a.changed = places(a.wrote, wrote)
	a.manager = changer(svc, a.changed)
	a.seen, a.wrote, a.since = sum, wrote, now
	if a.turns >= contestedFrom {
		a.contested = true
	}
}

const (
	// contestedFrom is the turn from which on a wish is contested.
	contestedFrom = 2
	// contestedFactor times Pace.First is how long a contested wish must stand.
	contestedFactor = 30
)

// patience is how long the newest wish must have stood to be followed.
func (a *asks) patience(p Pace, has bool) time.Duration {
	switch {
	case a.followed == nil && !a.contested: // the first look
		return 0
	case a.turns >= contestedFrom:
		long := Pace{First: contestedFactor * p.First, Max: p.Max}
		return long.delay(a.turns - contestedFrom + 1)
	case a.followed != nil && a.followed.sum == a.seen:
		return 0
	case !has && a.turns == 0: // nothing to protect
		return 0
	}
	return p.delay(a.turns + 1)
}

// resume takes up a contest that stands in the conditions.
func (a *asks) resume(told *metav1.Condition) {
	a.contested, a.turns, a.began = true, contestedFrom, told.LastTransitionTime.Time
}
