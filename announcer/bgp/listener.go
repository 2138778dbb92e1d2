package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// listener accepts connections of passive peers on one address.
type listener struct {
	l *net.TCPListener
	// v6 tells of which family the socket is.
	v6 bool
}

func listen(ctx context.Context, at netip.AddrPort) (*listener, error) {
	network := "tcp4"
	if at.Addr().Is6() {
		network = "tcp6"
	}
	lc := net.ListenConfig{KeepAlive: -1, Control: func(_, _ string, c syscall.RawConn) error {
		// A neighbour with TTL security takes nothing less, and what is sent here ends the handshake only (RFC 5082).
		return control(c, func(fd int) error { return connOptions(fd, Peer{TTLSecurity: maxTTL}, at.Addr()) })
	}}
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(ctx, network, at.String())
	if err != nil {
		return nil, fmt.Errorf("listening for peers on %s: %w", at, err)
	}
	return &listener{l: l.(*net.TCPListener), v6: at.Addr().Is6()}, nil
}

// sign makes connections of an address be signed; an empty password takes that back.
func (l *listener) sign(peer netip.Addr, password string) error {
	if peer.Is6() != l.v6 {
		return nil
	}
	c, err := l.l.SyscallConn()
	if err != nil {
		return fmt.Errorf("signing connections of %s: %w", peer, err)
	}
	return control(c, func(fd int) error { return signed(fd, peer, password) })
}

// serve hands connections on until the listener is closed.
func (l *listener) serve(take func(*net.TCPConn)) error {
	for {
		c, err := l.l.AcceptTCP()
		switch {
		case errors.Is(err, net.ErrClosed):
			return nil
		case err != nil:
			return fmt.Errorf("accepting connections: %w", err)
		}
		take(c)
	}
}

// prepare gives an accepted connection the options of its peer.
func prepare(c *net.TCPConn, p Peer) error {
	raw, err := c.SyscallConn()
	if err != nil {
		return fmt.Errorf("preparing a connection: %w", err)
	}
	return control(raw, func(fd int) error { return connOptions(fd, p, addrPort(c.RemoteAddr()).Addr()) })
}
