package split

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

const tableName = "test/gw/table/http-80"

// design is a number of tables: 1 is what is shipped.
type design int

var designs = []design{1, 16, 64}

func (d design) String() string {
	if d == 1 {
		return "one"
	}
	return fmt.Sprintf("of%d", int(d))
}

// encode gives the part of a table that a host is in.
func (d design) encode(t testing.TB, table *routev3.RouteConfiguration, host, version string) *discoveryv3.Resource {
	if d > 1 {
		table = part(table, groupOf(host, int(d)), int(d))
	}
	return encoded(t, table.GetName(), version, table)
}

// rig is an Envoy with a Gateway's resources in a design.
type rig struct {
	design
	*source
	envoy *envoytest.Envoy
}

func newRig(t testing.TB, d design, r xds.Resources, pods map[gateway.Name]netip.AddrPort) *rig {
	t.Helper()
	g := &rig{design: d, source: newSource(t)}
	for name, c := range r.Clusters {
		g.hold(encoded(t, name, "0", c))
	}
	for name, a := range r.Assignments {
		g.hold(encoded(t, name, "0", at(name, pods[a.Parts[0].Service])))
	}
	for name, l := range r.Listeners {
		socket := l.GetAddress().GetSocketAddress()
		socket.Address, socket.Ipv4Compat = "127.0.0.1", false
		if d > 1 {
			var err error
			if l, err = choosing(l, int(d)); err != nil {
				t.Fatal(err)
			}
		}
		g.hold(encoded(t, name, "0", l))
	}
	for name, table := range r.Routes {
		if d == 1 {
			g.hold(encoded(t, name, "0", table))
			continue
		}
		for group := range int(d) {
			g.hold(encoded(t, scopeOf(name, group), "0", part(table, group, int(d))))
			g.hold(encoded(t, scopeOf(name, group), "0", scope(name, group)))
		}
	}
	g.envoy = envoytest.Follow(t, g.port)
	g.envoy.Await("its listener", func() error {
		if n := g.envoy.Stat("listener_manager.total_listeners_active"); n != len(r.Listeners) {
			return fmt.Errorf("%d of %d", n, len(r.Listeners))
		}
		return nil
	})
	return g
}

func (g *rig) address() string { return g.envoy.Address("test/gw/80/tcp") }

// at is one endpoint.
func at(name string, pod netip.AddrPort) *endpointv3.ClusterLoadAssignment {
	return &endpointv3.ClusterLoadAssignment{ClusterName: name, Endpoints: []*endpointv3.LocalityLbEndpoints{{
		LbEndpoints: []*endpointv3.LbEndpoint{{HostIdentifier: &endpointv3.LbEndpoint_Endpoint{Endpoint: &endpointv3.Endpoint{
			Address: &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
				Address: pod.Addr().String(), PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: uint32(pod.Port())},
			}}},
		}}}},
	}}}
}

// cpu is what a process has used, of all its threads, which do not end.
func cpu(t testing.TB, pid int) time.Duration {
	t.Helper()
	threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
	var sum time.Duration
	for _, thread := range threads {
		text, err := os.ReadFile(thread)
		if err != nil {
			t.Fatal(err)
		}
		ran, _, _ := strings.Cut(string(text), " ")
		n, err := strconv.ParseInt(ran, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", thread, err)
		}
		sum += time.Duration(n)
	}
	return sum
}

// rss is how many bytes of memory a process has.
func rss(t testing.TB, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(text))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}

// client is a kept connection to an Envoy that costs little itself.
type client struct {
	conn net.Conn
	read *bufio.Reader
}

func dial(t testing.TB, address string) *client {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &client{conn, bufio.NewReader(conn)}
}

// get asks for a path of a host, and returns the status and the headers, in lower case.
func (c *client) get(host, path string) (status int, headers []string, err error) {
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host); err != nil {
		return 0, nil, err
	}
	lines, err := head(c.read)
	if err != nil {
		return 0, nil, err
	}
	status, err = strconv.Atoi(strings.Fields(lines[0])[1])
	for _, line := range lines[1:] {
		if length, ok := strings.CutPrefix(line, "content-length: "); ok {
			n, _ := strconv.Atoi(length)
			_, _ = c.read.Discard(n)
		}
	}
	return status, lines[1:], err
}

// head reads the lines before a body.
func head(r *bufio.Reader) ([]string, error) {
	var lines []string
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return nil, err
		}
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			return lines, nil
		}
		lines = append(lines, line)
	}
}

// pod answers every request, and tells in a header which scope headers came along.
func pod(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go respond(conn)
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func respond(conn net.Conn) {
	defer conn.Close()
	r := bufio.NewReader(conn)
	for {
		lines, err := head(r)
		if err != nil {
			return
		}
		heard := slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, header) })
		if _, err := fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nscope-heard: %v\r\ncontent-length: 2\r\n\r\nok", heard); err != nil {
			return
		}
	}
}
