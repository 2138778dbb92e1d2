package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// maxDial bounds an attempt to connect, however long the back-off between attempts may be.
	maxDial = 20 * time.Second
	// internetControl is the class that routers give to routing protocols (RFC 4594 section 3.1: CS6).
	internetControl = 0xC0
	maxTTL          = 255
)

// dial connects to a peer at an address.
func dial(ctx context.Context, p Peer, to netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{
		Timeout: min(p.ConnectTime, maxDial), KeepAlive: -1,
		Control: func(_, _ string, c syscall.RawConn) error {
			return control(c, func(fd int) error { return dialOptions(fd, p, to.Addr()) })
		},
	}
	d.SetMultipathTCP(false)
	far, zone, err := numbered(to.Addr())
	if err != nil {
		return nil, err
	}
	if p.Source.IsValid() {
		source := p.Source
		if source.IsLinkLocalUnicast() && source.Is6() {
			source = source.WithZone(zone)
		}
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
	}
	c, err := d.DialContext(ctx, "tcp", netip.AddrPortFrom(far, to.Port()).String())
	if err != nil {
		return nil, fmt.Errorf("dialing: %w", err)
	}
	return c, nil
}

// numbered is the address with its zone as a number. The net package remembers for a minute which number a name has, which
// is wrong for an interface that has been made anew.
func numbered(a netip.Addr) (numbered netip.Addr, zone string, err error) {
	if a.Zone() == "" {
		return a, "", nil
	}
	link, err := net.InterfaceByName(a.Zone())
	if err != nil {
		return a, "", fmt.Errorf("finding interface %s: %w", a.Zone(), errors.Unwrap(err))
	}
	zone = strconv.Itoa(link.Index)
	return a.WithZone(zone), zone, nil
}

func control(c syscall.RawConn, f func(fd int) error) error {
	var err error
	if e := c.Control(func(fd uintptr) { err = f(int(fd)) }); e != nil {
		return e
	}
	return err
}

func dialOptions(fd int, p Peer, to netip.Addr) error {
	if p.Device != "" {
		if err := unix.BindToDevice(fd, p.Device); err != nil {
			return os.NewSyscallError("binding to device "+p.Device, err)
		}
	}
	if p.Password != "" {
		if err := signed(fd, to, p.Password); err != nil {
			return err
		}
	}
	return connOptions(fd, p, to)
}

// connOptions are those of connections of either direction.
func connOptions(fd int, p Peer, to netip.Addr) error {
	level, ttl, minTTL, class := unix.IPPROTO_IP, unix.IP_TTL, unix.IP_MINTTL, unix.IP_TOS
	if to.Is6() {
		level, ttl, minTTL, class = unix.IPPROTO_IPV6, unix.IPV6_UNICAST_HOPS, unix.IPV6_MINHOPCOUNT, unix.IPV6_TCLASS
	}
	set := func(what string, opt, value int) error {
		if value == 0 {
			return nil
		}
		return os.NewSyscallError("setting the "+what, unix.SetsockoptInt(fd, level, opt, value))
	}
	out, least := hopLimits(p)
	if err := set("traffic class", class, internetControl); err != nil {
		return err
	}
	if err := set("TTL", ttl, out); err != nil {
		return err
	}
	return set("least TTL", minTTL, least)
}

// hopLimits are the TTL to send with and the least to accept; zero leaves the system's.
func hopLimits(p Peer) (out, least int) {
	switch {
	case p.TTLSecurity != 0:
		return maxTTL, maxTTL + 1 - int(p.TTLSecurity)
	case !p.external():
		return 0, 0
	case p.MultiHop != 0:
		return int(p.MultiHop), 0
	}
	return 1, 0
}

// signed makes the socket sign what it exchanges with the address (RFC 2385); an empty password takes that back.
func signed(fd int, to netip.Addr, password string) error {
	sig := unix.TCPMD5Sig{Keylen: uint16(len(password))}
	copy(sig.Key[:], password)
	// The address lies in a sockaddr without its family: after the port, and in IPv6 also after the flow label.
	if to.Is4() {
		sig.Addr.Family = unix.AF_INET
		copy(sig.Addr.Data[2:], to.AsSlice())
	} else {
		sig.Addr.Family = unix.AF_INET6
		copy(sig.Addr.Data[6:], to.AsSlice())
	}
	return os.NewSyscallError("setting the TCP-MD5 password", unix.SetsockoptTCPMD5Sig(fd, unix.IPPROTO_TCP, unix.TCP_MD5SIG, &sig))
}

// addrPort is an endpoint's address with IPv4 as such.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// besides are the addresses of the interface that has the address.
func besides(local netip.Addr) ([]netip.Addr, error) {
	links, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("listing interfaces: %w", err)
	}
	for _, l := range links {
		if local.Zone() != "" && local.Zone() != l.Name {
			continue
		}
		nets, err := l.Addrs()
		if err != nil {
			return nil, fmt.Errorf("listing addresses of %s: %w", l.Name, err)
		}
		if all, found := holds(nets, local.WithZone("")); found {
			return all, nil
		}
	}
	return nil, nil
}

// holds lists the addresses and tells whether local is one of them, or is of the loopback network as they are.
func holds(nets []net.Addr, local netip.Addr) (all []netip.Addr, found bool) {
	for _, n := range nets {
		p, err := netip.ParsePrefix(n.String())
		if err != nil {
			continue
		}
		a := p.Addr().Unmap()
		all = append(all, a)
		found = found || a == local || a.IsLoopback() && p.Contains(local)
	}
	return all, found
}
