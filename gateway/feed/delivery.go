package feed

import (
	"slices"

	"github.com/fairlead/fairlead/gateway"
)

// Delivery is what has become of something that was set.
type Delivery struct {
	// Changed says that it was other than what was set before, but for
	// endpoints.
	Changed bool
	// Envoys is how many have it, or would not take some of it.
	Envoys int
	// Rejections is how many resources Envoys would not take, each counted for
	// every Envoy.
	Rejections int
	// Abandoned says that nobody waits any longer: the Gateway is gone, or too
	// much was set while an Envoy said nothing.
	Abandoned bool
}

// wait is for streams to have come to a target, or beyond.
type wait struct {
	number   uint64
	left     map[*stream]struct{}
	delivery Delivery
	done     func(Delivery)
}

// mostWaits is how many there are for a Gateway at most: an Envoy that says nothing
// must not make them pile up.
const mostWaits = 64

// await begins to wait for what is set for a Gateway now.
func (fl *fleet) await(gw gateway.Name, changed bool, done func(Delivery)) {
	w := &wait{number: fl.target(gw).number, left: map[*stream]struct{}{}, delivery: Delivery{Changed: changed}, done: done}
	if changed {
		for s := range fl.streams {
			w.left[s] = struct{}{}
		}
	}
	if len(w.left) == 0 {
		done(w.delivery)
		return
	}
	fl.waits[gw] = append(fl.waits[gw], w)
	if len(fl.waits[gw]) > mostWaits {
		fl.waits[gw][0].abandon()
		fl.waits[gw] = fl.waits[gw][1:]
	}
}

func (w *wait) abandon() {
	w.delivery.Abandoned = true
	w.done(w.delivery)
}

// abandon ends all waits for a Gateway.
func (fl *fleet) abandon(gw gateway.Name) {
	for _, w := range fl.waits[gw] {
		w.abandon()
	}
	delete(fl.waits, gw)
}

// arrive takes that an Envoy may have come to a Gateway's target.
func (fl *fleet) arrive(r *rollout) {
	if len(fl.waits[r.gateway]) == 0 || !r.arrived() {
		return
	}
	fl.check(r.gateway, func(w *wait) {
		if _, waits := w.left[r.stream]; waits && w.number <= r.target.number {
			delete(w.left, r.stream)
			w.delivery.Envoys++
			w.delivery.Rejections += len(r.rejections())
		}
	})
}

// arrived says that the Envoy has all that it would take of the target.
func (r *rollout) arrived() bool {
	return r.phase == rest && len(r.late) == 0 && r.all(func(_ kind, it *item, e *entry) bool { return it.has(e) || it != nil && it.rejects(e) })
}

// desert takes that an Envoy has gone: nobody waits for it.
func (fl *fleet) desert(s *stream) {
	for gw := range fl.waits {
		fl.check(gw, func(w *wait) { delete(w.left, s) })
	}
}

// check ends the waits for a Gateway that look has left nothing to wait for.
func (fl *fleet) check(gw gateway.Name, look func(*wait)) {
	fl.waits[gw] = slices.DeleteFunc(fl.waits[gw], func(w *wait) bool {
		if look(w); len(w.left) > 0 {
			return false
		}
		w.done(w.delivery)
		return true
	})
	if len(fl.waits[gw]) == 0 {
		delete(fl.waits, gw)
	}
}

// Connected is how many Envoys are connected, by fleet; of those fleets that
// something was set for.
func (f *Feed) Connected() map[string]int {
	f.mu.Lock()
	defer f.mu.Unlock()
	out := make(map[string]int, len(f.fleets))
	for name, fl := range f.fleets {
		out[name] = len(fl.streams)
	}
	return out
}
