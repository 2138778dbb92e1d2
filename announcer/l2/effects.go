package l2

import (
	"net/netip"
)

// The Engine is the machine's hand in the world.
var _ effects = (*Engine)(nil)

func (e *Engine) watch(link int, a netip.Addr) { e.put(link, a, answer{silent: true}) }

func (e *Engine) answer(link int, a netip.Addr, hw mac) { e.put(link, a, answer{hw: hw}) }

func (e *Engine) put(link int, a netip.Addr, ans answer) {
	p := e.ports[link]
	if p == nil {
		return
	}
	if err := p.put(a, ans); err != nil {
		e.emit(Event{Kind: Failed, Address: a, Interface: p.link.name, Err: err})
	}
	e.settle(p)
}

func (e *Engine) forget(link int, a netip.Addr) {
	p := e.ports[link]
	if p == nil {
		return
	}
	p.remove(a)
	e.settle(p)
}

// settle has the filters of a port tightened after a while, if there is anything to tighten.
func (e *Engine) settle(p *port) {
	if e.tighten.IsZero() && (p.filter4.settling() || p.filter6.settling()) {
		e.tighten = e.cfg.Clock.Now().Add(tightenAfter)
	}
}

func (e *Engine) send(link int, a netip.Addr, kind packetKind) error {
	p := e.ports[link]
	if p == nil {
		return nil
	}
	err := p.send(a, kind)
	if err != nil && !p.failing {
		e.emit(Event{Kind: Failed, Address: a, Interface: p.link.name, Err: err})
	}
	p.failing = err != nil
	return err
}

func (e *Engine) emit(ev Event) { e.events = append(e.events, ev) }

// installFilters hands changed filters to the kernel.
func (e *Engine) installFilters() {
	for _, p := range e.ports {
		if err := p.install(); err != nil {
			e.emit(Event{Kind: Failed, Interface: p.link.name, Err: err})
		}
	}
}
