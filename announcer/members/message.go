package members

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"time"
)

// MessageKind is what one speaker tells another directly.
type MessageKind byte

// The kinds of messages.
const (
	// Announcing: the sender now announces Addresses, which the receiver
	// announced before and need not any longer.
	Announcing MessageKind = 1
	// Deputizing: the sender now answers for the receiver, which is about to
	// stop, with the receiver's hardware addresses.
	Deputizing MessageKind = 2
)

// Message is what one speaker tells another directly. It may get lost.
type Message struct {
	Kind MessageKind
	// From is the node of the sender.
	From string
	// Incarnation is the receiver's life that the message is for.
	Incarnation uint64
	Addresses   []netip.Addr
}

const (
	messageVersion = 1
	// addressesPerMessage keeps a message in one packet of 1400 bytes.
	addressesPerMessage = 60
)

func (m Message) encode() []byte {
	out := []byte{messageVersion, byte(m.Kind)}
	out = appendShort(out, m.From)
	out = binary.BigEndian.AppendUint64(out, m.Incarnation)
	out = append(out, byte(len(m.Addresses)))
	for _, a := range m.Addresses {
		out = appendShort(out, string(a.AsSlice()))
	}
	return out
}

func decodeMessage(in []byte) (Message, error) {
	r := reader{rest: in}
	if v := r.byte(); v != messageVersion && r.err == nil {
		return Message{}, fmt.Errorf("a message of version %d, and this speaker knows version %d only", v, messageVersion)
	}
	m := Message{Kind: MessageKind(r.byte()), From: r.short(), Incarnation: r.uint64()}
	for range r.byte() {
		a, ok := netip.AddrFromSlice([]byte(r.short()))
		if r.err != nil {
			break
		}
		if !ok {
			return Message{}, fmt.Errorf("a message of %q has an address of a wrong length", m.From)
		}
		m.Addresses = append(m.Addresses, a)
	}
	if r.err != nil {
		return Message{}, fmt.Errorf("reading a message: %w", r.err)
	}
	return m, nil
}

// heldSeat is what speakers tell each other at a state exchange of a seat that
// is being held, so that one who comes later decides the same, and the one who
// comes back knows that nothing was taken from it.
type heldSeat struct {
	node string
	age  time.Duration
	meta []byte
}

const stateVersion = 1

func encodeState(seats []heldSeat) []byte {
	out := []byte{stateVersion}
	out = binary.BigEndian.AppendUint16(out, uint16(min(len(seats), 1<<16-1)))
	for _, s := range seats[:min(len(seats), 1<<16-1)] {
		out = appendShort(out, s.node)
		out = binary.BigEndian.AppendUint64(out, uint64(s.age))
		out = binary.BigEndian.AppendUint16(out, uint16(len(s.meta)))
		out = append(out, s.meta...)
	}
	return out
}

func decodeState(in []byte) ([]heldSeat, error) {
	r := reader{rest: in}
	if v := r.byte(); v != stateVersion && r.err == nil {
		return nil, fmt.Errorf("a state of version %d, and this speaker knows version %d only", v, stateVersion)
	}
	var out []heldSeat
	for range r.uint16() {
		s := heldSeat{node: r.short(), age: time.Duration(r.uint64())}
		s.meta = append([]byte(nil), r.take(int(r.uint16()))...)
		if r.err != nil {
			return nil, fmt.Errorf("reading a state: %w", r.err)
		}
		out = append(out, s)
	}
	return out, r.err
}
