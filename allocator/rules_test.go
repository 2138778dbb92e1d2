package allocator

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"
)

// rig is a controller without surprises: everything is written at once.
type rig struct {
	t *testing.T
	b *Books
	// now moves with the test.
	now time.Time
}

func newRig(t *testing.T, pools ...Pool) *rig {
	t.Helper()
	r := &rig{t, New(), benchNow}
	if problems := r.b.SetPools(pools); len(problems) > 0 {
		t.Fatal(problems)
	}
	return r
}

// write makes the ledger agree.
func (r *rig) write(d Decision) {
	for _, a := range d.Touched {
		if e, ok := r.b.Entry(a); ok {
			r.b.Load(e)
		} else {
			r.b.Unload(a)
		}
	}
}

func (r *rig) decide(c Claim) Decision {
	d := r.b.Decide(r.now, c)
	r.write(d)
	if len(d.Leaving) > 0 {
		v := r.b.Vacate(r.now, c.Key, d.Leaving)
		r.write(v)
		d.Wake = append(d.Wake, v.Wake...)
	}
	return d
}

func (r *rig) release(name string) Decision {
	d := r.b.Release(r.now, svc(name).Key)
	r.write(d)
	return d
}

// want decides and compares the addresses and the reason of the refusal.
func (r *rig) want(c Claim, reason Reason, addresses ...string) Decision {
	r.t.Helper()
	d := r.decide(c)
	got := []string{}
	for _, a := range d.Addresses {
		got = append(got, a.Address.String())
	}
	if !slices.Equal(got, addresses) {
		r.t.Fatalf("%s got %v, want %v (refusal: %v)", c.Key, got, addresses, d.Refusal)
	}
	var is Reason
	if d.Refusal != nil {
		is = d.Refusal.Reason
	}
	if is != reason {
		r.t.Fatalf("%s refused with %q, want %q: %v", c.Key, is, reason, d.Refusal)
	}
	return d
}

func poolOf(name string, ranges ...string) Pool {
	p := Pool{Name: name, AutoAssign: true}
	for _, s := range ranges {
		p.Ranges = append(p.Ranges, parseRange(s))
	}
	return p
}

func parseRange(s string) Range {
	if strings.Contains(s, "/") {
		return rangeOf(s)
	}
	from, to, ok := strings.Cut(s, "-")
	if !ok {
		to = from
	}
	return Range{netip.MustParseAddr(from), netip.MustParseAddr(to)}
}

// svc is the plain claim of a Service in IPv4; "ns/name", or a name in "shop".
func svc(name string, edits ...func(*Claim)) Claim {
	ns, n, ok := strings.Cut(name, "/")
	if !ok {
		ns, n = "shop", name
	}
	c := Claim{Key: Key{"Service", ns, n}, UID: "1", Families: []Family{IPv4}}
	for _, e := range edits {
		e(&c)
	}
	return c
}

func at(addresses ...string) func(*Claim) {
	return func(c *Claim) {
		for _, a := range addresses {
			c.Addresses = append(c.Addresses, Wish[netip.Addr]{netip.MustParseAddr(a), "spec.loadBalancerIP"})
		}
	}
}

func from(pools ...string) func(*Claim) {
	return func(c *Claim) {
		for _, p := range pools {
			c.Pools = append(c.Pools, Wish[string]{p, "annotation fairlead.dev/pool"})
		}
	}
}

func dual(p FamilyPolicy) func(*Claim) {
	return func(c *Claim) { c.Families, c.Policy = []Family{IPv4, IPv6}, p }
}

func sharing(key string, ports ...uint16) func(*Claim) {
	return func(c *Claim) {
		c.SharingKey.Value = key
		c.Ports = nil
		for _, p := range ports {
			c.Ports = append(c.Ports, Port{"TCP", p})
		}
	}
}

