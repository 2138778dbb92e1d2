package feed

import (
	"maps"
	"time"

	"github.com/fairlead/fairlead/gateway"
)

// phase is how far a wave has got.
type phase uint8

const (
	rest phase = iota
	making
	switching
)

// rollout leads one Envoy to a Gateway's target, wave by wave.
type rollout struct {
	stream  *stream
	gateway gateway.Name
	// orphans marks the one that takes away what an Envoy brought along and no
	// Gateway has.
	orphans bool

	phase phase
	// target is where the wave leads or, at rest, where the last one led.
	target *target
	// dirty is what was changed since target was taken, work what was before.
	dirty, work [kinds]map[string]struct{}
	// awaits is what the phase waits for, until then at most.
	awaits map[ref]struct{}
	until  time.Time
	// late are clusters for which a wave did not wait any longer.
	late map[ref]struct{}
	// dropped are clusters that the target has no more, with the time from which
	// on nothing refers to them; zero: something may.
	dropped map[string]time.Time
	// gone are listeners and route tables that the target has no more and the
	// Envoy may have.
	gone map[ref]struct{}

	// turned says that a wave has got beyond making.
	turned bool
	// served says that the Envoy has had the Gateway, all that it would take.
	served bool
	// told is what was last made known.
	told state
}

// state is what is made known of a rollout when it changes. That an Envoy is behind is
// not: it is with each change, for a moment, and nothing follows from it.
type state struct {
	serving bool
	refused string
}

func newRollout(s *stream, gw gateway.Name) *rollout {
	r := &rollout{stream: s, gateway: gw, target: noTarget}
	r.awaits, r.late, r.gone = map[ref]struct{}{}, map[ref]struct{}{}, map[ref]struct{}{}
	r.dropped = map[string]time.Time{}
	for k := range kinds {
		r.dirty[k] = map[string]struct{}{}
	}
	return r
}

func (r *rollout) latest() *target {
	if r.orphans {
		return noTarget
	}
	return r.stream.fleet.target(r.gateway)
}

// change takes what differs between the last target and the latest.
func (r *rollout) change(d diff) {
	for k, names := range d {
		for _, name := range names {
			r.dirty[k][name] = struct{}{}
		}
	}
}

// owns says whether a resource is the Gateway's to bring or to take away.
func (r *rollout) owns(id ref) bool {
	_, dirty := r.dirty[id.kind][id.name]
	_, work := r.work[id.kind][id.name]
	_, gone := r.gone[id]
	_, dropped := r.dropped[id.name]
	return dirty || work || gone || dropped && id.kind == clusters || r.target.has(id)
}

func (r *rollout) isDirty() bool {
	return len(r.dirty[clusters])+len(r.dirty[listeners])+len(r.dirty[routes])+len(r.dirty[secrets]) > 0
}

// advance goes as far as the Envoy has come.
func (r *rollout) advance(now time.Time) {
	for {
		r.settle()
		switch r.phase {
		case rest:
			r.retire(now)
			if !r.isDirty() {
				r.target = r.latest() // assignments may differ
				return
			}
			r.make(now)
		case making:
			if len(r.awaits) > 0 && now.Before(r.until) {
				return
			}
			r.turn(now)
		case switching:
			if len(r.awaits) > 0 && now.Before(r.until) {
				return
			}
			clear(r.awaits)
			r.phase = rest
			r.served = r.served || r.serves()
		}
	}
}

// make begins a wave: clusters are offered.
func (r *rollout) make(now time.Time) {
	r.phase, r.target, r.until = making, r.latest(), now.Add(r.stream.feed.opts.Wait)
	r.work = r.dirty
	for k := range kinds {
		r.dirty[k] = map[string]struct{}{}
		if r.orphans {
			r.stream.disown(k, r.work[k])
		}
	}
	ch := r.stream.types[clusters]
	for name := range r.work[clusters] {
		e := r.target.entries[clusters][name]
		if e == nil {
			if ch.items[name] != nil {
				r.dropped[name] = time.Time{}
			}
			delete(r.late, ref{clusters, name})
			continue
		}
		delete(r.dropped, name)
		it := ch.item(name)
		it.goal = e
		if !it.has(e) {
			ch.pend(name)
			r.awaits[ref{clusters, name}] = struct{}{}
		}
	}
}

