package bfd

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// Settings are how a session is kept, as a BFDProfile says it.
type Settings struct {
	// TransmitInterval is how often this side would like to send, ReceiveInterval how often it can receive.
	TransmitInterval, ReceiveInterval time.Duration
	// DetectMultiplier is how many packets in a row may be lost, and one less.
	DetectMultiplier uint8
	// Passive: nothing is sent before the peer has sent.
	Passive bool
	// Echo: the path is tested by packets that the peer forwards back. One hop only.
	Echo bool
	// EchoInterval is how often echoes are sent and returned at most; 0: none is returned.
	EchoInterval time.Duration
	// MinimumTTL is the least TTL (hop limit) with which packets of a session over several hops may arrive. Over one
	// hop it is 255 (RFC 5881 section 5).
	MinimumTTL uint8
	Auth       Auth
}

// Session is a session that is wanted.
type Session struct {
	// Name tells the session apart from all others.
	Name string
	// Peer is the other side. A link-local address has a zone.
	Peer netip.Addr
	// Local is this side's address; unset: the one that the route to the peer has.
	Local netip.Addr
	// Interface is the one where the peer is, for one hop; empty: the one that the route has.
	Interface string
	// MultiHop: the peer is not on a network of this node (RFC 5883).
	MultiHop bool
	Settings
}

// The least and the longest interval that is taken, and the least multiplier.
const (
	MinInterval   = 10 * time.Millisecond
	MaxInterval   = time.Minute
	MinMultiplier = 2
)

// Validate says what is wrong.
func (s Session) Validate() error {
	if s.Name == "" || !s.Peer.IsValid() || s.Peer.IsUnspecified() || s.Peer.IsMulticast() || s.Peer.Is4In6() {
		return fmt.Errorf("session %q: %q is no address of a peer", s.Name, s.Peer)
	}
	if s.Local.IsValid() && s.Local.Is4() != s.Peer.Is4() {
		return fmt.Errorf("session %q: %s and %s are of different families", s.Name, s.Local, s.Peer)
	}
	if s.Peer.IsLinkLocalUnicast() && s.Peer.Is6() && s.Peer.Zone() == "" && s.Interface == "" {
		return fmt.Errorf("session %q: the interface is needed for the link-local address %s", s.Name, s.Peer)
	}
	if s.MultiHop && s.Echo {
		return fmt.Errorf("session %q: echoes work over one hop only (RFC 5883 section 3)", s.Name)
	}
	if s.Echo && s.Peer.Is6() && s.Peer.IsLinkLocalUnicast() {
		return fmt.Errorf("session %q: no peer forwards echoes for a link-local address", s.Name)
	}
	if err := s.validate(); err != nil {
		return fmt.Errorf("session %q: %w", s.Name, err)
	}
	return nil
}

func (s Settings) validate() error {
	for _, i := range [...]struct {
		what string
		d    time.Duration
	}{{"transmit", s.TransmitInterval}, {"receive", s.ReceiveInterval}, {"echo", s.EchoInterval}} {
		if i.what == "echo" && i.d == 0 && !s.Echo {
			continue
		}
		if i.d < MinInterval || i.d > MaxInterval || i.d%time.Microsecond != 0 {
			return fmt.Errorf("the %s interval is %v; %v to %v are allowed", i.what, i.d, MinInterval, MaxInterval)
		}
	}
	if s.DetectMultiplier < MinMultiplier {
		return fmt.Errorf("the detect multiplier is %d; at least %d is needed", s.DetectMultiplier, MinMultiplier)
	}
	return s.Auth.Validate()
}

// Cause is why a session went down.
type Cause int

// The causes.
const (
	CauseNone Cause = iota
	// CauseSilence: no packet of the peer came in time.
	CauseSilence
	// CauseEcho: no echo came back in time.
	CauseEcho
	// CausePeerDown: the peer says that it does not hear us, or has begun anew.
	CausePeerDown
	// CausePeerAdminDown: the peer has ended the session by intent. The path may be as good as before, and what hangs
	// on the session stays (RFC 5882 section 4.2).
	CausePeerAdminDown
	// CauseRemoved: the session is not wanted any more.
	CauseRemoved
	// CauseEnded: the process that kept the session has ended, which says nothing of the path.
	CauseEnded
)

// String says it in words.
func (c Cause) String() string {
	words := [...]string{
		"", "no packet of the peer came in time", "no echo came back in time", "the peer does not hear this node, or has begun anew",
		"the peer has ended the session by intent", "the session was removed", "the process that kept the session has ended",
	}
	if c < 0 || int(c) >= len(words) {
		return "unknown"
	}
	return words[c]
}

// Event is a change of a session's state.
type Event struct {
	Session    string
	State, Was State
	// Cause is set if State is Down.
	Cause Cause
	At    time.Time
}

// Lost says that a path which worked does not any more. What the peer ends by intent says nothing of the path (RFC 5882
// section 4.2).
func (e Event) Lost() bool { return e.Was == Up && e.State == Down && e.Cause != CausePeerAdminDown }

// Status is how a session stands.
type Status struct {
	Session string
	State   State
	Since   time.Time
	// Cause is why it went down last; At is when.
	Cause Cause
	At    time.Time
	// Remote is what the peer has said last of its own state, Diagnostic why it says that the session went down.
	Remote     State
	Diagnostic Diagnostic
	// Transmit is how often packets go out, Detection how long the peer may be silent. Echoes: the echo function is on.
	Transmit, Detection time.Duration
	Echoes              bool
	// Trouble is what keeps packets from being sent or received; empty: nothing.
	Trouble string
	// Sent and Received count control packets, Refused those of the peer that were not taken.
	Sent, Received, Refused uint64
	// Downs counts how often it went from Up to Down.
	Downs uint64
	// LongestGap is the longest time between two packets of the peer, while the session was Up.
	LongestGap time.Duration
}

// errSecond is what a second Run says.
var errSecond = errors.New("bfd: Run was called a second time")