func TestOrderOfWishes(t *testing.T) {
	team := poolOf("z-team", "10.0.1.0/30")
	team.Services = &Admission{Namespaces: []string{"shop"}}
	first := poolOf("y-first", "10.0.2.0/30")
	first.Services = &Admission{Namespaces: []string{"shop"}, Priority: 5}
	hand := poolOf("a-hand", "10.0.3.0/30")
	hand.AutoAssign = false
	r := newRig(t, poolOf("b-open", "10.0.4.0/30"), team, first, hand)
	r.want(svc("explicit", at("10.0.1.2")), "", "10.0.1.2")
	r.want(svc("named", from("a-hand")), "", "10.0.3.0")
	r.want(svc("none/named", from("y-first")), PoolNotAdmitted)
	r.want(svc("none/explicit", at("10.0.1.1")), PoolNotAdmitted)
	r.want(svc("none/open"), "", "10.0.4.0")
	for i, want := range []string{"10.0.2.0", "10.0.2.1", "10.0.2.2", "10.0.2.3", "10.0.1.0", "10.0.1.1", "10.0.1.3", "10.0.4.1"} {
		r.want(svc("auto"+string(rune('a'+i))), "", want)
	}
}

func TestRefusals(t *testing.T) {
	p := poolOf("p", "10.0.0.0/29")
	p.Exclude = []Range{parseRange("10.0.0.3")}
	p.AvoidBuggyIPs = true
	closed := poolOf("closed", "10.0.1.0/29")
	closed.Services = &Admission{HolderSelectors: []Selector{}}
	draining := poolOf("draining", "10.0.2.0/29")
	draining.Draining = true
	v6 := poolOf("six", "fd00::/126")
	gateways := poolOf("gw", "10.0.4.0/29")
	gateways.Gateways = &Admission{Classes: []string{"edge"}}
	gateways.AutoAssign = false
	setup := func(t *testing.T) *rig {
		r := newRig(t, p, closed, draining, v6, gateways)
		r.b.SetClusterRanges([]ClusterRange{{parseRange("10.0.0.5"), "the address of node a"}})
		r.want(svc("holder", at("10.0.0.1")), "", "10.0.0.1")
		r.want(svc("shared", at("10.0.0.2"), sharing("k", 80)), "", "10.0.0.2")
		k := Key{"Gateway", "edge", "main"}
		r.b.Load(Entry{Address: netip.MustParseAddr("10.0.0.4"), ReservedFor: &k})
		return r
	}
	gateway := svc("gw", at("10.0.4.1"))
	gateway.Key.Kind, gateway.Class = "Gateway", "other"
	for name, c := range map[string]struct {
		claim  Claim
		reason Reason
		says   string
	}{
		"taken, same namespace":  {svc("x", at("10.0.0.1")), AddressTaken, "by Service shop/holder since 2026-11-23 12:00:00 UTC"},
		"taken, elsewhere":       {svc("b/x", at("10.0.0.1")), AddressTaken, "10.0.0.1, asked for by spec.loadBalancerIP, is held elsewhere."},
		"outside":                {svc("x", at("192.0.2.1")), AddressOutsidePools, "lies in no pool"},
		"excluded":               {svc("x", at("10.0.0.3")), AddressExcluded, "excluded by pool p"},
		"buggy":                  {svc("x", at("10.0.0.0")), AddressExcluded, "avoidBuggyIPs"},
		"reserved":               {svc("x", at("10.0.0.4")), AddressReserved, "a holder elsewhere"},
		"reserved, seen":         {svc("edge/x", at("10.0.0.4")), AddressReserved, "Gateway edge/main"},
		"of the cluster":         {svc("x", at("10.0.0.5")), AddressInClusterRange, "the address of node a"},
		"zone":                   {svc("x", at("fe80::1%eth0")), AddressInvalid, "zone"},
		"unknown pool":           {svc("x", from("nope")), PoolUnknown, "Pool nope, asked for by annotation fairlead.dev/pool, does not exist"},
		"selector without match": {svc("x", from("closed")), PoolNotAdmitted, "does not admit"},
		"gateway class":          {gateway, PoolNotAdmitted, "does not admit"},
		"draining":               {svc("x", from("draining")), PoolDraining, "drained"},
		"draining address":       {svc("x", at("10.0.2.1")), PoolDraining, "drained"},
		"family not asked for":   {svc("x", at("fd00::1")), FamilyMismatch, "IPv6"},
		"family not there":       {svc("x", from("six")), FamilyUnavailable, "no IPv4"},
		"other pool":             {svc("x", at("10.0.0.6"), from("closed")), AddressNotInPool, "lies in pool p"},
		"another key":            {svc("x", at("10.0.0.2"), sharing("l", 81)), SharingKeyMismatch, "another sharing key"},
		"port in use":            {svc("x", at("10.0.0.2"), sharing("k", 80)), PortsClash, "80/TCP"},
		"no key":                 {svc("x", at("10.0.0.2")), AddressTaken, "held by Service shop/shared"},
		"namespace":              {svc("b/x", at("10.0.0.2"), sharing("k", 81)), AddressTaken, "elsewhere"},
		"all or none":            {svc("x", at("10.0.0.6", "10.0.0.1")), AddressTaken, "10.0.0.1"},
		"no family":              {svc("x", func(c *Claim) { c.Families = nil }), NoFamily, "IP family"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t)
			d := r.want(c.claim, c.reason)
			if s := d.Refusal.String(); !strings.Contains(s, c.says) {
				t.Errorf("%q does not say %q", s, c.says)
			}
			if d.Refusal.Elsewhere && (d.Refusal.Holder != nil || !d.Refusal.Since.IsZero()) {
				t.Errorf("tells too much: %+v", d.Refusal)
			}
			if r.b.Held(c.claim.Key) != nil {
				t.Errorf("holds %v", r.b.Held(c.claim.Key))
			}
		})
	}
}

