package xds_test

import (
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// TestBackoff keeps the wait between tries inside of what Envoy takes: a whole
// millisecond at least, and the longest not before the shortest.
func TestBackoff(t *testing.T) {
	for asked, want := range map[time.Duration]time.Duration{
		time.Microsecond:    time.Millisecond,
		time.Second:         time.Second,
		399_996 * time.Hour: 365 * 24 * time.Hour,
		math.MaxInt64:       365 * 24 * time.Hour,
	} {
		m := &gateway.Model{Ports: []gateway.Port{{Number: 80, Transport: gateway.TCP, HTTP: &gateway.Table{Hosts: []*gateway.Host{host("*", &gateway.Rule{
			Backends: []gateway.Destination{{Backend: "a", Weight: 1}}, Retry: &gateway.Retry{Attempts: 1, Backoff: asked},
		})}}}}, Backends: []gateway.Backend{{ID: "a", Protocol: gateway.ProtocolHTTP}}}
		for _, table := range xds.Encode(m, shifted, xds.Settings{}).Routes {
			got := table.VirtualHosts[0].Routes[0].GetRoute().RetryPolicy.RetryBackOff
			if got.BaseInterval.AsDuration() != want || got.MaxInterval.AsDuration() != 10*want {
				t.Errorf("%v: %v to %v", asked, got.BaseInterval.AsDuration(), got.MaxInterval.AsDuration())
			}
		}
	}
}

// dying is a pod that takes a request and resets the connection, for as many
// requests as there are. It tells how many it took.
func dying(t *testing.T) (*httptest.Server, *atomic.Int32) {
	t.Helper()
	taken := &atomic.Int32{}
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		taken.Add(1)
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(s.Close)
	return s, taken
}

// silent is an address that answers nobody, as that of a pod whose network is gone.
func silent(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_NONBLOCK|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = syscall.Close(fd) })
	if err := errors.Join(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), syscall.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	in4 := name.(*syscall.SockaddrInet4)
	address := netip.AddrPortFrom(netip.AddrFrom4(in4.Addr), uint16(in4.Port))
	// The kernel takes one connection, which nobody accepts, and drops what comes after.
	for {
		conn, err := net.DialTimeout("tcp", address.String(), 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
}

// TestSilentPod: a request that a pod does not even connect for is asked of another, whatever its method.
func TestSilentPod(t *testing.T) {
	w := newWorld(t)
	w.settings.ConnectTimeout = 50 * time.Millisecond
	half := w.backend("half", gateway.ProtocolHTTP, silent(t), serve(t, echoing("half")))
	w.table(80, host("*", to("/", half)))
	w.start()
	c := w.client(80, http1, nil)
	for i := range 40 {
		method := []string{http.MethodGet, http.MethodPost}[i%2]
		if a := ask(t, c, method, "http://a.example.com/", "body"); a.StatusCode != http.StatusOK || a.Text != "body" {
			t.Fatalf("%s, with one of two pods silent: %s %s", method, a.Status, a.text)
		}
	}
}

// TestBrokenOff is what becomes of requests that a pod has taken and not answered:
// what only reads is asked of another one, within the bounds of the rule, and what
// may have been carried out is not sent again.
func TestBrokenOff(t *testing.T) {
	w := newWorld(t)
	pod, taken := dying(t)
	gone := netip.MustParseAddrPort(pod.Listener.Addr().String())
	half := w.backend("half", gateway.ProtocolHTTP, gone, serve(t, echoing("half")))
	all := w.backend("all", gateway.ProtocolHTTP, gone)
	copied := w.ownRetries(w.echo("copied"))
	told := w.ownRetries(all)
	never, codes, five, mirrored := to("/never", told), to("/codes", w.ownRetries(half)), to("/five", told), to("/mirrored", half)
	never.Retry = &gateway.Retry{}
	codes.Retry = &gateway.Retry{Codes: []uint32{500}, Attempts: 3, Backoff: time.Millisecond}
	five.Retry = &gateway.Retry{Attempts: 5, Backoff: time.Millisecond}
	mirrored.Mirrors = []gateway.Mirror{{Backend: copied, Numerator: 1, Denominator: 1}}
	w.table(80, host("*", never, codes, five, mirrored, to("/half", half), to("/all", all)))
	w.start()
	c := w.client(80, http1, nil)
	for _, path := range []string{"/half", "/codes", "/mirrored"} {
		for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
			for range 20 {
				a := ask(t, c, method, "http://a.example.com"+path, "")
				if a.StatusCode != http.StatusOK {
					t.Fatalf("%s %s, with one of two pods dying: %s", method, path, a.Status)
				}
				for name := range a.Sent {
					if strings.HasPrefix(name, "X-Envoy-Retry") {
						t.Fatalf("%s %s: the pod was sent %s", method, path, name)
					}
				}
			}
		}
	}
	for _, tt := range []struct {
		method, path, header string
		taken                int32
	}{
		{http.MethodGet, "/all", "", 5},
		{http.MethodGet, "/five", "", 6},
		{http.MethodGet, "/never", "", 1},
		{http.MethodPost, "/all", "", 1},
		{http.MethodPut, "/all", "", 1},
		{http.MethodDelete, "/five", "", 1},
		{http.MethodPatch, "/all", "", 1},
		// What a client wishes is not asked.
		{http.MethodPost, "/all", "X-Envoy-Retry-On: reset", 1},
		{http.MethodGet, "/all", "X-Envoy-Retry-On: 5xx", 5},
	} {
		taken.Store(0)
		headers := []string{}
		if tt.header != "" {
			headers = append(headers, tt.header)
		}
		a := ask(t, c, tt.method, "http://a.example.com"+tt.path, "", headers...)
		if a.StatusCode != http.StatusServiceUnavailable || taken.Load() != tt.taken {
			t.Errorf("%s %s %s: %s after %d tries, want %d", tt.method, tt.path, tt.header, a.Status, taken.Load(), tt.taken)
		}
	}
}
