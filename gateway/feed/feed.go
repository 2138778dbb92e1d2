package feed

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/go-logr/logr"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/utils/clock"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/endpoints"
)

// Options of a Feed.
type Options struct {
	// Wait bounds each wait for an Envoy's acknowledgement. 0: DefaultWait.
	Wait time.Duration
	// Grace is how long clusters stay after an Envoy has acknowledged that
	// nothing refers to them: requests that were routed before still find them.
	// 0: DefaultGrace; negative: none.
	Grace time.Duration
	// Families are those that Envoys can connect to; none set: both.
	Families endpoints.Families
	// Changed is told of Gateways of which Progress may have changed: Envoys came,
	// went, began or ceased to serve them, or reject other resources of theirs than
	// before. That an Envoy which serves one has acknowledged the next Set is not
	// told; Deliver does. Gateways are sorted. Calls come one after the other, and
	// what happens within Coalesce comes as one. May be nil.
	Changed func(fleet string, gateways []gateway.Name)
	// Coalesce is 0: DefaultCoalesce.
	Coalesce time.Duration
	// Sent and Rejected are told how many resources of a type (see
	// Rejection.Type) went to an Envoy, and that an Envoy refused one by itself.
	// They are called under the Feed's lock: they take no time and call no
	// method of the Feed. May be nil.
	Sent     func(kind string, resources int)
	Rejected func(kind string)
}

// The defaults.
const (
	DefaultWait     = 5 * time.Second
	DefaultGrace    = 5 * time.Second
	DefaultCoalesce = 20 * time.Millisecond
)

// Feed holds what Envoys should have, and serves it to them. All methods may be
// called at any time from any goroutine, but two Sets of one Gateway not at once.
// What is set while nobody serves is kept.
type Feed struct {
	discoveryv3.UnimplementedAggregatedDiscoveryServiceServer

	log   logr.Logger
	clock clock.Clock
	opts  Options

	mu     sync.Mutex
	fleets map[string]*fleet
	table  *endpoints.Table
	news   news
	// sets counts targets.
	sets uint64
}

// New makes an empty Feed.
func New(log logr.Logger, c clock.Clock, opts Options) *Feed {
	if opts.Wait == 0 {
		opts.Wait = DefaultWait
	}
	if opts.Grace == 0 {
		opts.Grace = DefaultGrace
	}
	if opts.Coalesce == 0 {
		opts.Coalesce = DefaultCoalesce
	}
	if opts.Sent == nil {
		opts.Sent = func(string, int) {}
	}
	if opts.Rejected == nil {
		opts.Rejected = func(string) {}
	}
	if opts.Families == (endpoints.Families{}) {
		opts.Families = endpoints.Families{IPv4: true, IPv6: true}
	}
	return &Feed{
		log: log, clock: c, opts: opts,
		fleets: map[string]*fleet{}, table: endpoints.NewTable(opts.Families), news: newNews(),
	}
}

// Set says what a fleet's Envoys should have for a Gateway, all of it. Only what
// differs is sent. The error names resources that cannot be encoded (a string that
// is not UTF-8); they stay as they were, and all others are set.
func (f *Feed) Set(fleetName string, gw gateway.Name, r Resources) error {
	return f.Deliver(fleetName, gw, r, nil)
}

// Deliver is Set, and tells once what has become of it: when the last of the Envoys
// that are connected now has it, as far as it would take it. What is set meanwhile
// is not waited for. Done is called under the Feed's lock: it takes no time and
// calls no method of the Feed. It may be called before Deliver returns.
func (f *Feed) Deliver(fleetName string, gw gateway.Name, r Resources, done func(Delivery)) error {
	f.mu.Lock()
	before := f.fleet(fleetName).target(gw)
	f.mu.Unlock()
	next, err := makeTarget(before, r) // not under the lock: it may take milliseconds
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.fleet(fleetName)
	changed := f.replace(fl, gw, next)
	if done != nil {
		fl.await(gw, changed, done)
	}
	if err != nil {
		return fmt.Errorf("setting Gateway %s of fleet %s: %w", gw, fleetName, err)
	}
	return nil
}

// Remove takes a Gateway from a fleet's Envoys.
func (f *Feed) Remove(fleetName string, gw gateway.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.fleet(fleetName)
	f.replace(fl, gw, noTarget)
	delete(fl.gateways, gw)
	fl.abandon(gw)
}

// Ready says that all Gateways of a fleet that there are have been set, or that it
// has none. Before that its Envoys are not answered, since they would lose what is
// not set yet.
func (f *Feed) Ready(fleetName string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.fleet(fleetName)
	if fl.open {
		return
	}
	fl.open = true
	for s := range fl.streams {
		s.begin()
		s.wake()
	}
}

