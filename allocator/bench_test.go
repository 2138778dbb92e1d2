package allocator

import (
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

var benchNow = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

func rangeOf(cidr string) Range {
	p := netip.MustParsePrefix(cidr).Masked()
	last := p.Addr()
	n := numberOf(last)
	hostBits := last.BitLen() - p.Bits()
	switch {
	case hostBits >= 64:
		n.lo = ^uint64(0)
		if hostBits > 64 {
			n.hi |= 1<<(hostBits-64) - 1
		}
	default:
		n.lo |= 1<<hostBits - 1
	}
	return Range{p.Addr(), n.addr(FamilyOf(last))}
}

func benchClaims(n int, f Family) []Claim {
	out := make([]Claim, n)
	for i := range out {
		out[i] = Claim{
			Key: Key{"Service", "ns", fmt.Sprintf("svc-%d", i)}, UID: fmt.Sprintf("uid-%d", i),
			Families: []Family{f}, Ports: []Port{{"TCP", 80}},
		}
	}
	return out
}

// BenchmarkOneByOne gives 20,000 addresses from an empty /16.
func BenchmarkOneByOne(b *testing.B) {
	claims := benchClaims(20000, IPv4)
	pools := []Pool{{Name: "p", Ranges: []Range{rangeOf("10.0.0.0/16")}, AutoAssign: true}}
	for b.Loop() {
		books := New()
		books.SetPools(pools)
		for i := range claims {
			if d := books.Decide(benchNow, claims[i]); !d.Bound {
				b.Fatal(d.Refusal)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/20000, "ns/address")
}

// fill gives out n addresses and returns the books.
func fillBooks(b *testing.B, cidr string, n int, f Family) (*Books, []Claim) {
	b.Helper()
	books := New()
	books.SetPools([]Pool{{Name: "p", Ranges: []Range{rangeOf(cidr)}, AutoAssign: true}})
	claims := benchClaims(n, f)
	for i := range claims {
		if d := books.Decide(benchNow, claims[i]); !d.Bound {
			b.Fatal(d.Refusal)
		}
	}
	return books, claims
}

// BenchmarkFullness gives and takes addresses of a /16 while it is nearly empty
// and nearly full.
func BenchmarkFullness(b *testing.B) {
	for name, held := range map[string]int{"first1%": 0, "last1%": 65536 - 655} {
		b.Run(name, func(b *testing.B) {
			books, _ := fillBooks(b, "10.0.0.0/16", held, IPv4)
			more := benchClaims(held+655, IPv4)[held:]
			b.ResetTimer()
			for range b.N {
				for i := range more {
					if d := books.Decide(benchNow, more[i]); !d.Bound {
						b.Fatal(d.Refusal)
					}
				}
				b.StopTimer()
				for i := range more {
					books.Release(benchNow, more[i].Key)
				}
				b.StartTimer()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/655, "ns/address")
		})
	}
}

// BenchmarkExhausted refuses, automatically and explicitly, on a full /16.
func BenchmarkExhausted(b *testing.B) {
	books, _ := fillBooks(b, "10.0.0.0/16", 65536, IPv4)
	b.Run("automatic", func(b *testing.B) {
		c := Claim{Key: Key{"Service", "ns", "late"}, Families: []Family{IPv4}}
		for b.Loop() {
			if d := books.Decide(benchNow, c); d.Refusal.Reason != PoolExhausted {
				b.Fatal(d)
			}
		}
	})
	b.Run("taken", func(b *testing.B) {
		c := Claim{
			Key: Key{"Service", "ns", "late2"}, Families: []Family{IPv4},
			Addresses: []Wish[netip.Addr]{{netip.MustParseAddr("10.0.77.77"), "test"}},
		}
		for b.Loop() {
			if d := books.Decide(benchNow, c); d.Refusal.Reason != AddressTaken {
				b.Fatal(d)
			}
		}
	})
}

// BenchmarkIPv6 gives a million addresses of a /64.
func BenchmarkIPv6(b *testing.B) {
	claims := benchClaims(1_000_000, IPv6)
	for b.Loop() {
		books := New()
		books.SetPools([]Pool{{Name: "p", Ranges: []Range{rangeOf("fd00::/64")}, AutoAssign: true}})
		for i := range claims {
			books.Decide(benchNow, claims[i])
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e6, "ns/address")
}

// BenchmarkManyPools gives an address where 999 pools of 1000 are full.
func BenchmarkManyPools(b *testing.B) {
	books := New()
	var pools []Pool
	for i := range 1000 {
		pools = append(pools, Pool{
			Name: fmt.Sprintf("p%04d", i), AutoAssign: true,
			Ranges: []Range{rangeOf(fmt.Sprintf("10.%d.%d.0/28", i/256, i%256))},
		})
	}
	books.SetPools(pools)
	for _, c := range benchClaims(999*16, IPv4) {
		books.Decide(benchNow, c)
	}
	c := Claim{Key: Key{"Service", "ns", "late"}, Families: []Family{IPv4}}
	for b.Loop() {
		if d := books.Decide(benchNow, c); !d.Bound {
			b.Fatal(d)
		}
		books.Release(benchNow, c.Key)
	}
}

// BenchmarkExplicit gives 100,000 requested addresses, spread over a /8.
func BenchmarkExplicit(b *testing.B) {
	claims := benchClaims(100_000, IPv4)
	for i := range claims {
		n := number{lo: 10<<24 + uint64(i)*7919%(1<<24)}
		claims[i].Addresses = []Wish[netip.Addr]{{n.addr(IPv4), "test"}}
	}
	for b.Loop() {
		books := New()
		books.SetPools([]Pool{{Name: "p", Ranges: []Range{rangeOf("10.0.0.0/8")}}})
		for i := range claims {
			if d := books.Decide(benchNow, claims[i]); !d.Bound {
				b.Fatal(d.Refusal)
			}
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/1e5, "ns/address")
}

// BenchmarkRebuild loads books of 100,000 addresses and decides for all holders.
func BenchmarkRebuild(b *testing.B) {
	books, claims := fillBooks(b, "10.0.0.0/8", 100_000, IPv4)
	var ledger []Entry
	for e := range books.All() {
		ledger = append(ledger, e)
	}
	pools := books.given
	b.ResetTimer()
	for b.Loop() {
		again := New()
		again.SetPools(pools)
		for _, e := range ledger {
			again.Load(e)
		}
		b.ReportMetric(0, "writes")
		for i := range claims {
			if d := again.Decide(benchNow, claims[i]); len(d.Touched) > 0 {
				b.Fatal(d)
			}
		}
	}
}

// BenchmarkMemory reports the bytes that the books keep for an address, beside
// what the claims and their strings take themselves.
func BenchmarkMemory(b *testing.B) {
	const n = 100_000
	claims := benchClaims(n, IPv4)
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		books := New()
		books.SetPools([]Pool{{Name: "p", Ranges: []Range{rangeOf("10.0.0.0/8")}, AutoAssign: true}})
		for i := range claims {
			books.Decide(benchNow, claims[i])
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/address")
		runtime.KeepAlive(books)
	}
}
