package allocator

import (
	"cmp"
	"iter"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Books are the wished-for state of the ledger, together with what is known to
// stand in it. They are not safe for concurrent use: the caller locks. Slices
// and maps that go in or come out are shared and must not be changed.
type Books struct {
	scratch      scratch
	slabs        slabs
	given        []Pool
	cluster      []ClusterRange
	problems     []PoolProblem
	pools        map[string]*pool
	order        []*pool // by name
	segments     [2][]segment
	clusterSpans [2][]span
	// selective and unselective pools for Services (0) and Gateways (1).
	selective, unselective [2][]*pool

	entries map[netip.Addr]*entry
	holders roll
	strays  map[strayKey]uint64
	// reservations, retained and sharing find addresses by who they are for.
	reservations map[Key][]netip.Addr
	retained     map[Key][]netip.Addr
	sharing      map[string][]netip.Addr
	// taken are the addresses that somebody takes or has taken over, by from whom.
	taken map[Key][]netip.Addr
	departing

	waiting
}

type strayKey struct {
	pool   string
	family Family
}

// state is where an address stands in its bucket.
type state uint8

const (
	stateFree    state = iota // nobody has it and it waits for nobody
	stateInUse                // has a holder
	stateKept                 // reserved, without a holder
	stateCooling              // released, waits
)

// entry is an address that is not simply free, or whose ledger entry is yet to
// be deleted.
type entry struct {
	address  netip.Addr
	pool     string
	holders  []Holding // replaced, never changed in place
	reserved *Key
	released *Release

	bucket  *bucket  // nil: no pool could hand it out today
	cooled  *Release // by which it stands in the cooling list
	truth   *Entry   // the ledger's entry, while dirty and there is one
	placed  state
	written bool // the ledger has an entry
	dirty   bool // the ledger's entry differs, or is not known to be equal
}

// New gives empty books.
func New() *Books {
	b := &Books{
		entries:      map[netip.Addr]*entry{},
		holders:      newRoll(),
		strays:       map[strayKey]uint64{},
		reservations: map[Key][]netip.Addr{},
		retained:     map[Key][]netip.Addr{},
		sharing:      map[string][]netip.Addr{},
		taken:        map[Key][]netip.Addr{},
		departing:    newDeparting(),
		waiting:      newWaiting(),
	}
	b.rebuild()
	return b
}

func (e *entry) export() Entry {
	return Entry{Address: e.address, Pool: e.pool, Holders: e.holders, ReservedFor: e.reserved, Released: e.released}
}

func (e *entry) state() state {
	switch {
	case len(e.holders) > 0:
		return stateInUse
	case e.reserved != nil:
		return stateKept
	case e.released != nil:
		return stateCooling
	}
	return stateFree
}

func (e *entry) holding(k Key) *Holding { return find(e.holders, k) }

// confirmed tells whether the ledger is known to have k on this address.
func (e *entry) confirmed(k Key) bool {
	if !e.dirty {
		return e.holding(k) != nil
	}
	return e.truth != nil && slices.ContainsFunc(e.truth.Holders, func(h Holding) bool { return h.Key == k })
}

// Entry is the entry that the ledger should have for a. False: there should be none.
func (b *Books) Entry(a netip.Addr) (Entry, bool) {
	e := b.entries[a.Unmap()]
	if e == nil || e.state() == stateFree {
		return Entry{}, false
	}
	return e.export(), true
}

// Written tells whether the ledger is known to have exactly what Entry says.
func (b *Books) Written(a netip.Addr) bool {
	e := b.entries[a.Unmap()]
	return e == nil || !e.dirty
}

// Unwritten are the addresses whose entry the ledger is not known to have, in
// order: what decisions touched and the caller has not confirmed by Load or
// Unload yet, and what SetPools and Load changed by themselves.
func (b *Books) Unwritten() []netip.Addr {
	var out []netip.Addr
	for a, e := range b.entries {
		if e.dirty {
			out = append(out, a)
		}
	}
	slices.SortFunc(out, netip.Addr.Compare)
	return out
}

// Held are the addresses that k has, leaving ones too, in order.
func (b *Books) Held(k Key) []netip.Addr {
	h := b.holders.of(k)
	if h == nil {
		return nil
	}
	return h.inOrder()
}

// All gives every entry that the ledger should have, in order of address.
func (b *Books) All() iter.Seq[Entry] {
	return func(yield func(Entry) bool) {
		for _, a := range slices.SortedFunc(maps.Keys(b.entries), netip.Addr.Compare) {
			if e := b.entries[a]; e != nil && e.state() != stateFree && !yield(e.export()) {
				return
			}
		}
	}
}

// Holders gives everybody who has an address, ordered by kind, namespace and name.
func (b *Books) Holders() iter.Seq[Key] {
	return func(yield func(Key) bool) {
		for _, k := range slices.SortedFunc(b.holders.keys(), compareKeys) {
			if !yield(k) {
				return
			}
		}
	}
}

func compareKeys(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// at gives the entry of a, made when there is none.
func (b *Books) at(a netip.Addr) *entry {
	e := b.entries[a]
	if e == nil {
		e = &b.slabs.entries.take(1)[0]
		e.address = a
		e.bucket, e.pool = b.whereIs(a)
		b.entries[a] = e
	}
	return e
}

// whereIs gives the bucket that could hand a out, if one could, and the name of
// the pool in whose ranges it lies.
func (b *Books) whereIs(a netip.Addr) (*bucket, string) {
	bk := b.bucketAt(a)
	if bk == nil {
		return nil, ""
	}
	if !bk.usable(numberOf(a)) {
		return nil, bk.pool.Name
	}
	return bk, bk.pool.Name
}

// surrounding is the name of the pool in whose ranges the entry's address lies.
func (b *Books) surrounding(e *entry) string {
	if e.bucket != nil {
		return e.bucket.pool.Name
	}
	_, name := b.whereIs(e.address)
	return name
}

// poolOf is the pool to write down for an address in use: the one written, as
// long as it exists, since the holder may have asked for it; else the one in
// whose ranges the address lies; else what is written.
func (b *Books) poolOf(a netip.Addr, written string) string {
	if b.pools[written] != nil {
		return written
	}
	if _, name := b.whereIs(a); name != "" {
		return name
	}
	return written
}

// follow writes down the pool in whose ranges an address lies now, unless its
// holder asked for the one written. Of several holders, the others may have.
func (b *Books) follow(e *entry, c *Claim) {
	name := b.surrounding(e)
	if name == "" || name == e.pool || len(e.holders) > 1 || names(c.Pools, e.pool) {
		return
	}
	b.change(e, func(e *entry) { e.pool = name })
}

// alone gives the last holder of an address, to be decided again, where the name
// of the pool may have to follow.
func (b *Books) alone(e *entry) []Key {
	if name := b.surrounding(e); len(e.holders) != 1 || name == "" || name == e.pool {
		return nil
	}
	return []Key{e.holders[0].Key}
}

// change alters an entry by edit and brings everything that is derived from it
// up to date.
func (b *Books) change(e *entry, edit func(e *entry)) {
	e.soil()
	before, reserved, pool := e.holders, e.reserved, e.pool
	edit(e)
	b.derive(e, before, reserved, pool)
}

// soil notes that the entry will differ from the ledger's, and keeps what that has.
func (e *entry) soil() {
	if e.dirty {
		return
	}
	e.dirty = true
	if e.written {
		truth := e.export()
		e.truth = &truth
	}
}

// derive brings up to date what depends on an entry, after an edit.
func (b *Books) derive(e *entry, before []Holding, reserved *Key, pool string) {
	if e.bucket == nil && e.pool != pool && e.placed == stateInUse {
		b.countStray(e, pool, -1)
		b.countStray(e, e.pool, 1)
	}
	b.indexHolders(e, before)
	b.indexReservation(e.address, reserved, e.reserved)
	b.place(e)
	b.tidy(e)
}

// tidy drops what is not needed any more: the copy of the ledger's entry where
// the wished-for one is equal, and an entry that neither side has.
func (b *Books) tidy(e *entry) {
	if e.dirty && e.written && e.state() != stateFree && e.truth.equal(e.export()) {
		e.dirty, e.truth = false, nil
	}
	if !e.written && e.state() == stateFree {
		delete(b.entries, e.address)
	}
}

// place moves the address between the free space, the cooling list and neither.
func (b *Books) place(e *entry) {
	to := e.state()
	var cooled *Release
	if to == stateCooling {
		cooled = e.released
	}
	if to == e.placed && cooled == e.cooled {
		return
	}
	b.lift(e)
	e.placed, e.cooled = to, cooled
	b.drop(e)
}

// lift takes the entry out of its bucket's accounts.
func (b *Books) lift(e *entry) {
	if e.placed == stateCooling {
		b.forgetRetained(e)
	}
	if e.bucket == nil {
		if e.placed == stateInUse {
			b.countStray(e, e.pool, -1)
		}
		return
	}
	n := numberOf(e.address)
	switch e.placed {
	case stateFree:
		e.bucket.free.take(n)
	case stateCooling:
		e.bucket.cooling.remove(coolingItem{e.cooled.At.Unix(), n})
	case stateInUse:
		e.bucket.assigned--
	case stateKept:
		e.bucket.reserved--
	}
}

// drop puts the entry into its bucket's accounts.
func (b *Books) drop(e *entry) {
	if e.placed == stateCooling {
		b.retained[e.cooled.Key] = append(b.retained[e.cooled.Key], e.address)
	}
	if e.bucket == nil {
		if e.placed == stateInUse {
			b.countStray(e, e.pool, 1)
		}
		return
	}
	n := numberOf(e.address)
	switch e.placed {
	case stateFree:
		e.bucket.free.give(n)
	case stateCooling:
		e.bucket.cooling.insert(coolingItem{e.cooled.At.Unix(), n})
	case stateInUse:
		e.bucket.assigned++
	case stateKept:
		e.bucket.reserved++
	}
}

func (b *Books) countStray(e *entry, pool string, by int) {
	k := strayKey{pool, FamilyOf(e.address)}
	b.strays[k] += uint64(by)
	if b.strays[k] == 0 {
		delete(b.strays, k)
	}
}

// forgetRetained removes the address from the index of returning holders.
func (b *Books) forgetRetained(e *entry) {
	k := e.cooled.Key
	b.retained[k] = without(b.retained[k], e.address)
	if len(b.retained[k]) == 0 {
		delete(b.retained, k)
	}
}

func without(list []netip.Addr, a netip.Addr) []netip.Addr {
	i := slices.Index(list, a)
	if i < 0 {
		return list
	}
	return slices.Concat(list[:i:i], list[i+1:])
}

func (b *Books) indexReservation(a netip.Addr, before, after *Key) {
	if before != nil && (after == nil || *before != *after) {
		b.reservations[*before] = without(b.reservations[*before], a)
		if len(b.reservations[*before]) == 0 {
			delete(b.reservations, *before)
		}
	}
	if after != nil && (before == nil || *before != *after) {
		b.reservations[*after] = append(b.reservations[*after], a)
	}
}

// replaceEntries finds every entry's place again after the pools changed.
func (b *Books) replaceEntries() {
	addrs := slices.SortedFunc(maps.Keys(b.entries), netip.Addr.Compare)
	for _, a := range addrs {
		e := b.entries[a]
		_, name := b.whereIs(a)
		if e.state() == stateInUse {
			name = b.poolOf(a, e.pool)
		}
		if name != e.pool && e.state() != stateFree {
			b.change(e, func(e *entry) { e.pool = name })
		}
	}
	b.strays = map[strayKey]uint64{}
	b.retained = map[Key][]netip.Addr{}
	for _, a := range addrs {
		e := b.entries[a]
		e.bucket, _ = b.whereIs(a)
		if e.placed == stateFree {
			continue
		}
		if e.bucket != nil {
			e.bucket.free.take(numberOf(a))
		}
		b.drop(e)
		b.countNamespaces(e, e.holders, 1)
	}
}

// countNamespaces adds by to the count of each namespace among the holders.
func (b *Books) countNamespaces(e *entry, holders []Holding, by int) {
	if e.bucket == nil || e.bucket.perNamespace == nil {
		return
	}
	for i, h := range holders {
		if !slices.ContainsFunc(holders[:i], func(o Holding) bool { return o.Key.Namespace == h.Key.Namespace }) {
			e.bucket.perNamespace[h.Key.Namespace] += by
			if e.bucket.perNamespace[h.Key.Namespace] == 0 {
				delete(e.bucket.perNamespace, h.Key.Namespace)
			}
		}
	}
}

// indexHolders brings the indices up to date after e.holders changed.
func (b *Books) indexHolders(e *entry, before []Holding) {
	if len(before) == 0 && len(e.holders) == 0 || len(before) > 0 && len(e.holders) > 0 && &before[0] == &e.holders[0] {
		return
	}
	b.countNamespaces(e, before, -1)
	b.countNamespaces(e, e.holders, 1)
	b.indexTakeovers(e, before)
	for i := range before {
		h := &before[i]
		if h.SharingKey != "" {
			b.unshare(h.SharingKey, e)
		}
		if e.holding(h.Key) == nil {
			b.unhold(h.Key, e.address)
		}
	}
	for i := range e.holders {
		h := &e.holders[i]
		if h.SharingKey != "" {
			b.share(h.SharingKey, e.address)
		}
		if find(before, h.Key) == nil {
			b.hold(h.Key, e.address, h.Needs)
		}
	}
}

// hold notes that k has a, of all the addresses that it needs.
func (b *Books) hold(k Key, a netip.Addr, needs []netip.Addr) {
	if h := b.holders.of(k); h != nil {
		h.addrs = append(h.addrs, a)
		return
	}
	h := &b.slabs.holders.take(1)[0]
	h.key = k
	if len(needs) == 1 && needs[0] == a {
		h.addrs = slices.Clip(needs)
	} else {
		h.addrs = []netip.Addr{a}
	}
	b.holders.add(h)
}

func (b *Books) unhold(k Key, a netip.Addr) {
	h := b.holders.of(k)
	h.addrs = without(h.addrs, a)
	if len(h.addrs) == 0 {
		b.holders.remove(k)
	}
}

func (b *Books) share(key string, a netip.Addr) {
	list := b.sharing[key]
	if i, found := slices.BinarySearchFunc(list, a, netip.Addr.Compare); !found {
		b.sharing[key] = slices.Insert(list, i, a)
	}
}

// unshare drops the address from the key's list unless a holder has the key still.
func (b *Books) unshare(key string, e *entry) {
	if slices.ContainsFunc(e.holders, func(h Holding) bool { return h.SharingKey == key }) {
		return
	}
	list := b.sharing[key]
	if i, found := slices.BinarySearchFunc(list, e.address, netip.Addr.Compare); found {
		b.sharing[key] = slices.Delete(list, i, i+1)
	}
	if len(b.sharing[key]) == 0 {
		delete(b.sharing, key)
	}
}

// second is the time to the ledger's precision.
func second(t time.Time) time.Time { return time.Unix(t.Unix(), 0).UTC() }
