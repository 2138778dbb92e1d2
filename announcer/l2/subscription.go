package l2

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// subscription delivers changes of interfaces and addresses. Its channels are closed when the kernel had to drop some: then a new
// subscription and a new listing are due.
type subscription struct {
	links chan netlink.LinkUpdate
	addrs chan netlink.AddrUpdate
	done  chan struct{}
}

func subscribe() (*subscription, error) {
	s := &subscription{
		links: make(chan netlink.LinkUpdate, 256), addrs: make(chan netlink.AddrUpdate, 256), done: make(chan struct{}),
	}
	if err := netlink.LinkSubscribe(s.links, s.done); err != nil {
		close(s.done)
		return nil, fmt.Errorf("subscribing to changes of interfaces: %w", err)
	}
	if err := netlink.AddrSubscribe(s.addrs, s.done); err != nil {
		close(s.done)
		drain(s.links)
		return nil, fmt.Errorf("subscribing to changes of addresses: %w", err)
	}
	return s, nil
}

// close ends the subscription and waits for its goroutines, which may be blocked on a full channel.
func (s *subscription) close() {
	close(s.done)
	drain(s.links)
	drain(s.addrs)
}

// idleSubscription never delivers anything.
func idleSubscription() *subscription {
	s := &subscription{links: make(chan netlink.LinkUpdate), addrs: make(chan netlink.AddrUpdate), done: make(chan struct{})}
	go func() {
		<-s.done
		close(s.links)
		close(s.addrs)
	}()
	return s
}

func drain[T any](ch <-chan T) {
	for range ch {
	}
}