// Forget drops a fleet that is no more: its Envoys are not answered from then on.
func (f *Feed) Forget(fleetName string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := f.fleet(fleetName)
	for gw := range fl.gateways {
		f.replace(fl, gw, noTarget)
		fl.abandon(gw)
	}
	for s := range fl.streams {
		f.detach(s)
		close(s.evicted)
	}
	delete(f.fleets, fleetName)
}

// Slice takes an EndpointSlice that is new or has changed. Envoys that use its
// Service's endpoints are told at once.
func (f *Feed) Slice(s *discoveryv1.EndpointSlice) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reload(f.table.Set(s))
}

// SliceGone takes that an EndpointSlice was deleted.
func (f *Feed) SliceGone(name gateway.Name) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reload(f.table.Remove(name))
}

// reload sends the endpoints of EDS names that have changed.
func (f *Feed) reload(names []string) {
	for _, name := range names {
		var e *entry
		for _, fl := range f.fleets {
			sh := fl.shared[assignments][name]
			if sh == nil {
				continue
			}
			if e == nil {
				e = f.load(name, sh.entry)
			}
			if !sameVersion(e, sh.entry) {
				sh.entry = e
				fl.offer(ref{assignments, name})
			}
		}
	}
}

// load encodes the endpoints of an EDS name; nil if they cannot be, which is logged.
func (f *Feed) load(name string, before *entry) *entry {
	e, err := encode(assignments, name, f.table.Load(name), before)
	if err != nil {
		f.log.Error(err, "Endpoints cannot be sent to Envoys")
		return before
	}
	return e
}

// fleet is made when it is first spoken of.
func (f *Feed) fleet(name string) *fleet {
	fl := f.fleets[name]
	if fl == nil {
		fl = newFleet(name)
		f.fleets[name] = fl
	}
	return fl
}

// replace makes a target the one that streams are led to, and tells whether it says
// anything new.
func (f *Feed) replace(fl *fleet, gw gateway.Name, next *target) (changed bool) {
	before := fl.target(gw)
	d := diffOf(before, next)
	same := next.from == before && next.kept[assignments] || maps.EqualFunc(before.assignments, next.assignments, sameParts)
	if next.from != nil {
		next.from = nil // or all targets that a Gateway ever had would stay
	}
	if fl.gateways[gw] != nil && d.empty() && same {
		before.entries, before.given = next.entries, next.given // so that what was made anew is known next time
		return false
	}
	if next != noTarget {
		f.sets++
		next.number = f.sets
	}
	fl.gateways[gw] = next
	for _, name := range d[secrets] {
		fl.share(ref{secrets, name}, before.entries[secrets][name], next.entries[secrets][name])
	}
	if !same {
		f.assign(fl, before, next)
	}
	for s := range fl.streams {
		s.change(gw, d)
		s.wake()
	}
	return !d.empty()
}

// assign counts who uses which assignment, and takes new definitions.
func (f *Feed) assign(fl *fleet, before, next *target) {
	var changed []string
	for name, a := range next.assignments {
		known, ok := f.table.Uses(name)
		if !ok || !sameParts(known, a) {
			f.table.Use(name, a)
			changed = append(changed, name)
		}
		if _, had := before.assignments[name]; had {
			continue
		}
		sh := fl.shared[assignments][name]
		if sh == nil {
			sh = &shared{entry: f.load(name, nil)}
			fl.shared[assignments][name] = sh
			fl.offer(ref{assignments, name})
		}
		sh.users++
	}
	f.reload(changed)
	for name := range before.assignments {
		if _, has := next.assignments[name]; !has {
			fl.shared[assignments][name].users--
			f.retire(fl, ref{assignments, name})
		}
	}
}

func sameParts(a, b endpoints.Assignment) bool {
	if len(a.Parts) > 0 && len(a.Parts) == len(b.Parts) && &a.Parts[0] == &b.Parts[0] {
		return true // the same slice, which is not modified
	}
	return slices.Equal(a.Parts, b.Parts)
}

// retire forgets an assignment or a secret that no Gateway of a fleet uses, once no
// Envoy asks for it any more.
func (f *Feed) retire(fl *fleet, r ref) {
	sh := fl.shared[r.kind][r.name]
	if sh == nil || sh.users > 0 || fl.wanted(r) {
		return
	}
	delete(fl.shared[r.kind], r.name)
	if r.kind != assignments {
		return
	}
	for _, other := range f.fleets {
		if other.shared[assignments][r.name] != nil {
			return
		}
	}
	f.table.Drop(r.name)
}