func TestExhausted(t *testing.T) {
	r := newRig(t, poolOf("p", "10.0.0.0/31"))
	r.want(svc("a"), "", "10.0.0.0")
	r.want(svc("b"), "", "10.0.0.1")
	d := r.want(svc("c"), PoolExhausted)
	if want := "Pool p has no free IPv4 address (2 of 2 in use). Add a range to it or ask for another pool."; d.Refusal.String() != want {
		t.Errorf("%s", d.Refusal)
	}
	r.want(svc("d"), PoolExhausted)
	if u := r.b.Usage("p")[IPv4]; u != (Usage{Capacity: 2, Assigned: 2, Waiting: 2}) {
		t.Errorf("%+v", u)
	}
	if d := r.release("b"); len(d.Wake) != 1 || d.Wake[0] != svc("c").Key {
		t.Errorf("woken %v", d.Wake)
	}
	r.want(svc("c"), "", "10.0.0.1")
	if r := newRig(t).decide(svc("a")).Refusal; r.Reason != NoPool {
		t.Error(r)
	}
}

func TestReuse(t *testing.T) {
	p := poolOf("p", "10.0.0.0/30")
	p.ReuseDelay = time.Minute
	r := newRig(t, p)
	r.want(svc("a"), "", "10.0.0.0")
	r.want(svc("b"), "", "10.0.0.1")
	r.release("b")
	r.now = r.now.Add(time.Second)
	r.release("a")
	r.want(svc("c"), "", "10.0.0.2")
	r.want(svc("d"), "", "10.0.0.3")
	r.want(svc("e"), "", "10.0.0.1") // gives way, the oldest first
	changed, next := r.b.Expire(r.now)
	if len(changed) > 0 || !next.Equal(r.now.Add(time.Minute)) {
		t.Fatal(changed, next)
	}
	changed, next = r.b.Expire(next)
	if len(changed) != 1 || changed[0].String() != "10.0.0.0" || !next.IsZero() {
		t.Fatal(changed, next)
	}
	if _, ok := r.b.Entry(changed[0]); ok {
		t.Fatal("should be deleted")
	}
	r.want(svc("f", at("10.0.0.0")), "", "10.0.0.0")
	r.release("f")
	r.want(svc("g", at("10.0.0.0")), "", "10.0.0.0") // cooling alone does not keep it from who asks
}

