package members

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// Reach says whether the kernel of a node answers on a TCP port, be it by a
// connection or by a refusal. It takes at most about opinionWait.
type Reach func(ctx context.Context, to netip.AddrPort) bool

const (
	// opinionWait is how long a second opinion waits for an answer. A kernel gives
	// it without any process, so that its load does not matter.
	opinionWait = 150 * time.Millisecond
	// opinionRepeat is when a second packet is sent, in case the first got lost: a
	// kernel repeats its own only after a second.
	opinionRepeat = 50 * time.Millisecond
	opinionPoll   = 5 * time.Millisecond
)

// reachTCP asks the kernel what became of its connections instead of waiting to
// be woken: a process that does not get a core for a while, as happens under
// load, must not mistake its own slowness for silence.
func reachTCP(ctx context.Context, to netip.AddrPort) bool {
	if !to.IsValid() {
		return false
	}
	first, answered, err := dial(to)
	if err != nil || answered {
		return answered
	}
	defer first.close()
	second := &call{over: true}
	start := time.Now()
	for repeated := false; ; {
		// The clock first, then the sockets: what comes in between counts.
		elapsed := time.Since(start)
		if first.answered() || second.answered() {
			return true
		}
		if elapsed >= opinionWait || ctx.Err() != nil {
			return false
		}
		if !repeated && elapsed >= opinionRepeat {
			repeated = true
			forgetNeighbour(to.Addr())
			if second, answered, err = dial(to); err != nil || answered {
				return answered
			}
			defer second.close()
		}
		time.Sleep(opinionPoll)
	}
}

// call is a connection that is being made.
type call struct {
	fd int
	// over: it failed. The kernel tells the reason once, and from then on that
	// there is none, as of a connection that was made.
	over bool
}

func (c *call) close() { _ = unix.Close(c.fd) }

// answered says whether the connection was made or refused.
func (c *call) answered() bool {
	if c.over {
		return false
	}
	ready := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLOUT}}
	if n, err := unix.Poll(ready, 0); err != nil || n == 0 {
		return false
	}
	code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
	c.over = err != nil || code != 0
	return err == nil && (code == 0 || unix.Errno(code) == unix.ECONNREFUSED)
}

// dial begins to connect. An answer may be there at once, from the same machine.
func dial(to netip.AddrPort) (c *call, answered bool, err error) {
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if to.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: to.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, false, fmt.Errorf("making a socket for a second opinion: %w", err)
	}
	err = unix.Connect(fd, sa)
	if errors.Is(err, unix.EINPROGRESS) {
		return &call{fd: fd}, false, nil
	}
	_ = unix.Close(fd)
	return nil, err == nil || errors.Is(err, unix.ECONNREFUSED), err
}
