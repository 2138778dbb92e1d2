package members

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"time"
)

// Dial connects to the gossip port of a speaker, for the second opinion.
type Dial func(ctx context.Context, to netip.AddrPort) (net.Conn, error)

func dialTCP(ctx context.Context, to netip.AddrPort) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "tcp", to.String())
}

// A second opinion dials twice, the second time a little later, in case that a
// packet gets lost: the kernel repeats its SYN only after a second.
const (
	opinionRepeat = 50 * time.Millisecond
	opinionWait   = 150 * time.Millisecond
)

// answers says whether the kernel of a node answers on a port, be it by a
// connection or by a refusal.
func answers(ctx context.Context, dial Dial, to netip.AddrPort) bool {
	ctx, cancel := context.WithTimeout(ctx, opinionWait)
	defer cancel()
	const attempts = 2
	result := make(chan bool, attempts)
	for n := range attempts {
		go func() {
			select {
			case <-time.After(time.Duration(n) * opinionRepeat):
				result <- answersOnce(ctx, dial, to)
			case <-ctx.Done():
				result <- false
			}
		}()
	}
	answered := false
	for range attempts {
		if <-result {
			answered = true
			cancel()
		}
	}
	return answered
}

func answersOnce(ctx context.Context, dial Dial, to netip.AddrPort) bool {
	c, err := dial(ctx, to)
	if err != nil {
		return errors.Is(err, syscall.ECONNREFUSED)
	}
	_ = c.Close()
	return true
}
