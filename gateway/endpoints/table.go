package endpoints

import (
	"maps"
	"net/netip"
	"slices"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/gateway"
)

// Table holds EndpointSlices by Service, and the assignments that are made of
// them. It is for one goroutine at a time.
type Table struct {
	families Families
	slices   map[gateway.Name]*slice              // by the slice's own name
	services map[gateway.Name]map[string]*slice   // by Service, then by the slice's name
	uses     map[string]Assignment                // by EDS name
	users    map[gateway.Name]map[string]struct{} // EDS names by Service
}

// NewTable makes an empty Table for Envoys that can connect to the families.
func NewTable(families Families) *Table {
	return &Table{
		families: families,
		slices:   map[gateway.Name]*slice{}, services: map[gateway.Name]map[string]*slice{},
		uses: map[string]Assignment{}, users: map[gateway.Name]map[string]struct{}{},
	}
}

// Set takes an EndpointSlice that is new or has changed, and returns the EDS names
// whose Load changes by it, sorted; mostly none or one. The slice may be modified
// afterwards.
func (t *Table) Set(in *discoveryv1.EndpointSlice) []string {
	name := gateway.Name{Namespace: in.Namespace, Name: in.Name}
	next := readSlice(in, t.families)
	if next == nil {
		return t.Remove(name)
	}
	before := t.slices[name]
	if before != nil && before.equal(next) {
		return nil
	}
	var changed []string
	if before != nil && before.service != next.service {
		changed = t.Remove(name)
	}
	t.slices[name] = next
	of := t.services[next.service]
	if of == nil {
		of = map[string]*slice{}
		t.services[next.service] = of
	}
	of[name.Name] = next
	return merge(changed, t.usersOf(next.service))
}

// Remove takes that an EndpointSlice is gone, and returns the EDS names whose Load
// changes by it, sorted.
func (t *Table) Remove(name gateway.Name) []string {
	before := t.slices[name]
	if before == nil {
		return nil
	}
	delete(t.slices, name)
	of := t.services[before.service]
	delete(of, name.Name)
	if len(of) == 0 {
		delete(t.services, before.service)
	}
	return t.usersOf(before.service)
}

// Use defines an EDS name, or defines it anew.
func (t *Table) Use(name string, a Assignment) {
	t.Drop(name)
	t.uses[name] = Assignment{Parts: slices.Clone(a.Parts)}
	for _, p := range a.Parts {
		if t.users[p.Service] == nil {
			t.users[p.Service] = map[string]struct{}{}
		}
		t.users[p.Service][name] = struct{}{}
	}
}

// Drop forgets an EDS name.
func (t *Table) Drop(name string) {
	for _, p := range t.uses[name].Parts {
		delete(t.users[p.Service], name)
		if len(t.users[p.Service]) == 0 {
			delete(t.users, p.Service)
		}
	}
	delete(t.uses, name)
}

// Uses is the definition of an EDS name, and whether there is one.
func (t *Table) Uses(name string) (Assignment, bool) {
	a, ok := t.uses[name]
	return a, ok
}

// Load is what Envoy hears about an EDS name. It is never nil: a name that is not
// defined, or whose Services have no endpoints, is empty, since Envoy would wait
// for one that does not come.
func (t *Table) Load(name string) *endpointv3.ClusterLoadAssignment {
	return load(name, t.uses[name], t.families, func(p Part) []netip.AddrPort { return collect(t.services[p.Service], p.PortName) })
}

func (t *Table) usersOf(service gateway.Name) []string {
	return slices.Sorted(maps.Keys(t.users[service]))
}

func merge(a, b []string) []string {
	if len(a) == 0 {
		return b
	}
	out := append(slices.Clone(a), b...)
	slices.Sort(out)
	return slices.Compact(out)
}
