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
	e.tried(trouble{p.link.name, a}, p.put(a, ans))
	e.settle(p)
}

func (e *Engine) forget(link int, a netip.Addr) {
	p := e.ports[link]
	if p == nil {
		return
	}
	p.remove(a)
	e.tried(trouble{p.link.name, a}, nil)
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
	// What cannot be sent for one address can be sent for none: the first one tells it.
	err := p.send(a, kind)
	switch {
	case err != nil && !p.failing.IsValid():
		p.failing = a
		e.tried(trouble{p.link.name, a}, err)
	case err == nil && p.failing.IsValid():
		e.tried(trouble{p.link.name, p.failing}, nil)
		p.failing = netip.Addr{}
	}
	return err
}

func (e *Engine) emit(ev Event) { e.events = append(e.events, ev) }

// installFilters hands changed filters to the kernel.
func (e *Engine) installFilters() {
	for _, p := range e.ports {
		e.tried(trouble{link: p.link.name}, p.install())
	}
}
