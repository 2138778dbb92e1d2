package bgp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/mdlayher/ndp"
	"golang.org/x/net/icmp"
	"golang.org/x/net/ipv6"
)

const (
	// advertiseFirst and advertiseLater are the times between our router advertisements before and after the neighbour on
	// the link is known (RFC 4861 section 10 allows no less than 3 s between unsolicited multicast ones in the long run).
	advertiseFirst = time.Second
	advertiseLater = 10 * time.Second
	// neighbourLife is for how long a neighbour counts that is not heard any more.
	neighbourLife = 3 * advertiseLater
)

// discovery finds the router at the other end of a link, as routers do for unnumbered sessions: both send router
// advertisements, and the source of the other's is the address to connect to. Ours say that we are no default router
// (lifetime 0, RFC 4861 section 6.2.3).
type discovery struct {
	iface string
	clock Clock
	log   logr.Logger
	done  sync.WaitGroup

	mu      sync.Mutex
	addr    netip.Addr
	heard   time.Time
	trouble error
	news    chan struct{}
}

// discover begins a discovery that lasts until ctx ends.
func discover(ctx context.Context, log logr.Logger, clock Clock, iface string) *discovery {
	d := &discovery{iface: iface, clock: clock, log: log.WithValues("interface", iface), news: make(chan struct{}, 1)}
	d.done.Go(func() { d.run(ctx) })
	return d
}

func (d *discovery) wait() { d.done.Wait() }

var errUnheard = errors.New("no router advertisement has come from the neighbour")

// neighbour is the address of the router on the link, with its zone. It waits for one until timeout.
func (d *discovery) neighbour(ctx context.Context, timeout <-chan time.Time) (netip.Addr, error) {
	for {
		addr, err := d.known()
		if err == nil {
			return addr, nil
		}
		select {
		case <-d.news:
		case <-timeout:
			return netip.Addr{}, fmt.Errorf("finding the neighbour on interface %s: %w", d.iface, err)
		case <-ctx.Done():
			return netip.Addr{}, causeOf(ctx)
		}
	}
}

func (d *discovery) known() (netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.trouble != nil:
		return netip.Addr{}, d.trouble
	case !d.addr.IsValid() || d.clock.Now().Sub(d.heard) > neighbourLife:
		return netip.Addr{}, errUnheard
	}
	return d.addr, nil
}

// found takes note of a router advertisement.
func (d *discovery) found(from netip.Addr) {
	d.mu.Lock()
	changed := d.addr != from
	d.addr, d.heard = from, d.clock.Now()
	d.mu.Unlock()
	if changed {
		d.log.Info("Found the neighbour on the link", "address", from)
		signal(d.news)
	}
}

func (d *discovery) run(ctx context.Context) {
	for ctx.Err() == nil {
		err := d.listen(ctx)
		d.mu.Lock()
		d.trouble = err
		d.mu.Unlock()
		select {
		case <-ctx.Done():
		case <-d.clock.After(advertiseFirst):
		}
	}
}

// listen sends and hears router advertisements until ctx ends or the interface fails.
func (d *discovery) listen(ctx context.Context) error {
	link, err := net.InterfaceByName(d.iface)
	if err != nil {
		return fmt.Errorf("finding it: %w", errors.Unwrap(err))
	}
	sock, err := openRouterSocket(link)
	if err != nil {
		return err
	}
	d.mu.Lock()
	d.trouble = nil
	d.mu.Unlock()
	heard := make(chan error, 1)
	d.done.Go(func() { heard <- d.hear(sock) })
	err = d.advertise(ctx, sock, heard)
	_ = sock.conn.Close()
	return err
}

