package feed

import (
	"maps"
	"slices"
	"strings"
)

// channel is one type of resource on one stream: what the Envoy asked for, what it
// has, what is on its way.
type channel struct {
	kind kind
	// asked says that the Envoy has asked for this type.
	asked bool
	// owed says that its first question for everything is not answered yet: it
	// waits for an answer even if there is nothing.
	owed bool
	// fresh says that it came with nothing of this type.
	fresh bool
	items map[string]*item
	// pending are the names to look at when the next response is made.
	pending map[string]struct{}
	// flights are the responses that are not acknowledged yet, the oldest first.
	flights []*flight
	// retry are the parts of rejected responses that are sent again.
	retry [][]string
	// bad are the names of items that may have a refusal.
	bad map[string]struct{}
}

// item is one resource on one stream.
type item struct {
	// goal is what the Envoy should have by now, of types that go in waves; nil:
	// nothing.
	goal *entry
	// held is the version that the Envoy has; empty: none.
	held string
	// wanted says that it asks for it, of types that go by name.
	wanted bool
	// flying says that it is part of a flight, with aloft (nil: its removal), and
	// sent which response it went in last.
	flying bool
	aloft  *entry
	sent   uint64
	// again says that it is to be sent once more after the flight.
	again bool
	// bad is the rejection of a version.
	bad *refusal
}

type refusal struct{ version, message string }

// rejects says whether an entry is what was rejected.
func (it *item) rejects(e *entry) bool {
	return it.bad != nil && e != nil && it.bad.version == e.version
}

// refuses says whether an entry is what was rejected, or one that came since and that
// the Envoy has not taken yet: of that it is not known whether it is any better.
func (it *item) refuses(e *entry) bool {
	return it.bad != nil && e != nil && (it.rejects(e) || !it.has(e))
}

// has says whether the Envoy has an entry, in this version, and nothing else of that
// name is on its way.
func (it *item) has(e *entry) bool { return it != nil && it.held == e.version && !it.flying }

// flight is a response on its way.
type flight struct {
	nonce  string
	offers []offer
}

// offer is one resource in a response; without an entry it is a removal.
type offer struct {
	name  string
	entry *entry
}

func newChannel(k kind) *channel {
	return &channel{kind: k, items: map[string]*item{}, pending: map[string]struct{}{}, bad: map[string]struct{}{}}
}

func (c *channel) pend(name string) { c.pending[name] = struct{}{} }

// manyFlights is how many responses with clusters may be under way.
const manyFlights = 16

// full says that no more may be sent before something is acknowledged. What changes
// meanwhile goes together into the next response. Of clusters several may be under
// way: an Envoy acknowledges none as long as any of its clusters is waiting for
// something, and others must not wait for that.
func (c *channel) full() bool {
	if c.kind == clusters {
		return len(c.flights) >= manyFlights
	}
	return len(c.flights) > 0
}

// item is made when it is first spoken of.
func (c *channel) item(name string) *item {
	it := c.items[name]
	if it == nil {
		it = &item{}
		c.items[name] = it
	}
	return it
}

// held says whether the Envoy has some version of a resource.
func (c *channel) held(name string) bool {
	it := c.items[name]
	return it != nil && it.held != ""
}

// drop forgets an item that means nothing any more.
func (c *channel) drop(name string) {
	it := c.items[name]
	if it != nil && it.goal == nil && it.held == "" && !it.wanted && !it.flying {
		delete(c.items, name)
	}
}

// pick takes out of pending, or out of the parts to try again, what goes into the
// next response, sorted by name.
func (c *channel) pick(goal func(string) *entry) []offer {
	for len(c.retry) > 0 {
		part := c.retry[0]
		c.retry = c.retry[1:]
		if offers := c.filter(slices.Values(part), goal); len(offers) > 0 {
			return offers
		}
	}
	offers := c.filter(maps.Keys(c.pending), goal)
	clear(c.pending)
	// What an Envoy has rejected goes by itself, after all others.
	alone := func(o offer) bool { return o.entry != nil && o.entry.alone.Load() }
	var rest []offer
	if slices.ContainsFunc(offers, func(o offer) bool { return !alone(o) }) {
		offers, rest = partition(offers, alone)
	} else if len(offers) > 1 {
		offers, rest = offers[:1], offers[1:]
	}
	for _, o := range rest {
		c.pend(o.name)
	}
	return offers
}

// filter leaves what the Envoy has not got yet, is there, and was not rejected.
func (c *channel) filter(names func(func(string) bool), goal func(string) *entry) []offer {
	var out []offer
	for name := range names {
		it := c.items[name]
		if it == nil || c.kind.byName() && !it.wanted {
			c.drop(name)
			continue
		}
		if it.flying {
			continue // it is looked at again when it has landed
		}
		e := goal(name)
		switch {
		case e == nil && (c.kind.byName() || it.held == ""):
			c.drop(name)
		case e == nil:
			out = append(out, offer{name: name})
		case !it.has(e) && !it.rejects(e):
			out = append(out, offer{name, e})
		}
	}
	slices.SortFunc(out, func(a, b offer) int { return strings.Compare(a.name, b.name) })
	return out
}

func partition(in []offer, apart func(offer) bool) (rest, some []offer) {
	for _, o := range in {
		if apart(o) {
			some = append(some, o)
		} else {
			rest = append(rest, o)
		}
	}
	return rest, some
}

// depart puts offers on their way.
func (c *channel) depart(offers []offer, nonce string, seq uint64) {
	for _, o := range offers {
		it := c.item(o.name)
		it.flying, it.aloft, it.sent = true, o.entry, seq
	}
	c.flights = append(c.flights, &flight{nonce: nonce, offers: offers})
	c.owed = false
}

// land takes the flight of a nonce back, whatever became of it; nil: there is none.
func (c *channel) land(nonce string) *flight {
	i := slices.IndexFunc(c.flights, func(fl *flight) bool { return fl.nonce == nonce })
	if i < 0 {
		return nil
	}
	fl := c.flights[i]
	c.flights = slices.Delete(c.flights, i, i+1)
	for _, o := range fl.offers {
		if it := c.items[o.name]; it != nil {
			it.flying, it.aloft = false, nil
		}
	}
	return fl
}

// acknowledged takes that the Envoy has what was on its way, and returns the names of
// what it rejected before.
func (c *channel) acknowledged(fl *flight) (mended []string) {
	for _, o := range fl.offers {
		it := c.items[o.name]
		if it == nil || c.kind.byName() && !it.wanted {
			continue // it asked for it no more meanwhile
		}
		it.held = ""
		if o.entry != nil {
			if it.bad != nil {
				mended = append(mended, o.name)
			}
			it.held, it.bad = o.entry.version, nil
			delete(c.bad, o.name)
		}
		if it.again {
			it.again, it.held = false, ""
		}
		c.pend(o.name)
		c.drop(o.name)
	}
	return mended
}

// part cuts a rejected response into the parts that are tried next: what the message
// names alone, and the rest; if it names nothing, halves. A name may occur in a
// message by chance, so this accuses nobody: it only finds the culprit sooner.
func part(offers []offer, message string) [][]string {
	var parts [][]string
	var rest []string
	for _, o := range offers {
		if strings.Contains(message, o.name) {
			parts = append(parts, []string{o.name})
		} else {
			rest = append(rest, o.name)
		}
	}
	switch {
	case len(parts) == 0:
		return [][]string{rest[:len(rest)/2], rest[len(rest)/2:]}
	case len(rest) > 0:
		parts = append(parts, rest)
	}
	return parts
}
