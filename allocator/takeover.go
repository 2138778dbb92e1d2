package allocator

import (
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Takeover says from whom a holder takes, or has taken, an address over. While
// From has the address too, both may have the same ports; when From has it no
// more, the takeover is Done, and what is written of it is kept as long as the
// holder has the address: so From, as its wishes stand, is known to ask for it no
// more. Holders that share the address may give it together: then it is Done when
// none of them has it. Several may take it from one together, and share it then:
// each has a takeover of its own, and all of these are Done at once.
type Takeover struct {
	From    Key
	FromUID string
	// Also are the others that give, beside From.
	Also []Giver
	// Phase is how far it has come, and Since since when. They are carried into
	// the ledger and not interpreted, but for TakeoverDone.
	Phase string
	Since time.Time
}

// Giver is a holder that gives an address, and the UID of its object.
type Giver struct {
	Key Key
	UID string
}

// Givers are all that give, From first.
func (t *Takeover) Givers() []Giver {
	return append([]Giver{{t.From, t.FromUID}}, t.Also...)
}

// Keys are the keys of all that give, From's first.
func (t *Takeover) Keys() []Key {
	out := []Key{t.From}
	for _, g := range t.Also {
		out = append(out, g.Key)
	}
	return out
}

// gives tells whether a holder is one of those that give.
func (t *Takeover) gives(k Key) bool {
	return t.From == k || slices.ContainsFunc(t.Also, func(g Giver) bool { return g.Key == k })
}

// abandoned tells whether none of those that give is among the holders.
func (t *Takeover) abandoned(holders []Holding) bool {
	return !slices.ContainsFunc(holders, func(h Holding) bool { return t.gives(h.Key) })
}

// TakeoverDone is the phase of a takeover whose From has the address no more.
const TakeoverDone = "Done"

func equalTakeovers(a, b *Takeover) bool {
	return a == b || a != nil && b != nil && a.From == b.From && a.FromUID == b.FromUID && slices.Equal(a.Also, b.Also) && a.Phase == b.Phase && a.Since.Equal(b.Since)
}

// takes tells whether h takes its address over from k.
func (h *Holding) takes(k Key) bool {
	return h.Takeover != nil && h.Takeover.gives(k) && h.Takeover.Phase != TakeoverDone
}

// paired tells whether two holders of one address are the sides of a takeover.
func paired(h, other *Holding) bool { return h.takes(other.Key) || other.takes(h.Key) }

// takeoverOn is the takeover of an address that a claim brings about; nil: none, as
// nobody who would give it has it, or one of these takes it over itself.
func (e *entry) takeoverOn(c *Claim) *Takeover {
	if c.Takeover == nil || c.Takeover.abandoned(e.holders) {
		return nil
	}
	for i := range e.holders {
		if h := &e.holders[i]; c.Takeover.gives(h.Key) && h.takes(c.Key) {
			return nil
		}
	}
	return c.Takeover
}

// carryTakeover says of a takeover that goes on what the ledger says: a decision
// neither moves nor ends it.
func (h *Holding) carryTakeover(was *Holding) {
	if was.Takeover != nil && (h.Takeover == nil || was.Takeover.Phase != TakeoverDone) {
		h.Takeover = was.Takeover
	}
}

// Taking is a takeover as it stands in the books.
type Taking struct {
	// Taker takes the addresses over, or has taken them.
	Taker     Key
	Addresses []netip.Addr
	Takeover
}

// Done tells whether the giving holder has none of the addresses any more.
func (t *Taking) Done() bool { return t.Phase == TakeoverDone }

// TakenBy says what k takes or has taken over, one that is under way first; nil:
// nothing.
func (b *Books) TakenBy(k Key) *Taking {
	h := b.holders.of(k)
	if h == nil {
		return nil
	}
	var out *Taking
	for _, a := range h.inOrder() {
		out = out.with(k, b.entries[a].holding(k))
	}
	return out.addressed(b)
}

// TakenFrom says what is being, or has been, taken over from k, a takeover that
// is under way first; nil: nothing.
func (b *Books) TakenFrom(k Key) *Taking {
	all := b.TakingsFrom(k)
	for i := range all {
		if !all[i].Done() {
			return &all[i]
		}
	}
	if len(all) == 0 {
		return nil
	}
	return &all[0]
}

// TakingsFrom are all takeovers from k, of each taker the one that is under way first, by
// the names of the takers.
func (b *Books) TakingsFrom(k Key) []Taking {
	if len(b.taken[k]) == 0 {
		return nil
	}
	by := map[Key]*Taking{}
	for _, a := range b.taken[k] {
		e := b.entries[a]
		for i := range e.holders {
			if h := &e.holders[i]; h.Takeover != nil && h.Takeover.gives(k) {
				by[h.Key] = by[h.Key].with(h.Key, h)
			}
		}
	}
	out := make([]Taking, 0, len(by))
	for _, t := range by {
		out = append(out, *t.addressed(b))
	}
	slices.SortFunc(out, func(a, b Taking) int { return strings.Compare(a.Taker.String(), b.Taker.String()) })
	return out
}

// with is the one of two takeovers that comes first.
func (t *Taking) with(taker Key, h *Holding) *Taking {
	if h.Takeover == nil || t != nil && (!t.Done() || h.Takeover.Phase == TakeoverDone) {
		return t
	}
	return &Taking{Taker: taker, Takeover: *h.Takeover}
}

// addressed fills in the addresses that the takeover is about.
func (t *Taking) addressed(b *Books) *Taking {
	if t == nil {
		return nil
	}
	for _, a := range b.holders.of(t.Taker).inOrder() {
		h := b.entries[a].holding(t.Taker)
		if h.Takeover != nil && h.Takeover.From == t.From && (h.Takeover.Phase == TakeoverDone) == t.Done() {
			t.Addresses = append(t.Addresses, a)
		}
	}
	return t
}

// Advance notes that a takeover by k that is under way has come to a phase.
func (b *Books) Advance(now time.Time, k Key, phase string) Decision {
	return b.alongTakeover(k, func(d *Decision, e *entry) {
		b.change(e, func(e *entry) {
			e.holders = slices.Clone(e.holders)
			h := e.holding(k)
			next := *h.Takeover
			next.Phase, next.Since = phase, second(now)
			h.Takeover = &next
		})
		d.Touched = append(d.Touched, e.address)
		d.Wake = append(d.Wake, slices.Concat(partners(e, k), beside(e, k), []Key{k})...)
	})
}

// Withdraw takes from k what it was about to take over: the other holder has it
// alone again.
func (b *Books) Withdraw(now time.Time, k Key) Decision {
	var addrs []netip.Addr
	d := b.alongTakeover(k, func(_ *Decision, e *entry) { addrs = append(addrs, e.address) })
	b.giveUp(&d, second(now), k, addrs)
	d.touchDeparted(b, k)
	d.Wake = append(d.Wake, k) // it may have to have others
	return d
}

// HandOver ends a takeover by k that is under way: k has the addresses alone.
func (b *Books) HandOver(now time.Time, k Key) Decision {
	type part struct {
		from    Key
		address netip.Addr
	}
	var parts []part
	d := b.alongTakeover(k, func(_ *Decision, e *entry) {
		for _, from := range e.holding(k).Takeover.Keys() {
			if e.holding(from) != nil {
				parts = append(parts, part{from, e.address})
			}
		}
	})
	for _, p := range parts {
		b.giveUp(&d, second(now), p.from, []netip.Addr{p.address})
		d.touchDeparted(b, p.from)
		d.Wake = append(d.Wake, p.from)
	}
	return d
}

// partners are those with whom k is in a takeover of an address that is under way.
func partners(e *entry, k Key) []Key {
	h := e.holding(k)
	var out []Key
	for i := range e.holders {
		if o := &e.holders[i]; h != nil && paired(h, o) {
			out = append(out, o.Key)
		}
	}
	return out
}

// beside are the others who take an address over from the same ones as k.
func beside(e *entry, k Key) []Key {
	h := e.holding(k)
	if h == nil || h.Takeover == nil {
		return nil
	}
	var out []Key
	for i := range e.holders {
		if o := &e.holders[i]; o.Key != k && o.takes(h.Takeover.From) {
			out = append(out, o.Key)
		}
	}
	return out
}

// former are those from whom k has taken an address over: they ask for one again when k
// has it no more.
func former(e *entry, k Key) []Key {
	if h := e.holding(k); h != nil && h.Takeover != nil && h.Takeover.Phase == TakeoverDone {
		return h.Takeover.Keys()
	}
	return nil
}

// alongTakeover does something for each address that k is taking over.
func (b *Books) alongTakeover(k Key, do func(*Decision, *entry)) Decision {
	var d Decision
	h := b.holders.of(k)
	if h == nil {
		return d
	}
	for _, a := range h.inOrder() {
		e := b.entries[a]
		if t := e.holding(k).Takeover; t != nil && t.Phase != TakeoverDone && !t.abandoned(e.holders) {
			do(&d, e)
		}
	}
	return d
}

// endTakeovers marks as done the takeovers of an address that k has given up, as the
// last one.
func endTakeovers(holders []Holding, k Key, now time.Time) {
	for i := range holders {
		if h := &holders[i]; h.takes(k) && h.Takeover.abandoned(holders) {
			next := *h.Takeover
			next.Phase, next.Since = TakeoverDone, now
			h.Takeover = &next
		}
	}
}

// endAbandoned marks as done the takeovers of an address whose givers do not have
// it, whoever took it away.
func endAbandoned(holders []Holding) {
	for i := range holders {
		if t := holders[i].Takeover; t != nil {
			endTakeovers(holders, t.From, t.Since)
		}
	}
}

// indexTakeovers brings the index of givers up to date after e.holders changed.
func (b *Books) indexTakeovers(e *entry, before []Holding) {
	has := func(holders []Holding, k Key) bool {
		return slices.ContainsFunc(holders, func(h Holding) bool { return h.Takeover != nil && h.Takeover.gives(k) })
	}
	for _, from := range givers(before) {
		if !has(e.holders, from) {
			b.taken[from] = without(b.taken[from], e.address)
			if len(b.taken[from]) == 0 {
				delete(b.taken, from)
			}
		}
	}
	for _, from := range givers(e.holders) {
		if !slices.Contains(b.taken[from], e.address) {
			list := append(slices.Clone(b.taken[from]), e.address)
			slices.SortFunc(list, netip.Addr.Compare)
			b.taken[from] = list
		}
	}
}

// givers are all from whom holders of an address take it over, or have.
func givers(holders []Holding) (out []Key) {
	for i := range holders {
		if t := holders[i].Takeover; t != nil {
			out = append(out, t.Keys()...)
		}
	}
	return out
}
