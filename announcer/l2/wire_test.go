package l2

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

var (
	me      = mac{2, 0, 0, 0, 0, 1}
	peer    = mac{2, 0, 0, 0, 0, 2}
	addr4   = netip.MustParseAddr("192.0.2.7")
	peer4   = netip.MustParseAddr("192.0.2.9")
	addr6   = netip.MustParseAddr("2001:db8::7")
	peer6   = netip.MustParseAddr("2001:db8::9")
	localLL = netip.MustParseAddr("fe80::1")
)

func request4(spa, tpa netip.Addr, from mac, to mac) []byte {
	return putARP(make([]byte, arpFrameLen), arpRequest, to, from, from, spa.As4(), mac{}, tpa.As4())
}

// ndpBytes builds a frame by the library.
func ndpBytes(t testing.TB, msg ndp.Message, src, dst netip.Addr, from, to mac) []byte {
	t.Helper()
	body, err := ndp.MarshalMessageChecksum(msg, src, dst)
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, icmpOff, icmpOff+len(body))
	putEthernet(b, to, from, etherTypeIPv6)
	s, d := src.As16(), dst.As16()
	copy(b[ethLen:], []byte{0x60, 0, 0, 0, 0, byte(len(body)), protoICMPv6, hopLimit})
	copy(b[ethLen+8:], s[:])
	copy(b[ethLen+24:], d[:])
	return append(b, body...)
}

func solicit(t testing.TB, src, target netip.Addr, from mac, options ...ndp.Option) []byte {
	t.Helper()
	group, to := solicitedNode(target.As16())
	return ndpBytes(t, &ndp.NeighborSolicitation{TargetAddress: target, Options: options}, src, netip.AddrFrom16(group), from, to)
}

func nsMessage() ndp.Message { return &ndp.NeighborSolicitation{TargetAddress: addr6} }

func sourceLLA(m mac) ndp.Option { return &ndp.LinkLayerAddress{Direction: ndp.Source, Addr: m.hw()} }

func targetLLA(m mac) ndp.Option { return &ndp.LinkLayerAddress{Direction: ndp.Target, Addr: m.hw()} }

func TestPutARPIsWhatTheLibraryWrites(t *testing.T) {
	b := putARP(make([]byte, arpFrameLen), arpReply, peer, me, me, addr4.As4(), peer, peer4.As4())
	p, err := arp.NewPacket(arp.OperationReply, me.hw(), addr4, peer.hw(), peer4)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := p.MarshalBinary()
	if !bytes.Equal(b[ethLen:], want) {
		t.Errorf("got  %x\nwant %x", b[ethLen:], want)
	}
}

func TestPutNAIsWhatTheLibraryWrites(t *testing.T) {
	b := putNA(make([]byte, naFrameLen), peer, me, localLL.As16(), peer6.As16(), addr6.As16(), me, flagSolicited|flagOverride)
	want := ndpBytes(t, &ndp.NeighborAdvertisement{
		Solicited: true, Override: true, TargetAddress: addr6, Options: []ndp.Option{targetLLA(me)},
	}, localLL, peer6, me, peer)
	if !bytes.Equal(b, want) {
		t.Errorf("got  %x\nwant %x", b, want)
	}
}

