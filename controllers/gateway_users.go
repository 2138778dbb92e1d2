package controllers

import (
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/gateway"
)

// references are a set of objects.
type references map[gateway.Reference]struct{}

// users knows which Gateways have looked up which objects, and what of these has
// changed since each was built. It is safe for concurrent use.
//
// A change is noted before the Gateway is asked to be built. A build takes what was
// noted, reads the objects after that, and says in the end what it has looked up.
// What changes meanwhile is noted for it whether it has looked it up or not: until
// it ends nobody knows.
type users struct {
	mu sync.Mutex
	by map[gateway.Reference]map[types.NamespacedName]struct{}
	of map[types.NamespacedName]*looks
}

// looks are what one Gateway has looked up.
type looks struct {
	// count is how many parts of it have looked an object up.
	count map[gateway.Reference]int
	// changed is what the next build has to look at, and meanwhile what has
	// changed of anything since the build that goes on has begun.
	changed, meanwhile references
	building           bool
}

func (u *users) looksOf(gw types.NamespacedName) *looks {
	if u.of == nil {
		u.by, u.of = map[gateway.Reference]map[types.NamespacedName]struct{}{}, map[types.NamespacedName]*looks{}
	}
	l := u.of[gw]
	if l == nil {
		l = &looks{count: map[gateway.Reference]int{}, changed: references{}, meanwhile: references{}}
		u.of[gw] = l
	}
	return l
}

// changed notes that an object has come, changed or gone, and gives the Gateways
// that have looked it up.
func (u *users) changed(kind, namespace, name string) []types.NamespacedName {
	ref := gateway.Reference{Kind: kind, Name: gateway.Name{Namespace: namespace, Name: name}}
	u.mu.Lock()
	defer u.mu.Unlock()
	for _, l := range u.of {
		if l.building {
			l.meanwhile[ref] = struct{}{}
		}
	}
	for gw := range u.by[ref] {
		u.of[gw].changed[ref] = struct{}{}
	}
	return slices.Collect(maps.Keys(u.by[ref]))
}

// note notes that a route which a Gateway may have to look at has changed.
func (u *users) note(gw types.NamespacedName, route gateway.Reference) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.looksOf(gw).changed[route] = struct{}{}
}

// begin takes what has changed for a Gateway since it was built last.
func (u *users) begin(gw types.NamespacedName) references {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.looksOf(gw)
	changed := l.changed
	l.changed, l.meanwhile, l.building = references{}, references{}, true
	return changed
}

// fail ends a build that came to nothing: what it has taken is left to the next.
func (u *users) fail(gw types.NamespacedName, taken references) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.looksOf(gw)
	maps.Copy(l.changed, taken)
	l.meanwhile, l.building = references{}, false
}

// end ends a build with what it has looked up otherwise than the one before; anew
// says that all of it was looked up. It tells whether some of it has changed
// meanwhile, so that the Gateway must be built again.
func (u *users) end(gw types.NamespacedName, looked gateway.Lookups, anew bool) (again bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	l := u.looksOf(gw)
	if anew {
		u.drop(gw, l)
	}
	for _, r := range looked.Came {
		u.count(gw, l, r, 1)
	}
	for _, r := range looked.Gone {
		u.count(gw, l, r, -1)
	}
	for r := range l.meanwhile {
		if l.count[r] > 0 {
			l.changed[r] = struct{}{}
			again = true
		}
	}
	l.meanwhile, l.building = references{}, false
	return again
}

func (u *users) count(gw types.NamespacedName, l *looks, r gateway.Reference, more int) {
	if l.count[r] += more; l.count[r] <= 0 {
		delete(l.count, r)
		u.unlist(gw, r)
		return
	}
	if u.by[r] == nil {
		u.by[r] = map[types.NamespacedName]struct{}{}
	}
	u.by[r][gw] = struct{}{}
}

func (u *users) unlist(gw types.NamespacedName, r gateway.Reference) {
	delete(u.by[r], gw)
	if len(u.by[r]) == 0 {
		delete(u.by, r)
	}
}

// forget drops a Gateway.
func (u *users) forget(gw types.NamespacedName) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if l := u.of[gw]; l != nil {
		u.drop(gw, l)
		delete(u.of, gw)
	}
}

func (u *users) drop(gw types.NamespacedName, l *looks) {
	for r := range l.count {
		u.unlist(gw, r)
	}
	clear(l.count)
}
