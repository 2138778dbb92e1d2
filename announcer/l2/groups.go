package l2

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// maxGroupSockets bounds the sockets that hold memberships on one interface. With the smallest limit per socket in use (20 KiB,
// some 300 groups) that is room for about 19,000.
const maxGroupSockets = 64

// groups are the solicited-node groups joined on one interface. Addresses that end in the same 24 bits share one. They are
// joined as IPv6 groups, so that switches that snoop MLD forward them; a socket takes only so many (net.core.optmem_max), so
// there are several. When even those do not suffice, the interface takes all multicast.
type groups struct {
	index   int
	sockets []groupSocket
	refs    map[[3]byte]*groupRef
	limit   int // of sockets
	// all makes the interface take all multicast, or no longer.
	all func(bool) error
	// uncovered counts the groups that could not be joined and need all multicast.
	uncovered int
}

type groupSocket struct {
	fd   int
	full bool
}

type groupRef struct {
	n      int
	socket int // index of the socket, -1 for none
}

func newGroups(index int, all func(bool) error) *groups {
	return &groups{index: index, refs: map[[3]byte]*groupRef{}, limit: maxGroupSockets, all: all}
}

func groupOf(a [16]byte) [3]byte { return [3]byte(a[13:]) }

func mreq(index int, g [3]byte) *unix.IPv6Mreq {
	m := &unix.IPv6Mreq{Multiaddr: solicited, Interface: uint32(index)}
	copy(m.Multiaddr[13:], g[:])
	return m
}

// join makes sure that solicitations for a reach the interface.
func (g *groups) join(a [16]byte) error {
	k := groupOf(a)
	if r := g.refs[k]; r != nil {
		r.n++
		return nil
	}
	s, why := g.place(mreq(g.index, k))
	if s < 0 {
		if g.uncovered == 0 {
			if err := g.all(true); err != nil {
				return fmt.Errorf("joining a solicited-node group (%w), and taking all multicast instead: %w", why, err)
			}
		}
		g.uncovered++
	}
	g.refs[k] = &groupRef{n: 1, socket: s}
	return nil
}

var errGroupsFull = errors.New("all sockets for groups are full")

// place joins on the first socket that has room and returns its index, or -1 and the reason.
func (g *groups) place(m *unix.IPv6Mreq) (int, error) {
	for i := range g.sockets {
		if g.sockets[i].full {
			continue
		}
		err := joinGroup(g.sockets[i].fd, m)
		if err == nil {
			return i, nil
		}
		if !errors.Is(err, unix.ENOMEM) && !errors.Is(err, unix.ENOBUFS) {
			return -1, err
		}
		g.sockets[i].full = true
	}
	if len(g.sockets) >= g.limit {
		return -1, errGroupsFull
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := joinGroup(fd, m); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	g.sockets = append(g.sockets, groupSocket{fd: fd})
	return len(g.sockets) - 1, nil
}

func joinGroup(fd int, m *unix.IPv6Mreq) error {
	return unix.SetsockoptIPv6Mreq(fd, unix.IPPROTO_IPV6, unix.IPV6_JOIN_GROUP, m)
}

// leave undoes one join.
func (g *groups) leave(a [16]byte) {
	k := groupOf(a)
	r := g.refs[k]
	if r == nil {
		return
	}
	if r.n--; r.n > 0 {
		return
	}
	delete(g.refs, k)
	if r.socket < 0 {
		if g.uncovered--; g.uncovered == 0 {
			_ = g.all(false) // taking too much costs time only
		}
		return
	}
	// A membership that cannot be left is one that is gone already.
	_ = unix.SetsockoptIPv6Mreq(g.sockets[r.socket].fd, unix.IPPROTO_IPV6, unix.IPV6_LEAVE_GROUP, mreq(g.index, k))
	g.sockets[r.socket].full = false
}

// close leaves everything.
func (g *groups) close() {
	for _, s := range g.sockets {
		_ = unix.Close(s.fd)
	}
	g.sockets, g.refs = nil, map[[3]byte]*groupRef{}
}
