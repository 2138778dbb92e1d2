package xds_test

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"testing"

	"github.com/fairlead/fairlead/gateway"
)

// again sends a request on an open connection, which must stay open.
func again(t *testing.T, conn net.Conn, read *bufio.Reader, path, host string) {
	t.Helper()
	fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, host)
	response, err := http.ReadResponse(read, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil || response.Close || response.StatusCode != http.StatusOK {
		t.Fatalf("the open connection: %s, to be closed: %v, %v", response.Status, response.Close, err)
	}
}

// TestNothingDrains changes what changes often under an open connection.
func TestNothingDrains(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	check := w.backend("check", gateway.ProtocolHTTP, serve(t, doorkeeper("check")))
	old := to("/old", b)
	w.table(80, host("a.example.com", old))
	w.start()
	address := w.address(80, gateway.TCP)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := bufio.NewReader(conn)
	again(t, conn, read, "/old", "a.example.com")

	// Models are not modified: this is another.
	guarded := to("/new", b)
	guarded.Auth = &gateway.ExternalAuth{Backend: check, RequestHeaders: []string{"x-new"}}
	guarded.CORS = &gateway.CORS{Origins: []string{"*"}}
	guarded.Session = &gateway.Session{Cookie: "c"}
	filters := []gateway.ExternalAuth{{Backend: check}}
	w.model = &gateway.Model{
		Gateway: w.model.Gateway, Backends: w.model.Backends,
		Ports: []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: &gateway.Table{
			Name: "http-80",
			Hosts: []*gateway.Host{
				{Hostname: "a.example.com", Auth: filters, Rules: []*gateway.Rule{old, guarded}},
				{Hostname: "b.example.com", Auth: filters, Rules: []*gateway.Rule{guarded}},
			},
		}}},
	}
	w.certificate("new", authority(t, "ca"), "new.example.com")
	w.envoy.Update(w.encode(), w.where)
	c := w.client(80, http1, nil)
	w.envoy.Await("the new route", func() error {
		if a := get(t, c, "http://b.example.com/new"); a.StatusCode != http.StatusOK {
			return fmt.Errorf("%s", a.Status)
		}
		return nil
	})
	again(t, conn, read, "/old", "a.example.com")
	for _, stat := range []string{"listener_manager.listener_modified", "listener_manager.listener_in_place_updated", "listener_manager.total_filter_chains_draining"} {
		if n := w.envoy.Stat(stat); n != 0 {
			t.Errorf("%s is %d", stat, n)
		}
	}
}

// TestNewHostname adds and removes a TLS server under an open connection to
// another.
func TestNewHostname(t *testing.T) {
	w := newWorld(t)
	signer := authority(t, "ca")
	cert := w.certificate("c", signer, "*.example.com")
	server := func(name string) gateway.TLSServer {
		return gateway.TLSServer{
			Name: name, Hostnames: []string{name + ".example.com"}, Certificates: []string{cert},
			HTTP: &gateway.Table{Name: name, Hosts: []*gateway.Host{host("*", to("/", w.echo(name)))}},
		}
	}
	stays, goes, comes := server("stays"), server("goes"), server("comes")
	w.https(443, goes, stays)
	w.start()
	conn, err := tls.Dial("tcp", w.address(443, gateway.TCP), &tls.Config{RootCAs: signer.pool(), ServerName: "stays.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := bufio.NewReader(conn)
	again(t, conn, read, "/", "stays.example.com")
	m := *w.model
	m.Ports = []gateway.Port{{Number: 443, Transport: gateway.TCP, TLS: []gateway.TLSServer{comes, stays}}}
	w.model = &m
	w.envoy.Update(w.encode(), w.where)
	w.envoy.Await("the new hostname", func() error {
		a, err := try(w.client(443, http1, &tls.Config{RootCAs: signer.pool()}), http.MethodGet, "https://comes.example.com/", "")
		if err == nil && a.Pod != "comes" {
			err = fmt.Errorf("%s", a.Status)
		}
		return err
	})
	again(t, conn, read, "/", "stays.example.com")
	if n := w.envoy.Stat("listener_manager.listener_in_place_updated"); n != 1 {
		t.Errorf("%d updates in place", n)
	}
	if heard, _ := hello(t, w.address(443, gateway.TCP), "goes.example.com"); heard != "" {
		t.Errorf("the old hostname answers %q", heard)
	}
}
