package gateway

import (
	"maps"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// Built is what one pass over a Gateway has found: its Model, what it has looked
// up for it, and what Status tells of everything around it.
type Built struct {
	Model *Model
	// References are all that was looked up, sorted.
	References []Reference

	in         Input
	owners     []*owner
	routes     []*route
	policies   map[Name][]*policy
	unresolved *verdict
}

// builder is the state of one pass.
type builder struct {
	in      *Input
	objects *tracked

	owners []*owner // the Gateway first
	routes []*route // the older first

	certificates map[string]certificate
	authorities  map[string]Authority
	backends     map[string]Backend
	policies     map[Name][]*policy
	redirects    map[redirectKey]*Rule

	clientCertificate string
	// unresolved is what the Gateway itself refers to in vain.
	unresolved *verdict
}

// Build makes the Model of a Gateway. Equal input in any order gives an equal
// Model.
func Build(in Input) *Built {
	b := &builder{
		in: &in, objects: track(in.Objects), certificates: map[string]certificate{}, authorities: map[string]Authority{},
		backends: map[string]Backend{}, policies: map[Name][]*policy{}, redirects: map[redirectKey]*Rule{},
	}
	b.collect()
	b.findClientCertificate()
	for _, o := range b.owners {
		for _, l := range o.listeners {
			b.examine(l)
		}
	}
	b.findConflicts()
	b.findOverlaps()
	b.readRoutes()
	for _, r := range b.routes {
		b.attach(r)
	}
	m := &Model{Gateway: b.owners[0].name, Ports: b.ports()}
	b.reachable(m)
	b.material(m)
	return &Built{
		Model: m, References: b.objects.references(),
		in: in, owners: b.owners, routes: b.routes, policies: b.policies, unresolved: b.unresolved,
	}
}

// reachable puts into the Model the backends that its routes lead to: a route
// that attached nowhere needs none.
func (b *builder) reachable(m *Model) {
	used := map[string]bool{}
	add := func(list []Destination) {
		for _, d := range list {
			used[d.Backend] = true
			for _, mirror := range d.Mirrors {
				used[mirror.Backend] = true
			}
			if d.Auth != nil {
				used[d.Auth.Backend] = true
			}
		}
	}
	table := func(t *Table) {
		if t == nil {
			return
		}
		for _, h := range t.Hosts {
			for _, a := range h.Auth {
				used[a.Backend] = true
			}
			for _, r := range h.Rules {
				add(r.Backends)
				for _, mirror := range r.Mirrors {
					used[mirror.Backend] = true
				}
				if r.Auth != nil {
					used[r.Auth.Backend] = true
				}
			}
		}
	}
	for _, p := range m.Ports {
		table(p.HTTP)
		if p.Stream != nil {
			add(p.Stream.Backends)
		}
		for _, s := range p.TLS {
			table(s.HTTP)
			if s.Stream != nil {
				add(s.Stream.Backends)
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(b.backends)) {
		if used[id] {
			m.Backends = append(m.Backends, b.backends[id])
		}
	}
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
