package l2

import "net/netip"

// trouble is what can fail and go on failing: an address on an interface, a whole interface (no address), or the
// subscription to all of them (neither).
type trouble struct {
	link string
	addr netip.Addr
}

// tried tells how an attempt went: an error when it is new or another one, and that it is over.
func (e *Engine) tried(t trouble, err error) {
	before, lasts := e.troubles[t]
	switch {
	case err == nil && lasts:
		delete(e.troubles, t)
		e.emit(Event{Kind: Mended, Interface: t.link, Address: t.addr})
	case err != nil && before != err.Error():
		e.troubles[t] = err.Error()
		e.emit(Event{Kind: Failed, Interface: t.link, Address: t.addr, Err: err})
	}
}

// forgetTroubles ends those of the interfaces that over picks: on one that is down or gone nothing is wanted, and one that
// is opened anew may work.
func (e *Engine) forgetTroubles(over func(link string) bool) {
	for t := range e.troubles {
		if t.link != "" && over(t.link) {
			e.tried(t, nil)
		}
	}
}