func TestRetain(t *testing.T) {
	p := poolOf("p", "10.0.0.0/28")
	p.Retain = 10 * time.Minute
	r := newRig(t, p)
	r.want(svc("a", at("10.0.0.7")), "", "10.0.0.7")
	r.release("a")
	d := r.want(svc("b", at("10.0.0.7")), AddressRetained)
	if !d.Refusal.Until.Equal(r.now.Add(10*time.Minute)) || *d.Refusal.Holder != svc("a").Key {
		t.Error(d.Refusal)
	}
	if s := r.want(svc("x/b", at("10.0.0.7")), AddressRetained).Refusal.String(); strings.Contains(s, "shop") {
		t.Error(s)
	}
	back := svc("a")
	back.UID = "2"
	r.want(back, "", "10.0.0.7")            // before lower free ones
	for _, k := range r.release("a").Wake { // learns that it is retained now
		r.want(svc(k.Namespace+"/"+k.Name, at("10.0.0.7")), AddressRetained)
	}
	_, next := r.b.Expire(r.now)
	r.now = next
	r.b.Expire(r.now)
	if woken := r.b.Woken(); len(woken) == 0 || woken[0] != svc("b").Key {
		t.Error(woken)
	}
	r.want(svc("b", at("10.0.0.7")), "", "10.0.0.7")
	// Who moved on to another address does not come back for the first.
	r.want(svc("b", at("10.0.0.8")), "", "10.0.0.8")
	r.want(svc("c", at("10.0.0.7")), "", "10.0.0.7")
}

func TestDualStack(t *testing.T) {
	for name, c := range map[string]struct {
		pools  []Pool
		claim  Claim
		reason Reason
		want   []string
	}{
		"one pool":              {[]Pool{poolOf("a", "10.0.0.0/30", "fd00::/126")}, svc("x", dual(Require)), "", []string{"10.0.0.0", "fd00::"}},
		"two pools":             {[]Pool{poolOf("a", "10.0.0.0/30"), poolOf("b", "fd00::/126")}, svc("x", dual(Require)), "", []string{"10.0.0.0", "fd00::"}},
		"one is better":         {[]Pool{poolOf("a", "10.0.0.0/30"), poolOf("b", "10.0.1.0/30", "fd00::/126")}, svc("x", dual(Require)), "", []string{"10.0.1.0", "fd00::"}},
		"all or none":           {[]Pool{poolOf("a", "10.0.0.0/30")}, svc("x", dual(Require)), FamilyUnavailable, []string{}},
		"prefer":                {[]Pool{poolOf("a", "10.0.0.0/30")}, svc("x", dual(Prefer)), FamilyUnavailable, []string{"10.0.0.0"}},
		"prefer, beside wish":   {[]Pool{poolOf("a", "10.0.0.0/30", "fd00::/126")}, svc("x", dual(Prefer), at("10.0.0.2")), "", []string{"10.0.0.2", "fd00::"}},
		"prefer, wish not met":  {[]Pool{poolOf("a", "10.0.0.0/30", "fd00::/126")}, svc("x", dual(Prefer), at("10.9.0.2")), AddressOutsidePools, []string{}},
		"beside wish, its pool": {[]Pool{poolOf("a", "fd00:1::/126"), poolOf("b", "10.0.0.0/30", "fd00::/126")}, svc("x", dual(Require), at("10.0.0.2")), "", []string{"10.0.0.2", "fd00::"}},
		"several of a family":   {[]Pool{poolOf("a", "10.0.0.0/30", "fd00::/126")}, svc("x", dual(Require), at("10.0.0.2", "10.0.0.1", "10.0.0.2")), "", []string{"10.0.0.2", "10.0.0.1", "fd00::"}},
		"IPv4-mapped wish":      {[]Pool{poolOf("a", "10.0.0.0/30")}, svc("x", at("::ffff:10.0.0.2")), "", []string{"10.0.0.2"}},
	} {
		t.Run(name, func(t *testing.T) {
			newRig(t, c.pools...).want(c.claim, c.reason, c.want...)
		})
	}
}

