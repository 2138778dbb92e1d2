package bfd

import (
	"crypto/sha1" //nolint:gosec // RFC 5880 section 4.4 has no other
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/fairlead/fairlead/announcer/bfd/limits"
)

// AuthKind is a way of authentication (RFC 5880 section 4.1).
type AuthKind uint8

// The ways that this package knows.
const (
	NoAuth AuthKind = 0
	// SimplePassword shows the password to whoever listens.
	SimplePassword AuthKind = 1
	// KeyedSHA1 raises its sequence number now and then, MeticulousSHA1 in each packet, so that no packet can be
	// replayed.
	KeyedSHA1      AuthKind = 4
	MeticulousSHA1 AuthKind = 5
)

// Auth is what packets of a session are signed with, both ways.
type Auth struct {
	Kind AuthKind
	// KeyID tells the receiver which key is meant.
	KeyID uint8
	// Key has 1 to 16 bytes for SimplePassword, 1 to 20 for SHA-1.
	Key string
}

const (
	sha1Section = 28
)

// Validate says what is wrong, without the key.
func (a Auth) Validate() error {
	longest := limits.LongestSHA1Key
	switch a.Kind {
	case NoAuth:
		return nil
	case SimplePassword:
		longest = limits.LongestPassword
	case KeyedSHA1, MeticulousSHA1:
	default:
		return fmt.Errorf("authentication of type %d is not known", a.Kind)
	}
	if len(a.Key) == 0 || len(a.Key) > longest {
		return fmt.Errorf("the key has %d bytes; 1 to %d are allowed", len(a.Key), longest)
	}
	return nil
}

// authState are the sequence numbers of a session (RFC 5880 section 6.8.1).
type authState struct {
	sent     uint32
	received uint32
	// at is when the last packet came that was taken; zero: none has, and any number is.
	at time.Time
}

// sign returns the packet as it goes on the wire.
func (a Auth) sign(s *authState, p Packet, buf []byte) []byte {
	switch a.Kind {
	case NoAuth:
		return p.Append(buf)
	case SimplePassword:
		p.Auth = append([]byte{byte(a.Kind), byte(3 + len(a.Key)), a.KeyID}, a.Key...)
		return p.Append(buf)
	}
	section := make([]byte, sha1Section)
	section[0], section[1], section[2] = byte(a.Kind), sha1Section, a.KeyID
	// The number may stand still without MeticulousSHA1; that it never does costs nothing.
	s.sent++
	binary.BigEndian.PutUint32(section[4:], s.sent)
	copy(section[8:], a.Key)
	p.Auth = section
	from := len(buf)
	buf = p.Append(buf)
	sum := sha1.Sum(buf[from:]) //nolint:gosec // see above
	copy(buf[len(buf)-sha1.Size:], sum[:])
	return buf
}

// verify checks a packet that came as raw at a time (RFC 5880 sections 6.7.2 and 6.7.4). The peer may count anew when nothing has come
// from it for twice its detection time (section 6.8.1).
func (a Auth) verify(s *authState, p Packet, raw []byte, at time.Time, detection time.Duration) error {
	if a.Kind == NoAuth {
		if p.Auth != nil {
			return errors.New("the packet is signed, and the session has no key")
		}
		return nil
	}
	if p.Auth == nil {
		return errors.New("the packet is not signed")
	}
	if len(p.Auth) < 3 || AuthKind(p.Auth[0]) != a.Kind || p.Auth[2] != a.KeyID {
		return errors.New("the packet is signed in another way, or with another key")
	}
	if a.Kind == SimplePassword {
		if subtle.ConstantTimeCompare(p.Auth[3:], []byte(a.Key)) != 1 {
			return errors.New("the password is wrong")
		}
		return nil
	}
	if at.Sub(s.at) >= 2*detection {
		s.at = time.Time{}
	}
	return a.verifySHA1(s, p, raw, at)
}

func (a Auth) verifySHA1(s *authState, p Packet, raw []byte, at time.Time) error {
	if len(p.Auth) != sha1Section {
		return fmt.Errorf("the authentication section has %d bytes, not %d", len(p.Auth), sha1Section)
	}
	number := binary.BigEndian.Uint32(p.Auth[4:])
	ahead := number - s.received // numbers are circular
	least := uint32(0)
	if a.Kind == MeticulousSHA1 {
		least = 1
	}
	if !s.at.IsZero() && (ahead < least || ahead > 3*uint32(p.DetectMultiplier)) {
		return errors.New("the sequence number is not one of the next")
	}
	signed := append([]byte(nil), raw[:length+sha1Section]...)
	clear(signed[len(signed)-sha1.Size:])
	copy(signed[len(signed)-sha1.Size:], a.Key)
	sum := sha1.Sum(signed) //nolint:gosec // see above
	if subtle.ConstantTimeCompare(sum[:], p.Auth[8:]) != 1 {
		return errors.New("the signature is wrong")
	}
	s.received, s.at = number, at
	return nil
}
