package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	// singleHopPort, multiHopPort and echoPort are the ports of RFC 5881 section 4 and RFC 5883 section 5.
	singleHopPort = 3784
	multiHopPort  = 4784
	// firstSource is the least port that packets may come from (RFC 5881 section 4).
	firstSource = 49152
	// hopTTL is the TTL (hop limit) that packets are sent with (RFC 5881 section 5).
	hopTTL = 255
	// networkControl is the traffic class of routing protocols (RFC 4594 section 3.1: CS6).
	networkControl = 48 << 2
	// receiveBuffer holds what comes while this process does not run, in bytes.
	receiveBuffer = 1 << 20
)

// receiverKind is what a socket receives.
type receiverKind struct {
	ipv6, multiHop bool
}

func (k receiverKind) port() int {
	if k.multiHop {
		return multiHopPort
	}
	return singleHopPort
}

func kindOf(s Session) receiverKind { return receiverKind{ipv6: s.Peer.Is6(), multiHop: s.MultiHop} }

// option is an option of a socket that is turned on or set.
type option struct{ level, name, value int }

func setOptions(fd int, options ...option) error {
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return fmt.Errorf("setting option %d of level %d: %w", o.name, o.level, err)
		}
	}
	return nil
}

func udpSocket(ipv6 bool) (int, error) {
	family := unix.AF_INET
	if ipv6 {
		family = unix.AF_INET6
	}
	return unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_UDP)
}

func sockaddr(a netip.Addr, port, link int) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Port: port, Addr: a.As4()}
	}
	s := &unix.SockaddrInet6{Port: port, Addr: a.As16()}
	if a.IsLinkLocalUnicast() {
		s.ZoneId = uint32(link)
	}
	return s
}

// receiver receives the packets of all sessions of a kind.
type receiver struct {
	kind receiverKind
	fd   int
	buf  [256]byte
	oob  [256]byte
}

func openReceiver(k receiverKind) (*receiver, error) {
	fd, err := udpSocket(k.ipv6)
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	any, options := netip.IPv4Unspecified(), []option{
		{unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1}, {unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer},
	}
	if k.ipv6 {
		any = netip.IPv6Unspecified()
		options = append(options, option{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1},
			option{unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1}, option{unix.IPPROTO_IPV6, unix.IPV6_RECVHOPLIMIT, 1})
	} else {
		options = append(options, option{unix.IPPROTO_IP, unix.IP_PKTINFO, 1}, option{unix.IPPROTO_IP, unix.IP_RECVTTL, 1})
	}
	err = setOptions(fd, options...)
	if err == nil {
		err = unix.Bind(fd, sockaddr(any, k.port(), 0))
	}
	if err == nil {
		return &receiver{kind: k, fd: fd}, nil
	}
	unix.Close(fd)
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("UDP port %d is in use on this node, probably by another BFD daemon: %w", k.port(), err)
	}
	return nil, fmt.Errorf("listening on UDP port %d: %w", k.port(), err)
}

func (r *receiver) close() { unix.Close(r.fd) }

// drain hands over all packets that have come.
func (r *receiver) drain(take func(arrival)) {
	for {
		n, oobn, flags, from, err := unix.Recvmsg(r.fd, r.buf[:], r.oob[:], 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		case flags&unix.MSG_CTRUNC != 0:
			continue
		}
		a := arrival{raw: r.buf[:n], from: addrOf(from), multiHop: r.kind.multiHop, ttl: -1}
		if a.describe(r.oob[:oobn]) == nil {
			take(a)
		}
	}
}

func addrOf(sa unix.Sockaddr) netip.Addr {
	switch s := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrFrom4(s.Addr)
	case *unix.SockaddrInet6:
		return netip.AddrFrom16(s.Addr)
	}
	return netip.Addr{}
}

