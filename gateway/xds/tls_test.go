package xds_test

import (
	"bufio"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/gateway"
)

// certificate adds one to the Model.
func (w *world) certificate(id string, signer *ca, names ...string) string {
	w.t.Helper()
	chain, key := signer.issue(names...)
	w.model.Certificates = append(w.model.Certificates, gateway.Certificate{ID: id, Chain: chain, Key: key})
	return id
}

func (w *world) authority(id string, c *ca) string {
	w.model.Authorities = append(w.model.Authorities, gateway.Authority{ID: id, Bundle: c.bundle})
	return id
}

// https adds servers in TLS to a port.
func (w *world) https(number uint16, servers ...gateway.TLSServer) {
	w.model.Ports = append(w.model.Ports, gateway.Port{Number: number, Transport: gateway.TCP, TLS: servers})
}

// TestMisdirected is the matrix of the Gateway API's own test.
func TestMisdirected(t *testing.T) {
	w := newWorld(t)
	signer := authority(t, "ca")
	cert := w.certificate("c", signer, "*", "*.org", "*.wildcard.org", "example.org")
	names := []string{"*", "second-example.org", "*.wildcard.org", "fourth-example.wildcard.org"}
	var servers []gateway.TLSServer
	for _, own := range names {
		b := w.echo(strings.ReplaceAll(own, "*", "any"))
		table := &gateway.Table{Name: own}
		for _, name := range names {
			h := &gateway.Host{Hostname: name, Misdirected: name != own}
			if name == own {
				h.Rules = []*gateway.Rule{to("/", b)}
			}
			table.Hosts = append(table.Hosts, h)
		}
		if own == "*" {
			table.Hosts[0] = host("example.org", to("/", b))
		}
		servers = append(servers, gateway.TLSServer{Name: own, Hostnames: []string{own}, Certificates: []string{cert}, HTTP: table})
	}
	w.sorted()
	w.https(443, servers...)
	w.start()
	for _, tt := range []struct {
		sni, host string
		want      int
	}{
		{"example.org", "example.org", 200},
		{"example.org", "second-example.org", 421},
		{"example.org", "unknown.org", 404},
		{"second-example.org", "second-example.org", 200},
		{"second-example.org", "second-example.org:443", 200},
		{"second-example.org", "unknown.org", 421},
		{"third-example.wildcard.org", "fith-example.wildcard.org", 200},
		{"third-example.wildcard.org", "a.b.wildcard.org", 200},
		{"third-example.wildcard.org", "fourth-example.wildcard.org", 421},
		{"third-example.wildcard.org", "fourth-example.wildcard.org:443", 421},
		{"fourth-example.wildcard.org", "fith-example.wildcard.org", 421},
		{"unknown.org", "example.org", 200},
	} {
		c := w.client(443, http2, &tls.Config{RootCAs: signer.pool(), ServerName: tt.sni, InsecureSkipVerify: true})
		for range 2 { // on one connection
			a := get(t, c, "https://x/", "Host: "+tt.host)
			if a.StatusCode != tt.want || a.ProtoMajor != 2 {
				t.Errorf("%+v: %s over %s", tt, a.Status, a.Proto)
			}
		}
	}
}

// hello sends a ClientHello and returns all that comes back, and the error.
func hello(t *testing.T, address, sni string) (string, error) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	spy := &spy{Conn: conn}
	client := tls.Client(spy, &tls.Config{ServerName: sni, InsecureSkipVerify: true})
	if err := client.Handshake(); err == nil {
		t.Fatalf("%s: the handshake succeeded", sni)
	}
	_, err = io.Copy(&spy.heard, conn)
	return spy.heard.String(), err
}

// spy keeps what it reads.
type spy struct {
	net.Conn
	heard strings.Builder
}

func (s *spy) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.heard.Write(p[:n])
	return n, err
}

