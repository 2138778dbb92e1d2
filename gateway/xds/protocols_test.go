package xds_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

func TestProtocols(t *testing.T) {
	w := newWorld(t)
	pod := serve(t, echoing("pod"))
	upgraded := w.backend("ws", gateway.ProtocolWebSocket, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		fmt.Fprintf(buffered, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n\r\n", r.Header.Get("Upgrade"))
		_ = buffered.Flush()
		_, _ = io.Copy(conn, buffered)
	})))
	w.table(80, host("*", to("/h1", w.backend("h1", gateway.ProtocolHTTP, pod)), to("/h2", w.backend("h2", gateway.ProtocolH2C, pod)), to("/ws", upgraded)))
	w.start()
	for name, protocols := range map[string]func(*http.Protocols){"HTTP/1.1": http1, "HTTP/2.0": h2c} {
		c := w.client(80, protocols, nil)
		for path, want := range map[string]string{"/h1": "HTTP/1.1", "/h2": "HTTP/2.0"} {
			if a := get(t, c, "http://a.example.com"+path); a.Version != want || a.Proto != name {
				t.Errorf("%s over %s reached the backend over %s", path, a.Proto, a.Version)
			}
		}
	}
	conn, err := net.Dial("tcp", w.address(80, gateway.TCP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprint(conn, "GET /ws HTTP/1.1\r\nHost: a.example.com\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
	read := bufio.NewReader(conn)
	response, err := http.ReadResponse(read, nil)
	if err != nil || response.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("upgrading: %v %v", response, err)
	}
	defer response.Body.Close()
	fmt.Fprint(conn, "ping\n")
	if line, err := read.ReadString('\n'); line != "ping\n" {
		t.Errorf("over the WebSocket: %q %v", line, err)
	}
}

// TestClientAddress is what the pod learns of the client, and whom Envoy
// believes.
func TestClientAddress(t *testing.T) {
	for name, tt := range map[string]struct {
		settings xds.Settings
		before   string
		want     string
	}{
		"by default":       {xds.Settings{}, "", "127.0.0.1"},
		"behind one proxy": {xds.Settings{TrustedHops: 1}, "", "192.0.2.7"},
		"PROXY protocol":   {xds.Settings{ProxyProtocol: true}, "PROXY TCP4 192.0.2.8 192.0.2.1 1234 80\r\n", "192.0.2.8"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.settings = tt.settings
			w.table(80, host("*", to("/", w.echo("b"))))
			w.start()
			conn, err := net.Dial("tcp", w.address(80, gateway.TCP))
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			fmt.Fprint(conn, tt.before+"GET / HTTP/1.1\r\nHost: a.example.com\r\nX-Forwarded-For: 192.0.2.7\r\nX-Envoy-Max-Retries: 9\r\nConnection: close\r\n\r\n")
			response, err := http.ReadResponse(bufio.NewReader(conn), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			var e echoed
			if err := json.NewDecoder(response.Body).Decode(&e); err != nil {
				t.Fatal(err)
			}
			if got := e.Sent.Get("X-Envoy-External-Address"); got != tt.want {
				t.Errorf("the client is %s to Envoy, not %s", got, tt.want)
			}
			if via := e.Sent.Get("X-Forwarded-For"); !strings.HasPrefix(via, "192.0.2.7,") {
				t.Errorf("X-Forwarded-For is %q", via)
			}
			if e.Sent.Get("X-Envoy-Max-Retries") != "" {
				t.Error("a client's word to Envoy went through")
			}
		})
	}
}

// TestNobodyIsInternal: a client in a private network, here on loopback, with no
// proxy before it, is an outsider to Envoy, too.
func TestNobodyIsInternal(t *testing.T) {
	w := newWorld(t)
	w.table(80, host("*", to("/", w.echo("b"))))
	w.start()
	const expected = "X-Envoy-Expected-Rq-Timeout-Ms"
	a := get(t, w.client(80, http1, nil), "http://a.example.com/", "X-Envoy-Upstream-Rq-Timeout-Ms: 9999", expected+": 9999")
	if a.Sent.Get("X-Envoy-Internal") != "" || a.Sent.Get(expected) != "" {
		t.Errorf("a client on loopback is internal to Envoy: the pod was sent %v", a.Sent)
	}
}

// Envoy keeps to the limits of a fleet: on the size of headers, and on requests of
// a connection.
func TestLimits(t *testing.T) {
	w := newWorld(t)
	w.settings = xds.Settings{RequestHeadersKiB: 4, RequestsPerConnection: 2, StreamIdleTimeout: -1, ConnectionIdleTimeout: -1, ConnectTimeout: -1}
	w.table(80, host("*", to("/", w.echo("b"))))
	w.start()
	c := w.client(80, http1, nil)
	if a := get(t, c, "http://a.example.com/", "X-Long: "+strings.Repeat("x", 5<<10)); a.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("with headers beyond the limit: %s", a.Status)
	}
	conn, err := net.Dial("tcp", w.address(80, gateway.TCP))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	read := bufio.NewReader(conn)
	for n := range 2 {
		fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: a.example.com\r\n\r\n")
		response, err := http.ReadResponse(read, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, response.Body); err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if last := n == 1; response.StatusCode != http.StatusOK || response.Close != last {
			t.Errorf("request %d: %s, the last one of its connection: %v, want %v", n+1, response.Status, response.Close, last)
		}
	}
}

// A client that stops reading for a while, as one does that has lost its radio, gets all of the last answer on its connection.
// How much of an answer the kernel takes off Envoy is not known, so there are many, of which some are with Envoy to their end,
// and not all with the kernel.
func TestLateReader(t *testing.T) {
	w := newWorld(t)
	w.table(80, host("*", to("/", w.backend("b", gateway.ProtocolHTTP, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(strings.TrimPrefix(r.URL.Path, "/"))
		_, _ = io.WriteString(w, strings.Repeat("x", size))
	}))))))
	w.start()
	address := w.address(80, gateway.TCP)
	var clients sync.WaitGroup
	defer clients.Wait()
	for size := 2 << 20; size <= 5<<20; size += 1 << 17 {
		clients.Go(func() {
			if err := readLate(address, size); err != nil {
				t.Errorf("an answer of %d bytes: %v", size, err)
			}
		})
	}
}

func readLate(address string, size int) error {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /%d HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n\r\n", size)
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	time.Sleep(2 * time.Second) // Envoy's own limit is one
	got, err := io.Copy(io.Discard, response.Body)
	if err == nil && got != int64(size) {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return fmt.Errorf("after %d bytes: %w", got, err)
	}
	return nil
}
