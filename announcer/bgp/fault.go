package bgp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"unicode"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// A fault is why a session ended or did not come about.
type fault struct {
	// code, sub and data are for the NOTIFICATION that tells the peer, if send is set (RFC 4271 section 4.5).
	code, sub byte
	data      []byte
	send      bool
	// words tell people.
	words string
	// kind tells faults apart that are followed up in their own ways.
	kind faultKind
	// told tells that the peer has said by a NOTIFICATION what it is.
	told bool
	err  error
}

type faultKind int

const (
	ordinary faultKind = iota
	overLimit
	// ours: the session was ended from this side on purpose.
	ours
	// closedEarly: the peer closed the connection before the session was established, and said nothing.
	closedEarly
)

func (f *fault) Error() string { return f.words }
func (f *fault) Unwrap() error { return f.err }

// with adds data to the NOTIFICATION.
func (f *fault) with(data ...byte) *fault {
	f.data = data
	return f
}

// malformed is a fault for what the peer sent against the protocol.
func malformed(code, sub byte, what string) *fault {
	return &fault{code: code, sub: sub, send: true, words: "the peer sent " + what}
}

// ceased is an end on purpose that the peer is told of (RFC 4486, RFC 9384), where it can be in words too (RFC 9003).
func ceased(sub byte, words string) *fault {
	f := &fault{code: wire.BGP_ERROR_CEASE, sub: sub, send: true, kind: ours, words: words}
	if sub == wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN {
		text := words[:min(len(words), 255)]
		f.data = append([]byte{byte(len(text))}, text...)
	}
	return f
}

const subBFDDown = 10 // RFC 9384

func (f *fault) message() ([]byte, error) {
	b, err := wire.NewBGPNotificationMessage(f.code, f.sub, f.data).Serialize()
	if err != nil {
		return nil, fmt.Errorf("writing a NOTIFICATION: %w", err)
	}
	return b, nil
}

var codeWords = map[byte]string{
	1: "Message Header Error", 2: "OPEN Message Error", 3: "UPDATE Message Error", 4: "Hold Timer Expired",
	5: "Finite State Machine Error", 6: "Cease", 7: "ROUTE-REFRESH Message Error",
}

// subWords are subcodes (RFC 4271 section 4.5, RFC 4486, RFC 5492, RFC 6608, RFC 8538, RFC 9384) by code and subcode, with
// a hint where one helps.
var subWords = map[[2]byte]string{
	{1, 1}: "Connection Not Synchronized", {1, 2}: "Bad Message Length", {1, 3}: "Bad Message Type",
	{2, 1}: "Unsupported Version Number", {2, 2}: "Bad Peer AS (it expects another ASN of us)", {2, 3}: "Bad BGP Identifier",
	{2, 4}: "Unsupported Optional Parameter", {2, 6}: "Unacceptable Hold Time",
	{2, 7}: "Unsupported Capability (it wants other address families)", {2, 11}: "Role Mismatch",
	{3, 1}: "Malformed Attribute List", {3, 3}: "Missing Well-known Attribute", {3, 8}: "Invalid NEXT_HOP Attribute",
	{3, 9}: "Optional Attribute Error", {3, 10}: "Invalid Network Field", {3, 11}: "Malformed AS_PATH",
	{5, 1}: "Unexpected Message in OpenSent", {5, 2}: "Unexpected Message in OpenConfirm", {5, 3}: "Unexpected Message in Established",
	{6, 1}: "Maximum Number of Prefixes Reached (it takes fewer routes than we send)", {6, 2}: "Administrative Shutdown",
	{6, 3}: "Peer De-configured", {6, 4}: "Administrative Reset",
	{6, 5}: "Connection Rejected (it does not know this node as a neighbour, or not with this ASN)",
	{6, 6}: "Other Configuration Change", {6, 7}: "Connection Collision Resolution", {6, 8}: "Out of Resources", {6, 9}: "Hard Reset",
	{6, 10}: "BFD Down",
}

// notified is the fault that a NOTIFICATION of the peer tells of.
func notified(b []byte) *fault {
	if len(b) < 2 {
		return &fault{words: "the peer ended the session by a malformed NOTIFICATION"}
	}
	words := codeWords[b[0]]
	if words == "" {
		words = fmt.Sprintf("code %d", b[0])
	}
	sub := subWords[[2]byte{b[0], b[1]}]
	switch {
	case sub != "":
		words += ": " + sub
	case b[1] != 0:
		words += fmt.Sprintf(": subcode %d", b[1])
	}
	words = "the peer ended the session: " + words
	if text := shutdownText(b); text != "" {
		words += fmt.Sprintf(": %q", text)
	}
	return &fault{words: words, told: true}
}

// shutdownText is what the people of the peer say (RFC 9003), without characters that a terminal could stumble over.
func shutdownText(b []byte) string {
	if b[0] != wire.BGP_ERROR_CEASE || (b[1] != wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN && b[1] != wire.BGP_ERROR_SUB_ADMINISTRATIVE_RESET) {
		return ""
	}
	if len(b) < 3 || len(b) < 3+int(b[2]) {
		return ""
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, string(b[3:3+int(b[2])]))
}

// dialFault puts into words why a peer cannot be reached.
func dialFault(p Peer, err error) *fault {
	what := fmt.Sprintf("connecting to %s, port %d", p.peerWords(), p.Port)
	var timeout net.Error
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		what += ": refused: nothing listens there, or not for this node"
	case errors.Is(err, syscall.EHOSTUNREACH), errors.Is(err, syscall.ENETUNREACH):
		what += ": no route, or the peer does not answer on the link"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		what += fmt.Sprintf(": this node has no address %s", p.Source)
	case errors.Is(err, syscall.ENODEV):
		what += fmt.Sprintf(": this node has no device %s", p.Device)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		what += ": no answer, which is also how "
		if p.Password != "" {
			what += "a wrong password looks"
		} else {
			what += "a peer looks that wants a password"
		}
	default:
		what += ": " + reason(err)
	}
	return &fault{words: what, err: err}
}

// reason is the innermost cause, without addresses that differ from attempt to attempt.
func reason(err error) string {
	var no syscall.Errno
	if errors.As(err, &no) {
		return no.Error()
	}
	return err.Error()
}

// readFault puts into words why nothing more comes from the peer. Before a session is established all ways to close a
// connection are one: which of them is seen depends on who was faster.
func readFault(s State, err error) *fault {
	closed := errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	reset := errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
	switch {
	case s != Established && (closed || reset):
		return &fault{
			words: "the peer closed the connection before the session was established, as peers do that do not know this node as a neighbour",
			kind:  closedEarly,
			err:   err,
		}
	case closed:
		return &fault{words: "the peer closed the connection", err: err}
	case reset:
		return &fault{words: "the peer reset the connection", err: err}
	}
	return &fault{words: "the connection was lost: " + reason(err), err: err}
}
