package allocator

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	giver = Key{"Service", "a", "giver"}
	taker = Key{"Gateway", "a", "taker"}
)

func takingClaim(addresses ...string) Claim {
	c := Claim{Key: taker, Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}}, Takeover: &Takeover{From: giver, FromUID: "g", Phase: "Requested"}}
	for _, a := range addresses {
		c.Addresses = append(c.Addresses, Wish[netip.Addr]{netip.MustParseAddr(a), "annotation"})
	}
	return c
}

// write brings the ledger in line with everything that the books want, as a
// controller does.
func write(b *Books) {
	for n := 0; len(b.Unwritten()) > 0 && n < 10; n++ {
		for _, a := range b.Unwritten() {
			if e, ok := b.Entry(a); ok {
				b.Load(e)
			} else {
				b.Unload(a)
			}
		}
	}
}

func takeoverBooks(t *testing.T) (*Books, time.Time) {
	t.Helper()
	b, now := New(), time.Unix(1000, 0).UTC()
	b.SetPools([]Pool{{Name: "p", AutoAssign: true, Ranges: []Range{{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.9")}}}})
	b.Decide(now, Claim{Key: giver, UID: "g", Families: []Family{IPv4}, Ports: []Port{{"TCP", 80}}})
	write(b)
	return b, now
}

func holdersOf(b *Books, a string) string {
	e, _ := b.Entry(netip.MustParseAddr(a))
	out := ""
	for _, h := range e.Holders {
		out += h.Key.Name
		if h.Takeover != nil {
			out += ":" + h.Takeover.Phase
		}
		out += " "
	}
	return out
}

func TestTakeoverJoinsAdvancesAndEnds(t *testing.T) {
	b, now := takeoverBooks(t)
	without := takingClaim("10.0.0.1")
	without.Takeover = nil
	if d := b.Decide(now, without); d.Refusal == nil || d.Refusal.Reason != AddressTaken {
		t.Fatalf("without a takeover: %+v", d)
	}
	d := b.Decide(now, takingClaim("10.0.0.1"))
	if d.Refusal != nil || len(d.Addresses) != 1 {
		t.Fatalf("refused: %v", d.Refusal)
	}
	write(b)
	if got := holdersOf(b, "10.0.0.1"); got != "giver taker:Requested " {
		t.Fatal(got)
	}
	b.Advance(now.Add(time.Second), taker, "Shared")
	b.Decide(now, takingClaim("10.0.0.1")) // its claim moves nothing
	if got := holdersOf(b, "10.0.0.1"); got != "giver taker:Shared " {
		t.Fatal(got)
	}
	if got := b.TakenBy(taker); got.From != giver || got.Done() || got.Since != now.Add(time.Second) {
		t.Fatalf("%+v", got)
	}
	if d := b.HandOver(now, taker); !slices.Contains(d.Wake, giver) || !slices.Contains(d.Wake, taker) {
		t.Fatalf("nobody is told: %+v", d)
	}
	write(b)
	if got := holdersOf(b, "10.0.0.1"); got != "taker:Done " {
		t.Fatal(got)
	}
	if d := b.Decide(now, Claim{Key: giver, UID: "g", Families: []Family{IPv4}, Addresses: []Wish[netip.Addr]{{netip.MustParseAddr("10.0.0.1"), "spec"}}}); d.Refusal == nil || d.Refusal.Reason != AddressTaken {
		t.Fatalf("the giver comes back: %+v", d)
	}
	if got := b.TakenFrom(giver); got == nil || got.Taker != taker || !got.Done() || len(got.Addresses) != 1 {
		t.Fatalf("%+v", got)
	}
	if d := b.Release(now, taker); !slices.Contains(d.Wake, giver) {
		t.Fatalf("the giver is not told that it may ask again: %+v", d)
	}
	if got := b.TakenFrom(giver); got != nil {
		t.Fatalf("still known after the taker's end: %+v", got)
	}
}

func TestTakeoverWithdrawn(t *testing.T) {
	b, now := takeoverBooks(t)
	b.Decide(now, Claim{Key: taker, Families: []Family{IPv4}}) // has one of its own
	d := b.Decide(now, takingClaim("10.0.0.1"))
	if len(d.Leaving) != 1 || d.Leaving[0].String() != "10.0.0.2" {
		t.Fatalf("%+v", d)
	}
	write(b)
	b.Withdraw(now, taker)
	write(b)
	if got := holdersOf(b, "10.0.0.1"); got != "giver " {
		t.Fatal(got)
	}
	if d := b.Decide(now, Claim{Key: taker, Families: []Family{IPv4}}); addressesOf(d)[0].String() != "10.0.0.2" || len(d.Leaving) != 0 {
		t.Fatalf("it has not what it had before: %+v", d)
	}
}

func TestTakeoverEndsWithItsSides(t *testing.T) {
	t.Run("giver", func(t *testing.T) {
		b, now := takeoverBooks(t)
		b.Decide(now, takingClaim("10.0.0.1"))
		write(b)
		if d := b.Release(now, giver); !slices.Contains(d.Wake, taker) {
			t.Error("the taker is not told")
		}
		if got := holdersOf(b, "10.0.0.1"); got != "taker:Done " {
			t.Error(got)
		}
	})
	t.Run("taker", func(t *testing.T) {
		b, now := takeoverBooks(t)
		b.Decide(now, takingClaim("10.0.0.1"))
		write(b)
		if d := b.Release(now, taker); !slices.Contains(d.Wake, giver) {
			t.Error("the giver is not told")
		}
		if got := holdersOf(b, "10.0.0.1"); got != "giver " {
			t.Error(got)
		}
	})
	t.Run("giver, by a foreign hand", func(t *testing.T) {
		b, now := takeoverBooks(t)
		b.Decide(now, takingClaim("10.0.0.1"))
		write(b)
		e, _ := b.Entry(netip.MustParseAddr("10.0.0.1"))
		e.Holders = slices.Clone(e.Holders[1:])
		b.Load(e)
		if got := holdersOf(b, "10.0.0.1"); got != "taker:Done " {
			t.Error(got)
		}
	})
}

func TestTakeoverIsNoWayPastOthers(t *testing.T) {
	b, now := takeoverBooks(t)
	a := netip.MustParseAddr("10.0.0.1")
	share := func(name string, port uint16) Claim {
		return Claim{Key: Key{"Service", "a", name}, Families: []Family{IPv4}, SharingKey: Wish[string]{"k", ""}, Ports: []Port{{"TCP", port}}, Addresses: []Wish[netip.Addr]{{a, ""}}}
	}
	b.Decide(now, share("giver", 80))
	b.Decide(now, share("second", 81))
	write(b)
	if d := b.Decide(now, takingClaim("10.0.0.1")); d.Refusal == nil || d.Refusal.Reason != AddressTaken || d.Refusal.Holder.Name != "second" {
		t.Fatalf("past one who shares: %+v", d)
	}
	c := takingClaim("10.0.0.1")
	c.SharingKey = Wish[string]{"k", ""}
	if d := b.Decide(now, c); d.Refusal != nil {
		t.Fatalf("with the key: %v", d.Refusal)
	}
	other := takingClaim("10.0.0.1")
	other.Key, other.Takeover = Key{"Gateway", "a", "third"}, &Takeover{From: Key{"Service", "a", "second"}, Phase: "Requested"}
	if d := b.Decide(now, other); d.Refusal == nil {
		t.Fatalf("a second takeover of one address: %+v", d)
	}
}

// Holders that share an address give it together: it is the taker's alone when none of
// them has it, and until then all of them are holders.
func TestTakeoverFromAGroup(t *testing.T) {
	a := netip.MustParseAddr("10.0.0.1")
	second := Key{"Service", "a", "second"}
	group := func(t *testing.T, also ...Giver) (*Books, time.Time, Decision) {
		b, now := takeoverBooks(t)
		for i, k := range []Key{giver, second} {
			c := Claim{Key: k, UID: k.Name, Families: []Family{IPv4}, SharingKey: Wish[string]{"k", ""}, Ports: []Port{{"TCP", uint16(80 + i)}}, Addresses: []Wish[netip.Addr]{{a, ""}}}
			if d := b.Decide(now, c); d.Refusal != nil {
				t.Fatal(d.Refusal)
			}
		}
		write(b)
		c := takingClaim("10.0.0.1")
		c.Ports, c.Takeover.Also = []Port{{"TCP", 80}, {"TCP", 81}}, also
		d := b.Decide(now, c)
		write(b)
		return b, now, d
	}
	both := Giver{second, "second"}
	for _, tt := range []struct {
		name string
		also []Giver
		do   func(*Books, time.Time)
		want string
	}{
		{"one of them does not give", nil, func(*Books, time.Time) {}, "giver second "},
		{"all give", []Giver{both}, func(*Books, time.Time) {}, "giver second taker:Requested "},
		{"it goes on", []Giver{both}, func(b *Books, now time.Time) { b.Advance(now, taker, "Shared") }, "giver second taker:Shared "},
		{"it is withdrawn", []Giver{both}, func(b *Books, now time.Time) { b.Withdraw(now, taker) }, "giver second "},
		{"it is done", []Giver{both}, func(b *Books, now time.Time) { b.HandOver(now, taker) }, "taker:Done "},
		{"the first goes", []Giver{both}, func(b *Books, now time.Time) { b.Release(now, giver) }, "second taker:Requested "},
		{"both go", []Giver{both}, func(b *Books, now time.Time) { b.Release(now, giver); b.Release(now, second) }, "taker:Done "},
		{"the first goes, and it is done", []Giver{both}, func(b *Books, now time.Time) { b.Release(now, giver); b.HandOver(now, taker) }, "taker:Done "},
		{"the first goes, and it is withdrawn", []Giver{both}, func(b *Books, now time.Time) { b.Release(now, giver); b.Withdraw(now, taker) }, "second "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b, now, d := group(t, tt.also...)
			if refused := d.Refusal != nil; refused != (tt.also == nil) {
				t.Fatalf("refused: %v", d.Refusal)
			}
			tt.do(b, now)
			write(b)
			if got := holdersOf(b, "10.0.0.1"); got != tt.want {
				t.Errorf("it is held by %q, want %q", got, tt.want)
			}
			taking := strings.Contains(tt.want, "taker")
			for _, k := range []Key{giver, second} {
				if got := b.TakenFrom(k); (got != nil) != taking || taking && (got.Taker != taker || !slices.Equal(got.Addresses, []netip.Addr{a})) {
					t.Errorf("of %s is known %+v", k, got)
				}
			}
		})
	}
}

// Several take an address over together if they may share it, and it is done for all at once.
func TestTakeoverBySeveral(t *testing.T) {
	b, now := takeoverBooks(t)
	second := Key{"Service", "a", "second"}
	claim := func(k Key, sharing string, port uint16) Claim {
		c := takingClaim("10.0.0.1")
		c.Key, c.UID, c.SharingKey, c.Ports = k, k.Name, Wish[string]{sharing, ""}, []Port{{"TCP", port}}
		return c
	}
	if d := b.Decide(now, claim(taker, "k", 80)); d.Refusal != nil {
		t.Fatal(d.Refusal)
	}
	for name, c := range map[string]Claim{"another sharing key": claim(second, "l", 81), "the same port": claim(second, "k", 80)} {
		if d := b.Decide(now, c); d.Refusal == nil {
			t.Errorf("with %s it takes over beside the other", name)
		}
	}
	if d := b.Decide(now, claim(second, "k", 81)); d.Refusal != nil {
		t.Fatal(d.Refusal)
	}
	write(b)
	if d := b.Advance(now, taker, "Shared"); !slices.Contains(d.Wake, second) || !slices.Contains(d.Wake, giver) {
		t.Errorf("it wakes %v", d.Wake)
	}
	write(b)
	var phases []string
	for _, taking := range b.TakingsFrom(giver) {
		phases = append(phases, taking.Taker.Name+":"+taking.Phase)
	}
	slices.Sort(phases)
	if got := strings.Join(phases, " "); got != "second:Requested taker:Shared" {
		t.Errorf("of the giver is known %q", got)
	}
	b.HandOver(now, taker)
	write(b)
	if got := holdersOf(b, "10.0.0.1"); got != "second:Done taker:Done " && got != "taker:Done second:Done " {
		t.Errorf("it is held by %q", got)
	}
}

// TestTakeoverWorld runs long random histories of takeovers, with restarts: never
// two holders without sharing or takeover, and books that agree with themselves.
func TestTakeoverWorld(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1000, 0).UTC()
		pools := []Pool{{Name: "p", AutoAssign: true, Ranges: []Range{
			{everyAddress()[0], everyAddress()[3]}, {everyAddress()[24], everyAddress()[27]},
		}}}
		b := New()
		b.SetPools(pools)
		key := func() Key {
			return Key{rapid.SampledFrom([]string{"Service", "Gateway"}).Draw(t, "kind"), "a", rapid.SampledFrom([]string{"1", "2", "3"}).Draw(t, "name")}
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkTakeovers(t, b) },
			"claim": func(t *rapid.T) {
				c := genClaim(t, key())
				if rapid.Bool().Draw(t, "takes over") {
					c.Takeover = &Takeover{From: key(), Phase: "Requested", Since: now}
					if also := key(); also != c.Takeover.From && also != c.Key && rapid.Bool().Draw(t, "and another") {
						c.Takeover.Also = []Giver{{Key: also}}
					}
					for _, a := range b.Held(c.Takeover.From) {
						c.Addresses = append(c.Addresses, Wish[netip.Addr]{a, "takeover"})
					}
				}
				if c.Takeover == nil || c.Takeover.From != c.Key {
					b.Decide(now, c)
				}
			},
			"advance": func(t *rapid.T) {
				b.Advance(now, key(), rapid.SampledFrom([]string{"Prepared", "Shared", "Returning"}).Draw(t, "phase"))
			},
			"withdraw":  func(*rapid.T) { b.Withdraw(now, key()) },
			"hand over": func(*rapid.T) { b.HandOver(now, key()) },
			"release":   func(*rapid.T) { b.Release(now, key()) },
			"write":     func(*rapid.T) { write(b) },
			"time":      func(*rapid.T) { now = now.Add(time.Second) },
			"restart": func(*rapid.T) {
				write(b)
				entries := slices.Collect(b.All())
				b = New()
				b.SetPools(pools)
				for _, e := range entries {
					b.Load(e)
				}
			},
		})
	})
}

func checkTakeovers(t *rapid.T, b *Books) {
	taken := map[Key][]netip.Addr{}
	for e := range b.All() {
		for i := range e.Holders {
			h := &e.Holders[i]
			if h.Takeover != nil {
				some := false
				for _, from := range h.Takeover.Keys() {
					if !slices.Contains(taken[from], e.Address) {
						taken[from] = append(taken[from], e.Address)
					}
					some = some || find(e.Holders, from) != nil
				}
				if !some && h.Takeover.Phase != TakeoverDone {
					t.Fatalf("under way, from nobody: %+v", e)
				}
			}
			for j := range e.Holders[:i] {
				o := &e.Holders[j]
				_, clash := commonPort(h.Ports, o.Ports)
				if !paired(h, o) && (h.SharingKey == "" || h.SharingKey != o.SharingKey || clash) {
					t.Fatalf("two holders without sharing or takeover: %+v", e)
				}
			}
		}
	}
	if fmt.Sprint(taken) != fmt.Sprint(b.taken) {
		t.Fatalf("taken %v, want %v", b.taken, taken)
	}
	checkBooks(t, b)
}
