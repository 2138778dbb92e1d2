package allocator

import (
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// world is an API server with Services and Gateways (claims and the addresses
// their statuses show) and a ledger, and a controller with books that crashes
// now and then. Everything in it is maps and linear search.
type world struct {
	t        *rapid.T
	now      time.Time
	pools    []Pool
	cluster  []ClusterRange
	claims   map[Key]Claim
	status   map[Key][]netip.Addr
	ledger   map[netip.Addr]Entry
	foreign  map[Key]bool // holders that another controller wrote
	books    *Books
	twin     *Books   // is asked the same, must answer the same
	late     []func() // events of own writes, still on the way
	lateLoad bool     // whether own writes are confirmed by late events only
	crashIn  int      // writes until the next crash; negative: none
	queue    []Key    // to be decided again
	settled  map[Key]bool
}

type crash struct{}

func newWorld(t *rapid.T) *world {
	w := &world{
		t: t, now: benchNow, claims: map[Key]Claim{}, status: map[Key][]netip.Addr{},
		ledger: map[netip.Addr]Entry{}, foreign: map[Key]bool{}, crashIn: -1, settled: map[Key]bool{},
		books: New(), twin: New(),
	}
	w.setPools(genPools(t))
	return w
}

func both[T any](w *world, f func(b *Books) T) T {
	x, y := f(w.books), f(w.twin)
	if !reflect.DeepEqual(x, y) {
		w.t.Fatalf("same input, other output:\n%+v\n%+v", x, y)
	}
	return x
}

func (w *world) setPools(pools []Pool) {
	w.pools = pools
	both(w, func(b *Books) []PoolProblem { return b.SetPools(pools) })
	w.wake()
}

// wake takes over what the books want decided again.
func (w *world) wake() {
	w.queue = append(w.queue, both(w, (*Books).Woken)...)
}

// write makes the ledger agree with the books in one address.
func (w *world) write(a netip.Addr) {
	if w.crashIn == 0 {
		panic(crash{})
	}
	if w.crashIn > 0 {
		w.crashIn--
	}
	e, ok := w.books.Entry(a)
	event := func() {
		if ok {
			both(w, func(b *Books) bool { b.Load(e); return true })
		} else {
			both(w, func(b *Books) bool { b.Unload(a); return true })
		}
		w.wake()
	}
	if ok {
		w.ledger[a] = e
	} else {
		delete(w.ledger, a)
	}
	if w.lateLoad {
		w.late = append(w.late, event)
		return
	}
	event()
}

// deliver brings the late events home, in order.
func (w *world) deliver() {
	for len(w.late) > 0 {
		event := w.late[0]
		w.late = w.late[1:]
		event()
	}
}

// reconcile is what the controller does for one holder.
func (w *world) reconcile(k Key) {
	c, ok := w.claims[k]
	if !ok {
		d := both(w, func(b *Books) Decision { return b.Release(w.now, k) })
		w.carry(d)
		delete(w.status, k)
		return
	}
	expected, known := w.expect(c)
	had := w.books.Held(k)
	shown := w.status[k]
	d := both(w, func(b *Books) Decision { return b.Decide(w.now, c) })
	again := both(w, func(b *Books) Decision { return b.Decide(w.now, c) })
	again.Wake, d.Wake = append(d.Wake, again.Wake...), nil
	wakes := again.Wake
	again.Wake = nil
	if !reflect.DeepEqual(d, again) {
		w.t.Fatalf("asked again:\n%+v\n%+v", d, again)
	}
	d.Wake = wakes
	w.checkDecision(c, had, shown, d)
	if known && !reflect.DeepEqual(addressesOf(d), expected) {
		w.t.Fatalf("%+v\ngot %v, expected %v\n%v", c, addressesOf(d), expected, d.Refusal)
	}
	w.carry(d)
	if len(w.late) > 0 {
		w.deliver() // a dual-stack holder is completed by the events
		w.carry(both(w, func(b *Books) Decision { return b.Decide(w.now, c) }))
		w.deliver()
	}
	w.status[k] = addressesOf(d)
	w.settled[k] = d.Refusal == nil
	if len(d.Leaving) > 0 {
		w.carry(both(w, func(b *Books) Decision { return b.Vacate(w.now, k, d.Leaving) }))
	}
}

func (w *world) carry(d Decision) {
	w.queue = append(w.queue, d.Wake...)
	for _, a := range d.Touched {
		w.write(a)
	}
}

func addressesOf(d Decision) []netip.Addr {
	var out []netip.Addr
	for _, a := range d.Addresses {
		out = append(out, a.Address)
	}
	return out
}

// drain decides whoever was woken, until nobody is.
func (w *world) drain() {
	for n := 0; len(w.queue) > 0; n++ {
		if n > 2000 {
			w.t.Fatalf("waking does not end: %v", w.queue)
		}
		k := w.queue[0]
		w.queue = w.queue[1:]
		w.reconcile(k)
	}
}

// run does something that may crash, and recovers from the API server's state.
func (w *world) run(f func()) {
	crashed := func() (crashed bool) {
		defer func() {
			if r := recover(); r != nil {
				if _, ok := r.(crash); !ok {
					panic(r)
				}
				crashed = true
			}
		}()
		f()
		w.drain()
		return false
	}()
	w.crashIn = -1
	if crashed {
		w.restart()
	}
}

// restart builds the books anew, as a controller does that comes up.
func (w *world) restart() {
	w.books, w.twin = New(), New()
	w.queue, w.late = nil, nil
	both(w, func(b *Books) bool { b.SetClusterRanges(w.cluster); return true })
	both(w, func(b *Books) []PoolProblem { return b.SetPools(w.pools) })
	for _, a := range slices.SortedFunc(maps.Keys(w.ledger), netip.Addr.Compare) {
		both(w, func(b *Books) bool { b.Load(w.ledger[a]); return true })
	}
	for _, k := range slices.SortedFunc(maps.Keys(w.claims), compareKeys) {
		if missing := w.missing(k); len(missing) > 0 {
			w.t.Fatalf("%s shows %v without an entry", k, missing)
		}
		w.reconcile(k)
	}
	for _, k := range slices.Collect(w.books.Holders()) {
		if _, ok := w.claims[k]; !ok && !w.foreign[k] {
			w.reconcile(k)
		}
	}
	w.sweep()
	w.drain()
}

// missing are addresses that a status shows and the ledger does not give it.
func (w *world) missing(k Key) []netip.Addr {
	var out []netip.Addr
	for _, a := range w.status[k] {
		if e, ok := w.ledger[a]; !ok || find(e.Holders, k) == nil {
			out = append(out, a)
		}
	}
	return out
}

// sweep writes what changed without a decision.
func (w *world) sweep() {
	for _, a := range both(w, (*Books).Unwritten) {
		w.write(a)
	}
	w.deliver()
	w.wake()
}

// poolOf is linear search for the pool that has a: the first given.
func (w *world) poolOf(a netip.Addr) *Pool {
	for i, p := range w.pools {
		if slices.ContainsFunc(w.pools[:i], func(o Pool) bool { return o.Name == p.Name }) {
			continue
		}
		for _, r := range p.Ranges {
			if inRange(r, a) {
				return &w.pools[i]
			}
		}
	}
	return nil
}

func (w *world) poolNamed(name string) *Pool {
	if i := slices.IndexFunc(w.pools, func(p Pool) bool { return p.Name == name }); i >= 0 {
		return &w.pools[i]
	}
	return nil
}

func inRange(r Range, a netip.Addr) bool {
	return r.From.Is4() == a.Is4() && r.To.Is4() == a.Is4() && !a.Less(r.From) && !r.To.Less(a)
}

func (w *world) inCluster(a netip.Addr) bool {
	return slices.ContainsFunc(w.cluster, func(c ClusterRange) bool { return inRange(c.Range, a) })
}

func givesOut(p *Pool, a netip.Addr) bool {
	if slices.ContainsFunc(p.Exclude, func(r Range) bool { return inRange(r, a) }) {
		return false
	}
	last := a.AsSlice()[len(a.AsSlice())-1]
	return !p.AvoidBuggyIPs || a.Is6() || last != 0 && last != 255
}

func poolAdmits(p *Pool, c Claim) bool {
	a := p.Services
	if c.Key.Kind == "Gateway" {
		a = p.Gateways
	}
	return a.admits(&c)
}

// checkDecision holds a decision against the rules.
func (w *world) checkDecision(c Claim, had, shown []netip.Addr, d Decision) {
	fatal := func(format string, args ...any) {
		w.t.Helper()
		w.t.Fatalf("%s\nclaim %+v\nhad %v, shown %v\ndecision %+v\npools %+v", fmt.Sprintf(format, args...), c, had, shown, d, w.pools)
	}
	seen := map[netip.Addr]bool{}
	for _, x := range d.Addresses {
		a := x.Address
		if seen[a] {
			fatal("%s twice", a)
		}
		seen[a] = true
		if !slices.Contains(c.Families, FamilyOf(a)) {
			fatal("family of %s", a)
		}
		if slices.Contains(had, a) {
			continue
		}
		w.checkGiven(c, a, fatal)
	}
	if d.Bound != (len(d.Addresses) > 0) {
		fatal("bound")
	}
	for _, a := range had {
		if !seen[a] && !slices.Contains(d.Leaving, a) {
			fatal("%s lost", a)
		}
	}
	for _, x := range d.Refused {
		if x.String() == string(x.Reason) {
			fatal("no words for %s", x.Reason)
		}
	}
	if w.settled[c.Key] {
		for _, a := range shown {
			p := w.poolOf(a)
			if p == nil { // an edit took the address out of its pool's ranges
				p = w.poolNamed(w.ledger[a].Pool)
			}
			draining := p != nil && p.Draining
			if !seen[a] && !draining {
				fatal("shown address %s taken away without a wish", a)
			}
		}
	}
}

func (w *world) checkGiven(c Claim, a netip.Addr, fatal func(string, ...any)) {
	if w.inCluster(a) {
		fatal("%s is the cluster's", a)
	}
	e := w.ledger[a]
	if e.ReservedFor != nil && *e.ReservedFor != c.Key {
		fatal("%s is reserved", a)
	}
	for _, o := range e.Holders {
		if o.Key != c.Key && (c.SharingKey.Value == "" || o.SharingKey != c.SharingKey.Value) {
			fatal("%s has another holder", a)
		}
	}
	if e.ReservedFor != nil {
		return
	}
	p := w.poolOf(a)
	explicit := slices.ContainsFunc(c.Addresses, func(x Wish[netip.Addr]) bool { return x.Value == a })
	otherExplicit := len(c.Addresses) > 0
	switch {
	case p == nil:
		fatal("%s outside every pool", a)
	case !givesOut(p, a):
		fatal("%s excluded", a)
	case !poolAdmits(p, c):
		fatal("%s not admitted", a)
	case p.Draining:
		fatal("%s from a draining pool", a)
	case !explicit && !otherExplicit && len(c.Pools) == 0 && !p.AutoAssign:
		fatal("%s not for autoAssign", a)
	case !explicit && len(c.Pools) > 0 && !slices.ContainsFunc(c.Pools, func(x Wish[string]) bool { return x.Value == p.Name }):
		fatal("%s from another pool", a)
	}
}

// expect works out, by linear search, what a plain automatic claim of a newcomer
// gets. False: the claim is not plain.
func (w *world) expect(c Claim) ([]netip.Addr, bool) {
	if len(w.books.Held(c.Key)) > 0 || len(c.Addresses) > 0 || len(c.Pools) > 0 || c.SharingKey.Value != "" || len(c.Families) != 1 {
		return nil, false
	}
	for _, e := range w.ledger {
		if e.Released != nil && e.Released.Key == c.Key || e.ReservedFor != nil && *e.ReservedFor == c.Key {
			return nil, false
		}
	}
	pools := w.ordered(c)
	var cooling netip.Addr
	for _, p := range pools {
		if p.PerNamespaceLimit > 0 {
			return nil, false
		}
		var oldest *Entry
		for _, a := range everyAddress() {
			if FamilyOf(a) != c.Families[0] || w.poolOf(a) == nil || w.poolOf(a).Name != p.Name || !givesOut(p, a) || w.inCluster(a) {
				continue
			}
			e, ok := w.books.Entry(a)
			if !ok {
				return []netip.Addr{a}, true
			}
			if len(e.Holders) == 0 && e.ReservedFor == nil && (oldest == nil || e.Released.At.Before(oldest.Released.At)) {
				oldest = &e
			}
		}
		if oldest != nil && !cooling.IsValid() {
			cooling = oldest.Address
		}
	}
	if cooling.IsValid() {
		return []netip.Addr{cooling}, true
	}
	return nil, true
}

func (w *world) ordered(c Claim) []*Pool {
	admission := func(p *Pool) *Admission {
		if c.Key.Kind == "Gateway" {
			return p.Gateways
		}
		return p.Services
	}
	var first, rest []*Pool
	for i := range w.pools {
		p := &w.pools[i]
		if !p.AutoAssign || p.Draining || slices.ContainsFunc(w.pools[:i], func(o Pool) bool { return o.Name == p.Name }) {
			continue
		}
		a := admission(p)
		switch {
		case a == nil || a.Namespaces == nil && a.NamespaceSelectors == nil && a.HolderSelectors == nil && a.Classes == nil:
			rest = append(rest, p)
		case a.admits(&c):
			first = append(first, p)
		}
	}
	byName := func(a, b *Pool) int { return compareKeys(Key{Name: a.Name}, Key{Name: b.Name}) }
	slices.SortFunc(rest, byName)
	slices.SortFunc(first, byName)
	rank := func(p *Pool) int {
		if n := admission(p).Priority; n > 0 {
			return n
		}
		return 1 << 30
	}
	slices.SortStableFunc(first, func(a, b *Pool) int { return rank(a) - rank(b) })
	return append(first, rest...)
}

// check holds ledger and books against each other and against the rules.
func (w *world) check() {
	w.sweep()
	w.drain()
	w.sweep()
	for a, e := range w.ledger {
		wish, ok := w.books.Entry(a)
		if !ok || !wish.equal(e) {
			w.t.Fatalf("ledger %+v\nbooks %+v", e, wish)
		}
		for i, h := range e.Holders {
			for _, o := range e.Holders[:i] {
				if _, clash := commonPort(h.Ports, o.Ports); h.SharingKey == "" || h.SharingKey != o.SharingKey || clash {
					w.t.Fatalf("two holders without sharing: %+v", e)
				}
			}
			if !h.Bound && !w.foreign[h.Key] {
				w.t.Fatalf("pending: %+v", e)
			}
		}
	}
	for k := range w.claims {
		if missing := w.missing(k); len(missing) > 0 {
			w.t.Fatalf("%s shows %v without an entry", k, missing)
		}
		if held := w.books.Held(k); len(held) != len(w.status[k]) {
			w.t.Fatalf("%s holds %v, shows %v", k, held, w.status[k])
		}
	}
	w.checkNobodyForgotten()
	checkBooks(w.t, w.books)
}

// checkNobodyForgotten decides all who wait: whoever can be served now should
// have been woken.
func (w *world) checkNobodyForgotten() {
	for _, k := range slices.Collect(w.books.Waiting()) {
		d := both(w, func(b *Books) Decision { return b.Decide(w.now, w.claims[k]) })
		if !reflect.DeepEqual(addressesOf(d), w.status[k]) {
			w.t.Fatalf("%s was not woken, had %v, could have %+v\npools %+v", k, w.status[k], d, w.pools)
		}
		w.carry(d) // the pool's name may follow once a holder is alone
	}
	w.drain()
}

// sameAfterRebuild compares with books made from the ledger.
func (w *world) sameAfterRebuild() {
	again := New()
	again.SetClusterRanges(w.cluster)
	again.SetPools(w.pools)
	for _, e := range w.ledger {
		again.Load(e)
	}
	was, is := slices.Collect(w.books.All()), slices.Collect(again.All())
	if !slices.EqualFunc(was, is, Entry.equal) {
		w.t.Fatalf("rebuilt\n%+v\nfrom\n%+v", is, was)
	}
	for k, c := range w.claims {
		d := again.Decide(w.now, c)
		if w.claimWaits(k) { // its turn may depend on the order of arrival
			continue
		}
		if len(d.Touched) > 0 || !reflect.DeepEqual(addressesOf(d), w.status[k]) {
			w.t.Fatalf("rebuilt books decide %+v\nbut %s shows %v", d, k, w.status[k])
		}
	}
	checkBooks(w.t, again)
}

func (w *world) claimWaits(k Key) bool { return slices.Contains(slices.Collect(w.books.Waiting()), k) }

// checkBooks works out everything that the books derive, by linear search.
func checkBooks(t interface{ Fatalf(string, ...any) }, b *Books) {
	for _, p := range b.pools {
		for _, bk := range p.families {
			if bk == nil {
				continue
			}
			checkBucket(t, b, bk)
		}
	}
	held := map[Key][]netip.Addr{}
	shared := map[string][]netip.Addr{}
	strays := map[strayKey]uint64{}
	for _, e := range slices.Collect(b.All()) {
		for _, h := range e.Holders {
			held[h.Key] = append(held[h.Key], e.Address)
			if l := shared[h.SharingKey]; h.SharingKey != "" && !slices.Contains(l, e.Address) {
				shared[h.SharingKey] = append(l, e.Address)
			}
		}
		if len(e.Holders) > 0 && b.entries[e.Address].bucket == nil {
			strays[strayKey{e.Pool, FamilyOf(e.Address)}]++
		}
	}
	if !reflect.DeepEqual(shared, b.sharing) {
		t.Fatalf("sharing %v, want %v", b.sharing, shared)
	}
	if !reflect.DeepEqual(strays, b.strays) {
		t.Fatalf("strays %v, want %v", b.strays, strays)
	}
	if len(held) != b.holders.count {
		t.Fatalf("holders %v, want %v", slices.Collect(b.holders.keys()), held)
	}
	for k, want := range held {
		if got := b.Held(k); !slices.Equal(got, want) {
			t.Fatalf("%s holds %v, want %v", k, got, want)
		}
	}
}

func checkBucket(t interface{ Fatalf(string, ...any) }, b *Books, bk *bucket) {
	var free, cooling, inUse, kept, capacity int
	spaces := map[string]int{}
	for _, a := range everyAddress() {
		if FamilyOf(a) != bk.family || b.bucketAt(a) != bk {
			continue
		}
		isFree := false
		bk.free.spans.all(func(s span) bool { isFree = isFree || s.contains(numberOf(a)); return true })
		if !bk.usable(numberOf(a)) {
			continue
		}
		capacity++
		e, ok := b.Entry(a)
		switch {
		case !ok:
			free++
			if !isFree {
				t.Fatalf("%s should be free", a)
			}
			continue
		case len(e.Holders) > 0:
			inUse++
			in := map[string]bool{}
			for _, h := range e.Holders {
				in[h.Key.Namespace] = true
			}
			for n := range in {
				spaces[n]++
			}
		case e.ReservedFor != nil:
			kept++
		default:
			cooling++
			found := false
			bk.cooling.all(func(i coolingItem) bool {
				found = found || i == coolingItem{e.Released.At.Unix(), numberOf(a)}
				return true
			})
			if !found {
				t.Fatalf("%s should cool", a)
			}
		}
		if isFree {
			t.Fatalf("%s should not be free", a)
		}
	}
	u := b.Usage(bk.pool.Name)[bk.family]
	want := Usage{
		Capacity: uint64(capacity), Assigned: uint64(inUse), Reserved: uint64(kept), Cooling: uint64(cooling),
		Available: uint64(free + cooling), Strays: u.Strays, Waiting: u.Waiting,
	}
	if u != want || bk.cooling.count != cooling {
		t.Fatalf("usage of %s %s: %+v, want %+v", bk.pool.Name, bk.family, u, want)
	}
	if bk.perNamespace != nil && !reflect.DeepEqual(bk.perNamespace, spaces) {
		t.Fatalf("namespaces of %s: %v, want %v", bk.pool.Name, bk.perNamespace, spaces)
	}
}

var universe []netip.Addr

// everyAddress are all addresses that the generated pools can have, in order.
func everyAddress() []netip.Addr {
	if universe == nil {
		for i := range 24 {
			universe = append(universe, number{lo: 10<<24 + 240 + uint64(i)}.addr(IPv4))
		}
		for i := range 12 {
			universe = append(universe, number{hi: 0xfd00 << 48, lo: uint64(i)}.addr(IPv6))
		}
	}
	return universe
}

func genAddr(t *rapid.T) netip.Addr { return rapid.SampledFrom(everyAddress()).Draw(t, "address") }

func genRange(t *rapid.T, longest int) Range {
	all := everyAddress()
	i := rapid.IntRange(0, len(all)-1).Draw(t, "from")
	j := min(i+rapid.IntRange(0, longest).Draw(t, "size"), len(all)-1)
	for all[j].Is4() != all[i].Is4() {
		j--
	}
	return Range{all[i], all[j]}
}

func genAdmission(t *rapid.T) *Admission {
	if rapid.IntRange(0, 2).Draw(t, "admission") > 0 {
		return nil
	}
	a := &Admission{Priority: rapid.IntRange(0, 2).Draw(t, "priority")}
	switch rapid.IntRange(0, 3).Draw(t, "admits") {
	case 0:
		a.Namespaces = []string{rapid.SampledFrom([]string{"a", "b"}).Draw(t, "namespace")}
	case 1:
		a.NamespaceSelectors = []Selector{func(l map[string]string) bool { return l["n"] == "b" }}
	case 2:
		a.HolderSelectors = []Selector{func(l map[string]string) bool { return l["x"] == "1" }}
	}
	return a
}

func genPools(t *rapid.T) []Pool {
	n := rapid.IntRange(0, 4).Draw(t, "pools")
	var out []Pool
	for range n {
		p := Pool{
			Name:          rapid.SampledFrom([]string{"p0", "p1", "p2", "p3"}).Draw(t, "pool"),
			AutoAssign:    rapid.IntRange(0, 3).Draw(t, "auto") > 0,
			AvoidBuggyIPs: rapid.Bool().Draw(t, "buggy"),
			Services:      genAdmission(t), Gateways: genAdmission(t),
			ReuseDelay:            time.Duration(rapid.IntRange(0, 3).Draw(t, "reuse")) * time.Minute,
			Retain:                time.Duration(rapid.IntRange(0, 3).Draw(t, "retain")) * time.Minute,
			PerNamespaceLimit:     rapid.SampledFrom([]int{0, 0, 0, 2}).Draw(t, "limit"),
			ShareAcrossNamespaces: rapid.Bool().Draw(t, "across"),
			Draining:              rapid.IntRange(0, 7).Draw(t, "draining") == 0,
		}
		for range rapid.IntRange(1, 2).Draw(t, "ranges") {
			p.Ranges = append(p.Ranges, genRange(t, 7))
		}
		if rapid.IntRange(0, 3).Draw(t, "excludes") == 0 {
			p.Exclude = []Range{genRange(t, 2)}
		}
		out = append(out, p)
	}
	return out
}

func genKey(t *rapid.T) Key {
	return Key{
		rapid.SampledFrom([]string{"Service", "Service", "Gateway"}).Draw(t, "kind"),
		rapid.SampledFrom([]string{"a", "b"}).Draw(t, "in"),
		rapid.SampledFrom([]string{"1", "2", "3", "4"}).Draw(t, "name"),
	}
}

func genClaim(t *rapid.T, k Key) Claim {
	c := Claim{
		Key: k, UID: rapid.SampledFrom([]string{"u", "v"}).Draw(t, "uid"),
		Families:        rapid.SampledFrom([][]Family{{IPv4}, {IPv4}, {IPv6}, {IPv4, IPv6}, {IPv6, IPv4}}).Draw(t, "families"),
		Policy:          rapid.SampledFrom([]FamilyPolicy{Require, Prefer}).Draw(t, "policy"),
		Labels:          map[string]string{"x": rapid.SampledFrom([]string{"0", "1"}).Draw(t, "x")},
		NamespaceLabels: map[string]string{"n": k.Namespace},
	}
	if rapid.IntRange(0, 2).Draw(t, "explicit") == 0 {
		for range rapid.IntRange(1, 2).Draw(t, "addresses") {
			c.Addresses = append(c.Addresses, Wish[netip.Addr]{genAddr(t), "test"})
		}
	}
	if rapid.IntRange(0, 4).Draw(t, "named") == 0 {
		c.Pools = []Wish[string]{{rapid.SampledFrom([]string{"p0", "p1", "p2"}).Draw(t, "asks for"), "test"}}
	}
	if rapid.IntRange(0, 2).Draw(t, "shares") == 0 {
		c.SharingKey = Wish[string]{rapid.SampledFrom([]string{"k", "l"}).Draw(t, "sharing key"), "test"}
	}
	if rapid.IntRange(0, 3).Draw(t, "with") == 0 {
		c.ShareWith = []string{"*"}
	}
	for range rapid.IntRange(0, 2).Draw(t, "ports") {
		c.Ports = append(c.Ports, Port{"TCP", uint16(rapid.IntRange(80, 83).Draw(t, "port"))})
	}
	return c
}

// change sets a claim, new or changed, and decides it.
func (w *world) change(k Key, c Claim) {
	w.claims[k] = c
	w.settled[k] = false
	w.reconcile(k)
}

// TestWorld runs long random histories.
func TestWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		w := newWorld(t)
		t.Repeat(map[string]func(*rapid.T){
			"": func(*rapid.T) { w.run(w.check) },
			"claim": func(t *rapid.T) {
				k := genKey(t)
				w.arm(t)
				w.run(func() { w.change(k, genClaim(t, k)) })
			},
			"plain claim": func(t *rapid.T) {
				k := genKey(t)
				w.arm(t)
				w.run(func() { w.change(k, Claim{Key: k, Families: []Family{IPv4}}) })
			},
			"delete": func(t *rapid.T) {
				k := genKey(t)
				w.arm(t)
				w.run(func() { delete(w.claims, k); w.settled[k] = false; w.reconcile(k) })
			},
			"pools": func(t *rapid.T) {
				pools := genPools(t)
				w.arm(t)
				w.run(func() { w.setPools(pools); w.sweep() })
				w.run(func() {
					for _, k := range slices.SortedFunc(maps.Keys(w.claims), compareKeys) {
						w.reconcile(k)
					}
				})
			},
			"cluster": func(t *rapid.T) {
				w.cluster = []ClusterRange{{genRange(t, 2), "a node"}}
				w.run(func() {
					both(w, func(b *Books) bool { b.SetClusterRanges(w.cluster); return true })
					w.wake()
				})
			},
			"time": func(t *rapid.T) {
				w.now = w.now.Add(time.Duration(rapid.IntRange(1, 120).Draw(t, "seconds")) * time.Second)
				w.arm(t)
				w.run(func() {
					for _, a := range both(w, func(b *Books) []netip.Addr { c, _ := b.Expire(w.now); return c }) {
						w.write(a)
					}
					w.wake()
				})
			},
			"reserve": func(t *rapid.T) {
				a, k := genAddr(t), genKey(t)
				w.run(func() { w.edit(a, &k) })
			},
			"unreserve": func(t *rapid.T) {
				a := genAddr(t)
				w.run(func() { w.edit(a, nil) })
			},
			"foreign": func(t *rapid.T) { // another controller takes or leaves an address
				a := genAddr(t)
				w.run(func() { w.foreignWrite(a) })
			},
			"lost": func(t *rapid.T) { // somebody deletes an entry by force
				a := genAddr(t)
				w.run(func() {
					delete(w.ledger, a)
					both(w, func(b *Books) bool { b.Unload(a); return true })
					w.wake()
				})
			},
			"restart": func(*rapid.T) { w.run(w.sameAfterRebuild); w.run(w.restart) },
		})
	})
}

