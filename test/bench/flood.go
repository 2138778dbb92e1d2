package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/testbed"
)

// flood opens a new connection every so often, whether or not earlier ones were
// answered, and asks for a host on each, once.
type flood struct {
	load
	to       netip.AddrPort
	from     []netip.Addr // in turn; none: as the kernel likes
	question []byte
	every    time.Duration
	running  sync.WaitGroup

	// For who has stopped it:
	lasted time.Duration
	broken error // why there was none
}

// startFlood floods an address from these addresses of the client host.
func (b *bench) startFlood(ctx context.Context, a netip.Addr, host string, every time.Duration, from []netip.Addr) *flood {
	ctx, cancel := context.WithCancel(ctx)
	f := &flood{
		load: load{cancel: cancel, done: make(chan struct{})}, to: netip.AddrPortFrom(a, 80), from: from, every: every,
		question: []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n"),
	}
	go func() {
		defer close(f.done)
		// One thread goes to the client host for all connections: to go there and
		// back for each costs more than the connection.
		f.broken = b.cluster.InNamespace(testbed.Client, func() error {
			f.run(ctx)
			return nil
		})
		f.running.Wait()
	}()
	return f
}

// floodSources are addresses on a segment for the client host beside its own: so many connections
// come from many clients. One alone would soon have no port that is new. Where a node
// has not yet forgotten the last connection from a port (up to two minutes, if its end
// was lost), the next one is sent to the Envoy of that one, which may be gone.
func floodSources(segment netip.Prefix) []netip.Addr {
	var out []netip.Addr
	a := segment.Addr().AsSlice()
	for i := range 16 {
		a[len(a)-1] = byte(60 + i)
		if source, ok := netip.AddrFromSlice(a); ok {
			out = append(out, source)
		}
	}
	return out
}

// Segments of the client host.
var (
	nearSegment     = netip.MustParsePrefix("172.30.0.0/24")
	nearSegmentIPv6 = netip.MustParsePrefix("fd00:30::/64")
	farSegment      = netip.MustParsePrefix("172.31.0.0/24")
	farSegmentIPv6  = netip.MustParsePrefix("fd00:31::/64")
)

// giveSources adds those addresses to an interface of the client host.
func (b *bench) giveSources(ctx context.Context, device string, segment netip.Prefix) error {
	for _, a := range floodSources(segment) {
		add := []string{"ip", "address", "replace", netip.PrefixFrom(a, segment.Bits()).String(), "dev", device}
		if a.Is6() {
			add = append(add, "nodad") // usable at once
		}
		if _, err := b.cluster.Exec(ctx, testbed.Client, add...); err != nil {
			return fmt.Errorf("giving the client host another address: %w", err)
		}
	}
	return nil
}

// run opens connections until the context ends. One that comes late is followed by
// the others at once, so that the pace is kept, and its time counts from when it
// was due.
func (f *flood) run(ctx context.Context) {
	start := time.Now()
	defer func() { f.lasted = time.Since(start) }()
	for i := 0; ; i++ {
		due := start.Add(time.Duration(i) * f.every)
		if sleep(ctx, time.Until(due)) != nil || ctx.Err() != nil {
			return
		}
		conn, err := connect(f.source(i), f.to)
		if err != nil {
			f.note(time.Since(due), answer{}, err)
			continue
		}
		f.running.Go(func() {
			got, err := f.ask(conn)
			f.note(time.Since(due), got, err)
		})
	}
}

// source is where a connection comes from; the zero value: as the kernel likes.
func (f *flood) source(i int) netip.Addr {
	if len(f.from) == 0 {
		return netip.Addr{}
	}
	return f.from[i%len(f.from)]
}

// ask asks once and closes the connection. It is reset rather than closed in order:
// both sides would remember each for a minute, and the nodes for two.
func (f *flood) ask(conn net.Conn) (answer, error) {
	defer conn.Close()
	if tcp, ok := conn.(*net.TCPConn); ok {
		if err := tcp.SetLinger(0); err != nil {
			return answer{}, err
		}
	}
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	if _, err := conn.Write(f.question); err != nil {
		return answer{}, err
	}
	if err := readOK(bufio.NewReader(conn)); err != nil {
		return answer{}, err
	}
	return answer{status: http.StatusOK}, nil
}

// connect begins to connect, and does not wait for the other side: the first write
// does.
func connect(from netip.Addr, to netip.AddrPort) (net.Conn, error) {
	family := unix.AF_INET
	if to.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a socket: %w", err)
	}
	file := os.NewFile(uintptr(fd), to.String())
	defer file.Close() // the connection has its own
	if from.IsValid() {
		// Not to choose the port before it is known where to: the kernel would
		// give it once for all addresses.
		if err := errors.Join(unix.SetsockoptInt(fd, unix.SOL_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1), unix.Bind(fd, sockaddr(netip.AddrPortFrom(from, 0)))); err != nil {
			return nil, fmt.Errorf("coming from %s: %w", from, err)
		}
	}
	if err := unix.Connect(fd, sockaddr(to)); err != nil && !errors.Is(err, unix.EINPROGRESS) {
		return nil, fmt.Errorf("connecting to %s: %w", to, err)
	}
	return net.FileConn(file)
}

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is6() {
		return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
	}
	return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
}

// rate is how many connections it has opened a second.
func (f *flood) rate() float64 { return float64(len(f.took)) / f.lasted.Seconds() }

// floodEvery is 1000 new connections a second.
const floodEvery = time.Millisecond

// floodRows are what floods at that pace saw together, each with its own rate.
func floodRows(what string, sum *load, rates []float64, failed aim) []row {
	ms, runs := milliseconds(sum.took), len(rates)
	first := fmt.Sprintf("%s: of %d new connections, failed", what, len(ms))
	if sum.why != "" {
		first += " (the first: " + sum.why + ")"
	}
	return []row{
		{what: what + ": new connections opened", figure: median(rates), unit: "per second", beside: number(1/floodEvery.Seconds()) + " asked for", runs: runs},
		{what: first, figure: float64(sum.failed), unit: "connections", aim: failed, runs: runs},
		{what: what + ": answer on a new connection, p99", figure: percentile(ms, 99), unit: "ms", runs: runs},
		{what: what + ": answer on a new connection, max", figure: percentile(ms, 100), unit: "ms", runs: runs},
	}
}
