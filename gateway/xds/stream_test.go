package xds_test

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/gateway"
)

func dest(backend string, weight uint32) gateway.Destination {
	return gateway.Destination{Backend: backend, Weight: weight}
}

// streams adds a port without HTTP.
func (w *world) streams(number uint16, transport gateway.Transport, backends ...gateway.Destination) {
	w.model.Ports = append(w.model.Ports, gateway.Port{Number: number, Transport: transport, Stream: stream(backends...)})
}

// greeted connects and returns the first line, or why there was none.
func greeted(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	line, err := bufio.NewReader(conn).ReadString('\n')
	if err != nil {
		return "closed"
	}
	return line
}

func TestTCP(t *testing.T) {
	w := newWorld(t)
	a := w.backend("a", gateway.ProtocolTCP, greeting(t, "a"))
	b := w.backend("b", gateway.ProtocolTCP, greeting(t, "b"))
	half := w.backend("half", gateway.ProtocolTCP, refusing(t), greeting(t, "half"))
	idle := w.backend("idle", gateway.ProtocolTCP)
	w.streams(1, gateway.TCP, dest(a, 5), dest(b, 3), dest("", 2), dest(idle, 0))
	w.streams(2, gateway.TCP)
	w.streams(3, gateway.TCP, dest(idle, 1))
	w.streams(4, gateway.TCP, dest(half, 1))
	w.start()
	about(t, shares(400, func() string { return greeted(t, w.address(1, gateway.TCP)) }),
		map[string]float64{"a\n": .5, "b\n": .3, "closed": .2})
	for _, port := range []uint16{2, 3} {
		if got := greeted(t, w.address(port, gateway.TCP)); got != "closed" {
			t.Errorf("port %d: %q", port, got)
		}
	}
	for range 20 {
		if got := greeted(t, w.address(4, gateway.TCP)); got != "half\n" {
			t.Errorf("with one of two pods gone: %q", got)
		}
	}
}

// datagrams is a UDP service that answers with its name.
func datagrams(t testing.TB, name string) netip.AddrPort {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go func() {
		buffer := make([]byte, 1500)
		for {
			_, from, err := conn.ReadFrom(buffer)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo([]byte(name), from)
		}
	}()
	return netip.MustParseAddrPort(conn.LocalAddr().String())
}

// answered sends a datagram from a port of its own. Nothing may come back, which
// only time tells; so each is followed up before it counts as lost.
func answered(t *testing.T, address string) string {
	t.Helper()
	conn, err := net.Dial("udp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	buffer := make([]byte, 1500)
	for range 3 {
		if _, err := io.WriteString(conn, "?"); err != nil {
			continue // refused: told by the datagram before
		}
		_ = conn.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
		if n, err := conn.Read(buffer); err == nil {
			return string(buffer[:n])
		}
	}
	return "lost"
}

func TestUDP(t *testing.T) {
	w := newWorld(t)
	a := w.backend("a", gateway.ProtocolUDP, datagrams(t, "a"))
	b := w.backend("b", gateway.ProtocolUDP, datagrams(t, "b"))
	w.streams(1, gateway.UDP, dest(a, 5), dest(b, 3), dest("", 2))
	w.streams(2, gateway.UDP, dest(a, 1))
	w.streams(3, gateway.UDP)
	w.start()
	about(t, shares(200, func() string { return answered(t, w.address(1, gateway.UDP)) }),
		map[string]float64{"a": .5, "b": .3, "lost": .2})
	if got := answered(t, w.address(2, gateway.UDP)); got != "a" {
		t.Errorf("one backend: %q", got)
	}
	if got := answered(t, w.address(3, gateway.UDP)); got != "lost" {
		t.Errorf("no backend: %q", got)
	}
}