// arm makes one of the next writes crash the controller, sometimes, and decides
// whether own writes are confirmed at once.
func (w *world) arm(t *rapid.T) {
	w.crashIn = rapid.SampledFrom([]int{-1, -1, -1, 0, 1, 2, 3}).Draw(t, "crash in")
	w.lateLoad = rapid.Bool().Draw(t, "late events")
}

// foreignWrite puts a foreign holder on an address that has none, or takes it away.
func (w *world) foreignWrite(a netip.Addr) {
	k := Key{"Service", "z", "foreign"}
	w.foreign[k] = true
	e := w.ledger[a]
	switch {
	case len(e.Holders) == 0:
		e.Address, e.Released = a, nil
		e.Holders = []Holding{{Key: k, Needs: []netip.Addr{a}, Since: w.now, Bound: true}}
	case len(e.Holders) == 1 && e.Holders[0].Key == k:
		e.Holders = nil
	default:
		return
	}
	w.ledger[a] = e
	both(w, func(b *Books) bool { b.Load(e); return true })
	w.wake()
}

// edit is a person setting or removing a reservation.
func (w *world) edit(a netip.Addr, k *Key) {
	e, ok := w.ledger[a]
	if !ok {
		if k == nil {
			return
		}
		e = Entry{Address: a}
	}
	e.ReservedFor = k
	w.ledger[a] = e
	both(w, func(b *Books) bool { b.Load(e); return true })
	w.wake()
}
