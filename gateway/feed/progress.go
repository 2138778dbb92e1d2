package feed

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/fairlead/fairlead/gateway"
)

// Progress is how far the Envoys of a fleet have got with a Gateway.
type Progress struct {
	// Envoys are those that are connected, sorted by pod.
	Envoys []Envoy
}

// Envoy is one connected Envoy.
type Envoy struct {
	Pod gateway.Name
	// Serving says that it has acknowledged some Set of the Gateway, as far as
	// it would take it, with a listener at least, and still has one: a later Set
	// that it has not acknowledged yet does not change that.
	Serving bool
	// Rejections are what it refuses of the last Set, sorted. One stays until the
	// Envoy has taken what came in its place.
	Rejections []Rejection
}

// Rejection is a resource that an Envoy refused. It keeps what it had of it.
type Rejection struct {
	// Type is Cluster, ClusterLoadAssignment, Secret, Listener or
	// RouteConfiguration.
	Type     string
	Resource string
	// Message is the Envoy's, shortened, on one line.
	Message string
}

// Progress tells of the Envoys that are connected.
func (f *Feed) Progress(fleetName string, gw gateway.Name) Progress {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out Progress
	fl := f.fleets[fleetName]
	if fl == nil {
		return out
	}
	for s := range fl.streams {
		e := Envoy{Pod: s.pod}
		if r := s.rollouts[gw]; r != nil {
			e.Rejections, e.Serving = r.rejections(), r.serving()
		}
		out.Envoys = append(out.Envoys, e)
	}
	slices.SortFunc(out.Envoys, func(a, b Envoy) int {
		return cmp.Or(strings.Compare(a.Pod.Namespace, b.Pod.Namespace), strings.Compare(a.Pod.Name, b.Pod.Name))
	})
	return out
}

// Taken tells whether an Envoy has everything of the last Set of a Gateway, and none
// refuses a part of it.
func (f *Feed) Taken(fleetName string, gw gateway.Name) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl, taken := f.fleets[fleetName], false
	if fl == nil {
		return false
	}
	for s := range fl.streams {
		r := s.rollouts[gw]
		if r == nil {
			continue
		}
		refused := len(r.rejections())
		if refused > 0 {
			return false
		}
		taken = taken || r.acknowledged(refused)
	}
	return taken
}

// rejections are what the Envoy refuses of what the Gateway wants now.
func (r *rollout) rejections() []Rejection {
	var out []Rejection
	for k, c := range r.stream.types {
		for name := range c.bad {
			it := c.items[name]
			if it == nil || it.bad == nil || !r.latest().has(ref{kind(k), name}) || !it.refuses(r.stream.goal(c, name)) {
				continue
			}
			out = append(out, Rejection{Type: kind(k).String(), Resource: name, Message: it.bad.message})
		}
	}
	slices.SortFunc(out, func(a, b Rejection) int {
		return cmp.Or(strings.Compare(a.Type, b.Type), strings.Compare(a.Resource, b.Resource))
	})
	return out
}

// serving says that the Envoy serves the Gateway.
func (r *rollout) serving() bool {
	for name := range r.target.entries[listeners] {
		if r.served && r.stream.types[listeners].held(name) {
			return true
		}
	}
	return false
}

// acknowledged says that the Envoy, which refuses so much of it, has everything of
// the last Set.
func (r *rollout) acknowledged(refusals int) bool {
	return refusals == 0 && r.phase == rest && !r.isDirty() && len(r.late)+len(r.gone) == 0 && r.target == r.latest() &&
		r.all(func(_ kind, it *item, e *entry) bool { return it.has(e) })
}

// serves says that the Envoy has all that it would take of the target, with a
// listener at least.
func (r *rollout) serves() bool {
	some := false
	for name := range r.target.entries[listeners] {
		some = some || r.stream.types[listeners].held(name)
	}
	return some && r.all(func(_ kind, it *item, e *entry) bool { return it != nil && (it.held != "" || it.rejects(e)) })
}

// all asks about the listeners, route tables and secrets of the target; not about
// secrets that the Envoy does not ask for, since nothing it has refers to them.
func (r *rollout) all(ok func(kind, *item, *entry) bool) bool {
	for _, k := range []kind{listeners, routes, secrets} {
		for name, e := range r.target.entries[k] {
			it := r.stream.types[k].items[name]
			if k == secrets && (it == nil || !it.wanted) {
				continue
			}
			if !ok(k, it, e) {
				return false
			}
		}
	}
	return true
}

// tell makes known what has changed since it was last told, and forgets rollouts
// that are over.
func (s *stream) tell() {
	for r := range s.active {
		if r.orphans {
			if r.over() {
				delete(s.active, r)
			}
			continue
		}
		r.served = r.served || r.phase == rest && r.serves()
		s.fleet.arrive(r)
		refused := r.rejections()
		now := state{serving: r.serving(), refused: summed(refused)}
		if now != r.told {
			r.told = now
			s.feed.news.add(s.fleet.name, r.gateway)
		}
		if !r.over() {
			continue
		}
		if s.fleet.gateways[r.gateway] == nil {
			delete(s.rollouts, r.gateway)
			delete(s.active, r)
		} else if r.acknowledged(len(refused)) {
			delete(s.active, r)
		}
	}
}

// summed tells lists of rejections apart; it is empty for none.
func summed(list []Rejection) string {
	if len(list) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", list)
}

// longest is how many bytes of an Envoy's message are kept: it goes into a
// condition.
const longest = 1024

func shorten(message string) string {
	message = strings.ToValidUTF8(strings.Join(strings.Fields(message), " "), "?")
	if len(message) <= longest {
		return message
	}
	cut := longest
	for !utf8.RuneStart(message[cut]) {
		cut--
	}
	return message[:cut] + "..."
}