// turn goes over from making to switching: route tables and listeners are offered,
// and listeners that are gone taken away.
func (r *rollout) turn(now time.Time) {
	maps.Copy(r.late, r.awaits)
	clear(r.awaits)
	r.turned = true
	r.phase, r.until = switching, now.Add(r.stream.feed.opts.Wait)
	for _, k := range []kind{listeners, routes} {
		ch := r.stream.types[k]
		for name := range r.work[k] {
			e := r.target.entries[k][name]
			id := ref{k, name}
			if e == nil && ch.items[name] == nil {
				continue
			}
			it := ch.item(name)
			it.goal = e
			if e == nil {
				r.gone[id] = struct{}{}
			} else {
				delete(r.gone, id)
			}
			if e == nil || !it.has(e) {
				ch.pend(name)
				r.awaits[id] = struct{}{}
			}
		}
	}
	r.work = [kinds]map[string]struct{}{}
}

// settle forgets of what is waited for that which has come or was rejected.
func (r *rollout) settle() {
	for id := range r.awaits {
		if r.settled(id) {
			delete(r.awaits, id)
		}
	}
	for id := range r.late {
		if r.settled(id) {
			delete(r.late, id)
		}
	}
	for id := range r.gone {
		if it := r.stream.types[id.kind].items[id.name]; it == nil || r.orphans && it.goal != nil || it.goal == nil && it.held == "" && !it.wanted && !it.flying {
			delete(r.gone, id)
		}
	}
}

// settled says whether nothing more is to come of a resource.
func (r *rollout) settled(id ref) bool {
	e, it := r.target.entries[id.kind][id.name], r.stream.types[id.kind].items[id.name]
	switch {
	case e == nil && id.kind.byName():
		return true // the Envoy ends it by itself, in its time
	case e == nil:
		return it == nil || it.held == "" && !it.flying
	case it == nil:
		return false
	case it.rejects(e):
		return true
	}
	return it.has(e) && r.supplied(e, 0) || len(e.needs) > 0 && it.flying && it.aloft == e && r.supplied(e, it.sent)
}

// supplied says whether the Envoy has what a cluster needs, sent to it after a
// response. If that is the response with the cluster itself, the cluster is of use
// although it is not acknowledged: the Envoy puts that off while any other cluster,
// perhaps another Gateway's, is waiting.
func (r *rollout) supplied(e *entry, after uint64) bool {
	for _, n := range e.needs {
		it := r.stream.types[n.kind].items[n.name]
		if it == nil || it.flying || it.held == "" && it.bad == nil || it.sent < after {
			return false
		}
	}
	return true
}

// clean says that the Envoy has all listeners and route tables of the target and no
// other of the Gateway's, so that what only old ones referred to can go.
func (r *rollout) clean() bool {
	if r.phase != rest || len(r.gone) > 0 || !r.stream.types[listeners].asked {
		return false
	}
	for _, k := range []kind{listeners, routes} {
		for name, e := range r.target.entries[k] {
			if !r.stream.types[k].items[name].has(e) {
				return false
			}
		}
	}
	if r.orphans {
		// Its target has no listeners; those that the Envoy told of last are yet
		// to be taken away.
		if r.isDirty() {
			return false
		}
		for _, other := range r.stream.rollouts {
			if other != r && !other.clean() {
				return false
			}
		}
	}
	return true
}

// retire takes clusters away to which nothing has referred for a while.
func (r *rollout) retire(now time.Time) {
	if len(r.dropped) == 0 {
		return
	}
	clean, ch := r.clean(), r.stream.types[clusters]
	for name, since := range r.dropped {
		it := ch.items[name]
		if it == nil || r.orphans && it.goal != nil {
			delete(r.dropped, name) // it never got there, or a Gateway has it now
			continue
		}
		if since.IsZero() {
			if !clean {
				continue
			}
			since = now
			r.dropped[name] = now
		}
		if !now.Before(since.Add(r.stream.feed.opts.Grace)) {
			it.goal = nil
			ch.pend(name)
			delete(r.dropped, name)
		}
	}
}

// deadline is when advance is to be called even if nothing happens; zero: never.
func (r *rollout) deadline() time.Time {
	if r.phase != rest {
		return r.until
	}
	var out time.Time
	for _, since := range r.dropped {
		if at := since.Add(r.stream.feed.opts.Grace); !since.IsZero() && (out.IsZero() || at.Before(out)) {
			out = at
		}
	}
	return out
}

// over says that nothing is left to do.
func (r *rollout) over() bool {
	return r.phase == rest && !r.isDirty() && len(r.dropped)+len(r.gone)+len(r.late) == 0
}
