package bfd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"
)

// State is the state of a session (RFC 5880 section 4.1).
type State uint8

// The states of a session.
const (
	AdminDown State = iota
	Down
	Init
	Up
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case AdminDown:
		return "AdminDown"
	case Down:
		return "Down"
	case Init:
		return "Init"
	case Up:
		return "Up"
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// Diagnostic says why a session went down last (RFC 5880 section 4.1).
type Diagnostic uint8

// The diagnostics that this package sets.
const (
	NoDiagnostic         Diagnostic = 0
	DetectionTimeExpired Diagnostic = 1
	EchoFailed           Diagnostic = 2
	NeighbourDown        Diagnostic = 3
	PathDown             Diagnostic = 5
	AdministrativelyDown Diagnostic = 7
)

// String says it in words.
func (d Diagnostic) String() string {
	words := [...]string{
		"none", "no packet came in time", "echoes did not come back", "the peer said that the session is down",
		"the forwarding plane was reset", "the path is down", "a concatenated path is down", "taken down by intent",
		"a reverse concatenated path is down",
	}
	if int(d) < len(words) {
		return words[d]
	}
	return fmt.Sprintf("diagnostic %d", uint8(d))
}

// Packet is a control packet (RFC 5880 section 4.1). Times are whole microseconds on the wire.
type Packet struct {
	Diagnostic  Diagnostic
	State       State
	Poll, Final bool
	// IndependentPlane: BFD does not share the fate of the sender's control plane.
	IndependentPlane bool
	Demand           bool
	DetectMultiplier uint8
	// Mine is the sender's discriminator, Yours the receiver's; 0: not known yet.
	Mine, Yours uint32
	// DesiredMinTx is how often the sender would like to send, RequiredMinRx how often it can receive (0: not at
	// all), RequiredMinEchoRx how often it can return echoes (0: not at all).
	DesiredMinTx, RequiredMinRx, RequiredMinEchoRx time.Duration
	// Auth is the authentication section as it stands in the packet; nil: none.
	Auth []byte
}

const (
	version = 1
	// length is that of a control packet without authentication, in bytes.
	length = 24
)

// The flags in the second byte.
const (
	flagMultipoint = 1 << iota
	flagDemand
	flagAuth
	flagIndependent
	flagFinal
	flagPoll
)

// Append appends the packet as it goes on the wire.
func (p Packet) Append(b []byte) []byte {
	flags := byte(p.State) << 6
	for _, f := range [...]struct {
		on  bool
		bit byte
	}{{p.Poll, flagPoll}, {p.Final, flagFinal}, {p.IndependentPlane, flagIndependent}, {p.Auth != nil, flagAuth}, {p.Demand, flagDemand}} {
		if f.on {
			flags |= f.bit
		}
	}
	b = append(b, version<<5|byte(p.Diagnostic)&0x1f, flags, p.DetectMultiplier, byte(length+len(p.Auth)))
	b = binary.BigEndian.AppendUint32(b, p.Mine)
	b = binary.BigEndian.AppendUint32(b, p.Yours)
	for _, d := range [...]time.Duration{p.DesiredMinTx, p.RequiredMinRx, p.RequiredMinEchoRx} {
		b = binary.BigEndian.AppendUint32(b, uint32(d/time.Microsecond))
	}
	return append(b, p.Auth...)
}

// Parse reads a packet and refuses what RFC 5880 section 6.8.6 says must be discarded whatever the session. Auth
// refers to b.
func Parse(b []byte) (Packet, error) {
	if len(b) < length {
		return Packet{}, fmt.Errorf("a control packet has at least %d bytes, this one has %d", length, len(b))
	}
	if v := b[0] >> 5; v != version {
		return Packet{}, fmt.Errorf("the version is %d, not %d", v, version)
	}
	said := int(b[3])
	if said < length || said > len(b) {
		return Packet{}, fmt.Errorf("the packet says that it has %d bytes, and has %d", said, len(b))
	}
	micros := func(at int) time.Duration {
		return time.Duration(binary.BigEndian.Uint32(b[at:])) * time.Microsecond
	}
	p := Packet{
		Diagnostic: Diagnostic(b[0] & 0x1f), State: State(b[1] >> 6),
		Poll: b[1]&flagPoll != 0, Final: b[1]&flagFinal != 0, IndependentPlane: b[1]&flagIndependent != 0, Demand: b[1]&flagDemand != 0,
		DetectMultiplier: b[2],
		Mine:             binary.BigEndian.Uint32(b[4:]), Yours: binary.BigEndian.Uint32(b[8:]),
		DesiredMinTx: micros(12), RequiredMinRx: micros(16), RequiredMinEchoRx: micros(20),
	}
	if b[1]&flagAuth != 0 {
		p.Auth = b[length:said]
		if len(p.Auth) < 2 || int(p.Auth[1]) != len(p.Auth) {
			return Packet{}, errors.New("the authentication section is not as long as it says")
		}
	}
	return p, p.sound(b[1]&flagMultipoint != 0)
}

// sound finds what no receiver may take.
func (p Packet) sound(multipoint bool) error {
	switch {
	case p.DetectMultiplier == 0:
		return errors.New("the detect multiplier is 0")
	case multipoint:
		return errors.New("the multipoint bit is set")
	case p.Mine == 0:
		return errors.New("the sender's discriminator is 0")
	case p.Yours == 0 && p.State != Down && p.State != AdminDown:
		return fmt.Errorf("the state is %s, and the receiver's discriminator 0", p.State)
	}
	return nil
}
