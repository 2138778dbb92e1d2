package l2

import (
	"fmt"
	"net/netip"

	"github.com/mdlayher/arp"
	"github.com/mdlayher/ndp"
)

// packetKind is a packet that is sent unasked.
type packetKind int

const (
	// probePacket asks who has an address without claiming it: RFC 5227 section 2.1.1, RFC 4862 section 5.4.2.
	probePacket packetKind = iota
	// announcePacket claims an address: the request form of a gratuitous ARP (RFC 5227 section 2.3), or an unsolicited
	// advertisement (RFC 4861 section 7.2.6).
	announcePacket
	// replyPacket is the reply form of a gratuitous ARP, for hosts that heed only that one.
	replyPacket
)

// unasked builds a packet from the hardware address hw; linkLocal is the source of IPv6 advertisements.
func unasked(kind packetKind, a netip.Addr, hw mac, linkLocal netip.Addr) ([]byte, error) {
	if a.Is4() {
		return unaskedARP(kind, a, hw)
	}
	return unaskedNDP(kind, a, hw, linkLocal)
}

func unaskedARP(kind packetKind, a netip.Addr, hw mac) ([]byte, error) {
	op, sender, target := arp.OperationRequest, a, mac{}
	switch kind {
	case probePacket:
		sender = netip.IPv4Unspecified()
	case replyPacket:
		op, target = arp.OperationReply, hw // Linux heeds a gratuitous reply only if both hardware addresses are the same
	}
	p, err := arp.NewPacket(op, hw.hw(), sender, target.hw(), a)
	if err != nil {
		return nil, fmt.Errorf("building an ARP packet for %s: %w", a, err)
	}
	body, err := p.MarshalBinary()
	if err != nil {
		return nil, fmt.Errorf("building an ARP packet for %s: %w", a, err)
	}
	frame := make([]byte, ethLen, arpFrameLen)
	putEthernet(frame, broadcast, hw, etherTypeARP)
	return append(frame, body...), nil
}

func unaskedNDP(kind packetKind, a netip.Addr, hw mac, linkLocal netip.Addr) ([]byte, error) {
	var (
		msg      ndp.Message
		src, dst = linkLocal, netip.AddrFrom16(allNodes)
		ethDst   = allNodesMAC
	)
	if kind == probePacket {
		group, groupMAC := solicitedNode(a.As16())
		src, dst, ethDst = netip.IPv6Unspecified(), netip.AddrFrom16(group), groupMAC
		msg = &ndp.NeighborSolicitation{TargetAddress: a}
	} else {
		msg = &ndp.NeighborAdvertisement{
			Override: true, TargetAddress: a,
			Options: []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Target, Addr: hw.hw()}},
		}
	}
	body, err := ndp.MarshalMessageChecksum(msg, src, dst)
	if err != nil {
		return nil, fmt.Errorf("building a neighbour discovery packet for %s: %w", a, err)
	}
	frame := make([]byte, icmpOff, icmpOff+len(body))
	putEthernet(frame, ethDst, hw, etherTypeIPv6)
	ip := frame[ethLen:]
	copy(ip, []byte{0x60, 0, 0, 0, 0, byte(len(body)), protoICMPv6, hopLimit})
	s, d := src.As16(), dst.As16()
	copy(ip[8:], s[:])
	copy(ip[24:], d[:])
	return append(frame, body...), nil
}