func TestParseNDPRefuses(t *testing.T) {
	good := solicit(t, peer6, addr6, peer, sourceLLA(peer))
	var f ndpFrame
	if !parseNDP(good, &f) || f.target != addr6.As16() || f.src != peer6.As16() || f.lla != peer || !f.hasLLA {
		t.Fatalf("a good frame was not read: %+v", f)
	}
	change := func(off int, v byte) []byte {
		b := bytes.Clone(good)
		b[off] = v
		return b
	}
	for name, b := range map[string][]byte{
		"short":                                 good[:icmpOff+ndLen-1],
		"cut inside the option":                 good[:len(good)-1],
		"hop limit":                             change(ethLen+7, 254),
		"version":                               change(ethLen, 0x40),
		"next header":                           change(ethLen+6, 17),
		"code":                                  change(icmpOff+1, 1),
		"checksum":                              change(icmpOff+2, good[icmpOff+2]^1),
		"option of length 0":                    change(icmpOff+ndLen+1, 0),
		"option longer than the packet":         change(icmpOff+ndLen+1, 2),
		"detection with a source option":        solicit(t, netip.IPv6Unspecified(), addr6, peer, sourceLLA(peer)),
		"detection sent to a unicast address":   ndpBytes(t, &ndp.NeighborSolicitation{TargetAddress: addr6}, netip.IPv6Unspecified(), addr6, peer, me),
		"multicast target":                      solicit(t, peer6, netip.AddrFrom16(allNodes), peer),
		"solicited advertisement to all":        ndpBytes(t, &ndp.NeighborAdvertisement{Solicited: true, TargetAddress: addr6}, peer6, netip.AddrFrom16(allNodes), peer, allNodesMAC),
		"a router advertisement":                ndpBytes(t, &ndp.RouterAdvertisement{}, localLL, netip.AddrFrom16(allNodes), peer, allNodesMAC),
		"a multicast address as a link address": solicit(t, peer6, addr6, peer, sourceLLA(allNodesMAC)),
	} {
		if parseNDP(b, &f) {
			t.Errorf("%s: the frame was taken", name)
		}
	}
}

// Whatever bytes come, parsing does not panic, and a frame that is taken means to the library what it means to us.
func FuzzParseARP(f *testing.F) {
	f.Add(request4(peer4, addr4, peer, broadcast))
	f.Add(request4(netip.IPv4Unspecified(), addr4, peer, broadcast))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		var got arpFrame
		if !parseARP(b, &got) {
			return
		}
		var p arp.Packet
		if err := p.UnmarshalBinary(b[ethLen:]); err != nil {
			t.Fatalf("the library does not take it: %v", err)
		}
		if uint16(p.Operation) != got.op || p.SenderIP != netip.AddrFrom4(got.spa) || p.TargetIP != netip.AddrFrom4(got.tpa) ||
			!bytes.Equal(p.SenderHardwareAddr, got.sha[:]) {
			t.Fatalf("got %+v, the library %+v", got, p)
		}
	})
}

func FuzzParseNDP(f *testing.F) {
	f.Add(solicit(f, peer6, addr6, peer, sourceLLA(peer)))
	f.Add(solicit(f, netip.IPv6Unspecified(), addr6, peer))
	f.Add(ndpBytes(f, &ndp.NeighborAdvertisement{Override: true, TargetAddress: addr6, Options: []ndp.Option{targetLLA(peer)}},
		peer6, netip.AddrFrom16(allNodes), peer, allNodesMAC))
	f.Fuzz(func(t *testing.T, b []byte) {
		// The checksum is put right, or hardly anything would get past it.
		if len(b) >= icmpOff+ndLen {
			if n := int(b[ethLen+4])<<8 | int(b[ethLen+5]); n >= ndLen && len(b) >= icmpOff+n {
				p := b[icmpOff : icmpOff+n]
				p[2], p[3] = 0, 0
				s := checksum(b[ethLen+8:ethLen+24], b[ethLen+24:ethLen+40], p)
				p[2], p[3] = byte(s>>8), byte(s)
			}
		}
		var got ndpFrame
		if !parseNDP(b, &got) {
			return
		}
		msg, err := ndp.ParseMessage(b[icmpOff : icmpOff+int(b[ethLen+4])<<8+int(b[ethLen+5])])
		if err != nil {
			return // the library knows more options and refuses some that are to be skipped
		}
		switch m := msg.(type) {
		case *ndp.NeighborSolicitation:
			if got.typ != typeNS || m.TargetAddress.As16() != got.target {
				t.Fatalf("got %+v, the library %+v", got, m)
			}
		case *ndp.NeighborAdvertisement:
			if got.typ != typeNA || m.TargetAddress.As16() != got.target {
				t.Fatalf("got %+v, the library %+v", got, m)
			}
		default:
			t.Fatalf("the library reads a %T", msg)
		}
	})
}