// greeting is a TCP service that names itself and then repeats what it hears.
func greeting(t testing.TB, name string) netip.AddrPort {
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
			go func() {
				defer conn.Close()
				_, _ = io.WriteString(conn, name+"\n")
				_, _ = io.Copy(conn, conn)
			}()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

func stream(backends ...gateway.Destination) *gateway.Stream {
	return &gateway.Stream{Backends: backends}
}

func TestTLSStreams(t *testing.T) {
	w := newWorld(t)
	signer := authority(t, "ca")
	cert := w.certificate("c", signer, "term.example.com", "web.example.com")
	secure := httptest.NewUnstartedServer(echoing("secure"))
	secure.TLS = &tls.Config{Certificates: []tls.Certificate{signer.pair("pass.example.com")}}
	secure.StartTLS()
	t.Cleanup(secure.Close)
	pass := w.backend("pass", gateway.ProtocolTCP, netip.MustParseAddrPort(secure.Listener.Addr().String()))
	plain := w.backend("plain", gateway.ProtocolTCP, greeting(t, "plain"))
	web := w.echo("web")
	w.https(443,
		gateway.TLSServer{Name: "pass", Hostnames: []string{"pass.example.com"}, Stream: stream(gateway.Destination{Backend: pass, Weight: 1})},
		gateway.TLSServer{Name: "term", Hostnames: []string{"term.example.com"}, Certificates: []string{cert}, Stream: stream(gateway.Destination{Backend: plain, Weight: 1})},
		gateway.TLSServer{Name: "web", Hostnames: []string{"web.example.com"}, Certificates: []string{cert}, HTTP: &gateway.Table{Name: "web", Hosts: []*gateway.Host{host("*", to("/", web))}}},
		gateway.TLSServer{Name: "passed", Hostnames: []string{"passed.example.com"}, Stream: stream()},
		gateway.TLSServer{Name: "lost", Hostnames: []string{"lost.example.com"}, Certificates: []string{cert}, Stream: stream(gateway.Destination{Weight: 1})},
	)
	w.model.Ports[0].HTTP = &gateway.Table{Name: "up", Hosts: []*gateway.Host{host("*", to("/", web))}}
	w.start()
	address := w.address(443, gateway.TCP)

	c := w.client(443, http1, &tls.Config{RootCAs: signer.pool()})
	if a := get(t, c, "https://pass.example.com/"); a.Pod != "secure" {
		t.Errorf("passed through: %s by %q", a.Status, a.Pod)
	}
	if a := get(t, c, "https://web.example.com/"); a.Pod != "web" {
		t.Errorf("HTTPS beside it: %s by %q", a.Status, a.Pod)
	}
	if a := get(t, w.client(443, http1, nil), "http://web.example.com/"); a.Pod != "web" {
		t.Errorf("plain HTTP beside it: %s by %q", a.Status, a.Pod)
	}
	conn, err := tls.Dial("tcp", address, &tls.Config{RootCAs: signer.pool(), ServerName: "term.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if line, err := bufio.NewReader(conn).ReadString('\n'); line != "plain\n" {
		t.Errorf("terminated: %q %v", line, err)
	}
	for _, sni := range []string{"unknown.example.com", "passed.example.com", "lost.example.com"} {
		if heard, err := hello(t, address, sni); heard != "" {
			t.Errorf("%s heard %q (%v), where it should be closed without a word", sni, heard, err)
		}
	}
}

func TestClientCertificates(t *testing.T) {
	w := newWorld(t)
	signer, clients, more, wrong := authority(t, "ca"), authority(t, "clients"), authority(t, "more"), authority(t, "wrong")
	cert := w.certificate("c", signer, "strict.example.com", "lax.example.com", "none.example.com")
	authorities := []string{w.authority("clients", clients), w.authority("more", more)}
	b := w.echo("b")
	server := func(name string, client *gateway.ClientValidation) gateway.TLSServer {
		return gateway.TLSServer{
			Name: name, Hostnames: []string{name + ".example.com"}, Certificates: []string{cert}, Client: client,
			HTTP: &gateway.Table{Name: name, Hosts: []*gateway.Host{host("*", to("/", b))}},
		}
	}
	w.https(443, server("strict", &gateway.ClientValidation{Authorities: authorities}),
		server("lax", &gateway.ClientValidation{Authorities: authorities, InsecureFallback: true}),
		server("none", &gateway.ClientValidation{}))
	w.start()
	for _, tt := range []struct {
		host string
		by   *ca
		want bool
	}{
		{"strict", clients, true},
		{"strict", more, true},
		{"strict", wrong, false},
		{"strict", nil, false},
		{"lax", clients, true},
		{"lax", wrong, true},
		{"lax", nil, true},
		{"none", clients, false},
		{"none", nil, false},
	} {
		asked := false
		config := &tls.Config{RootCAs: signer.pool(), GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			if tt.by == nil {
				return &tls.Certificate{}, nil
			}
			pair := tt.by.pair("client.example.com")
			return &pair, nil
		}}
		a, err := try(w.client(443, http1, config), http.MethodGet, "https://"+tt.host+".example.com/", "")
		if (err == nil && a.StatusCode == http.StatusOK) != tt.want || !asked {
			t.Errorf("%s, certificate %v: %v, asked for one: %v", tt.host, tt.by != nil, err, asked)
		}
	}
}

// secureEcho is an HTTPS server that asks for a client certificate.
func secureEcho(t testing.TB, name string, signer *ca, names ...string) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(echoing(name))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{signer.pair(names...)}, ClientAuth: tls.RequestClientCert}
	s.EnableHTTP2 = true
	s.Config.ErrorLog = nil
	s.StartTLS()
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

