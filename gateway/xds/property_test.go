package xds_test

import (
	"bytes"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clusterv3 "github.com/envoyproxy/go-control-plane/envoy/config/cluster/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	tlsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/transport_sockets/tls/v3"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// source draws the parts of a Model.
type source struct {
	*rapid.T
	backends map[gateway.Protocol][]string
	tables   int
}

func one[T any](s *source, what string, of ...T) T { return rapid.SampledFrom(of).Draw(s.T, what) }

func maybe[T any](s *source, what string, draw func() T) *T {
	if !rapid.Bool().Draw(s.T, what) {
		return nil
	}
	v := draw()
	return &v
}

func several[T any](s *source, what string, most int, draw func() T) []T {
	var out []T
	for range rapid.IntRange(0, most).Draw(s.T, what) {
		out = append(out, draw())
	}
	return out
}

var hostnames = []string{"*", "*.com", "*.example.com", "a.example.com", "b.a.example.com", "*.a.example.com", "example.org"}

// model is a Model as the rules would make one.
func model(t *rapid.T) *gateway.Model {
	s := &source{T: t, backends: map[gateway.Protocol][]string{}}
	m := &gateway.Model{
		Gateway:      gateway.Name{Namespace: one(s, "namespace", "infra", "a"), Name: one(s, "name", "gw", "web.example.com")},
		Certificates: []gateway.Certificate{{ID: "secret/a/one"}, {ID: "secret/a/two"}},
		Authorities:  []gateway.Authority{{ID: "configmap/a/ca"}},
	}
	for _, p := range []gateway.Protocol{gateway.ProtocolH2C, gateway.ProtocolHTTP, gateway.ProtocolTCP, gateway.ProtocolUDP, gateway.ProtocolWebSocket} {
		for i, service := range []string{"one", "two"} {
			b := gateway.Backend{ID: fmt.Sprintf("app/%s/%d/%s", service, 80+i, p), Service: gateway.Name{Namespace: "app", Name: service}, Port: uint16(80 + i), Protocol: p}
			if p != gateway.ProtocolUDP {
				b.TLS = maybe(s, "tls", s.backendTLS)
			}
			b.OwnRetries = rapid.Bool().Draw(s.T, "own retries")
			s.backends[p] = append(s.backends[p], b.ID)
			m.Backends = append(m.Backends, b)
		}
	}
	for i, transport := range several(s, "ports", 4, func() gateway.Transport { return one(s, "transport", gateway.TCP, gateway.UDP) }) {
		m.Ports = append(m.Ports, s.port(uint16(80+i), transport))
	}
	return m
}

func (s *source) backendTLS() gateway.BackendTLS {
	return gateway.BackendTLS{
		Broken:      rapid.Bool().Draw(s.T, "broken"),
		ServerName:  "one.example.com",
		Authorities: several(s, "authorities", 1, func() string { return "configmap/a/ca" }),
		System:      rapid.Bool().Draw(s.T, "system"),
		SANs: several(s, "sans", 2, func() gateway.SAN {
			return one(s, "san", gateway.SAN{DNS: "*.example.com"}, gateway.SAN{DNS: "a.example.com"}, gateway.SAN{URI: "spiffe://a"})
		}),
		ClientCertificate: one(s, "client certificate", "", "secret/a/one"),
	}
}

func (s *source) port(n uint16, transport gateway.Transport) gateway.Port {
	p := gateway.Port{Number: n, Transport: transport}
	if transport == gateway.UDP {
		p.Stream = s.stream(gateway.ProtocolUDP)
		return p
	}
	switch one(s, "plain", "http", "stream", "") {
	case "http":
		p.HTTP = s.table()
	case "stream":
		p.Stream = s.stream(gateway.ProtocolTCP)
	}
	left := rapid.Permutation(hostnames).Draw(s.T, "SNI")
	for i := range rapid.IntRange(0, 3).Draw(s.T, "servers") {
		n := rapid.IntRange(1, 2).Draw(s.T, "names")
		server := gateway.TLSServer{Name: fmt.Sprintf("server-%d-%d", p.Number, i), Hostnames: left[:n]}
		left = left[n:]
		slices.Sort(server.Hostnames)
		if rapid.Bool().Draw(s.T, "terminate") {
			server.Certificates = several(s, "certificates", 1, func() string { return "secret/a/two" })
			server.Certificates = append(server.Certificates, "secret/a/one")
			server.Client = maybe(s, "client", func() gateway.ClientValidation {
				return gateway.ClientValidation{Authorities: []string{"configmap/a/ca"}, InsecureFallback: rapid.Bool().Draw(s.T, "insecure")}
			})
		}
		if len(server.Certificates) > 0 && rapid.Bool().Draw(s.T, "https") {
			server.HTTP = s.table()
		} else {
			server.Stream = s.stream(gateway.ProtocolTCP)
		}
		p.TLS = append(p.TLS, server)
	}
	return p
}

func (s *source) stream(p gateway.Protocol) *gateway.Stream {
	return &gateway.Stream{Backends: several(s, "stream", 3, func() gateway.Destination {
		return gateway.Destination{Backend: s.reference(p), Weight: rapid.Uint32Range(0, 1e6).Draw(s.T, "weight")}
	})}
}

func (s *source) reference(protocols ...gateway.Protocol) string {
	p := one(s, "protocol", protocols...)
	return one(s, "backend", append([]string{""}, s.backends[p]...)...)
}

func (s *source) table() *gateway.Table {
	s.tables++
	t := &gateway.Table{Name: fmt.Sprintf("table-%d", s.tables)}
	filters := several(s, "listener auth", 2, s.auth)
	var shared []*gateway.Rule
	for range rapid.IntRange(0, 3).Draw(s.T, "rules") {
		shared = append(shared, s.rule())
	}
	for _, name := range rapid.Permutation(hostnames).Draw(s.T, "hosts")[:rapid.IntRange(0, 4).Draw(s.T, "n")] {
		h := &gateway.Host{Hostname: name, Misdirected: rapid.Bool().Draw(s.T, "misdirected")}
		if !h.Misdirected {
			h.Rules = shared
			if rapid.Bool().Draw(s.T, "guarded") {
				h.Auth = filters
			}
		}
		t.Hosts = append(t.Hosts, h)
	}
	return t
}

func (s *source) rule() *gateway.Rule {
	r := &gateway.Rule{
		Origin:          gateway.Origin{Kind: "HTTPRoute", Name: gateway.Name{Namespace: "app", Name: "route"}},
		Match:           s.match(),
		RequestHeaders:  maybe(s, "request headers", s.headers),
		ResponseHeaders: maybe(s, "response headers", s.headers),
		CORS:            maybe(s, "cors", s.cors),
		Auth:            maybe(s, "auth", s.auth),
		Mirrors:         several(s, "mirrors", 1, s.mirror),
		Timeout:         maybe(s, "timeout", s.duration),
		BackendTimeout:  maybe(s, "backend timeout", s.duration),
		Retry: maybe(s, "retry", func() gateway.Retry {
			return gateway.Retry{Codes: several(s, "codes", 2, func() uint32 { return 503 }), Attempts: rapid.Uint32Range(0, 3).Draw(s.T, "attempts"), Backoff: s.duration()}
		}),
		Session: maybe(s, "session", func() gateway.Session {
			return one(s, "kind", gateway.Session{Cookie: "c", Path: "/p", Lifetime: time.Hour}, gateway.Session{Header: "x-s"})
		}),
	}
	if r.Redirect = maybe(s, "redirect", s.redirect); r.Redirect != nil {
		return r
	}
	r.Rewrite = maybe(s, "rewrite", s.rewrite)
	r.Backends = several(s, "backends", 3, func() gateway.Destination {
		return gateway.Destination{
			Backend:         s.reference(gateway.ProtocolHTTP, gateway.ProtocolH2C, gateway.ProtocolWebSocket),
			Weight:          rapid.Uint32Range(0, 1e6).Draw(s.T, "weight"),
			RequestHeaders:  maybe(s, "destination request headers", s.headers),
			ResponseHeaders: maybe(s, "destination response headers", s.headers),
			Rewrite:         maybe(s, "destination rewrite", s.rewrite),
			Redirect:        maybe(s, "destination redirect", s.redirect),
			CORS:            maybe(s, "destination cors", s.cors),
			Auth:            maybe(s, "destination auth", s.auth),
			Mirrors:         several(s, "destination mirrors", 1, s.mirror),
		}
	})
	return r
}

func (s *source) match() gateway.Match {
	values := func() gateway.ValueMatch {
		return one(s, "value", gateway.ValueMatch{Name: "x-a", Value: "100%"}, gateway.ValueMatch{Name: "host", Value: "a.*", Regex: true})
	}
	m := one(s, "path", gateway.Match{}, gateway.Match{Path: gateway.PathExact, Value: "/"}, gateway.Match{Path: gateway.PathPrefix, Value: "/"},
		gateway.Match{Path: gateway.PathPrefix, Value: "/a"}, gateway.Match{Path: gateway.PathPrefix, Value: "/" + strings.Repeat("long/", 200)},
		gateway.Match{Path: gateway.PathRegex, Value: "/[a-z]{1,100}"})
	m.Method = one(s, "method", "", http.MethodGet, http.MethodOptions)
	m.Headers = several(s, "headers", 1, values)
	m.Query = several(s, "query", 1, values)
	m.GRPC = rapid.Bool().Draw(s.T, "grpc")
	return m
}

func (s *source) headers() gateway.HeaderChange {
	h := func() gateway.Header {
		return gateway.Header{Name: one(s, "name", "x-a", "X-B", "Cookie"), Value: one(s, "value", "", "100%", "%REQ(a)%", "v")}
	}
	return gateway.HeaderChange{Set: several(s, "set", 2, h), Add: several(s, "add", 2, h), Remove: several(s, "remove", 2, func() string { return h().Name })}
}

func (s *source) cors() gateway.CORS {
	words := func() string { return one(s, "word", "*", "GET", "x-a") }
	return gateway.CORS{
		Origins:     several(s, "origins", 2, func() string { return one(s, "origin", "*", "https://a.com", "https://*.b.com:80") }),
		Credentials: rapid.Bool().Draw(s.T, "credentials"),
		Methods:     several(s, "methods", 2, words),
		Headers:     several(s, "allowed", 2, words),
		Expose:      several(s, "expose", 2, words),
		MaxAge:      rapid.Int32Range(0, 10).Draw(s.T, "age"),
	}
}

func (s *source) auth() gateway.ExternalAuth {
	a := gateway.ExternalAuth{GRPC: rapid.Bool().Draw(s.T, "grpc"), Path: one(s, "path", "", "/", "/a/"), Body: rapid.Uint32Range(0, 10).Draw(s.T, "body")}
	p := gateway.ProtocolHTTP
	if a.GRPC {
		p = gateway.ProtocolH2C
	}
	a.Backend = s.reference(p)
	a.RequestHeaders = several(s, "sent", 2, func() string { return "x-a" })
	a.ResponseHeaders = several(s, "taken", 2, func() string { return "x-b" })
	return a
}

func (s *source) mirror() gateway.Mirror {
	return gateway.Mirror{Backend: s.backends[gateway.ProtocolHTTP][0], Numerator: rapid.Uint32Range(0, 3).Draw(s.T, "numerator"), Denominator: 3}
}

func (s *source) duration() time.Duration {
	return one(s, "duration", 0, time.Microsecond, time.Second, time.Hour)
}

func (s *source) path() gateway.PathChange {
	return one(s, "change", gateway.PathChange{Full: text("/100%")}, gateway.PathChange{Prefix: text("/")}, gateway.PathChange{Prefix: text("")}, gateway.PathChange{Prefix: text(`/n\1/`)})
}

func (s *source) rewrite() gateway.Rewrite {
	return gateway.Rewrite{Hostname: one(s, "to", "", "in.example.com"), Path: maybe(s, "path", s.path)}
}

func (s *source) redirect() gateway.Redirect {
	return gateway.Redirect{
		Scheme: one(s, "scheme", "", "http", "https"), Hostname: one(s, "to", "", "a.com"), Port: one[uint16](s, "port", 0, 8080),
		Path: maybe(s, "path", s.path), Status: one(s, "status", 301, 302, 303, 307, 308),
	}
}

// TestProperties holds for every valid Model.
func TestProperties(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := model(t)
		before := fmt.Sprintf("%+v", m)
		s := xds.Settings{NoIPv6: rapid.Bool().Draw(t, "IPv6"), ProxyProtocol: rapid.Bool().Draw(t, "PROXY"), AccessLog: rapid.SampledFrom([]xds.AccessLog{xds.AccessLogNone, xds.AccessLogText, xds.AccessLogJSON}).Draw(t, "log")}
		r := xds.Encode(m, shifted, s)
		if before != fmt.Sprintf("%+v", m) {
			t.Error("the Model was changed")
		}
		if !bytes.Equal(wire(t, r), wire(t, xds.Encode(m, shifted, s))) {
			t.Error("two encodings differ")
		}
		checkNames(t, m, r)
		checkReferences(t, r)
		for _, l := range r.Listeners {
			checkChains(t, l)
		}
		for _, c := range r.Routes {
			checkHosts(t, c)
		}
	})
}

