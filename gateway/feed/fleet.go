package feed

import "github.com/fairlead/fairlead/gateway"

// fleet is what a set of equal Envoys should have. The Feed's lock is held for all
// of it.
type fleet struct {
	name string
	// open says that Ready was called.
	open     bool
	gateways map[gateway.Name]*target
	// shared is what goes out straight: assignments and secrets.
	shared  [kinds]map[string]*shared
	streams map[*stream]struct{}
	// waits are for what was set, the oldest first.
	waits map[gateway.Name][]*wait
}

// shared is what several Gateways may use.
type shared struct {
	entry *entry
	// users counts Gateways. At 0 it stays for the Envoys that still ask for it.
	users int
}

func newFleet(name string) *fleet {
	fl := &fleet{name: name, gateways: map[gateway.Name]*target{}, streams: map[*stream]struct{}{}, waits: map[gateway.Name][]*wait{}}
	fl.shared[assignments], fl.shared[secrets] = map[string]*shared{}, map[string]*shared{}
	return fl
}

// target is where a Gateway's Envoys are led.
func (fl *fleet) target(gw gateway.Name) *target {
	if t := fl.gateways[gw]; t != nil {
		return t
	}
	return noTarget
}

// share takes that a Gateway's secret has changed; nil is none.
func (fl *fleet) share(r ref, before, next *entry) {
	sh := fl.shared[r.kind][r.name]
	if sh == nil {
		sh = &shared{}
		fl.shared[r.kind][r.name] = sh
	}
	if before != nil {
		sh.users--
	}
	if next != nil {
		sh.users++
		sh.entry = next
		fl.offer(r)
		return
	}
	if sh.users <= 0 && !fl.wanted(r) {
		delete(fl.shared[r.kind], r.name)
	}
}

// offer lets streams look at a resource that goes out straight.
func (fl *fleet) offer(r ref) {
	for s := range fl.streams {
		if it := s.types[r.kind].items[r.name]; it != nil && it.wanted {
			s.types[r.kind].pend(r.name)
			s.wake()
		}
	}
}

// wanted says whether an Envoy asks for a resource by name.
func (fl *fleet) wanted(r ref) bool {
	for s := range fl.streams {
		if it := s.types[r.kind].items[r.name]; it != nil && it.wanted {
			return true
		}
	}
	return false
}
