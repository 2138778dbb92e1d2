package lab

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver asks a DNS server from one socket, by "tcp" or "udp".
type Resolver struct {
	conn    net.Conn
	network string
}

// answerWithin is how long an answer of a DNS server may take.
const answerWithin = 2 * time.Second

// Resolver opens a socket on a host to a DNS server at an address.
func (l *Lab) Resolver(ctx context.Context, host, network string, address netip.Addr, port uint16) (*Resolver, error) {
	conn, err := l.Cluster.Dial(ctx, host, network, netip.AddrPortFrom(address, port).String())
	if err != nil {
		return nil, err
	}
	return &Resolver{conn, network}, nil
}

// Close closes the socket.
func (r *Resolver) Close() error { return r.conn.Close() }

// Ask asks one question, and returns nil if a DNS server answers it, with whatever result.
func (r *Resolver) Ask(ctx context.Context) error {
	deadline := time.Now().Add(answerWithin)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := r.conn.SetDeadline(deadline); err != nil {
		return err
	}
	id := uint16(rand.Uint32())
	question, err := (&dnsmessage.Message{
		Header:    dnsmessage.Header{ID: id},
		Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("fairlead.test."), Type: dnsmessage.TypeTXT, Class: dnsmessage.ClassINET}},
	}).Pack()
	if err != nil {
		return err
	}
	if err := r.send(question); err != nil {
		return fmt.Errorf("asking %s by %s: %w", r.conn.RemoteAddr(), r.network, err)
	}
	for {
		got, err := r.receive()
		switch {
		case err != nil:
			return fmt.Errorf("asking %s by %s: %w", r.conn.RemoteAddr(), r.network, err)
		case got.ID == id:
			return nil
		case r.network == "tcp":
			return fmt.Errorf("%s answered by tcp another question: %s", r.conn.RemoteAddr(), got.GoString())
		} // else it is the late answer to an earlier question
	}
}

// AskDNS asks a question at an address from a host, from a socket of its own, and
// returns nil if a DNS server answers it, with whatever result.
func (l *Lab) AskDNS(ctx context.Context, host, network string, address netip.Addr, port uint16) error {
	r, err := l.Resolver(ctx, host, network, address, port)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.Ask(ctx)
}

// send sends a message; by TCP each has its length before it.
func (r *Resolver) send(message []byte) error {
	if r.network == "tcp" {
		message = append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
	}
	_, err := r.conn.Write(message)
	return err
}

// receive reads the header of an answer.
func (r *Resolver) receive() (dnsmessage.Header, error) {
	answer := make([]byte, 1500)
	if r.network == "tcp" {
		var size [2]byte
		if _, err := io.ReadFull(r.conn, size[:]); err != nil {
			return dnsmessage.Header{}, err
		}
		answer = make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(r.conn, answer); err != nil {
			return dnsmessage.Header{}, err
		}
	} else {
		n, err := r.conn.Read(answer)
		if err != nil {
			return dnsmessage.Header{}, err
		}
		answer = answer[:n]
	}
	var got dnsmessage.Message
	if err := got.Unpack(answer); err != nil {
		return dnsmessage.Header{}, fmt.Errorf("the answer is %q: %w", answer, err)
	}
	if !got.Response {
		return dnsmessage.Header{}, fmt.Errorf("the answer is none: %s", got.Header.GoString())
	}
	return got.Header, nil
}