func TestFamiliesComeAndGo(t *testing.T) {
	r := newRig(t, poolOf("a", "10.0.0.0/30"))
	r.want(svc("x", dual(Prefer)), FamilyUnavailable, "10.0.0.0")
	r.b.SetPools([]Pool{poolOf("a", "10.0.0.0/30"), poolOf("b", "fd00::/126")})
	if woken := r.b.Woken(); len(woken) != 1 {
		t.Fatal(woken)
	}
	d := r.b.Decide(r.now, svc("x", dual(Prefer)))
	if len(d.Touched) != 2 || d.Touched[0].String() != "fd00::" {
		t.Fatalf("new first: %v", d.Touched)
	}
	if e, _ := r.b.Entry(d.Touched[1]); !e.Holders[0].Bound {
		t.Error("the first family must stay announced")
	}
	r.want(svc("x", dual(Prefer)), "", "10.0.0.0", "fd00::")
	d = r.want(svc("x"), "", "10.0.0.0")
	if len(d.Leaving) != 1 || d.Leaving[0].String() != "fd00::" {
		t.Errorf("leaving %v", d.Leaving)
	}
}

func TestMakeBeforeBreak(t *testing.T) {
	r := newRig(t, poolOf("a", "10.0.0.0/30"))
	r.want(svc("x"), "", "10.0.0.0")
	d := r.b.Decide(r.now, svc("x", at("10.0.0.2")))
	r.write(d)
	if len(d.Leaving) != 1 || !d.Bound || len(d.Touched) != 1 {
		t.Fatalf("%+v", d)
	}
	r.want(svc("y", at("10.0.0.0")), AddressTaken) // not before Vacate
	v := r.b.Vacate(r.now, svc("x").Key, append(d.Leaving, netip.MustParseAddr("10.0.0.2")))
	if len(v.Freed) != 1 || v.Freed[0].String() != "10.0.0.0" || !slices.Contains(v.Wake, svc("y").Key) {
		t.Fatalf("%+v", v)
	}
	// The write fails: asked again, the same is touched again.
	if again := r.b.Decide(r.now, svc("x", at("10.0.0.2"))); !slices.Equal(again.Touched, v.Touched) {
		t.Errorf("touched %v, want %v", again.Touched, v.Touched)
	}
	r.want(svc("y", at("10.0.0.0")), "", "10.0.0.0")
	// A wish that cannot be met changes nothing.
	d = r.want(svc("x", at("10.0.0.0")), AddressTaken, "10.0.0.2")
	if !strings.Contains(d.Refusal.String(), "kept meanwhile") || len(d.Touched) > 0 {
		t.Errorf("%+v", d)
	}
}

func TestSharing(t *testing.T) {
	r := newRig(t, poolOf("a", "10.0.0.0/30"))
	r.want(svc("x", sharing("k", 80)), "", "10.0.0.0")
	r.want(svc("y", sharing("k", 443)), "", "10.0.0.0")
	r.want(svc("z", sharing("k", 443)), "", "10.0.0.1")    // no room on the first
	r.want(svc("b/y", sharing("k", 8080)), "", "10.0.0.2") // another namespace
	d := r.want(svc("y", sharing("k", 80)), PortsClash, "10.0.0.0")
	if d.Refusal.Port != (Port{"TCP", 80}) || !d.Refusal.Kept {
		t.Errorf("%+v", d.Refusal)
	}
	e, _ := r.b.Entry(netip.MustParseAddr("10.0.0.0"))
	if !slices.Equal(find(e.Holders, svc("y").Key).Ports, []Port{{"TCP", 443}}) {
		t.Error("old ports stand while the new clash")
	}
	r.want(svc("y", sharing("l", 443)), SharingKeyMismatch, "10.0.0.0")
	if d := r.release("x"); !slices.Contains(d.Wake, svc("y").Key) {
		t.Errorf("woken %v", d.Wake)
	}
	r.want(svc("y", sharing("l", 80)), "", "10.0.0.0") // alone: as it likes
	agree := func(with ...string) func(*Claim) { return func(c *Claim) { c.ShareWith = with } }
	r.want(svc("b/y", sharing("k", 8080), agree("shop")), "", "10.0.0.2")
	r.want(svc("w", at("10.0.0.2"), sharing("k", 1)), AddressTaken)
	r.want(svc("w", at("10.0.0.2"), sharing("k", 1), agree("*")), "", "10.0.0.2")
}

