package allocator

import (
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Release takes all addresses from a holder that is gone, or no longer ours, and
// its place among those who wait.
func (b *Books) Release(now time.Time, k Key) Decision {
	var d Decision
	if h := b.holders.of(k); h != nil {
		addrs := h.inOrder()
		b.giveUp(&d, second(now), k, addrs)
	}
	if w := b.waiters[k]; w != nil {
		seq, queues, woken := w.seq, w.queues, w.woken
		b.dequeue(w)
		delete(b.waiters, k)
		if woken {
			d.Wake = append(d.Wake, b.passOn(seq, queues)...)
		}
	}
	d.touchDeparted(b, k)
	return d
}

// Vacate takes leaving addresses from a holder, whose status shows them no more.
// Addresses that its last decision needs are left alone.
func (b *Books) Vacate(now time.Time, k Key, leaving []netip.Addr) Decision {
	var d Decision
	if h := b.holders.of(k); h != nil {
		keep := b.current(k, h)
		var gone []netip.Addr
		for _, a := range leaving {
			if a = a.Unmap(); slices.Contains(h.addrs, a) && !slices.Contains(keep, a) && !slices.Contains(gone, a) {
				gone = append(gone, a)
			}
		}
		b.giveUp(&d, second(now), k, gone)
	}
	d.touchDeparted(b, k)
	return d
}

func (b *Books) giveUp(d *Decision, now time.Time, k Key, addrs []netip.Addr) {
	for _, a := range addrs {
		e := b.entries[a]
		b.depart(a, k)
		d.Wake = append(d.Wake, append(partners(e, k), former(e, k)...)...)
		b.change(e, func(e *entry) {
			e.holders = slices.DeleteFunc(slices.Clone(e.holders), func(h Holding) bool { return h.Key == k })
			if len(e.holders) > 0 {
				endTakeovers(e.holders, k, now)
				return
			}
			e.pool = b.surrounding(e)
			if e.reserved == nil && e.bucket != nil && e.bucket.pool.wait() > 0 {
				e.released = &Release{Key: k, At: now}
			}
		})
		d.Touched = append(d.Touched, a)
		d.Wake = append(d.Wake, b.alone(e)...)
		if len(e.holders) == 0 {
			d.Freed = append(d.Freed, a)
		}
	}
	for _, a := range addrs {
		d.Wake = append(d.Wake, b.wake(a)...)
	}
}

// touchDeparted adds what the holder gave up and the ledger may still show.
func (d *Decision) touchDeparted(b *Books, k Key) {
	for _, a := range b.from[k] {
		if !slices.Contains(d.Touched, a) {
			d.Touched = append(d.Touched, a)
		}
	}
}

// departing remembers who gave up which address since the ledger was last known
// to have it otherwise, so that a failed write is tried again, and a late event
// of an earlier write does not bring the holder back.
type departing struct {
	from map[Key][]netip.Addr
	who  map[netip.Addr][]Key
}

func newDeparting() departing {
	return departing{from: map[Key][]netip.Addr{}, who: map[netip.Addr][]Key{}}
}

func (p *departing) departs(a netip.Addr, k Key) bool { return slices.Contains(p.who[a], k) }

func (p *departing) depart(a netip.Addr, k Key) {
	if !p.departs(a, k) {
		p.from[k] = append(p.from[k], a)
		p.who[a] = append(p.who[a], k)
	}
}

// arrived forgets that k gave a up.
func (p *departing) arrived(a netip.Addr, k Key) {
	if !p.departs(a, k) {
		return
	}
	p.who[a] = slices.DeleteFunc(p.who[a], func(o Key) bool { return o == k })
	if len(p.who[a]) == 0 {
		delete(p.who, a)
	}
	p.from[k] = without(p.from[k], a)
	if len(p.from[k]) == 0 {
		delete(p.from, k)
	}
}

// departures forgets those whom the truth does not show any more.
func (p *departing) departures(truth Entry) {
	for _, k := range slices.Clone(p.who[truth.Address]) {
		if find(truth.Holders, k) == nil {
			p.arrived(truth.Address, k)
		}
	}
}

// Expire frees the addresses whose ReuseDelay and Retain have passed, and gives
// those whose entry changed thereby (to be written, or deleted where Entry says
// so), with the next time to call it; zero: when something was released.
func (b *Books) Expire(now time.Time) (changed []netip.Addr, next time.Time) {
	earlier := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, p := range b.order {
		for _, bk := range p.families {
			if bk == nil {
				continue
			}
			for {
				item, ok := bk.cooling.first()
				if !ok {
					break
				}
				if t := time.Unix(item.since, 0).UTC().Add(p.wait()); now.Before(t) {
					earlier(t)
					break
				}
				a := item.at.addr(bk.family)
				b.change(b.entries[a], func(e *entry) { e.released = nil })
				changed = append(changed, a)
			}
		}
	}
	changed = append(changed, b.expireStrays()...)
	slices.SortFunc(changed, netip.Addr.Compare)
	for _, a := range changed {
		b.woken = append(b.woken, b.wake(a)...)
	}
	b.wakeRetained(now, earlier)
	return changed, next
}

// expireStrays forgets releases of addresses that no pool could give out.
func (b *Books) expireStrays() []netip.Addr {
	var out []netip.Addr
	for _, list := range b.retained {
		for _, a := range list {
			if b.entries[a].bucket == nil {
				out = append(out, a)
			}
		}
	}
	for _, a := range out {
		b.change(b.entries[a], func(e *entry) { e.released = nil })
	}
	return out
}

// wakeRetained wakes those who asked for an address that is no longer retained
// but still cools.
func (b *Books) wakeRetained(now time.Time, earlier func(time.Time)) {
	for _, a := range slices.SortedFunc(maps.Keys(b.wishers), netip.Addr.Compare) {
		e := b.entries[a]
		if e == nil || e.released == nil {
			continue
		}
		until, retained := b.retainedUntil(now, e)
		if retained {
			earlier(until)
			continue
		}
		b.woken = append(b.woken, b.wake(a)...)
	}
}

// couldHave tells whether the claim could have address a once it is decided
// again; whether retention has ended by then is for that decision to see.
func (b *Books) couldHave(c *Claim, a netip.Addr) bool {
	if e := b.entries[a]; e != nil && e.holding(c.Key) != nil { // waits to change its ports there
		return true
	}
	r := b.unavailable(&plan{now: distantFuture}, c, a, nil)
	return r == nil
}

// distantFuture is after every retention.
var distantFuture = time.Unix(1<<40, 0)
