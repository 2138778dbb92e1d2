package lab

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
)

// Onlooker notes when what a host knows of addresses changes.
type Onlooker struct {
	end   func()
	noted chan looked
}

type looked struct {
	changes []string
	err     error
}

// Stop ends the looking, and says which changes there were, each with its time.
func (o *Onlooker) Stop() ([]string, error) {
	o.end()
	got := <-o.noted
	return got.changes, got.err
}

// note notes what comes of a subscription that done ends, where it is a change: changed says which, and nothing otherwise.
func note[T any](done chan struct{}, updates <-chan T, changed func(T) string) *Onlooker {
	o := &Onlooker{end: func() { close(done) }, noted: make(chan looked, 1)}
	go func() {
		var got looked
		defer func() { o.noted <- got }()
		for {
			select {
			case <-done:
				return
			case u, ok := <-updates:
				if !ok {
					got.err = errors.New("what an onlooker followed broke off")
					return
				}
				if change := changed(u); change != "" {
					got.changes = append(got.changes, time.Now().Format("15:04:05.000 ")+change)
				}
			}
		}
	}()
	return o
}

// neighbours are the hardware addresses that a host knows for addresses.
type neighbours map[netip.Addr]string

// learn notes the hardware address of a neighbour, and says so if it is another one
// than before. That an entry is being asked for again, without one, is no change.
func (n neighbours) learn(ip net.IP, mac net.HardwareAddr) string {
	a, ok := netip.AddrFromSlice(ip)
	was, watched := n[a.Unmap()]
	if !ok || !watched || len(mac) == 0 || was == mac.String() {
		return ""
	}
	n[a.Unmap()] = mac.String()
	if was == "" {
		return ""
	}
	return fmt.Sprintf("%s from %s to %s", ip, was, mac)
}

// WatchNeighbours notes the changes of hardware addresses in a host's table.
func (l *Lab) WatchNeighbours(host string, addresses []netip.Addr) (*Onlooker, error) {
	known := neighbours{}
	for _, a := range addresses {
		known[a] = ""
	}
	done, updates := make(chan struct{}), make(chan netlink.NeighUpdate, 10000)
	var table []netlink.Neigh
	err := l.Cluster.InNamespace(host, func() (err error) {
		if err = netlink.NeighSubscribe(updates, done); err == nil {
			table, err = netlink.NeighList(0, netlink.FAMILY_ALL)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("following the neighbours of %s: %w", host, err)
	}
	for i := range table {
		known.learn(table[i].IP, table[i].HardwareAddr)
	}
	return note(done, updates, func(u netlink.NeighUpdate) string { return known.learn(u.IP, u.HardwareAddr) }), nil
}

// WatchRoutes notes the changes of routes to addresses in a host's kernel.
func (l *Lab) WatchRoutes(host string, addresses []netip.Addr) (*Onlooker, error) {
	var routes []string
	for _, a := range addresses {
		routes = append(routes, netip.PrefixFrom(a, a.BitLen()).String())
	}
	done, updates := make(chan struct{}), make(chan netlink.RouteUpdate, 10000)
	err := l.Cluster.InNamespace(host, func() error { return netlink.RouteSubscribe(updates, done) })
	if err != nil {
		return nil, fmt.Errorf("following the routes of %s: %w", host, err)
	}
	return note(done, updates, func(u netlink.RouteUpdate) string {
		if u.Dst == nil || !slices.Contains(routes, u.Dst.String()) {
			return ""
		}
		return u.String()
	}), nil
}