func TestReservations(t *testing.T) {
	r := newRig(t, poolOf("a", "10.0.0.0/30"))
	k, other := svc("x").Key, svc("other").Key
	r.b.Load(Entry{Address: netip.MustParseAddr("10.0.0.0"), ReservedFor: &other})
	r.b.Load(Entry{Address: netip.MustParseAddr("10.0.0.3"), ReservedFor: &k})
	r.b.Load(Entry{Address: netip.MustParseAddr("192.0.2.1"), ReservedFor: &k})
	r.want(svc("y"), "", "10.0.0.1")
	r.want(svc("x"), "", "10.0.0.3")
	r.want(svc("x", at("192.0.2.1")), "", "192.0.2.1")
	r.want(svc("y", at("192.0.2.1")), AddressReserved, "10.0.0.1")
	r.release("x")
	for _, a := range []string{"192.0.2.1", "10.0.0.3"} {
		if e, ok := r.b.Entry(netip.MustParseAddr(a)); !ok || *e.ReservedFor != k {
			t.Errorf("%s: the reservation stays", a)
		}
	}
	r.want(svc("z"), "", "10.0.0.2")
	r.want(svc("q"), PoolExhausted)
}

func TestLimitAndDraining(t *testing.T) {
	p := poolOf("a", "10.0.0.0/29")
	p.PerNamespaceLimit = 2
	r := newRig(t, p)
	r.want(svc("1"), "", "10.0.0.0")
	r.want(svc("2"), "", "10.0.0.1")
	d := r.want(svc("3"), LimitReached)
	if !strings.Contains(d.Refusal.String(), "Namespace shop has the 2 IPv4 addresses that pool a allows") {
		t.Error(d.Refusal)
	}
	r.want(svc("4", at("10.0.0.5")), LimitReached)
	r.want(svc("2", at("10.0.0.6")), "", "10.0.0.6") // one for one
	r.want(svc("b/1"), "", "10.0.0.1")
	if d := r.release("1"); !slices.Contains(d.Wake, svc("3").Key) || slices.Contains(d.Wake, svc("b/1").Key) {
		t.Errorf("woken %v", d.Wake)
	}
	p.Draining = true
	r.b.SetPools([]Pool{p})
	d = r.want(svc("b/1"), "", "10.0.0.1")
	if d.Note == nil || d.Note.Reason != PoolDraining {
		t.Errorf("%+v", d)
	}
	r.b.SetPools([]Pool{p, poolOf("b", "10.0.1.0/29")})
	if woken := r.b.Woken(); !slices.Contains(woken, svc("b/1").Key) {
		t.Error(woken)
	}
	r.want(svc("b/1"), "", "10.0.1.0")
	d = r.want(svc("2", at("10.0.0.6")), "", "10.0.0.6")
	if d.Note == nil || !strings.Contains(d.Note.String(), "asked for by spec.loadBalancerIP") {
		t.Errorf("%+v", d)
	}
}

// An address that an edit took out of its pool's ranges moves too when the pool
// is drained.
func TestDrainingMovesStrays(t *testing.T) {
	p := poolOf("a", "10.0.0.0/29")
	r := newRig(t, p)
	r.want(svc("x"), "", "10.0.0.0")
	p.Ranges = poolOf("a", "10.0.0.4/30").Ranges
	p.Draining = true
	r.b.SetPools([]Pool{p})
	r.want(svc("x"), "", "10.0.0.0")
	r.b.SetPools([]Pool{p, poolOf("b", "10.0.1.0/29")})
	if woken := r.b.Woken(); !slices.Contains(woken, svc("x").Key) {
		t.Errorf("woken %v", woken)
	}
	r.want(svc("x"), "", "10.0.1.0")
}

