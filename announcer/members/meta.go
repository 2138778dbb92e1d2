package members

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/fairlead/fairlead/announcer"
)

// Meta is what a speaker tells of itself with its membership.
type Meta struct {
	// Incarnation tells one life of the speaker from the next: when it started,
	// in nanoseconds since 1970.
	Incarnation uint64
	// Serving: it knows the state of the cluster and answers.
	Serving bool
	// Settled: it has been serving for a while, so that addresses may move to it.
	Settled bool
	// Founding: nobody served when it began, and it has not served for long. Who
	// begins beside it is as new as everybody, and has nothing to prove.
	Founding bool
	// Leaving: it is about to stop and will probably be back at once.
	Leaving bool
	// Version of the speaker; cut off after 32 bytes.
	Version string
	// Interfaces on which it can answer.
	Interfaces []announcer.Interface
}

const (
	metaVersion = 1
	maxVersion  = 32

	flagServing  = 1 << 0
	flagSettled  = 1 << 1
	flagLeaving  = 1 << 2
	flagFounding = 1 << 3

	flagARP = 1 << 0
	flagNDP = 1 << 1
)

// Encode writes the meta in at most limit bytes. Interfaces that do not fit are
// left out, the last ones first; their number is returned.
//
// The form: version, flags, incarnation (8 bytes, big endian), version string,
// number of interfaces, and for each flags, name, and hardware address. Strings
// have their length in one byte before them. What follows is for the future and
// is skipped by readers that do not know it.
func (m Meta) Encode(limit int) (out []byte, left int) {
	out = append(out, metaVersion, m.flags())
	out = binary.BigEndian.AppendUint64(out, m.Incarnation)
	out = appendShort(out, m.Version[:min(len(m.Version), maxVersion)])
	at, n := len(out), 0
	out = append(out, 0)
	for _, i := range m.Interfaces {
		one := appendInterface(nil, i)
		if len(out)+len(one) > limit || n == 255 {
			break
		}
		out = append(out, one...)
		n++
	}
	out[at] = byte(n)
	return out, len(m.Interfaces) - n
}

func (m Meta) flags() (f byte) {
	if m.Serving {
		f |= flagServing
	}
	if m.Settled {
		f |= flagSettled
	}
	if m.Leaving {
		f |= flagLeaving
	}
	if m.Founding {
		f |= flagFounding
	}
	return f
}

func appendInterface(out []byte, i announcer.Interface) []byte {
	var f byte
	if i.ARP {
		f |= flagARP
	}
	if i.NDP {
		f |= flagNDP
	}
	out = append(out, f)
	out = appendShort(out, i.Name)
	return appendShort(out, string(i.MAC))
}

// DecodeMeta reads what Encode wrote.
func DecodeMeta(in []byte) (Meta, error) {
	r := reader{rest: in}
	if v := r.byte(); v != metaVersion && r.err == nil {
		return Meta{}, fmt.Errorf("a speaker's meta is of version %d, and this speaker knows version %d only", v, metaVersion)
	}
	f := r.byte()
	m := Meta{
		Serving: f&flagServing != 0, Settled: f&flagSettled != 0, Leaving: f&flagLeaving != 0, Founding: f&flagFounding != 0,
		Incarnation: r.uint64(), Version: r.short(),
	}
	for range r.byte() {
		f := r.byte()
		i := announcer.Interface{ARP: f&flagARP != 0, NDP: f&flagNDP != 0, Name: r.short()}
		if mac := r.short(); mac != "" {
			i.MAC = net.HardwareAddr(mac)
		}
		if r.err != nil {
			break
		}
		m.Interfaces = append(m.Interfaces, i)
	}
	if r.err != nil {
		return Meta{}, fmt.Errorf("reading a speaker's meta: %w", r.err)
	}
	return m, nil
}

var errShort = errors.New("it ends too early")

// reader takes values from the front of a message and remembers the first
// error, after which it returns zeroes.
type reader struct {
	rest []byte
	err  error
}

func (r *reader) take(n int) []byte {
	if r.err != nil || len(r.rest) < n {
		r.err = errShort
		return make([]byte, n)
	}
	out := r.rest[:n]
	r.rest = r.rest[n:]
	return out
}

func (r *reader) byte() byte     { return r.take(1)[0] }
func (r *reader) uint16() uint16 { return binary.BigEndian.Uint16(r.take(2)) }
func (r *reader) uint64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *reader) short() string  { return string(r.take(int(r.byte()))) }

// appendShort writes a string of at most 255 bytes with its length before it.
func appendShort(out []byte, s string) []byte {
	s = s[:min(len(s), 255)]
	return append(append(out, byte(len(s))), s...)
}
