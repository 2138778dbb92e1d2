package xds

import (
	"maps"
	"reflect"
	"slices"
	"strings"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/gateway"
)

// source is what Resources were encoded from, and what is taken from there the next
// time.
type source struct {
	model    *gateway.Model
	settings Settings
	// backends by ID, with their clusters and assignments: those that listeners
	// bring along are no part of these.
	backends    map[string]*gateway.Backend
	clusters    map[string]*clusterv3.Cluster
	assignments map[string]Assignment
	// kept says that the three are those of the Resources before.
	kept bool
}

// usable are the Resources, if something of them can be taken for a Model.
func (r *Resources) usable(m *gateway.Model, s Settings) *Resources {
	if r.from == nil || r.from.model.Gateway != m.Gateway || !reflect.DeepEqual(r.from.settings, s) {
		return nil
	}
	return r
}

// identical tells whether two slices, neither of which is modified, are one.
func identical[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// sameHost tells whether a host of a table is the one of the table before.
func sameHost(a, b *gateway.Host) bool {
	return a == b || a.Hostname == b.Hostname && a.Misdirected == b.Misdirected && identical(a.Auth, b.Auth) &&
		(identical(a.Rules, b.Rules) || slices.Equal(a.Rules, b.Rules))
}

// lastTable is a table of the Model before, and how it was encoded; nil: there is
// none.
func (e *encoder) lastTable(t *gateway.Table) (*gateway.Table, *routev3.RouteConfiguration) {
	if e.last == nil {
		return nil, nil
	}
	config := e.last.Routes[e.tableName(t)]
	for i := range e.last.from.model.Ports {
		p := &e.last.from.model.Ports[i]
		if p.HTTP != nil && p.HTTP.Name == t.Name {
			return p.HTTP, config
		}
		for j := range p.TLS {
			if was := p.TLS[j].HTTP; was != nil && was.Name == t.Name {
				return was, config
			}
		}
	}
	return nil, nil
}

// hosts encodes those of a table that are not those of the table before.
func (e *encoder) hosts(all []*gateway.Host, old *gateway.Table, encoded []*routev3.VirtualHost) []*routev3.VirtualHost {
	out := make([]*routev3.VirtualHost, 0, len(all))
	var before []*gateway.Host
	if old != nil {
		before = old.Hosts
	}
	next := 0
	for i := range all {
		for next < len(before) && before[next].Hostname < all[i].Hostname {
			next++
		}
		if next < len(before) && sameHost(before[next], all[i]) {
			out = append(out, encoded[next])
			continue
		}
		out = append(out, e.host(all[i]))
	}
	return out
}

// allBackends encodes the clusters of backends, and says of what their endpoints
// consist. A UDP port is reached through the cluster of its stream.
func (e *encoder) allBackends() {
	e.takeBackends()
	e.backends = e.out.from.backends
	// What follows is of listeners.
	e.out.Clusters, e.out.Assignments = map[string]*clusterv3.Cluster{}, map[string]Assignment{}
}

func (e *encoder) takeBackends() {
	from, all := e.out.from, e.model.Backends
	come := all
	if e.last != nil && !anyTLS(all) {
		was := e.last.from
		if identical(was.model.Backends, all) {
			from.backends, from.clusters, from.assignments, from.kept = was.backends, was.clusters, was.assignments, true
			return
		}
		if added, grown := addedTo(was.model.Backends, all); grown {
			from.clusters, from.assignments = maps.Clone(was.clusters), maps.Clone(was.assignments)
			come = added
		}
	}
	if from.clusters == nil {
		from.clusters, from.assignments = map[string]*clusterv3.Cluster{}, map[string]Assignment{}
	}
	from.backends = make(map[string]*gateway.Backend, len(all))
	for i := range all {
		from.backends[all[i].ID] = &all[i]
	}
	e.out.Clusters, e.out.Assignments = from.clusters, from.assignments
	for i := range come {
		if come[i].Protocol != gateway.ProtocolUDP && !e.takeBackend(&come[i]) {
			e.backend(&come[i])
		}
	}
}

// takeBackend takes the cluster of a backend from before. What follows from its ID
// is the same, but for certificates, which TLS needs.
func (e *encoder) takeBackend(b *gateway.Backend) bool {
	if e.last == nil || b.TLS != nil {
		return false
	}
	was := e.last.from
	cluster, ok := was.clusters[e.clusterName(b.ID)]
	if !ok {
		return false
	}
	name := endpointsName(b)
	e.out.Clusters[cluster.GetName()], e.out.Assignments[name] = cluster, was.assignments[name]
	return true
}

func anyTLS(list []gateway.Backend) bool {
	return slices.ContainsFunc(list, func(b gateway.Backend) bool { return b.TLS != nil })
}

// addedTo are the backends that a sorted list has more than another, if it has all
// of that.
func addedTo(had, has []gateway.Backend) (added []gateway.Backend, all bool) {
	for i := range has {
		switch {
		case len(had) > 0 && had[0].ID == has[i].ID:
			had = had[1:]
		case len(had) > 0 && strings.Compare(had[0].ID, has[i].ID) < 0:
			return nil, false
		default:
			added = append(added, has[i])
		}
	}
	return added, len(had) == 0
}

// join puts the clusters and assignments of backends and of listeners together. If
// they are those of before, the maps are.
func (e *encoder) join() {
	var last Resources
	if e.last != nil && e.out.from.kept {
		last = *e.last
	}
	e.out.Clusters = joined(last.Clusters, e.out.from.clusters, e.out.Clusters, func(a, b *clusterv3.Cluster) bool { return proto.Equal(a, b) })
	e.out.Assignments = joined(last.Assignments, e.out.from.assignments, e.out.Assignments, func(a, b Assignment) bool { return slices.Equal(a.Parts, b.Parts) })
}

// joined is all of two maps. Last, if it is not nil, has all of the first one.
func joined[V any](last, all, more map[string]V, equal func(a, b V) bool) map[string]V {
	if len(more) == 0 {
		return all
	}
	if len(last) == len(all)+len(more) && contains(last, more, equal) {
		return last
	}
	out := maps.Clone(all)
	maps.Copy(out, more)
	return out
}

func contains[V any](all, some map[string]V, equal func(a, b V) bool) bool {
	for name, v := range some {
		if have, ok := all[name]; !ok || !equal(have, v) {
			return false
		}
	}
	return true
}