func TestPoolEditsTakeNothing(t *testing.T) {
	p := poolOf("a", "10.0.0.0/29", "fd00::/64")
	r := newRig(t, p)
	r.want(svc("x", dual(Require)), "", "10.0.0.0", "fd00::")
	r.want(svc("y", from("a")), "", "10.0.0.1")
	closed := p
	closed.Services = &Admission{Namespaces: []string{}}
	excluded := p
	excluded.Exclude = p.Ranges
	for name, pools := range map[string][]Pool{
		"deleted": nil, "shrunk": {poolOf("a", "10.0.0.6")}, "closed": {closed}, "excluded": {excluded},
		"part of another": {poolOf("b", "10.0.0.0/30"), poolOf("a", "10.0.0.4")},
	} {
		r.b.SetPools(pools)
		d := r.decide(svc("x", dual(Require)))
		if len(d.Addresses) != 2 || d.Refusal != nil {
			t.Errorf("%s: %+v", name, d)
		}
		if d := r.decide(svc("y", from("a"))); len(d.Addresses) != 1 || d.Addresses[0].Address.String() != "10.0.0.1" {
			t.Errorf("%s: %+v", name, d)
		}
	}
	r.b.SetPools([]Pool{poolOf("a", "10.0.0.6")})
	if u := r.b.Usage("a")[IPv4]; u.Capacity != 1 || u.Assigned != 0 || u.Strays == 0 {
		t.Errorf("%+v", u)
	}
	r.b.SetPools([]Pool{p})
	if u := r.b.Usage("a")[IPv6]; u.Capacity != 1<<64-1 || u.Available != 1<<64-1 || u.Assigned != 1 {
		t.Errorf("a /64 saturates: %+v", u)
	}
}

