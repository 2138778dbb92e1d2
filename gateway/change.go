package gateway

import (
	"maps"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Change is what differs from what a Gateway was built from.
type Change struct {
	// Gateway is as it is now.
	Gateway *gatewayv1.Gateway
	// Of are the routes, and of what was looked up the objects, that may have
	// come, changed or gone.
	Of map[Reference]struct{}
	// Routes are those of Of that are there. Those that name neither the Gateway
	// nor one of its ListenerSets are passed over.
	Routes Routes
	// Objects answers as of now.
	Objects Objects
}

func (c *Change) has(r Reference) bool {
	_, ok := c.Of[r]
	return ok
}

// few is up to how many references are found sooner by comparing than by hashing.
const few = 8

// finder is has, for whoever asks of each of many routes.
func (c *Change) finder() func(Reference) bool {
	if len(c.Of) > few {
		return c.has
	}
	of := slices.Collect(maps.Keys(c.Of))
	return func(r Reference) bool {
		for i := range of {
			// Names differ more often than kinds do.
			if of[i].Name.Name == r.Name.Name && of[i] == r {
				return true
			}
		}
		return false
	}
}

// concerns tells whether something that was looked up may have changed.
func (c *Change) concerns(seen []Reference) bool { return slices.ContainsFunc(seen, c.has) }

// ofOthers tells whether something has changed that is no route.
func (c *Change) ofOthers() bool {
	for r := range c.Of {
		switch r.Kind {
		case "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute":
		default:
			return true
		}
	}
	return false
}

// Fits tells whether a Gateway and its ListenerSets are those that this was built
// from. If not, Rebuild cannot do.
func (was *Built) Fits(gw *gatewayv1.Gateway, sets []*gatewayv1.ListenerSet) bool {
	if !same(&was.in.Gateway.ObjectMeta, &gw.ObjectMeta) || len(was.in.ListenerSets) != len(sets) {
		return false
	}
	for _, s := range sets {
		if !slices.ContainsFunc(was.in.ListenerSets, func(w *gatewayv1.ListenerSet) bool { return same(&w.ObjectMeta, &s.ObjectMeta) }) {
			return false
		}
	}
	return true
}

// Rebuild gives what Build would give of the input as it is now. What a change
// does not concern is taken from before, and shared with it: routes, hosts of
// tables with their rules, and backends. A change of what the Gateway's own
// listeners refer to concerns which listeners every route is attached to, but not
// what was read of the routes.
func (was *Built) Rebuild(c Change) *Built {
	in := was.in
	in.Gateway, in.Objects = c.Gateway, c.Objects
	b := newBuilder(&in)
	b.frame = was.frame
	if c.concerns(was.frame.seen) {
		return b.reframed(was, &c)
	}
	kept, came, gone := b.readChanged(was, &c)
	b.change = &difference{was: was, came: came, gone: gone, touched: map[*listener]map[string]bool{}, uses: map[string]bool{}, used: map[string]bool{}}
	b.change.touch()
	b.routes = merged(kept, came, compareRoutes)
	b.change.attach(b)
	out := b.built()
	out.Lookups.add(came, gone)
	return out
}

// reframed builds on listeners that are read anew.
func (b *builder) reframed(was *Built, c *Change) *Built {
	b.readFrame()
	kept, came, gone := b.readChanged(was, c)
	again := make([]*route, len(kept))
	for i, r := range kept {
		again[i] = b.attachedAgain(r)
	}
	b.routes = merged(again, came, compareRoutes)
	b.attachAll()
	out := b.built()
	out.Lookups = Lookups{Came: slices.Clone(b.seen), Gone: slices.Clone(was.frame.seen)}
	out.Lookups.add(came, gone)
	out.Lookups.add(again, kept)
	return out
}

// readChanged reads the routes that a change concerns: those that have changed
// themselves, and those that refer to what has. The Gateway's certificate for
// backends concerns all.
func (b *builder) readChanged(was *Built, c *Change) (kept, came, gone []*route) {
	objects := c.Routes.all()
	all := b.clientCertificate != was.frame.clientCertificate
	other := c.ofOthers()
	kept = make([]*route, 0, len(was.routes))
	has := c.finder()
	for _, r := range was.routes {
		switch {
		case has(r.reference()):
			gone = append(gone, r)
		case all || other && c.concerns(r.seen):
			gone, objects = append(gone, r), append(objects, r.object)
		default:
			kept = append(kept, r)
		}
	}
	return kept, b.readRoutes(objects), gone
}

func (l *Lookups) add(came, gone []*route) {
	for _, r := range came {
		l.Came = append(l.Came, r.seen...)
	}
	for _, r := range gone {
		l.Gone = append(l.Gone, r.seen...)
	}
}

// difference is what a pass changes of the Built before it, of the same listeners.
type difference struct {
	was *Built
	// came and gone are the routes that were read anew, and those that they
	// replace or that are no more.
	came, gone []*route
	// touched are, by listener, the own hostnames of those routes.
	touched map[*listener]map[string]bool
	// uses are the backends of the parts of the Model that are made anew, used
	// those of the parts that they replace.
	uses, used map[string]bool
}

func (d *difference) touch() {
	for _, r := range slices.Concat(d.came, d.gone) {
		for _, p := range r.on {
			if d.touched[p.listener] == nil {
				d.touched[p.listener] = map[string]bool{}
			}
			for _, h := range p.hosts {
				d.touched[p.listener][h] = true
			}
		}
	}
}

func (d *difference) touches(listeners ...*listener) bool {
	return slices.ContainsFunc(listeners, func(l *listener) bool { return d.touched[l] != nil })
}

// attach finds the routes of each listener.
func (d *difference) attach(b *builder) {
	leaving := make(map[*route]bool, len(d.gone))
	for _, r := range d.gone {
		leaving[r] = true
	}
	coming := map[*listener][]*attachment{}
	for _, r := range d.came {
		for _, p := range r.on {
			coming[p.listener] = append(coming[p.listener], &attachment{route: r, hosts: p.hosts})
		}
	}
	b.on = maps.Clone(d.was.on)
	for l := range d.touched {
		stay := b.on[l]
		if len(leaving) > 0 {
			stay = make([]*attachment, 0, len(b.on[l]))
			for _, a := range b.on[l] {
				if !leaving[a.route] {
					stay = append(stay, a)
				}
			}
		}
		b.on[l] = merged(stay, coming[l], func(x, y *attachment) int { return compareRoutes(x.route, y.route) })
	}
}

// merged puts sorted values into a sorted list.
func merged[T any](list, come []T, compare func(a, b T) int) []T {
	if len(come) == 0 {
		return list
	}
	out := make([]T, 0, len(list)+len(come))
	for _, c := range come {
		i, _ := slices.BinarySearchFunc(list, c, compare)
		out = append(append(out, list[:i]...), c)
		list = list[i:]
	}
	return append(out, list...)
}

// affected are the hosts of a table that a listener has, and whose rules may have
// changed: hosts that its touched hostnames match.
func (d *difference) affected(l *listener, siblings []*listener, old []*Host) map[string]bool {
	out := map[string]bool{}
	add := func(host string) {
		if mostSpecific(siblings, host) == l {
			out[host] = true
		}
	}
	for h := range d.touched[l] {
		if host, ok := intersect(l.host, h); ok {
			add(host)
		}
		if !strings.HasPrefix(h, "*") {
			continue
		}
		for i := range old {
			if covers(h, old[i].Hostname) {
				add(old[i].Hostname)
			}
		}
	}
	return out
}

// patch replaces hosts of a sorted table: those that are affected by what they are
// now, which may be nothing.
func (d *difference) patch(old []*Host, affected map[string]bool, now []*Host) []*Host {
	out := make([]*Host, 0, len(old)+len(now))
	for _, name := range slices.Sorted(maps.Keys(affected)) {
		i, there := slices.BinarySearchFunc(old, name, func(h *Host, name string) int { return strings.Compare(h.Hostname, name) })
		out = append(out, old[:i]...)
		if there {
			old[i].uses(func(id string) { d.used[id] = true })
			i++
		}
		old = old[i:]
		if len(now) > 0 && now[0].Hostname == name {
			now[0].uses(func(id string) { d.uses[id] = true })
			out, now = append(out, now[0]), now[1:]
		}
	}
	return append(out, old...)
}

// backends puts those into the Model that it had and still needs, and those that are
// new to it. If they are the same, so is the list.
func (d *difference) backends(b *builder, m *Model) {
	for i := range m.Ports {
		if d.touches(b.places[i].listeners()...) {
			m.Ports[i].forwards(func(id string) { d.uses[id] = true })
			d.was.Model.Ports[i].forwards(func(id string) { d.used[id] = true })
		}
	}
	had := d.was.Model.Backends
	known := func(id string) bool {
		_, ok := slices.BinarySearchFunc(had, id, func(k Backend, id string) int { return strings.Compare(k.ID, id) })
		return ok
	}
	maps.DeleteFunc(d.used, func(id string, _ bool) bool { return d.uses[id] || !known(id) })
	maps.DeleteFunc(d.uses, func(id string, _ bool) bool { return known(id) })
	if len(d.used) > 0 { // perhaps by something else
		for i := range m.Ports {
			m.Ports[i].uses(func(id string) { delete(d.used, id) })
		}
	}
	m.Backends = had
	if len(d.used) > 0 {
		m.Backends = slices.DeleteFunc(slices.Clone(had), func(k Backend) bool { return d.used[k.ID] })
	}
	if all := b.backendsNamed(d.uses); len(all) > 0 {
		m.Backends = merged(m.Backends, sortedBackends(all), compareBackends)
	}
}

// policies tells whether some route that has come or gone has any.
func (d *difference) policies() bool {
	return slices.ContainsFunc(slices.Concat(d.came, d.gone), func(r *route) bool { return len(r.policies) > 0 })
}
