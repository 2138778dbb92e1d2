package l2

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/net/bpf"
	"pgregory.net/rapid"
)

func vm(t testing.TB, p []bpf.Instruction) *bpf.VM {
	t.Helper()
	if _, err := bpf.Assemble(p); err != nil {
		t.Fatalf("the program cannot be assembled: %v", err)
	}
	v, err := bpf.NewVM(p)
	if err != nil {
		t.Fatalf("the program is not valid: %v", err)
	}
	return v
}

func takes(t testing.TB, v *bpf.VM, frame []byte) bool {
	t.Helper()
	n, err := v.Run(frame)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

func ip4(k uint32) netip.Addr {
	return netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, k)))
}

func ip6(k uint32) netip.Addr {
	b := addr6.As16()
	binary.BigEndian.PutUint32(b[12:], k)
	return netip.AddrFrom16(b)
}

// keysGen makes dense and sparse sets, also at both ends of the number space.
func keysGen() *rapid.Generator[[]uint32] {
	near := rapid.Uint32Range(0, 400)
	k := rapid.OneOf(near, rapid.Map(near, func(n uint32) uint32 { return ^n }), rapid.Uint32())
	return rapid.SliceOfN(k, 1, 300)
}

// The kernel's program lets through exactly what the cover holds, and the cover holds every address.
func TestFilterMatchesCover(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		keys := keysGen().Draw(rt, "keys")
		var grown cover
		for _, k := range keys {
			grown = grown.add(k)
		}
		tight := coverOf(slices.Clone(keys))
		for name, c := range map[string]cover{"grown": grown, "tight": tight} {
			if len(c) > maxRanges {
				rt.Fatalf("%s: %d ranges", name, len(c))
			}
			for i := range c {
				if c[i].lo > c[i].hi || i > 0 && c[i].lo <= c[i-1].hi {
					rt.Fatalf("%s: the ranges are not in order: %v", name, c)
				}
			}
			arp, ndp := vm(t, arpFilter(c)), vm(t, ndpFilter(c))
			probes := slices.Concat(keys, rapid.SliceOfN(rapid.Uint32(), 5, 5).Draw(rt, "others"))
			for _, k := range keys {
				if !c.contains(k) {
					rt.Fatalf("%s: %d is not covered", name, k)
				}
				probes = append(probes, k-1, k+1)
			}
			for _, k := range probes {
				want := c.contains(k)
				if got := takes(t, arp, request4(netip.IPv4Unspecified(), ip4(k), peer, broadcast)); got != want && k != 0 && !c.contains(0) {
					rt.Fatalf("%s: ARP for %s: %v, want %v", name, ip4(k), got, want)
				}
				if got := takes(t, ndp, solicit(t, peer6, ip6(k), peer)); got != want {
					rt.Fatalf("%s: NDP for %s: %v, want %v", name, ip6(k), got, want)
				}
			}
		}
	})
}

func TestFilterIsExactWhileThereIsRoom(t *testing.T) {
	var keys []uint32
	for i := range uint32(maxRanges) {
		keys = append(keys, 10<<24+4*i, 10<<24+4*i+1)
	}
	c := coverOf(slices.Clone(keys))
	for k := range uint32(4*maxRanges + 10) {
		if got, want := c.contains(10<<24+k), slices.Contains(keys, 10<<24+k); got != want {
			t.Errorf("%d: contained %v, want %v", k, got, want)
		}
	}
}

// Too many ranges for a filter: the ones that lie close together are merged, far ones stay apart.
func TestCoverKeepsLargeGaps(t *testing.T) {
	var keys []uint32
	for i := range uint32(1000) {
		keys = append(keys, 10<<24+2*i, 172<<24+2*i)
	}
	for name, c := range map[string]cover{"tight": coverOf(slices.Clone(keys)), "grown": func() (c cover) {
		for _, k := range keys {
			c = c.add(k)
		}
		return c
	}()} {
		for _, k := range []uint32{9 << 24, 10<<24 + 5000, 100 << 24, 172<<24 - 1, 172<<24 + 5000} {
			if c.contains(k) {
				t.Errorf("%s: lets %s through", name, ip4(k))
			}
		}
	}
}