func TestPoolProblems(t *testing.T) {
	b := New()
	b.SetClusterRanges([]ClusterRange{{parseRange("10.0.0.9"), "the address of node a"}})
	problems := b.SetPools([]Pool{
		poolOf("a", "10.0.0.0/28", "10.0.0.9-10.0.0.3", "10.0.0.1-fd00::1", "::ffff:10.0.0.1"),
		poolOf("b", "10.0.0.8-10.0.0.20"), poolOf("a", "10.9.0.0/24"), poolOf("c", "10.1.0.0/24", "10.1.0.5"),
	})
	var got []string
	for _, p := range problems {
		got = append(got, p.Pool+" "+string(p.Reason)+" "+p.Other)
		if !strings.HasSuffix(p.String(), ".") {
			t.Errorf("%q", p)
		}
	}
	want := []string{
		"a OverlapsCluster the address of node a", "a InvalidRange ", "a InvalidRange ", "a InvalidRange ",
		"b Overlapping a", "b OverlapsCluster the address of node a", "a DuplicateName ", "c Overlapping c",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
	if u := b.Usage("b")[IPv4]; u.Capacity != 5 {
		t.Errorf("the part that is b's own: %+v", u)
	}
	if u := b.Usage("c")[IPv4]; u.Capacity != 256 {
		t.Errorf("%+v", u)
	}
}

func TestAdopt(t *testing.T) {
	p := poolOf("a", "10.0.0.0/29", "fd00::/64")
	p.Services = &Admission{Namespaces: []string{}}
	p.PerNamespaceLimit, p.Exclude = 1, []Range{parseRange("10.0.0.7")}
	r := newRig(t, p)
	adopt := func(c Claim, addresses ...string) Decision {
		var list []netip.Addr
		for _, a := range addresses {
			list = append(list, netip.MustParseAddr(a))
		}
		d := r.b.Adopt(r.now, c, list)
		r.write(d)
		return d
	}
	d := adopt(svc("x", dual(Require)), "fd00::5", "::ffff:10.0.0.3")
	if len(d.Addresses) != 2 || d.Addresses[0].Address.String() != "10.0.0.3" || !d.Bound || d.Refusal != nil {
		t.Fatalf("%+v", d)
	}
	d = adopt(svc("y"), "10.0.0.4", "10.0.0.3", "192.0.2.1", "10.0.0.7", "fd00::6")
	var reasons []Reason
	for _, r := range d.Refused {
		reasons = append(reasons, r.Reason)
	}
	if len(d.Addresses) != 1 || !slices.Equal(reasons, []Reason{AddressTaken, AddressOutsidePools, AddressExcluded, FamilyMismatch}) {
		t.Fatalf("%v %v", d.Addresses, reasons)
	}
	if d := adopt(svc("y"), "10.0.0.5"); d.Refusal.Reason != HasAnotherAddress || len(d.Addresses) != 1 {
		t.Errorf("%+v", d)
	}
	r.want(svc("x", dual(Require)), "", "10.0.0.3", "fd00::5")
	r.want(svc("y"), "", "10.0.0.4")
}

func TestLoad(t *testing.T) {
	r := newRig(t, poolOf("a", "10.0.0.0/30"))
	a := netip.MustParseAddr("10.0.0.0")
	theirs := Holding{Key: Key{"Service", "z", "theirs"}, Needs: []netip.Addr{a}, Bound: true, Since: r.now}
	// Two decide for the same address; the API server takes the other's.
	d := r.b.Decide(r.now, svc("x"))
	if d.Addresses[0].Address != a {
		t.Fatal(d)
	}
	r.b.Load(Entry{Address: netip.MustParseAddr("::ffff:10.0.0.0"), Pool: "a", Holders: []Holding{theirs}})
	if woken := r.b.Woken(); !slices.Contains(woken, svc("x").Key) {
		t.Error(woken)
	}
	r.want(svc("x"), "", "10.0.0.1")
	// Late news of an own earlier write does not undo what was decided since.
	early, _ := r.b.Entry(netip.MustParseAddr("10.0.0.1"))
	d = r.b.Release(r.now, svc("x").Key)
	r.b.Load(early)
	if r.b.Held(svc("x").Key) != nil {
		t.Error("a late event brought the holder back")
	}
	r.write(d)
	// A foreign deletion takes nothing.
	r.b.Unload(a)
	if got := r.b.Held(theirs.Key); len(got) != 1 || r.b.Written(a) {
		t.Error(got)
	}
	// What is no address is ignored.
	r.b.Load(Entry{})
	r.b.Load(Entry{Address: netip.MustParseAddr("fe80::1%eth0")})
	r.b.Unload(netip.Addr{})
	if n := len(slices.Collect(r.b.All())); n != 1 {
		t.Error(n)
	}
}

// A dual-stack holder is written Pending, then Bound, and a crash between two
// writes is finished, or undone where it cannot be.
func TestHalves(t *testing.T) {
	pools := []Pool{poolOf("a", "10.0.0.0/30", "fd00::5")}
	r := newRig(t, pools...)
	c := svc("x", dual(Require))
	d := r.b.Decide(r.now, c)
	var states []bool
	var ledger []Entry
	for _, a := range d.Touched {
		e, _ := r.b.Entry(a)
		states = append(states, e.Holders[0].Bound)
		ledger = append(ledger, e)
		r.b.Load(e)
	}
	if !slices.Equal(states, []bool{false, true, true}) {
		t.Fatal(d.Touched, states)
	}
	crashed := newRig(t, pools...)
	crashed.b.Load(ledger[0])
	crashed.want(c, "", "10.0.0.0", "fd00::5")
	crashed = newRig(t, pools...)
	crashed.b.Load(ledger[0])
	crashed.want(svc("y", at("fd00::5"), func(c *Claim) { c.Families = []Family{IPv6} }), "", "fd00::5")
	d = crashed.want(c, PoolExhausted)
	if len(d.Leaving) != 1 || crashed.b.Held(c.Key) != nil {
		t.Fatalf("undone: %+v", d)
	}
}
