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

// AskDNS asks a question at an address from a host, by "tcp" or "udp", and
// returns nil if a DNS server answers it, with whatever result.
func (l *Lab) AskDNS(ctx context.Context, host, network string, address netip.Addr, port uint16) error {
	target := netip.AddrPortFrom(address, port).String()
	conn, err := l.Cluster.Dial(ctx, host, network, target)
	if err != nil {
		return err
	}
	defer conn.Close()
	deadline := time.Now().Add(2 * time.Second)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
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
	answer, err := exchange(conn, network, question)
	if err != nil {
		return fmt.Errorf("asking %s by %s: %w", target, network, err)
	}
	var got dnsmessage.Message
	if err := got.Unpack(answer); err != nil {
		return fmt.Errorf("%s answered by %s with %q: %w", target, network, answer, err)
	}
	if !got.Response || got.ID != id {
		return fmt.Errorf("%s answered by %s another question: %s", target, network, got.Header.GoString())
	}
	return nil
}

// exchange sends a message and reads one; by TCP each has its length before it.
func exchange(conn net.Conn, network string, question []byte) ([]byte, error) {
	if network == "udp" {
		if _, err := conn.Write(question); err != nil {
			return nil, err
		}
		buf := make([]byte, 1500)
		n, err := conn.Read(buf)
		return buf[:n], err
	}
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(question))), question...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	answer := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, answer)
	return answer, err
}
