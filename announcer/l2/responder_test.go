package l2

import (
	"encoding/binary"
	"net/netip"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/mdlayher/ndp"
)

// newResponder is a responder for addr4 and addr6 that records rivals.
func newResponder(silent bool) (*responder, *[]rival) {
	var seen []rival
	r := &responder{
		hw: me, linkLocal: localLL.As16(), count4: &counters{}, count6: &counters{},
		ours:  func(m mac) bool { return m == mac{2, 0, 0, 0, 0, 3} },
		rival: func(a netip.Addr, hw mac) { seen = append(seen, rival{addr: a, hw: hw}) },
	}
	r.arp.put(addr4.As4(), answer{hw: me, silent: silent})
	r.ndp.put(addr6.As16(), answer{hw: me, silent: silent})
	return r, &seen
}

var speaker = mac{2, 0, 0, 0, 0, 3}

func TestAnswerARP(t *testing.T) {
	zero := netip.IPv4Unspecified()
	reply := func(tpa netip.Addr) []byte {
		return putARP(make([]byte, arpFrameLen), arpReply, peer, me, me, addr4.As4(), peer, tpa.As4())
	}
	rivals := []rival{{addr: addr4, hw: peer}}
	for _, c := range []struct {
		name   string
		in     []byte
		silent bool
		want   []byte
		rivals []rival
	}{
		{name: "broadcast request", in: request4(peer4, addr4, peer, broadcast), want: reply(peer4)},
		{name: "unicast request", in: request4(peer4, addr4, peer, me), want: reply(peer4)},
		{name: "probe", in: request4(zero, addr4, peer, broadcast), want: reply(zero)},
		{name: "padded to the least length of Ethernet", in: append(request4(peer4, addr4, peer, broadcast), make([]byte, 18)...), want: reply(peer4)},
		{name: "another target", in: request4(addr4.Next(), peer4, peer, broadcast)},
		{name: "to another host", in: request4(peer4, addr4, peer, speaker)},
		{name: "our own, looped back", in: request4(addr4, addr4, me, broadcast)},
		{name: "a reply", in: putARP(make([]byte, arpFrameLen), arpReply, me, peer, peer, peer4.As4(), me, addr4.As4())},
		{name: "a rival announces", in: request4(addr4, addr4, peer, broadcast), rivals: rivals},
		{name: "a rival answers", in: putARP(make([]byte, arpFrameLen), arpReply, broadcast, peer, peer, addr4.As4(), peer, addr4.As4()), rivals: rivals},
		{name: "a rival uses our address", in: request4(addr4, peer4, peer, broadcast), rivals: rivals},
		{name: "another speaker announces", in: request4(addr4, addr4, speaker, broadcast)},
		{name: "while asking: a request", silent: true, in: request4(peer4, addr4, peer, broadcast)},
		{name: "while asking: a probe", silent: true, in: request4(zero, addr4, peer, broadcast), rivals: rivals},
		{name: "while asking: a probe of another speaker", silent: true, in: request4(zero, addr4, speaker, broadcast)},
		{name: "malformed", in: []byte{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, seen := newResponder(c.silent)
			got := r.handleARP(c.in, make([]byte, 128))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.rivals, *seen, cmp.AllowUnexported(rival{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("rivals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnswerNDP(t *testing.T) {
	all := netip.AddrFrom16(allNodes)
	none := netip.IPv6Unspecified()
	solicited := putNA(make([]byte, naFrameLen), peer, me, localLL.As16(), peer6.As16(), addr6.As16(), me, flagSolicited|flagOverride)
	defence := putNA(make([]byte, naFrameLen), allNodesMAC, me, localLL.As16(), allNodes, addr6.As16(), me, flagOverride)
	rivals := []rival{{addr: addr6, hw: peer}}
	for _, c := range []struct {
		name   string
		in     []byte
		silent bool
		want   []byte
		rivals []rival
	}{
		{name: "multicast", in: solicit(t, peer6, addr6, peer, sourceLLA(peer)), want: solicited},
		{name: "multicast without a source option", in: solicit(t, peer6, addr6, peer), want: solicited},
		{name: "unicast", in: ndpBytes(t, &ndp.NeighborSolicitation{TargetAddress: addr6}, peer6, addr6, peer, me), want: solicited},
		{name: "the option wins over the frame", in: solicit(t, peer6, addr6, speaker, sourceLLA(peer)), want: solicited},
		{name: "duplicate address detection", in: solicit(t, none, addr6, peer), want: defence},
		{name: "another target", in: solicit(t, peer6, peer6, peer, sourceLLA(peer))},
		{name: "to another host", in: ndpBytes(t, &ndp.NeighborSolicitation{TargetAddress: addr6}, peer6, addr6, peer, speaker)},
		{name: "our own, looped back", in: solicit(t, none, addr6, me)},
		{name: "a rival announces", in: ndpBytes(t, &ndp.NeighborAdvertisement{Override: true, TargetAddress: addr6, Options: []ndp.Option{targetLLA(peer)}}, peer6, all, peer, allNodesMAC), rivals: rivals},
		{name: "a rival answers without an option", in: ndpBytes(t, &ndp.NeighborAdvertisement{TargetAddress: addr6}, peer6, all, peer, allNodesMAC), rivals: rivals},
		{name: "another speaker announces", in: ndpBytes(t, &ndp.NeighborAdvertisement{TargetAddress: addr6}, peer6, all, speaker, allNodesMAC)},
		{name: "while asking: a request", silent: true, in: solicit(t, peer6, addr6, peer)},
		{name: "while asking: detection of another host", silent: true, in: solicit(t, none, addr6, peer), rivals: rivals},
		{name: "malformed", in: []byte{1, 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, seen := newResponder(c.silent)
			got := r.handleNDP(c.in, make([]byte, 128))
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("answer (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.rivals, *seen, cmp.AllowUnexported(rival{}), cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
				t.Errorf("rivals (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAnsweringAllocatesNothing(t *testing.T) {
	r, _ := newResponder(false)
	out := make([]byte, 128)
	four, six := request4(peer4, addr4, peer, broadcast), solicit(t, peer6, addr6, peer, sourceLLA(peer))
	if n := testing.AllocsPerRun(100, func() { r.handleARP(four, out); r.handleNDP(six, out) }); n != 0 {
		t.Errorf("%v allocations per two answers", n)
	}
}

// benchmarkResponder answers for one among n addresses: the time must not grow with n.
func benchmarkResponder(b *testing.B, n int, six bool) {
	r, _ := newResponder(false)
	for i := range n {
		var k4 [4]byte
		binary.BigEndian.PutUint32(k4[:], 10<<24+uint32(i))
		r.arp.put(k4, answer{hw: me})
		k6 := addr6.As16()
		binary.BigEndian.PutUint32(k6[8:], uint32(i)+1)
		r.ndp.put(k6, answer{hw: me})
	}
	in, handle, out := request4(peer4, addr4, peer, broadcast), r.handleARP, make([]byte, 128)
	if six {
		in, handle = solicit(b, peer6, addr6, peer, sourceLLA(peer)), r.handleNDP
	}
	b.ReportAllocs()
	for b.Loop() {
		if handle(in, out) == nil {
			b.Fatal("no answer")
		}
	}
}

func BenchmarkAnswerARP10(b *testing.B)     { benchmarkResponder(b, 10, false) }
func BenchmarkAnswerARP100000(b *testing.B) { benchmarkResponder(b, 100_000, false) }
func BenchmarkAnswerNDP10(b *testing.B)     { benchmarkResponder(b, 10, true) }
func BenchmarkAnswerNDP100000(b *testing.B) { benchmarkResponder(b, 100_000, true) }
