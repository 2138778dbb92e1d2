package l2

import (
	"cmp"
	"slices"
	"sync"
	"sync/atomic"
)

// counters are those of one interface and family.
type counters struct {
	received, malformed, answered, gratuitous, probes, conflicts, errors atomic.Uint64
}

type counterKey struct{ name, family string }

const (
	familyIPv4 = "ipv4"
	familyIPv6 = "ipv6"
)

// registry keeps counters by interface name, so that they outlive the interface's sockets.
type registry struct {
	mu sync.Mutex
	m  map[counterKey]*counters
}

func (r *registry) of(name, family string) *counters {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[counterKey]*counters{}
	}
	k := counterKey{name, family}
	if r.m[k] == nil {
		r.m[k] = &counters{}
	}
	return r.m[k]
}

func (r *registry) snapshot() []Count {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]Count, 0, len(r.m))
	for k, c := range r.m {
		all = append(all, Count{
			Interface: k.name, Family: k.family,
			Received: c.received.Load(), Malformed: c.malformed.Load(),
			Answered: c.answered.Load(), Gratuitous: c.gratuitous.Load(), Probes: c.probes.Load(),
			Conflicts: c.conflicts.Load(), Errors: c.errors.Load(),
		})
	}
	slices.SortFunc(all, func(a, b Count) int {
		return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Family, b.Family))
	})
	return all
}
