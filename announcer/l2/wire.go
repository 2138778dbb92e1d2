package l2

import (
	"encoding/binary"
	"net"
)

// mac is a hardware address that can be compared and copied without allocating.
type mac [6]byte

func (m mac) hw() net.HardwareAddr { return append(net.HardwareAddr(nil), m[:]...) }

// group tells whether m is a multicast or the broadcast address.
func (m mac) group() bool { return m[0]&1 != 0 }

func macOf(hw net.HardwareAddr) (m mac, ok bool) {
	if len(hw) != len(m) {
		return m, false
	}
	return mac(hw), mac(hw) != mac{} && !mac(hw).group()
}

var broadcast = mac{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

// Offsets and sizes on Ethernet.
const (
	ethLen  = 14
	arpLen  = 28
	ip6Len  = 40
	ndLen   = 24 // a solicitation or advertisement without options
	llaLen  = 8  // a link-layer address option on Ethernet
	icmpOff = ethLen + ip6Len

	etherTypeARP  = 0x0806
	etherTypeIPv4 = 0x0800
	etherTypeIPv6 = 0x86dd

	arpRequest = 1
	arpReply   = 2

	protoICMPv6 = 58
	hopLimit    = 255 // of every neighbour discovery packet, RFC 4861 section 7.1
	typeNS      = 135
	typeNA      = 136

	optSourceLLA = 1
	optTargetLLA = 2

	flagSolicited = 0x40
	flagOverride  = 0x20

	arpFrameLen = ethLen + arpLen
	naFrameLen  = icmpOff + ndLen + llaLen
)

// arpFrame is an ARP packet for IPv4 on Ethernet (RFC 826).
type arpFrame struct {
	ethDst, ethSrc mac
	op             uint16
	sha            mac
	spa            [4]byte
	tpa            [4]byte
}

// parseARP reads a frame. It refuses everything but requests and replies for IPv4 on Ethernet whose sender has a
// hardware address of its own.
func parseARP(b []byte, f *arpFrame) bool {
	if len(b) < arpFrameLen || binary.BigEndian.Uint16(b[12:]) != etherTypeARP {
		return false
	}
	p := b[ethLen:arpFrameLen]
	if binary.BigEndian.Uint16(p) != 1 || binary.BigEndian.Uint16(p[2:]) != etherTypeIPv4 || p[4] != 6 || p[5] != 4 {
		return false
	}
	f.ethDst, f.ethSrc = mac(b[0:6]), mac(b[6:12])
	f.op = binary.BigEndian.Uint16(p[6:])
	f.sha, f.spa, f.tpa = mac(p[8:14]), [4]byte(p[14:18]), [4]byte(p[24:28])
	return (f.op == arpRequest || f.op == arpReply) && !f.sha.group() && f.sha != mac{}
}

// putARP writes a frame into b, which must hold arpFrameLen bytes, and returns the part it wrote.
func putARP(b []byte, op uint16, ethDst, ethSrc, sha mac, spa [4]byte, tha mac, tpa [4]byte) []byte {
	b = b[:arpFrameLen]
	putEthernet(b, ethDst, ethSrc, etherTypeARP)
	p := b[ethLen:]
	copy(p, []byte{0, 1, 8, 0, 6, 4})
	binary.BigEndian.PutUint16(p[6:], op)
	copy(p[8:], sha[:])
	copy(p[14:], spa[:])
	copy(p[18:], tha[:])
	copy(p[24:], tpa[:])
	return b
}

func putEthernet(b []byte, dst, src mac, etherType uint16) {
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
}

// ndpFrame is a neighbour solicitation or advertisement (RFC 4861 sections 4.3 and 4.4).
type ndpFrame struct {
	ethDst, ethSrc mac
	src, dst       [16]byte
	typ            byte
	target         [16]byte
	// lla is the source (solicitation) or target (advertisement) link-layer address option.
	lla    mac
	hasLLA bool
}

var (
	unspecified  = [16]byte{}
	allNodes     = [16]byte{0: 0xff, 1: 0x02, 15: 0x01}
	allNodesMAC  = mac{0x33, 0x33, 0, 0, 0, 1}
	solicitedMAC = mac{0x33, 0x33, 0xff}
	solicited    = [16]byte{0: 0xff, 1: 0x02, 11: 0x01, 12: 0xff}
)

// solicitedNode is the group that solicitations for a go to (RFC 4291 section 2.7.1), and its Ethernet address.
func solicitedNode(a [16]byte) ([16]byte, mac) {
	g, m := solicited, solicitedMAC
	copy(g[13:], a[13:])
	copy(m[3:], a[13:])
	return g, m
}

// parseNDP reads a frame and checks all that RFC 4861 section 7.1 asks for.
func parseNDP(b []byte, f *ndpFrame) bool {
	if len(b) < icmpOff+ndLen || binary.BigEndian.Uint16(b[12:]) != etherTypeIPv6 {
		return false
	}
	ip := b[ethLen:]
	length := int(binary.BigEndian.Uint16(ip[4:]))
	if ip[0]>>4 != 6 || ip[6] != protoICMPv6 || ip[7] != hopLimit || length < ndLen || len(ip) < ip6Len+length {
		return false
	}
	p := ip[ip6Len : ip6Len+length]
	f.typ = p[0]
	if f.typ != typeNS && f.typ != typeNA || p[1] != 0 {
		return false
	}
	f.ethDst, f.ethSrc = mac(b[0:6]), mac(b[6:12])
	f.src, f.dst, f.target = [16]byte(ip[8:24]), [16]byte(ip[24:40]), [16]byte(p[8:24])
	if f.target[0] == 0xff || f.src[0] == 0xff || f.ethSrc.group() || !parseLLA(p[ndLen:], f) {
		return false
	}
	if !validByType(f, p[4]) {
		return false
	}
	return checksum(f.src[:], f.dst[:], p) == 0
}

// validByType holds the rules that differ: RFC 4861 sections 7.1.1 and 7.1.2.
func validByType(f *ndpFrame, flags byte) bool {
	if f.typ == typeNA {
		return f.dst[0] != 0xff || flags&flagSolicited == 0
	}
	if f.src != unspecified {
		return true
	}
	return [13]byte(f.dst[:13]) == [13]byte(solicited[:13]) && !f.hasLLA
}

// parseLLA walks the options; one of length zero makes the packet invalid, unknown ones are skipped.
func parseLLA(o []byte, f *ndpFrame) bool {
	f.hasLLA = false
	want := byte(optSourceLLA)
	if f.typ == typeNA {
		want = optTargetLLA
	}
	for len(o) > 0 {
		if len(o) < 2 || o[1] == 0 || len(o) < int(o[1])*8 {
			return false
		}
		if o[0] == want && o[1] == 1 && !f.hasLLA {
			f.lla, f.hasLLA = mac(o[2:8]), true
			if f.lla.group() {
				return false
			}
		}
		o = o[int(o[1])*8:]
	}
	return true
}

// putNA writes an advertisement with a target link-layer address option into b, which must hold naFrameLen bytes. The
// router flag stays 0: a virtual address routes for nobody.
func putNA(b []byte, ethDst, ethSrc mac, src, dst, target [16]byte, lla mac, flags byte) []byte {
	b = b[:naFrameLen]
	putEthernet(b, ethDst, ethSrc, etherTypeIPv6)
	ip := b[ethLen:]
	copy(ip, []byte{0x60, 0, 0, 0, 0, ndLen + llaLen, protoICMPv6, hopLimit})
	copy(ip[8:], src[:])
	copy(ip[24:], dst[:])
	p := ip[ip6Len:]
	copy(p, []byte{typeNA, 0, 0, 0, flags, 0, 0, 0})
	copy(p[8:], target[:])
	p[24], p[25] = optTargetLLA, 1
	copy(p[26:], lla[:])
	binary.BigEndian.PutUint16(p[2:], checksum(src[:], dst[:], p))
	return b
}

// checksum is that of ICMPv6 with its pseudo-header (RFC 4443 section 2.3); over a message that carries a right one it is 0.
func checksum(src, dst, p []byte) uint16 {
	sum := uint32(len(p)) + protoICMPv6
	for _, part := range [...][]byte{src, dst, p} {
		for len(part) > 1 {
			sum += uint32(part[0])<<8 | uint32(part[1])
			part = part[2:]
		}
		if len(part) == 1 {
			sum += uint32(part[0]) << 8
		}
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum)
}
