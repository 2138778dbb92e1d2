package split

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// telling is a host whose answers tell that it was chosen.
func telling(name string) *gateway.Host {
	return &gateway.Host{Hostname: name, Rules: []*gateway.Rule{{
		Match:    gateway.Match{Path: gateway.PathPrefix, Value: "/"},
		Redirect: &gateway.Redirect{Hostname: strings.ReplaceAll(name, "*", "any"), Status: http.StatusFound},
	}}}
}

// TestMatching asks a table in one piece and in parts for the same hosts.
func TestMatching(t *testing.T) {
	envoytest.Binary(t)
	for _, catchAll := range []bool{false, true} {
		for _, d := range designs {
			t.Run(fmt.Sprintf("%s/catchAll=%v", d, catchAll), func(t *testing.T) {
				m, pods := matchingModel(t, catchAll)
				g := newRig(t, d, xds.Encode(m, envoytest.AnyPort, xds.Settings{}), pods)
				checkMatching(t, g, catchAll)
			})
		}
	}
}

func matchingModel(t *testing.T, catchAll bool) (*gateway.Model, map[gateway.Name]netip.AddrPort) {
	service := gateway.Name{Namespace: "test", Name: "s"}
	m := &gateway.Model{
		Gateway:  gateway.Name{Namespace: "test", Name: "gw"},
		Backends: []gateway.Backend{{ID: "test/s/http", Service: service, Port: 80, Protocol: gateway.ProtocolHTTP}},
	}
	table := &gateway.Table{Name: "http-80", Hosts: []*gateway.Host{
		{Hostname: "served.example.com", Rules: []*gateway.Rule{{
			Match:    gateway.Match{Path: gateway.PathPrefix, Value: "/"},
			Backends: []gateway.Destination{{Backend: "test/s/http", Weight: 1}},
		}}},
		telling("a.example.com"),
		telling("xn--bcher-kva.example.com"),
		telling("example.com"),
		telling("b.c.example.com"),
		telling("*.example.com"),
		telling("*.c.example.com"),
		{Hostname: "sibling.example.org", Misdirected: true},
		{Hostname: "*.sibling.example.org", Misdirected: true},
		telling("own.sibling.example.org"),
	}}
	for i := range 40 {
		table.Hosts = append(table.Hosts, telling(hostname(i)))
	}
	if catchAll {
		table.Hosts = append(table.Hosts, telling("*"))
	}
	m.Ports = []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: table}}
	return m, map[gateway.Name]netip.AddrPort{service: pod(t)}
}

func checkMatching(t *testing.T, g *rig, catchAll bool) {
	unknown := "404"
	if catchAll {
		unknown = "any"
	}
	c := dial(t, g.address())
	g.envoy.Await("the tables", func() error {
		if got, err := c.chosen("a.example.com"); err != nil || got != "a.example.com" {
			return fmt.Errorf("%s, %w", got, err)
		}
		return nil
	})
	cases := map[string]string{
		"served.example.com": "200", "SERVED.example.com:8080": "200",
		"a.example.com": "a.example.com", "A.Example.COM": "a.example.com", "a.example.com:80": "a.example.com",
		"a.EXAMPLE.com:65535": "a.example.com", "a.example.com.": "a.example.com", "a.example.com.:8080": "a.example.com",
		"xn--bcher-kva.example.com": "xn--bcher-kva.example.com", "XN--BCHER-KVA.EXAMPLE.COM:1": "xn--bcher-kva.example.com",
		"example.com": "example.com", "Example.com:8443": "example.com",
		"b.c.example.com": "b.c.example.com", "x.c.example.com": "any.c.example.com", "x.y.c.example.com": "any.c.example.com", "X.Y.C.EXAMPLE.COM:9": "any.c.example.com",
		"c.example.com": "any.example.com", "z.example.com": "any.example.com", "z.y.x.Example.com:80": "any.example.com",
		"sibling.example.org": "421", "SIBLING.example.org:443": "421", "x.sibling.example.org": "421", "own.sibling.example.org": "own.sibling.example.org",
		"unknown.example.net": unknown, "localhost": unknown, "LOCALHOST:80": unknown, "127.0.0.1": unknown, "127.0.0.1:80": unknown,
		"[::1]": unknown, "[::1]:80": unknown, "[2001:db8::A]:8080": unknown, "a": unknown, "-": unknown, "a_b": unknown,
	}
	for i := range 40 {
		cases[hostname(i)] = hostname(i)
		cases[fmt.Sprintf("%s:%d", strings.ToUpper(hostname(i)), 1000+i)] = hostname(i)
		cases[fmt.Sprintf("unknown%d.example.net", i)] = unknown
		cases[fmt.Sprintf("unknown%d.example.com", i)] = "any.example.com"
	}
	for host, want := range cases {
		if g.design > 1 {
			// A client that brings the header along does not choose by it.
			host += "\r\n" + header + ": " + scopeOf(tableName, 0)
		}
		if got, err := c.chosen(host); err != nil || got != want {
			t.Errorf("%s: %s, want %s (%v)", host, got, want, err)
		}
	}
}

// chosen says which virtual host answers: by its name or, if that is not to be seen, by
// the status.
func (c *client) chosen(host string) (string, error) {
	status, headers, err := c.get(host, "/")
	for _, h := range headers {
		if h == "scope-heard: true" {
			return "", fmt.Errorf("the backend of %s hears of the scope", host)
		}
		if to, ok := strings.CutPrefix(h, "location: http://"); ok {
			to, _, _ = strings.Cut(to, "/")
			to, _, _ = strings.Cut(to, ":")
			return to, err
		}
	}
	return fmt.Sprint(status), err
}

// TestScopesAreShared shows why a key names a table and not a group alone: scopes are no
// listener's own. All of an Envoy have one subscription, which stands under the name of
// the first, and take all scopes.
func TestScopesAreShared(t *testing.T) {
	envoytest.Binary(t)
	const d = design(16)
	m, pods := matchingModel(t, false)
	other := *m.Ports[0].HTTP
	other.Name = "http-81"
	m.Ports = append(m.Ports, gateway.Port{Number: 81, Transport: gateway.TCP, HTTP: &other})
	g := newRig(t, d, xds.Encode(m, envoytest.AnyPort, xds.Settings{}), pods)
	g.envoy.Await("all scopes", func() error {
		both := 0
		for _, port := range []int{80, 81} {
			both += g.envoy.Stat(fmt.Sprintf("http.test/gw/%d/tcp.scoped_rds.scopes.all_scopes", port))
		}
		if both != 2*int(d) {
			return fmt.Errorf("they are %d, want %d", both, 2*int(d))
		}
		return nil
	})
}
