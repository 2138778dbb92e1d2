package bgp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/maphash"
	"io"
	"net"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// reader takes messages off a connection. What peers send is read here and not by gobgp's parser: a message must not be able
// to make the process panic, and of an UPDATE only the prefixes are wanted.
type reader struct {
	r   io.Reader
	buf [maxMessage]byte
}

// next returns the type and the body of the next message; the body is valid until the next call. A *fault is what the peer
// sent against the protocol, any other error the connection's.
func (r *reader) next() (kind byte, body []byte, err error) {
	if _, err := io.ReadFull(r.r, r.buf[:headerLen]); err != nil {
		return 0, nil, err
	}
	for _, b := range r.buf[:16] {
		if b != 0xFF {
			return 0, nil, malformed(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_CONNECTION_NOT_SYNCHRONIZED, "what is not BGP")
		}
	}
	length := binary.BigEndian.Uint16(r.buf[16:])
	kind = r.buf[18]
	if least, ok := leastLen[kind]; !ok {
		return 0, nil, malformed(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_TYPE,
			fmt.Sprintf("a message of unknown type %d", kind)).with(kind)
	} else if length < least || length > maxMessage || kind == wire.BGP_MSG_KEEPALIVE && length != headerLen {
		return 0, nil, malformed(wire.BGP_ERROR_MESSAGE_HEADER_ERROR, wire.BGP_ERROR_SUB_BAD_MESSAGE_LENGTH,
			fmt.Sprintf("a message of type %d with %d bytes", kind, length)).with(r.buf[16], r.buf[17])
	}
	body = r.buf[headerLen:length]
	if _, err := io.ReadFull(r.r, body); err != nil {
		return 0, nil, err
	}
	return kind, body, nil
}

// leastLen are the types of messages and their least lengths (RFC 4271 section 4, RFC 2918).
var leastLen = map[byte]uint16{
	wire.BGP_MSG_OPEN: 29, wire.BGP_MSG_UPDATE: 23, wire.BGP_MSG_NOTIFICATION: 21, wire.BGP_MSG_KEEPALIVE: 19,
	wire.BGP_MSG_ROUTE_REFRESH: 23,
}

// tally counts the prefixes that a peer has announced and not withdrawn. It keeps a hash of each.
type tally struct {
	seed  maphash.Seed
	seen  map[uint64]struct{}
	limit int
}

func newTally() *tally { return &tally{seed: maphash.MakeSeed(), seen: map[uint64]struct{}{}} }

func (t *tally) count(f Families, nlri []byte, gone bool) {
	key := maphash.Bytes(t.seed, nlri) ^ uint64(f)
	if gone {
		delete(t.seen, key)
		return
	}
	t.seen[key] = struct{}{}
}

var errUpdate = errors.New("its lengths do not add up")

// update takes up the body of an UPDATE (RFC 4271 section 4.3, RFC 4760). Attributes other than those with prefixes are
// skipped: no route of a peer is used. A limit below zero counts nothing.
func (t *tally) update(b []byte, limit int) *fault {
	t.limit = limit
	err := t.walk(b)
	var over *fault
	switch {
	case errors.As(err, &over):
		return over
	case err != nil:
		return malformed(wire.BGP_ERROR_UPDATE_MESSAGE_ERROR, wire.BGP_ERROR_SUB_MALFORMED_ATTRIBUTE_LIST, "a malformed UPDATE: "+err.Error())
	}
	return nil
}

func (t *tally) walk(b []byte) error {
	withdrawn, b, ok := counted(b)
	if !ok {
		return errUpdate
	}
	attrs, nlri, ok := counted(b)
	if !ok {
		return errUpdate
	}
	if err := t.prefixes(IPv4, withdrawn, true); err != nil {
		return err
	}
	for len(attrs) > 0 {
		wide := 1
		if attrs[0]&byte(wire.BGP_ATTR_FLAG_EXTENDED_LENGTH) != 0 {
			wide = 2
		}
		kind, value, rest, ok := field(attrs[1:], wide)
		if !ok {
			return errUpdate
		}
		if err := t.attribute(wire.BGPAttrType(kind), value); err != nil {
			return err
		}
		attrs = rest
	}
	return t.prefixes(IPv4, nlri, false)
}

// counted takes a field off b that has its length of two octets before it.
func counted(b []byte) (value, rest []byte, ok bool) {
	if len(b) < 2 {
		return nil, nil, false
	}
	n := int(binary.BigEndian.Uint16(b))
	if len(b) < 2+n {
		return nil, nil, false
	}
	return b[2 : 2+n], b[2+n:], true
}

func (t *tally) attribute(kind wire.BGPAttrType, v []byte) error {
	gone := kind == wire.BGP_ATTR_TYPE_MP_UNREACH_NLRI
	if !gone && kind != wire.BGP_ATTR_TYPE_MP_REACH_NLRI {
		return nil
	}
	if len(v) < 3 {
		return errUpdate
	}
	f := familyOfAFI(binary.BigEndian.Uint16(v))
	if f == 0 || v[2] != safiUnicast {
		return nil
	}
	v = v[3:]
	if !gone {
		if len(v) < 1 || len(v) < 2+int(v[0]) {
			return errUpdate
		}
		v = v[2+int(v[0]):]
	}
	return t.prefixes(f, v, gone)
}

func (t *tally) prefixes(f Families, b []byte, gone bool) error {
	most := 128
	if f == IPv4 {
		most = 32
	}
	for len(b) > 0 {
		bits := int(b[0])
		n := 1 + (bits+7)/8
		if bits > most || len(b) < n {
			return fmt.Errorf("a prefix of %d bits in %d bytes", bits, len(b))
		}
		if t.limit >= 0 {
			t.count(f, b[:n], gone)
		}
		if t.limit >= 0 && len(t.seen) > t.limit {
			return &fault{
				code: wire.BGP_ERROR_CEASE, sub: wire.BGP_ERROR_SUB_MAXIMUM_NUMBER_OF_PREFIXES_REACHED, send: true, kind: overLimit,
				words: fmt.Sprintf("the peer sent more than %d prefixes, which is its limit", t.limit),
			}
		}
		b = b[n:]
	}
	return nil
}

// halfClose ends what we send but lets the peer's last words come in.
func halfClose(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		_ = t.CloseWrite()
	}
}
