package bgp

import (
	"errors"
	"fmt"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/community"
)

// Two well-known communities (RFC 1997).
const (
	noExport    community.Standard = 0xFFFFFF01
	noAdvertise community.Standard = 0xFFFFFF02
)

// sinks are peers that take routes, and the values to reach them.
func sinks(t testing.TB, n int) ([]*sink, []Peer, []string) {
	all, peers, names := make([]*sink, n), make([]Peer, n), make([]string, n)
	for i := range n {
		all[i] = newSink(t, "127.0.0.1")
		names[i] = fmt.Sprintf("tor%d", i)
		peers[i] = all[i].peer(func(p *Peer) { p.Name = names[i] })
	}
	return all, peers, names
}

// TestOneChangedAddress counts what goes out: one changed address among 5000 is one UPDATE to each of the peers that have it,
// and a repeated wish is nothing.
func TestOneChangedAddress(t *testing.T) {
	const count, peerCount = 5000, 10
	all, peers, names := sinks(t, peerCount)
	s := newSpeaker(t, Config{})
	list := routes(prefixes(count), Attributes{Communities: []community.Standard{noExport}}, names...)
	for i := range peers {
		peers[i].Hold = true // all routes are there before the first session
	}
	s.sync(peers, list)
	for _, name := range names {
		s.Up(name)
	}
	s.awaitUp(names...)
	expect := func(what string, updates, reach, gone func(i int) int64) {
		t.Helper()
		eventually(t, what, func() bool {
			for i, k := range all {
				if k.updates.Load() < updates(i) || k.reach.Load() < reach(i) || k.gone.Load() < gone(i) || k.eor.Load() < 1 {
					return false
				}
			}
			return true
		})
		if err := s.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, k := range all {
			if u, r, g := k.updates.Load(), k.reach.Load(), k.gone.Load(); u != updates(i) || r != reach(i) || g != gone(i) {
				t.Fatalf("%s: peer %d got %d UPDATEs with %d prefixes and %d withdrawals, want %d, %d, %d", what, i, u, r, g, updates(i), reach(i), gone(i))
			}
		}
	}
	n := func(v int64) func(int) int64 { return func(int) int64 { return v } }
	// Five batches of 1000 prefixes, each of them more than one message holds, and the end of all routes.
	first := int64(2*count/batchSize + 1)
	expect("all routes", n(first), n(count), n(0))

	s.sync(peers, list)
	some := map[string]Attributes{}
	for _, name := range names[:4] {
		some[name] = Attributes{Communities: []community.Standard{noExport}}
	}
	for _, name := range names[4:7] {
		some[name] = Attributes{Communities: []community.Standard{noAdvertise}}
	}
	list[77].Peers = some
	s.sync(peers, list)
	touched := func(i int) int64 {
		if i < 4 {
			return 0
		}
		return 1
	}
	expect("one changed address",
		func(i int) int64 { return first + touched(i) },
		func(i int) int64 {
			if i >= 4 && i < 7 {
				return count + 1
			}
			return count
		},
		func(i int) int64 {
			if i >= 7 {
				return 1
			}
			return 0
		})
	for i, name := range names {
		if v := s.session(name); v.UpdatesSent != uint64(first-1+touched(i)) {
			t.Errorf("%s: %d UPDATEs counted", name, v.UpdatesSent)
		}
	}
	if err := s.Set(list[78].Prefix, map[string]Attributes{names[0]: {}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "one address set by itself", func() bool {
		return all[0].reach.Load() == count+1 && all[9].gone.Load() == 2 && all[5].gone.Load() == 1
	})
	if v := s.session(names[9]); v.RoutesSent != count-2 {
		t.Errorf("%d routes sent", v.RoutesSent)
	}
}

// BenchmarkOneRoute changes one of 5000 routes to 10 peers and waits until all connections have taken it.
func BenchmarkOneRoute(b *testing.B) {
	_, peers, names := sinks(b, 10)
	s := newSpeaker(b, Config{})
	list := routes(prefixes(5000), Attributes{}, names...)
	s.sync(peers, list)
	s.awaitUp(names...)
	if err := s.Flush(b.Context()); err != nil {
		b.Fatal(err)
	}
	other := map[string]Attributes{}
	for _, n := range names {
		other[n] = Attributes{Communities: []community.Standard{noExport}}
	}
	usual := list[0].Peers
	b.ResetTimer()
	for i := range b.N {
		list[2500].Peers = usual
		if i%2 == 0 {
			list[2500].Peers = other
		}
		if err := errors.Join(s.Set(list[2500].Prefix, list[2500].Peers), s.Flush(b.Context())); err != nil {
			b.Fatal(err)
		}
	}
}

func unreached(n int) ([]Peer, []route) {
	var peers []Peer
	var names []string
	for i := range n {
		names = append(names, fmt.Sprintf("tor%d", i))
		peers = append(peers, Peer{Name: names[i], MyASN: 1, PeerASN: 2, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i + 2)}), ConnectTime: time.Hour})
	}
	return peers, routes(prefixes(5000), Attributes{Communities: []community.Standard{noExport}}, names...)
}

// BenchmarkMemory is what an Engine holds for 5000 routes, all of them sent.
func BenchmarkMemory(b *testing.B) {
	for _, n := range []int{1, 3, 10} {
		b.Run(fmt.Sprintf("peers=%d", n), func(b *testing.B) {
			peers, list := unreached(n)
			var held uint64
			for range b.N {
				before := heap()
				e := New(Config{RouterID: netip.MustParseAddr("192.0.2.1")})
				if err := e.SetPeers(peers); err != nil {
					b.Fatal(err)
				}
				for _, r := range list {
					if err := e.Set(r.Prefix, r.Peers); err != nil {
						b.Fatal(err)
					}
				}
				for _, p := range e.peers {
					p.session.rib.connected(IPv4)
					for len(p.session.rib.queue) > 0 {
						p.session.rib.next(batchSize)
					}
				}
				held = heap() - before
				runtime.KeepAlive(e)
			}
			b.ReportMetric(float64(held)/1024, "KiB")
			b.ReportMetric(float64(held)/float64(n*5000), "B/route")
		})
	}
}

// BenchmarkReceived is what is held for prefixes that a peer has sent, in order to count them.
func BenchmarkReceived(b *testing.B) {
	for _, n := range []int{10_000, 100_000, 1_000_000} {
		b.Run(fmt.Sprintf("prefixes=%d", n), func(b *testing.B) {
			var held uint64
			for range b.N {
				before := heap()
				t := newTally()
				for i := range n {
					// Nothing is withdrawn, there are no attributes, and the prefix is one of 32 bits.
					update := [...]byte{0, 0, 0, 0, 32, 10, byte(i >> 16), byte(i >> 8), byte(i)}
					if err := t.update(update[:], n); err != nil {
						b.Fatal(err.words)
					}
				}
				held = heap() - before
				runtime.KeepAlive(t)
			}
			b.ReportMetric(float64(held)/1024, "KiB")
			b.ReportMetric(float64(held)/float64(n), "B/prefix")
		})
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