func TestFilterKinds(t *testing.T) {
	c := cover{}.add(key4(addr4.As4()))
	arp := vm(t, arpFilter(c))
	c6 := cover{}.add(key6(addr6.As16()))
	ndpVM := vm(t, ndpFilter(c6))
	reply := putARP(make([]byte, arpFrameLen), arpReply, me, peer, peer, peer4.As4(), me, addr4.As4())
	rival := putARP(make([]byte, arpFrameLen), arpReply, me, peer, peer, addr4.As4(), me, peer4.As4())
	other := request4(peer4, peer4, peer, broadcast)
	strange := request4(peer4, addr4, peer, broadcast)
	strange[ethLen+1] = 6 // not Ethernet
	data := ndpBytes(t, nsMessage(), peer6, addr6, peer, me)
	data[ethLen+6] = 17
	hops := ndpBytes(t, nsMessage(), peer6, addr6, peer, me)
	hops[ethLen+7] = 64
	for name, f := range map[string]struct {
		v     *bpf.VM
		frame []byte
		want  bool
	}{
		"request":                   {arp, request4(peer4, addr4, peer, broadcast), true},
		"a reply to us":             {arp, reply, false},
		"a rival's reply":           {arp, rival, true},
		"a rival's request":         {arp, request4(addr4, peer4, peer, broadcast), true},
		"foreign broadcast":         {arp, other, false},
		"other hardware":            {arp, strange, false},
		"cut short":                 {arp, reply[:20], false},
		"IPv6 on the ARP socket":    {arp, data, false},
		"solicitation":              {ndpVM, solicit(t, peer6, addr6, peer), true},
		"solicitation for others":   {ndpVM, solicit(t, peer6, peer6, peer), false},
		"data":                      {ndpVM, data, false},
		"from beyond the link":      {ndpVM, hops, false},
		"ARP on the NDP socket":     {ndpVM, request4(peer4, addr4, peer, broadcast), false},
		"nothing while unannounced": {vm(t, arpFilter(nil)), request4(peer4, addr4, peer, broadcast), false},
	} {
		if got := takes(t, f.v, f.frame); got != f.want {
			t.Errorf("%s: taken %v, want %v", name, got, f.want)
		}
	}
}

// An old kernel gives a socket 20 KiB, and one instruction of ours may become two of its own of 8 bytes each.
func TestFilterFitsOldKernels(t *testing.T) {
	var c cover
	for i := range uint32(10 * maxRanges) {
		c = c.add(i * 1000)
	}
	if n := len(arpFilter(c)) + len(addressed(packetBroadcast)); n*16 > 20<<10 {
		t.Errorf("%d instructions do not fit", n)
	}
}

func BenchmarkCoverAdd(b *testing.B) {
	for _, n := range []uint32{100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var c cover
			for i := range n {
				c = c.add(i * 2654435761)
			}
			var k uint32
			for b.Loop() {
				k += 40503
				c = c.add(k)
			}
		})
	}
}

// A cover that is widened holds what it held and what was added; while there is room for all ranges, nothing else.
func TestCoverWiden(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var c cover
		held := map[uint32]bool{}
		for range rapid.IntRange(1, 20).Draw(rt, "n") {
			base := rapid.SampledFrom([]uint32{0, 1 << 31, ^uint32(399)}).Draw(rt, "base")
			from := rapid.Uint32Range(0, 399).Draw(rt, "lo")
			lo, hi := base+from, base+min(from+rapid.Uint32Range(0, 70).Draw(rt, "width"), 399)
			c = c.widen(lo, hi)
			for k := uint64(lo); k <= uint64(hi); k++ {
				held[uint32(k)] = true
			}
		}
		var keys []uint32
		for k := range held {
			keys = append(keys, k)
		}
		if want := coverOf(keys); !slices.Equal(c, want) {
			rt.Fatalf("the cover is %v, want %v", c, want)
		}
	})
}

// While many addresses come the kernel gets few filters, and afterwards an exact one. A single address gets an exact one at once.
func TestFilterWhileGrowing(t *testing.T) {
	r, _ := newResponder(false)
	p := &port{resp: r, arp: &socket{}}
	filters := 0
	put := func(n uint32) {
		a := netip.AddrFrom4([4]byte{10, 0, byte(n >> 8), byte(n)})
		if err := p.put(a, answer{}); err != nil {
			t.Fatal(err)
		}
		if !p.filter4.cover.contains(key4(a.As4())) {
			t.Fatalf("%s is not let through", a)
		}
		if p.filter4.stale {
			p.filter4.stale, filters = false, filters+1
		}
	}
	put(100)
	if got := p.filter4.cover; len(got) != 1 || got[0].lo != got[0].hi {
		t.Errorf("one address lets through %v", got)
	}
	for n := range uint32(1000) {
		put(3 * n) // others announce those in between
	}
	if most := 1 + 3*1000/neighbours + 2; filters > most {
		t.Errorf("%d filters for 1001 addresses, want at most %d", filters, most)
	}
	p.tighten()
	if want := coverOf(p.resp.arp.keys(key4)); !slices.Equal(p.filter4.cover, want) || p.filter4.settling() {
		t.Errorf("after a while %d ranges are let through, settling %v; want %d ranges", len(p.filter4.cover), p.filter4.settling(), len(want))
	}
}