// failer is what rapid and the standard library have in common.
type failer interface {
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

func wire(t failer, r xds.Resources) []byte {
	var out bytes.Buffer
	forAll(r, func(name string, m proto.Message) {
		value, err := proto.MarshalOptions{Deterministic: true}.Marshal(m)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		fmt.Fprintf(&out, "%s %x\n", name, value)
	})
	return out.Bytes()
}

func forAll(r xds.Resources, f func(string, proto.Message)) {
	inOrder(r.Listeners, f)
	inOrder(r.Routes, f)
	inOrder(r.Clusters, f)
	inOrder(r.Secrets, f)
}

func checkNames(t failer, m *gateway.Model, r xds.Resources) {
	forAll(r, func(name string, m2 proto.Message) {
		if own := m2.(interface{ GetName() string }).GetName(); own != name || !strings.HasPrefix(name, m.Gateway.String()+"/") {
			t.Errorf("%q is called %q", name, own)
		}
	})
}

// checkReferences also runs the checks that Envoy's own API description asks for.
func checkReferences(t failer, r xds.Resources) {
	cluster := func(name string) {
		if name != xds.Nowhere && r.Clusters[name] == nil {
			t.Errorf("no cluster %q", name)
		}
	}
	var filters []*hcmv3.HttpFilter
	forAll(r, func(name string, m proto.Message) {
		err := envoytest.Walk(proto.Clone(m), func(m proto.Message) error {
			if v, ok := m.(interface{ ValidateAll() error }); ok {
				if err := v.ValidateAll(); err != nil {
					return err
				}
			}
			switch m := m.(type) {
			case *hcmv3.HttpConnectionManager:
				if r.Routes[m.GetRds().RouteConfigName] == nil {
					t.Errorf("no table %q", m.GetRds().RouteConfigName)
				}
				if filters == nil {
					filters = m.HttpFilters
				}
				if !slices.EqualFunc(filters, m.HttpFilters, func(a, b *hcmv3.HttpFilter) bool { return proto.Equal(a, b) }) {
					t.Errorf("filters differ: %v", m.HttpFilters)
				}
			case *tlsv3.SdsSecretConfig:
				if r.Secrets[m.Name] == nil {
					t.Errorf("no secret %q", m.Name)
				}
			case *routev3.WeightedCluster_ClusterWeight:
				cluster(m.Name)
			case *routev3.RouteAction_RequestMirrorPolicy:
				cluster(m.Cluster)
			case *routev3.RouteAction:
				if m.GetCluster() != "" {
					cluster(m.GetCluster())
				}
			case *clusterv3.Cluster:
				if c := m.EdsClusterConfig; c != nil && len(r.Assignments[c.ServiceName].Parts) == 0 {
					t.Errorf("no endpoints %q", c.ServiceName)
				}
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	})
	for name, a := range r.Assignments {
		for _, p := range a.Parts {
			if p.Weight == 0 || p.Transport == "" {
				t.Errorf("%s: %+v", name, p)
			}
		}
	}
}

func checkChains(t failer, l *listenerv3.Listener) {
	if len(l.FilterChains) == 0 && l.DefaultFilterChain == nil && l.UdpListenerConfig == nil {
		t.Errorf("%s has no filter chain", l.Name)
	}
	matches, names := map[string]bool{}, map[string]bool{}
	for _, c := range l.FilterChains {
		servers := c.FilterChainMatch.ServerNames
		if len(servers) == 0 {
			servers = []string{""}
		}
		for _, server := range servers {
			match := c.FilterChainMatch.TransportProtocol + " " + server
			if matches[match] || server == "*" {
				t.Errorf("%s: two chains for %q", l.Name, match)
			}
			matches[match] = true
		}
		if names[c.Name] {
			t.Errorf("%s: two chains %q", l.Name, c.Name)
		}
		names[c.Name] = true
	}
}

func checkHosts(t failer, c *routev3.RouteConfiguration) {
	domains, names := map[string]bool{}, map[string]bool{}
	for _, v := range c.VirtualHosts {
		for _, d := range v.Domains {
			if domains[d] {
				t.Errorf("%s: two hosts %q", c.Name, d)
			}
			domains[d] = true
		}
		if names[v.Name] {
			t.Errorf("%s: two virtual hosts %q", c.Name, v.Name)
		}
		names[v.Name] = true
	}
}

// TestEnvoyTakesRandom has the real Envoy load many random Gateways at once.
func TestEnvoyTakesRandom(t *testing.T) {
	envoytest.Binary(t)
	settings := xds.Settings{SystemAuthorities: filepath.Join(t.TempDir(), "ca.pem")}
	if err := os.WriteFile(settings.SystemAuthorities, authority(t, "system").bundle, 0o600); err != nil {
		t.Fatal(err)
	}
	all := xds.Resources{Listeners: map[string]*listenerv3.Listener{}, Routes: map[string]*routev3.RouteConfiguration{}, Clusters: map[string]*clusterv3.Cluster{}, Secrets: map[string]*tlsv3.Secret{}}
	for seed := range 50 {
		m := withPEM(t, rapid.Custom(model).Example(seed))
		m.Gateway.Name = fmt.Sprint("random", seed)
		r := xds.Encode(m, func(number uint16, _ gateway.Transport) uint16 { return uint16(10000 + 10*seed + int(number)%10) }, settings)
		maps.Copy(all.Listeners, r.Listeners)
		maps.Copy(all.Routes, r.Routes)
		maps.Copy(all.Clusters, r.Clusters)
		maps.Copy(all.Secrets, r.Secrets)
	}
	envoytest.Validate(t, all)
}
