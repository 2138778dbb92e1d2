package gateway

import (
	"maps"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Built is what one pass over a Gateway has found: its Model, what it has looked
// up for it, and what Status tells of everything around it. It is not modified.
type Built struct {
	Model *Model
	// Lookups are what was looked up otherwise than for the Built before.
	Lookups Lookups

	in     Input // without routes
	frame  *frame
	routes []*route // the older first
	// on are the routes of each listener, the older first.
	on       map[*listener][]*attachment
	policies map[Name][]*policy
	// routesSaid and policiesSaid are parts of the statuses, which do not
	// depend on what becomes of the Gateway.
	routesSaid   []*RouteSaid
	policiesSaid []PolicySaid
}

// Lookups are what parts of an input look up that were not there or have changed,
// and what those looked up that were there before. Each part counts for itself.
type Lookups struct{ Came, Gone []Reference }

// builder is the state of one pass.
type builder struct {
	in      *Input
	objects *tracked
	*frame
	// reading has what is found out beside the part that is being read.
	reading *findings

	routes []*route
	on     map[*listener][]*attachment
	// change is what differs from the Built before; nil: there is none.
	change *difference

	// What several parts refer to is read once.
	authorities map[string]found[Authority]
	policies    map[Name]found[[]*policy]
	redirects   map[redirectKey]*Rule
}

// found is something that was read, and what was looked up for it.
type found[T any] struct {
	value T
	seen  []Reference
}

func newBuilder(in *Input) *builder {
	return &builder{
		in: in, objects: track(in.Objects), on: map[*listener][]*attachment{},
		authorities: map[string]found[Authority]{}, policies: map[Name]found[[]*policy]{}, redirects: map[redirectKey]*Rule{},
	}
}

// Build makes the Model of a Gateway. Equal input in any order gives an equal
// Model.
func Build(in Input) *Built {
	b := newBuilder(&in)
	b.readFrame()
	b.routes = b.readRoutes(in.Routes.all())
	b.attachAll()
	out := b.built()
	out.Lookups.Came = slices.Clone(b.seen)
	for _, r := range b.routes {
		out.Lookups.Came = append(out.Lookups.Came, r.seen...)
	}
	return out
}

// attachAll finds the routes of each listener.
func (b *builder) attachAll() {
	for _, r := range b.routes {
		for _, p := range r.on {
			b.on[p.listener] = append(b.on[p.listener], &attachment{route: r, hosts: p.hosts})
		}
	}
}

// built makes the Model of what was read, and the statuses that follow from it
// alone.
func (b *builder) built() *Built {
	in := *b.in
	in.Routes, in.Objects = Routes{}, nil // or they would stay in memory
	m := &Model{Gateway: b.owners[0].name, Ports: b.ports()}
	out := &Built{Model: m, in: in, frame: b.frame, routes: b.routes, on: b.on}
	b.reachable(m)
	if b.change != nil && !b.change.policies() {
		out.policies, out.policiesSaid = b.change.was.policies, b.change.was.policiesSaid
	} else {
		out.policies = b.allPolicies()
		out.policiesSaid = out.policyStatus()
	}
	b.material(m, out.policies)
	out.routesSaid = make([]*RouteSaid, len(b.routes))
	for i, r := range b.routes {
		out.routesSaid[i] = r.said
	}
	return out
}

// allPolicies are those of all Services that something refers to.
func (b *builder) allPolicies() map[Name][]*policy {
	out := map[Name][]*policy{}
	add := func(list []governed) {
		for _, g := range list {
			out[g.service] = g.policies
		}
	}
	add(b.findings.policies)
	for _, r := range b.routes {
		add(r.governing())
	}
	return out
}

// reachable puts into the Model the backends that its routes lead to: a route
// that attached nowhere needs none.
func (b *builder) reachable(m *Model) {
	if b.change != nil {
		b.change.backends(b, m)
		return
	}
	used := map[string]bool{}
	for i := range m.Ports {
		m.Ports[i].uses(func(id string) { used[id] = true })
	}
	m.Backends = sortedBackends(b.backendsNamed(used))
}

func compareBackends(a, b Backend) int { return strings.Compare(a.ID, b.ID) }

func sortedBackends(all map[string]Backend) []Backend {
	return slices.SortedFunc(maps.Values(all), compareBackends)
}

// backendsNamed finds backends by ID.
func (b *builder) backendsNamed(ids map[string]bool) map[string]Backend {
	if len(ids) == 0 {
		return nil
	}
	out := make(map[string]Backend, len(ids))
	add := func(list []Backend) {
		for _, k := range list {
			if ids[k.ID] {
				out[k.ID] = k
			}
		}
	}
	add(b.backends)
	for _, r := range b.routes {
		add(r.backends)
	}
	return out
}

// Listening tells whether a Gateway has any port to serve.
func (b *Built) Listening() bool { return len(b.Model.Ports) > 0 }

// joined lists reasons, if they are many only the first.
func joined(list []string) string {
	const most = 3
	if len(list) <= most {
		return strings.Join(list, "; ")
	}
	return strings.Join(list[:most], "; ") + "; and others"
}

// Ours tells whether a class is one of this controller.
func Ours(c *gatewayv1.GatewayClass) bool { return c.Spec.ControllerName == ControllerName }
