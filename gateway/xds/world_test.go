package xds_test

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
	"github.com/fairlead/fairlead/gateway/xds/envoytest"
)

// world is a Gateway, an Envoy that is it, and the pods behind.
type world struct {
	t        *testing.T
	model    *gateway.Model
	settings xds.Settings
	where    envoytest.Endpoints
	envoy    *envoytest.Envoy
	// bootstrap is what Envoy starts with beside what it always does.
	bootstrap map[string]any
}

func newWorld(t *testing.T) *world {
	t.Helper()
	envoytest.Binary(t)
	return &world{t: t, model: &gateway.Model{Gateway: gateway.Name{Namespace: "test", Name: "gw"}}, where: envoytest.Endpoints{}}
}

// start runs the Envoy.
func (w *world) start() {
	w.t.Helper()
	w.envoy = envoytest.Start(w.t, w.encode(), w.where, w.bootstrap)
}

func (w *world) encode() xds.Resources { return xds.Encode(w.model, envoytest.AnyPort, w.settings) }

// backend adds a Service with these pods. It returns its ID.
func (w *world) backend(name string, protocol gateway.Protocol, pods ...netip.AddrPort) string {
	service := gateway.Name{Namespace: "test", Name: name}
	id := fmt.Sprintf("%s/%s", service, protocol)
	w.model.Backends = append(w.model.Backends, gateway.Backend{ID: id, Service: service, Port: 80, Protocol: protocol})
	w.where[service] = pods
	return id
}

// ownRetries adds a backend as what says itself what is tried again refers to it.
func (w *world) ownRetries(id string) string {
	i := slices.IndexFunc(w.model.Backends, func(b gateway.Backend) bool { return b.ID == id })
	own := w.model.Backends[i]
	own.ID, own.OwnRetries = own.ID+"/own-retries", true
	w.model.Backends = append(w.model.Backends, own)
	return own.ID
}

// echo adds a Service with a pod that tells what it was asked.
func (w *world) echo(name string) string {
	return w.backend(name, gateway.ProtocolHTTP, serve(w.t, echoing(name)))
}

// serve answers HTTP/1.1 and cleartext HTTP/2 on loopback.
func serve(t testing.TB, h http.Handler) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = &http.Protocols{}
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.Start()
	t.Cleanup(s.Close)
	return netip.MustParseAddrPort(s.Listener.Addr().String())
}

// refusing is an address at which nobody listens.
func refusing(t testing.TB) netip.AddrPort {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return netip.MustParseAddrPort(l.Addr().String())
}

// echoed is what a pod was asked.
type echoed struct {
	Pod     string
	Method  string
	Host    string
	Path    string
	Version string
	Sent    http.Header
	Text    string
	Subject []string // of the client's certificate
}

func echoing(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e := echoed{Pod: name, Method: r.Method, Host: r.Host, Path: r.RequestURI, Version: r.Proto, Sent: r.Header, Text: string(body)}
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			e.Subject = r.TLS.PeerCertificates[0].DNSNames
		}
		w.Header().Set("X-Pod", name)
		if code, err := strconv.Atoi(r.Header.Get("X-Answer")); err == nil {
			w.WriteHeader(code)
		}
		_ = json.NewEncoder(w).Encode(e)
	}
}

// table adds a port with plain HTTP.
func (w *world) table(number uint16, hosts ...*gateway.Host) *gateway.Table {
	t := &gateway.Table{Name: fmt.Sprintf("http-%d", number), Hosts: hosts}
	w.model.Ports = append(w.model.Ports, gateway.Port{Number: number, Transport: gateway.TCP, HTTP: t})
	return t
}

// host serves rules, which are told apart by their prefix.
func host(name string, rules ...*gateway.Rule) *gateway.Host {
	return &gateway.Host{Hostname: name, Rules: rules}
}

// to is a rule that sends a prefix to backends, one share each.
func to(prefix string, backends ...string) *gateway.Rule {
	r := &gateway.Rule{
		Origin: gateway.Origin{Kind: "HTTPRoute", Name: gateway.Name{Namespace: "test", Name: strings.Trim(prefix, "/")}},
		Match:  gateway.Match{Path: gateway.PathPrefix, Value: prefix},
	}
	for _, b := range backends {
		r.Backends = append(r.Backends, gateway.Destination{Backend: b, Weight: 1})
	}
	return r
}

// address is where a port is served.
func (w *world) address(number uint16, transport gateway.Transport) string {
	w.t.Helper()
	return w.envoy.Address(fmt.Sprintf("test/gw/%d/%s", number, strings.ToLower(string(transport))))
}

// client sends every request to a TCP port, whatever its host.
func (w *world) client(number uint16, protocols func(*http.Protocols), config *tls.Config) *http.Client {
	w.t.Helper()
	return w.clientOf(fmt.Sprintf("test/gw/%d/tcp", number), protocols, config)
}

// clientOf sends every request to a listener.
func (w *world) clientOf(listener string, protocols func(*http.Protocols), config *tls.Config) *http.Client {
	w.t.Helper()
	address := w.envoy.Address(listener)
	transport := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "tcp", address)
		},
		TLSClientConfig: config,
		Protocols:       &http.Protocols{},
	}
	protocols(transport.Protocols)
	w.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{
		Transport:     transport,
		Timeout:       30 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

func http1(p *http.Protocols) { p.SetHTTP1(true) }
func http2(p *http.Protocols) { p.SetHTTP2(true) }
func h2c(p *http.Protocols)   { p.SetUnencryptedHTTP2(true) }

// answer is a response with its body read.
type answer struct {
	*http.Response
	echoed
	text string // whatever came back
}

// ask sends a request with headers, given as "name: value".
func ask(t testing.TB, c *http.Client, method, url, body string, headers ...string) answer {
	t.Helper()
	a, err := try(c, method, url, body, headers...)
	if err != nil {
		t.Fatalf("%s %s: %v", method, url, err)
	}
	return a
}

func try(c *http.Client, method, url, body string, headers ...string) (answer, error) {
	request, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			request.Host = value
			continue
		}
		request.Header.Add(name, value)
	}
	response, err := c.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	a := answer{Response: response, text: string(text)}
	if strings.HasPrefix(a.text, "{") {
		_ = json.Unmarshal(text, &a.echoed)
	}
	return a, err
}

func get(t testing.TB, c *http.Client, url string, headers ...string) answer {
	t.Helper()
	return ask(t, c, http.MethodGet, url, "", headers...)
}

// shares asks n times and counts the answers by what tells them apart.
func shares(n int, once func() string) map[string]int {
	seen := map[string]int{}
	for range n {
		seen[once()]++
	}
	return seen
}

// about checks that each of those named was seen in its proportion of n, within
// five standard deviations, and nothing else.
func about(t *testing.T, seen map[string]int, want map[string]float64) {
	t.Helper()
	n := 0
	for _, count := range seen {
		n += count
	}
	for what := range seen {
		if _, ok := want[what]; !ok {
			t.Errorf("unexpected: %d times %q", seen[what], what)
		}
	}
	for what, p := range want {
		off := float64(seen[what]) - p*float64(n)
		if off*off > 25*p*(1-p)*float64(n) {
			t.Errorf("%q was seen %d times of %d, its share is %.2f: %v", what, seen[what], n, p, seen)
		}
	}
}

func duration(d time.Duration) *time.Duration { return &d }

func text(s string) *string { return &s }

// sorted puts what a Model wants sorted in order.
func (w *world) sorted() {
	slices.SortFunc(w.model.Backends, func(a, b gateway.Backend) int { return strings.Compare(a.ID, b.ID) })
}