// describe reads what the kernel says of a packet.
func (a *arrival) describe(oob []byte) error {
	now := time.Now()
	a.at = now
	for len(oob) > 0 {
		h, data, rest, err := unix.ParseOneSocketControlMessage(oob)
		if err != nil {
			return err
		}
		oob = rest
		switch {
		case h.Level == unix.SOL_SOCKET && h.Type == unix.SO_TIMESTAMPNS && len(data) >= int(unsafe.Sizeof(unix.Timespec{})):
			a.at = stamped(now, data)
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_TTL && len(data) >= 4,
			h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_HOPLIMIT && len(data) >= 4:
			a.ttl = int(binary.NativeEndian.Uint32(data))
		case h.Level == unix.IPPROTO_IP && h.Type == unix.IP_PKTINFO && len(data) >= unix.SizeofInet4Pktinfo:
			a.link = int(binary.NativeEndian.Uint32(data))
			a.to = netip.AddrFrom4([4]byte(data[8:12]))
		case h.Level == unix.IPPROTO_IPV6 && h.Type == unix.IPV6_PKTINFO && len(data) >= unix.SizeofInet6Pktinfo:
			a.to = netip.AddrFrom16([16]byte(data[:16]))
			a.link = int(binary.NativeEndian.Uint32(data[16:]))
		}
	}
	return nil
}

// oldest bounds how long a packet can have waited; a longer time is a step of the clock.
const oldest = 10 * time.Second

// stamped is when the packet came, as a time of the monotonic clock: the kernel's stamps are of the wall clock.
func stamped(now time.Time, data []byte) time.Time {
	var ts unix.Timespec
	copy(unsafe.Slice((*byte)(unsafe.Pointer(&ts)), unsafe.Sizeof(ts)), data)
	age := now.Round(0).Sub(time.Unix(ts.Unix()))
	if age < 0 || age > oldest {
		return now
	}
	return now.Add(-age)
}

// sender sends the packets of one session.
type sender struct {
	fd int
	to unix.Sockaddr
}

// openSender opens a socket for a session; link is the index of the interface that it is bound to, 0: none.
func openSender(s Session, link int) (*sender, error) {
	k := kindOf(s)
	fd, err := udpSocket(k.ipv6)
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	options := []option{{unix.IPPROTO_IP, unix.IP_TTL, hopTTL}, {unix.IPPROTO_IP, unix.IP_TOS, networkControl}}
	from := netip.IPv4Unspecified()
	if k.ipv6 {
		options = []option{{unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, hopTTL}, {unix.IPPROTO_IPV6, unix.IPV6_TCLASS, networkControl}}
		from = netip.IPv6Unspecified()
	}
	if s.Local.IsValid() {
		from = s.Local
	}
	err = setOptions(fd, options...)
	if err == nil && link != 0 {
		err = unix.SetsockoptString(fd, unix.SOL_SOCKET, unix.SO_BINDTODEVICE, s.link())
	}
	if err == nil {
		err = bindSource(fd, from, link)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("opening a socket to send from: %w", err)
	}
	return &sender{fd: fd, to: sockaddr(s.Peer.WithZone(""), k.port(), link)}, nil
}

// bindSource takes a free port of those that are allowed.
func bindSource(fd int, from netip.Addr, link int) (err error) {
	for range 64 {
		err = unix.Bind(fd, sockaddr(from, firstSource+rand.IntN(1<<16-firstSource), link))
		if !errors.Is(err, unix.EADDRINUSE) {
			return err
		}
	}
	return err
}

func (s *sender) send(b []byte) error {
	if err := unix.Sendto(s.fd, b, 0, s.to); err != nil {
		return fmt.Errorf("sending to the peer: %w", err)
	}
	return nil
}

func (s *sender) close() { unix.Close(s.fd) }

// linkIndex finds the interface of a session; 0: it is bound to none.
func linkIndex(s Session) (int, error) {
	name := s.link()
	if name == "" {
		return 0, nil
	}
	i, err := net.InterfaceByName(name)
	if err != nil {
		return 0, fmt.Errorf("interface %s: %w", name, err)
	}
	if i.Flags&net.FlagUp == 0 {
		return 0, fmt.Errorf("interface %s is down", name)
	}
	return i.Index, nil
}

// wakeup ends a wait of the thread.
type wakeup struct {
	// file refuses what comes after the end; the thread polls and reads fd itself.
	file *os.File
	fd   int
}

func newWakeup() (wakeup, error) {
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return wakeup{}, fmt.Errorf("making an eventfd: %w", err)
	}
	return wakeup{file: os.NewFile(uintptr(fd), "wakeup"), fd: fd}, nil
}

func (w wakeup) signal() {
	one := [8]byte{}
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = w.file.Write(one[:])
}

func (w wakeup) clear() {
	var b [8]byte
	_, _ = unix.Read(w.fd, b[:])
}

func (w wakeup) close() { _ = w.file.Close() }
