package l2

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// tightenAfter is how long after an address has gone, or many have come, filters are made exact again.
const tightenAfter = time.Second

// rest is how long the loop sleeps at least, unless it is woken: what falls due meanwhile is done in one go. Where addresses
// come by the hundreds, waking for each of their packets costs more than sending it.
const rest = 10 * time.Millisecond

// chunk is how many changed addresses are taken up before the first packets for them go out.
const chunk = 256

// retry is the back-off after something about the interfaces failed.
type retry struct {
	at   time.Time
	wait time.Duration
}

func (r *retry) failed(now time.Time) {
	r.wait = min(max(2*r.wait, time.Second), 30*time.Second)
	r.at = now.Add(r.wait)
}

// Run announces until ctx ends and returns an error only if it could not begin. It may be called once. When it returns, nothing
// is answered for any more.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errors.New("l2: Run was called a second time")
	}
	defer close(e.stopped)
	sub, err := subscribe()
	if err != nil {
		return fmt.Errorf("l2: %w", err)
	}
	e.sub = sub
	defer func() { e.sub.close() }()
	if err := e.links.list(); err != nil {
		return fmt.Errorf("l2: %w", err)
	}
	defer e.closePorts()
	e.relink()
	return e.loop(ctx)
}

func (e *Engine) loop(ctx context.Context) error {
	var timer <-chan time.Time
	var armed time.Time
	for {
		next, ok := e.process()
		switch {
		case !ok:
			timer, armed = nil, time.Time{}
		case !next.Equal(armed):
			timer, armed = e.cfg.Clock.After(max(next.Sub(e.cfg.Clock.Now()), rest)), next
		}
		select {
		case <-ctx.Done():
			return nil
		case <-e.wake:
		case <-timer:
			timer, armed = nil, time.Time{}
		case r := <-e.rivals:
			e.locked(func(now time.Time) { e.machine.rivalSeen(now, r.link, r.addr, r.hw) })
		case b := <-e.broken:
			e.drop(b)
		case u, open := <-e.sub.links:
			if open {
				e.links.linkUpdate(u)
			}
			e.follow(open)
		case u, open := <-e.sub.addrs:
			if open {
				e.links.addrUpdate(u)
			}
			e.follow(open)
		}
	}
}

// locked runs f with the state locked and then delivers the events that came of it.
func (e *Engine) locked(f func(now time.Time)) {
	e.state.Lock()
	f(e.cfg.Clock.Now())
	events := e.events
	e.events = nil
	e.state.Unlock()
	for _, ev := range events {
		e.log(ev)
		if e.cfg.OnEvent != nil {
			e.cfg.OnEvent(ev)
		}
	}
}

func (e *Engine) log(ev Event) {
	log := e.cfg.Log.WithValues("interface", ev.Interface)
	if ev.Address.IsValid() {
		log = log.WithValues("address", ev.Address)
	}
	switch ev.Kind {
	case Conflict:
		log.Info("Another host has an address that is to be announced here", "mac", ev.MAC.String(), "held", ev.Held)
	case ConflictGone:
		log.Info("No other host has the address any more", "mac", ev.MAC.String())
	case Failed:
		log.Error(ev.Err, "Layer 2 trouble; it is tried again")
	case InterfacesChanged:
		e.cfg.Log.V(1).Info("Interfaces have changed")
	default:
		log.V(1).Info(ev.Kind.String())
	}
}

// process does everything that is due and returns when it wants to be called again.
func (e *Engine) process() (next time.Time, ok bool) {
	if e.deaf && !e.retry.at.After(e.cfg.Clock.Now()) {
		e.resubscribe()
	}
	for {
		batch, refresh, waiters := e.takeDirty()
		e.locked(func(now time.Time) {
			e.timersDue(now)
			for _, w := range batch {
				e.machine.setWant(now, w.addr, w.want)
			}
			for _, a := range refresh {
				e.machine.refresh(a)
			}
			e.installFilters()
			next, ok = e.machine.advance(now)
		})
		for _, w := range waiters {
			close(w)
		}
		if len(batch) < chunk {
			break
		}
	}
	for _, at := range []time.Time{e.retry.at, e.tighten} {
		if !at.IsZero() && (!ok || at.Before(next)) {
			next, ok = at, true
		}
	}
	return next, ok
}

// timersDue does what the machine knows nothing of: trying interfaces again and tightening filters.
func (e *Engine) timersDue(now time.Time) {
	if !e.retry.at.IsZero() && !e.retry.at.After(now) {
		e.retry.at = time.Time{}
		e.relinkLocked(now)
	}
	if !e.tighten.IsZero() && !e.tighten.After(now) {
		e.tighten = time.Time{}
		for _, p := range e.ports {
			p.tighten()
		}
	}
}

type wish struct {
	addr netip.Addr
	want *Announcement
}

// takeDirty takes up to a chunk of changed wishes, and, if these are the last, what comes after them.
func (e *Engine) takeDirty() (batch []wish, refresh []netip.Addr, waiters []chan struct{}) {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.order), chunk)
	batch = make([]wish, n)
	for i, a := range e.order[:n] {
		batch[i] = wish{addr: a, want: e.desired[a]}
		delete(e.dirty, a)
	}
	e.order = e.order[n:]
	if len(e.order) > 0 {
		return batch, nil, nil
	}
	refresh, waiters = e.refresh, e.waiters
	e.order, e.refresh, e.waiters = nil, nil, nil
	return batch, refresh, waiters
}