func TestBackendTLS(t *testing.T) {
	w := newWorld(t)
	signer, other := authority(t, "ca"), authority(t, "other")
	ca, wrong := w.authority("ca", signer), w.authority("other", other)
	client := w.certificate("client", signer, "gateway.example.com")
	pod := secureEcho(t, "pod", signer, "abc.example.com", "x.wild.example.com", "spiffe://example.com/app")
	dns := func(name string) []gateway.SAN { return []gateway.SAN{{DNS: name}} }
	var rules []*gateway.Rule
	want := map[string]bool{}
	add := func(name string, works bool, protocol gateway.Protocol, config gateway.BackendTLS) {
		id := w.backend(name, protocol, pod)
		w.model.Backends[len(w.model.Backends)-1].TLS = &config
		rules = append(rules, to("/"+name, id))
		want["/"+name] = works
	}
	add("name", true, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{ca}, ClientCertificate: client})
	add("two-authorities", true, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{wrong, ca}})
	add("h2", true, gateway.ProtocolH2C, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{ca}})
	add("uri", true, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "sni.example.com", Authorities: []string{ca}, SANs: []gateway.SAN{{DNS: "no.example.com"}, {URI: "spiffe://example.com/app"}}})
	add("wild", true, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "sni.example.com", Authorities: []string{ca}, SANs: dns("*.wild.example.com")})
	add("other-name", false, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "no.example.com", Authorities: []string{ca}})
	add("san-replaces", false, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{ca}, SANs: dns("no.example.com")})
	add("too-wild", false, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{ca}, SANs: dns("*.com")})
	add("other-authority", false, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com", Authorities: []string{wrong}})
	add("no-authority", false, gateway.ProtocolHTTP, gateway.BackendTLS{ServerName: "abc.example.com"})
	add("broken", false, gateway.ProtocolHTTP, gateway.BackendTLS{Broken: true})
	w.table(80, host("*", rules...))
	w.start()
	c := w.client(80, http1, nil)
	for path, works := range want {
		a := get(t, c, "http://a.example.com"+path)
		if works != (a.StatusCode == http.StatusOK && a.Pod == "pod") || !works && a.StatusCode != http.StatusServiceUnavailable {
			t.Errorf("%s: %s %s", path, a.Status, a.text)
		}
		if path == "/name" && !slices.Equal(a.Subject, []string{"gateway.example.com"}) {
			t.Errorf("the backend saw the certificate of %v", a.Subject)
		}
		if path == "/h2" && a.Version != "HTTP/2.0" {
			t.Errorf("%s was asked over %s", path, a.Version)
		}
	}
}
