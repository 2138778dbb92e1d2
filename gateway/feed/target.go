package feed

import (
	"errors"
	"maps"
	"reflect"
	"slices"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/gateway/endpoints"
)

// Resources are all that Envoys have for one Gateway, by name. Names of listeners,
// routes, clusters and secrets begin with something that is the Gateway's alone;
// assignments are shared between all Gateways, and one name means the same
// everywhere. Every route table is referred to by a listener: what is not is never
// asked for, and never acknowledged.
//
// Neither the maps nor the messages are modified after they were set. What comes
// again (the same map, the same pointer to a message or to a virtual host of a route
// table) costs next to nothing; equal ones that were made anew are encoded and
// compared.
type Resources struct {
	Listeners map[string]*listenerv3.Listener
	Routes    map[string]*routev3.RouteConfiguration
	Clusters  map[string]*clusterv3.Cluster
	Secrets   map[string]*tlsv3.Secret
	// Assignments are by EDS name.
	Assignments map[string]endpoints.Assignment
}

// target is a Gateway's Resources, encoded. What it says stays as it was made.
type target struct {
	// entries of assignments stay empty: their content is not the Gateway's.
	entries     [kinds]map[string]*entry
	assignments map[string]endpoints.Assignment
	// given are the maps that it was made from, all of it.
	given [kinds]any
	// from is the target that this one was made from, until it replaces it, and
	// kept says of what nothing differs.
	from *target
	kept [kinds]bool
	// number is higher than that of every target before.
	number uint64
}

func (t *target) has(r ref) bool {
	if r.kind == assignments {
		_, ok := t.assignments[r.name]
		return ok
	}
	return t.entries[r.kind][r.name] != nil
}

var noTarget = &target{}

// makeTarget encodes Resources. What cannot be encoded stays as it is in before, and
// is named in the error.
func makeTarget(before *target, r Resources) (*target, error) {
	out := &target{assignments: before.assignments, from: before}
	out.given[assignments] = r.Assignments
	out.kept[assignments] = sameMap(before.given[assignments], r.Assignments) || maps.EqualFunc(before.assignments, r.Assignments, sameParts)
	if !out.kept[assignments] {
		out.assignments = maps.Clone(r.Assignments)
	}
	err := errors.Join(
		encodeAll(out, before, listeners, r.Listeners), encodeAll(out, before, routes, r.Routes),
		encodeAll(out, before, clusters, r.Clusters), encodeAll(out, before, secrets, r.Secrets),
	)
	return out, err
}

func encodeAll[M proto.Message](out, before *target, k kind, from map[string]M) error {
	if sameMap(before.given[k], from) || kept(before.entries[k], from) {
		out.entries[k], out.given[k], out.kept[k] = before.entries[k], from, true
		return nil
	}
	to := make(map[string]*entry, len(from))
	var errs []error
	for name, m := range from {
		old := before.entries[k][name]
		e, err := encode(k, name, m, old)
		if err != nil {
			errs = append(errs, err)
			e = old
		}
		if e != nil {
			to[name] = e
		}
	}
	out.entries[k] = to
	if len(errs) == 0 {
		out.given[k] = from
	}
	return errors.Join(errs...)
}

// sameMap says whether a map is the one that was given before.
func sameMap[V any](before any, from map[string]V) bool {
	had, ok := before.(map[string]V)
	return ok && had != nil && reflect.ValueOf(had).UnsafePointer() == reflect.ValueOf(from).UnsafePointer()
}

// kept says whether messages are all those that entries were made from.
func kept[M proto.Message](entries map[string]*entry, from map[string]M) bool {
	if len(entries) != len(from) {
		return false
	}
	for name, m := range from {
		if e := entries[name]; e == nil || e.source != proto.Message(m) {
			return false
		}
	}
	return true
}

// diff is what changes between two targets, by name, sorted.
type diff [kinds][]string

func (d *diff) empty() bool {
	for _, names := range d {
		if len(names) > 0 {
			return false
		}
	}
	return true
}

func diffOf(a, b *target) (d diff) {
	for k := range kinds {
		if b.from == a && b.kept[k] {
			continue
		}
		for name, e := range b.entries[k] {
			if !sameVersion(a.entries[k][name], e) {
				d[k] = append(d[k], name)
			}
		}
		for name := range a.entries[k] {
			if b.entries[k][name] == nil {
				d[k] = append(d[k], name)
			}
		}
		slices.Sort(d[k])
	}
	return d
}