func (d *discovery) advertise(ctx context.Context, sock *routerSocket, heard <-chan error) error {
	advertisement := &ndp.RouterAdvertisement{}
	if len(sock.link.HardwareAddr) == 6 {
		advertisement.Options = []ndp.Option{&ndp.LinkLayerAddress{Direction: ndp.Source, Addr: sock.link.HardwareAddr}}
	}
	for {
		if err := sock.send(advertisement, netip.IPv6LinkLocalAllNodes()); err != nil {
			return fmt.Errorf("sending a router advertisement: %w", err)
		}
		wait := advertiseLater
		if _, err := d.known(); err != nil {
			wait = advertiseFirst
			// A solicitation makes a router speak that has nothing due.
			if err := sock.send(&ndp.RouterSolicitation{}, netip.IPv6LinkLocalAllRouters()); err != nil {
				return fmt.Errorf("soliciting a router advertisement: %w", err)
			}
		}
		select {
		case <-ctx.Done():
			return nil
		case err := <-heard:
			return err
		case <-d.clock.After(wait):
		}
	}
}

// hear reads until the socket is closed. The source of an advertisement is all that is wanted, so none is parsed.
func (d *discovery) hear(sock *routerSocket) error {
	buf := make([]byte, 64)
	for {
		n, cm, from, err := sock.conn.ReadFrom(buf)
		if err != nil {
			return fmt.Errorf("hearing router advertisements: %w", err)
		}
		isRA := n > 0 && buf[0] == byte(ipv6.ICMPTypeRouterAdvertisement)
		if !isRA || cm == nil || cm.HopLimit != ndp.HopLimit || cm.IfIndex != sock.link.Index {
			continue
		}
		if a, ok := from.(*net.IPAddr); ok {
			source, _ := netip.AddrFromSlice(a.IP)
			if source.IsLinkLocalUnicast() && source != sock.own {
				d.found(source.WithZone(d.iface))
			}
		}
	}
}

// routerSocket sends and receives ICMPv6 on a link. It is opened here and not by the ndp package, whose way goes through the
// name of the interface (see numbered).
type routerSocket struct {
	conn *ipv6.PacketConn
	link *net.Interface
	own  netip.Addr
}

var errNoLinkLocal = errors.New("it has no link-local address")

func openRouterSocket(link *net.Interface) (*routerSocket, error) {
	nets, err := link.Addrs()
	if err != nil {
		return nil, fmt.Errorf("listing its addresses: %w", err)
	}
	all, _ := holds(nets, netip.Addr{})
	own := first(all, func(a netip.Addr) bool { return a.Is6() && a.IsLinkLocalUnicast() })
	if !own.IsValid() {
		return nil, errNoLinkLocal
	}
	c, err := icmp.ListenPacket("ip6:ipv6-icmp", own.WithZone(strconv.Itoa(link.Index)).String())
	if err != nil {
		return nil, fmt.Errorf("opening a socket for router advertisements: %w", err)
	}
	s := &routerSocket{conn: c.IPv6PacketConn(), link: link, own: own}
	if err := s.prepare(); err != nil {
		_ = c.Close()
		return nil, fmt.Errorf("preparing a socket for router advertisements: %w", err)
	}
	return s, nil
}

// prepare lets only router advertisements through, with what tells that they come from the link (RFC 4861 section 6.1.2).
func (s *routerSocket) prepare() error {
	var f ipv6.ICMPFilter
	f.SetAll(true)
	f.Accept(ipv6.ICMPTypeRouterAdvertisement)
	const checksumAt = 2
	return errors.Join(
		s.conn.SetICMPFilter(&f),
		s.conn.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagInterface, true),
		s.conn.SetHopLimit(ndp.HopLimit),
		s.conn.SetMulticastHopLimit(ndp.HopLimit),
		s.conn.SetChecksum(true, checksumAt),
		s.conn.JoinGroup(s.link, &net.IPAddr{IP: netip.IPv6LinkLocalAllNodes().AsSlice()}),
	)
}

func (s *routerSocket) send(m ndp.Message, to netip.Addr) error {
	b, err := ndp.MarshalMessage(m)
	if err != nil {
		return err
	}
	cm := &ipv6.ControlMessage{HopLimit: ndp.HopLimit, Src: s.own.AsSlice(), IfIndex: s.link.Index}
	_, err = s.conn.WriteTo(b, cm, &net.IPAddr{IP: to.AsSlice(), Zone: strconv.Itoa(s.link.Index)})
	return err
}