// follow acts on changes of interfaces, taking up all that are there already; after an overrun it begins anew.
func (e *Engine) follow(open bool) {
	for open {
		select {
		case u, more := <-e.sub.links:
			if open = more; more {
				e.links.linkUpdate(u)
			}
			continue
		case u, more := <-e.sub.addrs:
			if open = more; more {
				e.links.addrUpdate(u)
			}
			continue
		default:
		}
		break
	}
	if !open {
		e.resubscribe()
	}
	e.relink()
}

// resubscribe begins to follow interfaces anew. If that fails, the closed channels are replaced by silent ones until the retry.
func (e *Engine) resubscribe() {
	e.sub.close()
	fresh, err := subscribe()
	if err == nil {
		e.sub, e.deaf = fresh, false
		if err = e.links.list(); err == nil {
			e.locked(func(time.Time) { e.tried(trouble{}, nil) })
			return
		}
		fresh.close()
	}
	e.sub, e.deaf = idleSubscription(), true
	e.locked(func(now time.Time) {
		e.tried(trouble{}, err)
		e.retry.failed(now)
	})
}

func (e *Engine) relink() { e.locked(e.relinkLocked) }

// relinkLocked opens and closes ports so that they match the interfaces, and tells the machine.
func (e *Engine) relinkLocked(now time.Time) {
	found := e.links.candidates()
	own := map[mac]bool{}
	var links []usable
	seen, wanted, ok := map[int]bool{}, map[string]bool{}, true
	for i := range found {
		c := &found[i]
		own[c.hw] = true
		if !c.arp && !c.ndp {
			continue
		}
		wanted[c.name] = true
		if err := e.open(now, c); err != nil {
			c.arp, c.ndp, c.reason, ok = false, false, err.Error(), false
			continue
		}
		seen[c.index] = true
		links = append(links, c.usable)
	}
	e.own.Store(&own)
	e.machine.setLinks(now, links)
	for index, p := range e.ports {
		if !seen[index] {
			p.close()
			delete(e.ports, index)
		}
	}
	e.forgetTroubles(func(link string) bool { return !wanted[link] })
	e.publish(found)
	if ok && !e.deaf {
		e.retry = retry{}
	}
}

// open makes sure that there is a port for c.
func (e *Engine) open(now time.Time, c *candidate) error {
	old := e.ports[c.index]
	if old != nil && old.link == c.usable && (!c.ndp || old.linkLocal == c.linkLocal) {
		return nil
	}
	index := c.index
	resp := &responder{
		count4: e.registry.of(c.name, familyIPv4), count6: e.registry.of(c.name, familyIPv6), ours: e.ours,
		rival: func(a netip.Addr, hw mac) { e.noticed(rival{link: index, addr: a, hw: hw}) },
	}
	p, err := openPort(c.usable, c.linkLocal, resp, func(err error) { e.broken <- brokenPort{resp, index, err} })
	if err == nil && old != nil {
		err = p.take(old)
	}
	if err != nil {
		e.tried(trouble{link: c.name}, err)
		e.retry.failed(now)
		if p != nil {
			p.close()
		}
		return err
	}
	if old != nil {
		old.close()
	}
	e.ports[index] = p
	e.forgetTroubles(func(link string) bool { return link == c.name })
	return nil
}

// noticed hands a rival over; when there are more than can be looked at, some are lost, and seen again soon.
func (e *Engine) noticed(r rival) {
	select {
	case e.rivals <- r:
	default:
	}
}

// ours tells whether a hardware address is this node's or another speaker's.
func (e *Engine) ours(hw mac) bool {
	return (*e.own.Load())[hw] || e.cfg.Known != nil && e.cfg.Known(hw.hw())
}

// drop closes a port that broke; it is opened again after a while.
func (e *Engine) drop(b brokenPort) {
	p := e.ports[b.link]
	if p == nil || p.resp != b.resp {
		return
	}
	e.locked(func(now time.Time) {
		e.tried(trouble{link: p.link.name}, b.err)
		p.close()
		delete(e.ports, b.link)
		e.machine.setLinks(now, slices.DeleteFunc(slices.Clone(e.machine.links), func(l usable) bool { return l.index == b.link }))
		e.retry.failed(now)
	})
}

// publish makes the answer of Interfaces.
func (e *Engine) publish(found []candidate) {
	all := make([]Interface, len(found))
	for i, c := range found {
		all[i] = Interface{Index: c.index, Name: c.name, MAC: c.hw.hw(), ARP: c.arp, NDP: c.ndp, Reason: c.reason}
	}
	same := slices.EqualFunc(all, e.ifaces, func(a, b Interface) bool {
		return a.Index == b.Index && a.Name == b.Name && slices.Equal(a.MAC, b.MAC) &&
			a.ARP == b.ARP && a.NDP == b.NDP && a.Reason == b.Reason
	})
	if !same {
		e.ifaces = all
		e.emit(Event{Kind: InterfacesChanged})
	}
}

func (e *Engine) closePorts() {
	e.state.Lock()
	defer e.state.Unlock()
	for index, p := range e.ports {
		p.close()
		delete(e.ports, index)
	}
}
