package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// floodAt floods an address of this process until so many connections have ended.
func floodAt(t *testing.T, to netip.AddrPort, n int) *flood {
	t.Helper()
	from := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")}
	if to.Addr().Is6() {
		from = []netip.Addr{netip.IPv6Loopback()}
	}
	f := &flood{to: to, from: from, every: time.Millisecond, question: []byte("GET / HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n")}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		f.run(ctx)
		f.running.Wait()
	}()
	ended := func() int {
		f.mu.Lock()
		defer f.mu.Unlock()
		return len(f.took)
	}
	for end := time.Now().Add(time.Minute); ended() < n && time.Now().Before(end); time.Sleep(time.Millisecond) {
	}
	cancel()
	<-done
	return f
}

// Every connection is a new one, is asked once, and what it gets counts.
func TestFloodAsksOnceOnEachConnection(t *testing.T) {
	var asked, opened atomic.Int64
	var from sync.Map
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "a.example" {
			t.Errorf("asked for %q", r.Host)
		}
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		from.Store(host, true)
		if asked.Add(1) == 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	server.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			opened.Add(1)
		}
	}
	server.Start()
	defer server.Close()
	f := floodAt(t, netip.MustParseAddrPort(server.Listener.Addr().String()), 10)
	if int64(len(f.took)) != asked.Load() || opened.Load() != asked.Load() {
		t.Errorf("%d connections counted, %d opened, asked %d times", len(f.took), opened.Load(), asked.Load())
	}
	if f.failed != 1 || !strings.Contains(f.why, "503") {
		t.Errorf("%d failed, the first: %s", f.failed, f.why)
	}
	for _, a := range f.from {
		if _, ok := from.Load(a.String()); !ok {
			t.Errorf("no connection came from %s", a)
		}
	}
	if f.rate() <= 0 {
		t.Errorf("%v connections a second", f.rate())
	}
}

func TestFloodOverIPv6(t *testing.T) {
	l, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Skip("there is no IPv6 here: ", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	defer server.Close()
	if f := floodAt(t, netip.MustParseAddrPort(l.Addr().String()), 5); len(f.took) < 5 || f.failed > 0 {
		t.Errorf("%d of %d failed, the first: %s", f.failed, len(f.took), f.why)
	}
}

func TestFloodSources(t *testing.T) {
	for segment, want := range map[netip.Prefix]string{farSegment: "172.31.0.60", farSegmentIPv6: "fd00:31::3c"} {
		if got := floodSources(segment); len(got) != 16 || got[0].String() != want || !segment.Contains(got[15]) {
			t.Errorf("on %s: %v", segment, got)
		}
	}
}

// Where nobody listens, connections fail and others follow.
func TestFloodGoesOnWhenConnectionsFail(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	to := netip.MustParseAddrPort(l.Addr().String())
	l.Close()
	f := floodAt(t, to, 5)
	if len(f.took) < 5 || f.failed != len(f.took) || !strings.Contains(f.why, "refused") {
		t.Errorf("%d of %d failed, the first: %s", f.failed, len(f.took), f.why)
	}
}

func TestSlicesWritten(t *testing.T) {
	made := func(user, verb, resource string) request {
		r := request{Verb: verb}
		r.User.Username, r.Object.Resource = "system:serviceaccount:fairlead-system:fairlead-"+user, resource
		return r
	}
	got := slicesWritten([]request{
		made("controller", "patch", "endpointslices"), made("controller", "delete", "endpointslices"),
		made("controller", "watch", "endpointslices"), made("controller", "patch", "gateways"), made("speaker", "patch", "endpointslices"),
	})
	if got != 2 {
		t.Errorf("%d writes of EndpointSlices, want 2", got)
	}
}
