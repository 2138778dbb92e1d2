package bgp

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// crude is a peer that a test plays word by word, on a loopback address.
type crude struct {
	t    testing.TB
	l    net.Listener
	addr netip.AddrPort
}

func newCrude(t testing.TB, addr string) *crude {
	t.Helper()
	l, err := net.Listen("tcp", net.JoinHostPort(addr, "0"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return &crude{t: t, l: l, addr: addrPort(l.Addr())}
}

func (c *crude) peer(change ...func(*Peer)) Peer {
	p := Peer{
		Name: "crude", MyASN: 64512, PeerASN: 64513, Address: c.addr.Addr(), Port: c.addr.Port(),
		HoldTime: 30 * time.Second, ConnectTime: time.Second,
	}
	for _, f := range change {
		f(&p)
	}
	return p
}

// accept waits for the speaker to connect.
func (c *crude) accept() *line {
	c.t.Helper()
	conn, err := c.l.Accept()
	if err != nil {
		c.t.Fatal(err)
	}
	return newLine(c.t, conn)
}

type line struct {
	t    testing.TB
	conn net.Conn
}

func newLine(t testing.TB, conn net.Conn) *line {
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &line{t, conn}
}

// read returns the next message, nil at the end of the connection.
func (l *line) read() *wire.BGPMessage {
	l.t.Helper()
	head := make([]byte, headerLen)
	if _, err := io.ReadFull(l.conn, head); err != nil {
		return nil
	}
	body := make([]byte, int(binary.BigEndian.Uint16(head[16:]))-headerLen)
	if _, err := io.ReadFull(l.conn, body); err != nil {
		return nil
	}
	m, err := wire.ParseBGPMessage(append(head, body...))
	if err != nil {
		l.t.Errorf("the speaker sent what gobgp does not take: %v", err)
		return nil
	}
	return m
}

// await reads until a message of the kind comes; nil if none does.
func (l *line) await(kind uint8) *wire.BGPMessage {
	l.t.Helper()
	for {
		m := l.read()
		if m == nil || m.Header.Type == kind {
			return m
		}
	}
}

func (l *line) raw(b ...byte) {
	if _, err := l.conn.Write(b); err != nil && !errors.Is(err, net.ErrClosed) {
		l.t.Log("writing to the speaker:", err)
	}
}

func (l *line) say(m *wire.BGPMessage) {
	l.t.Helper()
	b, err := m.Serialize()
	if err != nil {
		l.t.Fatal(err)
	}
	l.raw(b...)
}

func (l *line) open(asn uint16, hold uint16, caps ...wire.ParameterCapabilityInterface) {
	l.say(wire.NewBGPOpenMessage(asn, hold, "192.0.2.250", []wire.OptionParameterInterface{wire.NewOptionParameterCapability(caps)}))
}

// establish brings the session up and returns the speaker's OPEN.
func (l *line) establish(hold uint16, caps ...wire.ParameterCapabilityInterface) *wire.BGPOpen {
	l.t.Helper()
	m := l.await(wire.BGP_MSG_OPEN)
	if m == nil {
		l.t.Fatal("no OPEN came")
	}
	l.open(64513, hold, caps...)
	l.say(wire.NewBGPKeepAliveMessage())
	return m.Body.(*wire.BGPOpen)
}

// sink is a peer that takes routes and counts them.
type sink struct {
	*crude
	updates, reach, gone, eor atomic.Int64
	lines                     sync.WaitGroup
}

func newSink(t testing.TB, addr string) *sink {
	s := &sink{crude: newCrude(t, addr)}
	s.lines.Go(func() {
		for {
			conn, err := s.l.Accept()
			if err != nil {
				return
			}
			s.lines.Go(func() { s.serve(&line{t, conn}) })
		}
	})
	t.Cleanup(func() { s.l.Close(); s.lines.Wait() })
	return s
}

func (s *sink) serve(l *line) {
	defer l.conn.Close()
	if l.await(wire.BGP_MSG_OPEN) == nil {
		return
	}
	l.open(64513, 0, wire.NewCapMultiProtocol(wire.RF_IPv4_UC), wire.NewCapMultiProtocol(wire.RF_IPv6_UC))
	l.say(wire.NewBGPKeepAliveMessage())
	for {
		m := l.await(wire.BGP_MSG_UPDATE)
		if m == nil {
			return
		}
		u := m.Body.(*wire.BGPUpdate)
		s.updates.Add(1)
		s.reach.Add(int64(len(u.NLRI)))
		s.gone.Add(int64(len(u.WithdrawnRoutes)))
		if end, _ := u.IsEndOfRib(); end {
			s.eor.Add(1)
		}
	}
}
