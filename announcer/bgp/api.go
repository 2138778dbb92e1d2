package bgp

import (
	"net/netip"
	"time"

	"github.com/fairlead/fairlead/announcer/community"

	"github.com/go-logr/logr"
)

// DynamicASN tells which ASNs a peer may have whose ASN is not written down.
type DynamicASN int

// The kinds of dynamic ASN.
const (
	// Fixed: the peer has Peer.PeerASN and no other.
	Fixed DynamicASN = iota
	// Internal: the peer must have our own ASN.
	Internal
	// External: the peer must have any ASN but ours.
	External
)

// Families is a set of address families, all of them unicast (RFC 4760).
type Families uint8

// The families.
const (
	IPv4 Families = 1 << iota
	IPv6
)

// familyOf is the family of a prefix.
func familyOf(p netip.Prefix) Families {
	if p.Addr().Is4() {
		return IPv4
	}
	return IPv6
}

// String names the families of the set.
func (f Families) String() string {
	switch f {
	case 0:
		return "none"
	case IPv4:
		return "IPv4"
	case IPv6:
		return "IPv6"
	default:
		return "IPv4 and IPv6"
	}
}

// GracefulRestart says whether and for how long a peer keeps our routes while the speaker is away.
type GracefulRestart struct {
	// Enabled offers graceful restart to the peer (RFC 4724). Node and services forward without the speaker, so the
	// forwarding state is always said to be preserved.
	Enabled bool
	// RestartTime is how long the peer keeps the routes, in whole seconds, at most 4095 s (default 120 s).
	RestartTime time.Duration
	// LongLived is for how long after RestartTime the routes are kept as stale ones (RFC 9494), in whole seconds, at most
	// 2^24-1 s. Zero offers no long-lived restart.
	LongLived time.Duration
}

// A Peer is a router to speak with. Its values are compared by ==: what differs from before is a change. A change of
// Hold, ConnectTime or PrefixLimit leaves the session as it is; any other change begins a new one.
type Peer struct {
	// Name is the key: routes, sessions, Down and Up refer to it.
	Name string
	// MyASN is our ASN.
	MyASN uint32
	// PeerASN is the peer's ASN; zero if Dynamic is not Fixed.
	PeerASN uint32
	// Dynamic admits ASNs that are not known beforehand.
	Dynamic DynamicASN
	// LocalASN, if not zero, stands in place of MyASN in all that the peer sees (what routers call "local-as no-prepend
	// replace-as").
	LocalASN uint32
	// Address is the peer's address, with a zone if it is a link-local one. Unset if Interface is set.
	Address netip.Addr
	// Interface names the link of an unnumbered peer: its link-local address is learned from router advertisements, and we
	// send some so that it learns ours. The link should be one between two routers.
	Interface string
	// Device binds the session to a device, such as that of a VRF.
	Device string
	// Source is the address to speak from; the system chooses if it is unset.
	Source netip.Addr
	// Port is the peer's port (default 179).
	Port uint16
	// HoldTime is after which silence the peer counts as lost (default 90 s, at least 3 s, whole seconds; the lesser of the
	// two peers' counts, RFC 4271 section 4.2). A negative one asks for no keepalives at all.
	HoldTime time.Duration
	// KeepaliveTime is the time between keepalives (default and at most a third of the hold time).
	KeepaliveTime time.Duration
	// ConnectTime bounds the back-off between attempts to connect (default 10 s, at least 1 s).
	ConnectTime time.Duration
	// RouterID is our BGP identifier, an IPv4 address; Config.RouterID if unset.
	RouterID netip.Addr
	// Password signs the session by TCP-MD5 (RFC 2385); at most 80 bytes. It is never logged or reported.
	Password string
	// MultiHop is the TTL for an external peer that is not directly connected; zero means 1. It has no effect on internal
	// peers.
	MultiHop uint8
	// TTLSecurity, if not zero, is how many hops the peer may be away (RFC 5082): packets with a TTL less than
	// 256-TTLSecurity are not accepted. It excludes MultiHop.
	TTLSecurity uint8
	// GracefulRestart is off if zero.
	GracefulRestart GracefulRestart
	// Families are the families of routes to send; zero means that of Address, and both for an unnumbered peer.
	Families Families
	// NextHopIPv4 and NextHopIPv6 override the next hop of the family's routes. If unset, it is the session's own local
	// address or, for the other family, an address of the interface that has it; IPv4 routes go with an IPv6 next hop
	// (RFC 8950) if there is no IPv4 one, or if the peer is unnumbered, and if the peer takes that.
	NextHopIPv4, NextHopIPv6 netip.Addr
	// PrefixLimit is how many prefixes the peer may send before it is cut off (default 10000). Nothing that it sends is used,
	// and eight bytes of each prefix are kept in order to count. A negative limit is none, and nothing is counted.
	PrefixLimit int
	// Passive waits for the peer to connect to Config.Listen instead of connecting to it. While a session is up, another
	// connection of the peer is closed: a peer that vanished without a word comes back after the hold time.
	Passive bool
	// Hold keeps the session from being established until Up is called, as for a peer that BFD must reach first. It is
	// looked at when the peer is new or Hold has changed; after that Down and Up decide.
	Hold bool
}

