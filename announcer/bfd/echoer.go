package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// echoPort is where echoes go (RFC 5881 section 4).
const echoPort = 3785

const (
	ipv4Header, ipv6Header, udpHeader = 20, 40, 8
	// echoPayload are the session's discriminator and a number that counts.
	echoPayload = 8
)

// echoer sends the echoes of one session and receives them. They are addressed to this node, which no route of the kernel
// takes to the peer, so they are put into frames for it.
type echoer struct {
	fd     int
	link   int
	peer   netip.Addr
	to     unix.SockaddrLinklayer
	packet []byte
	number uint32
	buf    [128]byte
	oob    [64]byte
}

func openEchoer(s *session) (*echoer, error) {
	peer := s.want.Peer.WithZone("")
	local, link, err := pathTo(s.want)
	if err != nil {
		return nil, fmt.Errorf("sending echoes to %s: %w", peer, err)
	}
	e := &echoer{link: link, peer: peer, packet: echoPacket(local, s.machine.local)}
	if err := e.resolve(); err != nil {
		return nil, fmt.Errorf("sending echoes to %s: %w", peer, err)
	}
	if err := e.open(s.machine.local); err != nil {
		return nil, fmt.Errorf("opening a packet socket for echoes (CAP_NET_RAW is needed): %w", err)
	}
	return e, nil
}

// pathTo finds this node's address on the way to the peer, and the interface.
func pathTo(s Session) (netip.Addr, int, error) {
	options := &netlink.RouteGetOptions{Oif: s.link()}
	if s.Local.IsValid() {
		options.SrcAddr = s.Local.AsSlice()
	}
	routes, err := netlink.RouteGetWithOptions(s.Peer.WithZone("").AsSlice(), options)
	if err != nil {
		return netip.Addr{}, 0, fmt.Errorf("finding the route: %w", err)
	}
	for _, r := range routes {
		src, ok := netip.AddrFromSlice(r.Src)
		if s.Local.IsValid() {
			src, ok = s.Local, true
		}
		if ok {
			return src.Unmap(), r.LinkIndex, nil
		}
	}
	return netip.Addr{}, 0, errors.New("no route has an address of this node")
}

// resolve finds the hardware address of the peer, to which control packets have just gone.
func (e *echoer) resolve() error {
	family, protocol := netlink.FAMILY_V4, uint16(unix.ETH_P_IP)
	if e.peer.Is6() {
		family, protocol = netlink.FAMILY_V6, unix.ETH_P_IPV6
	}
	neighbours, err := netlink.NeighList(e.link, family)
	if err != nil {
		return fmt.Errorf("listing neighbours: %w", err)
	}
	for _, n := range neighbours {
		if a, ok := netip.AddrFromSlice(n.IP); ok && a.Unmap() == e.peer && len(n.HardwareAddr) > 0 {
			e.to = unix.SockaddrLinklayer{Protocol: hton(protocol), Ifindex: e.link, Halen: uint8(len(n.HardwareAddr))}
			copy(e.to.Addr[:], n.HardwareAddr)
			return nil
		}
	}
	return errors.New("its hardware address is not known")
}

func hton(v uint16) uint16 { return v<<8 | v>>8 }

// open opens a socket that receives what has come back with the discriminator.
func (e *echoer) open(discriminator uint32) error {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return err
	}
	err = attach(fd, echoFilter(e.peer.Is6(), discriminator))
	if err == nil {
		err = setOptions(fd, option{unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 1}, option{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1})
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: e.to.Protocol, Ifindex: e.link})
	}
	if err != nil {
		unix.Close(fd)
		return err
	}
	e.fd = fd
	return nil
}

// echoFilter lets packets through that echoPacket has made.
func echoFilter(ipv6 bool, discriminator uint32) []bpf.Instruction {
	protocol, header := uint32(9), uint32(ipv4Header)
	if ipv6 {
		protocol, header = 6, ipv6Header
	}
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: protocol, Size: 1},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: unix.IPPROTO_UDP, SkipTrue: 5},
		bpf.LoadAbsolute{Off: header + 2, Size: 2},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: echoPort, SkipTrue: 3},
		bpf.LoadAbsolute{Off: header + udpHeader, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: discriminator, SkipTrue: 1},
		bpf.RetConstant{Val: 256},
		bpf.RetConstant{},
	}
}

func attach(fd int, program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assembling a filter: %w", err)
	}
	filter := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		filter[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	return unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]})
}

// echoPacket is an IP packet from this node to itself.
func echoPacket(local netip.Addr, discriminator uint32) []byte {
	header := ipv4Header
	if local.Is6() {
		header = ipv6Header
	}
	p := make([]byte, header+udpHeader+echoPayload)
	addr := local.AsSlice()
	if local.Is4() {
		p[0], p[1], p[8], p[9] = 0x45, networkControl, hopTTL, unix.IPPROTO_UDP
		binary.BigEndian.PutUint16(p[2:], uint16(len(p)))
		copy(p[12:], addr)
		copy(p[16:], addr)
		binary.BigEndian.PutUint16(p[10:], ^sum(0, p[:header]))
	} else {
		binary.BigEndian.PutUint32(p, 6<<28|networkControl<<20)
		binary.BigEndian.PutUint16(p[4:], udpHeader+echoPayload)
		p[6], p[7] = unix.IPPROTO_UDP, hopTTL
		copy(p[8:], addr)
		copy(p[24:], addr)
	}
	udp := p[header:]
	binary.BigEndian.PutUint16(udp, echoPort)
	binary.BigEndian.PutUint16(udp[2:], echoPort)
	binary.BigEndian.PutUint16(udp[4:], udpHeader+echoPayload)
	binary.BigEndian.PutUint32(udp[8:], discriminator)
	return p
}

// sum adds to a checksum (RFC 1071); b has an even length.
func sum(s uint32, b []byte) uint16 {
	for i := 0; i < len(b); i += 2 {
		s += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return uint16(s)
}

// send sends the next echo. If the last one is missing, the peer may have got another hardware address.
func (e *echoer) send(missing bool) {
	if missing {
		_ = e.resolve()
	}
	e.number++
	addrs, header := 12, ipv4Header
	if e.peer.Is6() {
		addrs, header = 8, ipv6Header
	}
	udp := e.packet[header:]
	binary.BigEndian.PutUint32(udp[12:], e.number)
	udp[6], udp[7] = 0, 0
	// The addresses stand just before the UDP header in both families.
	check := sum(uint32(sum(unix.IPPROTO_UDP+udpHeader+echoPayload, e.packet[addrs:header])), udp)
	binary.BigEndian.PutUint16(udp[6:], ^check)
	_ = unix.Sendto(e.fd, e.packet, 0, &e.to)
}

// drain reads what has come back, and says when the last one came.
func (e *echoer) drain() (at time.Time, some bool) {
	for {
		n, oobn, _, _, err := unix.Recvmsg(e.fd, e.buf[:], e.oob[:], 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return at, some
		}
		a := arrival{raw: e.buf[:n]}
		if a.describe(e.oob[:oobn]) == nil {
			at, some = a.at, true
		}
	}
}

func (e *echoer) close() { unix.Close(e.fd) }
