package lab

import (
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/websocket"
	"google.golang.org/grpc"
	"google.golang.org/grpc/reflection"
	"sigs.k8s.io/gateway-api-conformance-images/echo-basic/grpcechoserver"
)

// GOAWAY is found wherever the reads cut the frames.
func TestGoAwayIsFound(t *testing.T) {
	data := append([]byte{0, 0, 9, 0, 0, 0, 0, 0, 1}, 0, 0, 8, 7, 0, 0, 0, 0, 0) // a payload that looks like one
	away := append([]byte{0, 0, 8, frameGoAway, 0, 0, 0, 0, 0}, make([]byte, 8)...)
	for size := 1; size <= len(data)+len(away); size++ {
		var f frames
		for part := range slices.Chunk(data, size) {
			if f.goAway(part) {
				t.Errorf("%d bytes at a time: found in data", size)
			}
		}
		seen := 0
		for part := range slices.Chunk(slices.Concat(away, data, away), size) {
			if f.goAway(part) {
				seen++
			}
		}
		want := 2
		if end := len(f.header) - 1; end/size == (len(away)+len(data)+end)/size {
			want = 1 // both headers end in one read
		}
		if seen != want {
			t.Errorf("%d bytes at a time: %d reads had one, want %d", size, seen, want)
		}
	}
}

// host is a server for guests, which can leave them in two ways.
type host struct {
	address string
	dismiss func() // asks clients to leave
	mu      sync.Mutex
	conns   []net.Conn
}

// keeper keeps connections, so that die can close also those that were upgraded.
type keeper struct {
	net.Listener
	h *host
}

func (k keeper) Accept() (net.Conn, error) {
	c, err := k.Listener.Accept()
	if err == nil {
		k.h.mu.Lock()
		k.h.conns = append(k.h.conns, c)
		k.h.mu.Unlock()
	}
	return c, err
}

// die ends all connections without a word.
func (h *host) die() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, c := range h.conns {
		c.Close()
	}
}

func newHost(t *testing.T, kind GuestKind) *host {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &host{address: l.Addr().String()}
	if kind.CallsGRPC() {
		h.serveGRPC(t, keeper{l, h})
	} else {
		h.serveHTTP(t, keeper{l, h}, kind.framed)
	}
	return h
}

type echo struct {
	grpcechoserver.UnimplementedGrpcEchoServer
}

func (echo) Echo(context.Context, *grpcechoserver.EchoRequest) (*grpcechoserver.EchoResponse, error) {
	return &grpcechoserver.EchoResponse{}, nil
}

func (h *host) serveGRPC(t *testing.T, l net.Listener) {
	s := grpc.NewServer()
	grpcechoserver.RegisterGrpcEchoServer(s, echo{})
	reflection.Register(s)
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	h.dismiss = func() { served.Go(s.GracefulStop) }
	t.Cleanup(func() { s.Stop(); served.Wait() })
}

func (h *host) serveHTTP(t *testing.T, l net.Listener, two bool) {
	var leaving atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() { // also HTTP/2 servers in Go take it for an order to leave
			w.Header().Set("Connection", "close")
		}
		io.WriteString(w, "hello")
	})
	mux.Handle("/ws", websocket.Handler(func(c *websocket.Conn) { io.Copy(c, c) }))
	protocols := &http.Protocols{}
	protocols.SetHTTP1(!two)
	protocols.SetUnencryptedHTTP2(two)
	s := &http.Server{Handler: mux, Protocols: protocols}
	var served sync.WaitGroup
	served.Go(func() { s.Serve(l) })
	h.dismiss = func() { leaving.Store(true) }
	t.Cleanup(func() { s.Close(); served.Wait() })
}

// guestsAt starts a guest at a host, waits until it is served, has f end its
// stay there, and waits until it is served at another host.
func guestsAt(t *testing.T, kind GuestKind, f func(*host)) Stay {
	t.Helper()
	first, second := newHost(t, kind), newHost(t, kind)
	var at atomic.Pointer[host]
	at.Store(first)
	g, err := StartGuests(t.Context(), kind, 1, "guests.example", time.Millisecond, 10*time.Second, func(ctx context.Context) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "tcp", at.Load().address)
	})
	if err != nil {
		t.Fatal(err)
	}
	served := func() int {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.stay.Asked - g.stay.Failed
	}
	await := func(what string, ok func() bool) {
		t.Helper()
		for end := time.Now().Add(time.Minute); !ok(); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: waited in vain for %s: %+v", kind.Name, what, g.Stop())
			}
		}
	}
	await("its first answer", func() bool { return served() > 0 })
	at.Store(second)
	f(first)
	await("it to come to the second", func() bool {
		second.mu.Lock()
		defer second.mu.Unlock()
		return len(second.conns) > 0
	})
	before := served()
	await("an answer there", func() bool { return served() > before+1 })
	return g.Stop()
}

func TestGuestsThatAreToldToGo(t *testing.T) {
	for _, kind := range []GuestKind{HTTP1, HTTP2, GRPC, GRPCStream} {
		t.Run(kind.Name, func(t *testing.T) {
			got := guestsAt(t, kind, func(h *host) { h.dismiss() })
			if got.Connections != 2 || got.Told != 1 || got.Broken != 0 || got.Failed != 0 {
				t.Errorf("%+v; want 2 connections, told on one, nothing broken and nothing failed", got)
			}
		})
	}
}

func TestGuestsWhoseConnectionBreaks(t *testing.T) {
	for _, kind := range []GuestKind{HTTP1, HTTP2, WebSocket, GRPC, GRPCStream} {
		t.Run(kind.Name, func(t *testing.T) {
			got := guestsAt(t, kind, func(h *host) { h.die() })
			if got.Connections != 2 || got.Told != 0 || got.Broken != 1 {
				t.Errorf("%+v; want 2 connections, told on none, one broken", got)
			}
		})
	}
}