// Attributes are what a route says to one peer.
type Attributes struct {
	// LocalPref is sent to internal peers only; zero means 100, the value that others assume.
	LocalPref uint32
	// Communities (RFC 1997) and LargeCommunities (RFC 8092) are sent in this order.
	Communities      []community.Standard
	LargeCommunities []community.Large
	// GracefulShutdown asks the peer to prefer any other way (RFC 8326): the route carries GRACEFUL_SHUTDOWN and, to an
	// internal peer, local preference 0.
	GracefulShutdown bool
}

// A State is how far a session has come (RFC 4271 section 8.2.2; Connect stands for Connect and Active).
type State int

// The states.
const (
	// Idle: no attempt is made. Session.Why says why not.
	Idle State = iota + 1
	// Connect: attempts are made, or awaited from a passive peer.
	Connect
	// OpenSent and OpenConfirm: connected, and the peers agree on terms.
	OpenSent
	OpenConfirm
	// Established: routes are exchanged.
	Established
)

// String is the state's name.
func (s State) String() string {
	switch s {
	case Idle:
		return "Idle"
	case Connect:
		return "Connect"
	case OpenSent:
		return "OpenSent"
	case OpenConfirm:
		return "OpenConfirm"
	case Established:
		return "Established"
	}
	return "unknown"
}

// A Session is how it stands with a peer.
type Session struct {
	// Peer is the peer's name.
	Peer string
	// State is the present state, Since when it became Established or ceased to be.
	State State
	Since time.Time
	// Why says in words why the session is not established: why it is held or refused, or what last went wrong. Empty while
	// it is established.
	Why string
	// LastError says in words what last went wrong and LastErrorAt when; both stay when the session is up again.
	LastError   string
	LastErrorAt time.Time
	// Retry is when the next attempt is made; zero if that is not known or is now.
	Retry time.Time
	// Refused tells that the peer's values cannot be used; Why names the fault.
	Refused bool
	// Local and Remote are the addresses of the connection, if there is one.
	Local, Remote netip.AddrPort
	// PeerASN and PeerRouterID are what the peer says of itself; zero before it has.
	PeerASN      uint32
	PeerRouterID netip.Addr
	// HoldTime and KeepaliveTime are those agreed on; zero if there are no keepalives.
	HoldTime, KeepaliveTime time.Duration
	// Families are those whose routes the peer takes.
	Families Families
	// GracefulRestart tells that the peer will keep routes while the speaker is away.
	GracefulRestart bool
	// NextHopIPv4 and NextHopIPv6 are the next hops of the families' routes; unset if there is none to be had, and then
	// these routes are not sent.
	NextHopIPv4, NextHopIPv6 netip.Addr
	// UnsentIPv4 and UnsentIPv6 say in words why the established session does not carry routes of the family; empty if it does.
	UnsentIPv4, UnsentIPv6 string
	// RoutesWanted are for this peer, RoutesSent have been sent to it and not been withdrawn.
	RoutesWanted, RoutesSent int
	// PrefixesReceived counts what the peer sends and nobody uses.
	PrefixesReceived int
	// UpdatesSent counts UPDATE messages, EstablishedCount how often the session came up, since the peer was added.
	UpdatesSent      uint64
	EstablishedCount uint64
}

// An Event tells that a session came up, went down, was held or released, fails for another reason than before, or has been
// closed after SetPeers ended it.
type Event struct {
	// Session is how it stands now.
	Session Session
	// Was is the state that it was last reported in; zero for the first event.
	Was State
	// Closed says that a session which SetPeers has ended is closed, and nothing of one that the peer may have since.
	Closed bool
}

// Clock is the time that the Engine lives by. k8s.io/utils/clock.Clock and its fakes satisfy it.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Timings are the Engine's waits. The zero value of a field means its default.
type Timings struct {
	// RetryMin is the wait before the first attempt after a failure (default 1 s); it doubles up to the peer's ConnectTime.
	RetryMin time.Duration
	// LimitRetryMin and LimitRetryMax bound the back-off after a peer has passed its prefix limit (default 30 s, 30 min).
	LimitRetryMin, LimitRetryMax time.Duration
	// CloseWait bounds what the farewell to a peer takes that does not read (default 500 ms).
	CloseWait time.Duration
}

func (t Timings) withDefaults() Timings {
	def := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	def(&t.RetryMin, time.Second)
	def(&t.LimitRetryMin, 30*time.Second)
	def(&t.LimitRetryMax, 30*time.Minute)
	def(&t.CloseWait, 500*time.Millisecond)
	return t
}

// Config is what New needs.
type Config struct {
	// Log is used for sessions that come and go and for what an operator should know.
	Log logr.Logger
	// Clock is the system's if nil.
	Clock Clock
	// RouterID is the BGP identifier for peers that name none; it may be unset if all do.
	RouterID netip.Addr
	// Listen are the addresses to accept connections of passive peers on. None by default.
	Listen []netip.AddrPort
	// FirstStart tells that no speaker ran here before. Otherwise the first session with each peer says that we have
	// restarted (RFC 4724 section 3), so that a peer does not wait for us before it sends.
	FirstStart bool
	// Timings may be left zero.
	Timings Timings
	// OnEvent is told what happens, for each peer in order but from several goroutines. It must not block and must not call
	// the Engine. Nil is allowed.
	OnEvent func(Event)
}
