package announcer

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/announcer/bfd/limits"
	"github.com/fairlead/fairlead/announcer/community"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// BGPAdvertisement is a BGPAdvertisement with its selectors compiled.
type BGPAdvertisement struct {
	Name          string
	Pools         []string
	PoolSelectors []labels.Selector
	NodeSelectors []labels.Selector
	// ServiceSelectors match the labels of holders.
	ServiceSelectors []labels.Selector
	// LengthV4 and LengthV6 are the lengths, in bits, of the prefix that stands
	// for an address.
	LengthV4, LengthV6 int
	// LocalPref is for iBGP peers. 0: none is asked for.
	LocalPref uint32
	// Communities as they are written: numbers, aliases, well-known names.
	Communities []string
	// Peers by name; none: all.
	Peers []string
}

// length is the length of the prefix that stands for an address.
func (a *BGPAdvertisement) length(ip netip.Addr) int {
	if ip.Is4() {
		return a.LengthV4
	}
	return a.LengthV6
}

// BGPPeer is a BGPPeer with its selectors compiled and its defaults filled in.
type BGPPeer struct {
	Name string
	// Created decides which of two peers with one address is used.
	Created time.Time
	MyASN   uint32
	// PeerASN is 0 where Dynamic says which numbers are taken.
	PeerASN uint32
	Dynamic DynamicASN
	// LocalASN is what the peer sees instead of MyASN; 0: MyASN.
	LocalASN uint32
	// Address of the peer; not valid: Interface is set.
	Address   netip.Addr
	Interface string
	// Source is where the session comes from; not valid: the kernel chooses.
	Source netip.Addr
	Port   uint16
	// HoldTime of 0: the session stands without signs of life.
	HoldTime, KeepaliveTime, ConnectTime time.Duration
	// RouterID is not valid where none is asked for.
	RouterID      netip.Addr
	NodeSelectors []labels.Selector
	Password      Password
	// PasswordSecret names the Secret with the password. Empty: Password counts.
	PasswordSecret string
	// BFDProfile by name. Empty: no BFD.
	BFDProfile string
	// RestartTime of 0: no graceful restart. LongLivedStaleTime of 0: not a
	// long-lived one.
	RestartTime, LongLivedStaleTime time.Duration
	MultiHop                        bool
	// TTLSecurityHops of 0: the TTL is not checked.
	TTLSecurityHops int
	PrefixLimit     int
	VRF             string
	DualStack       bool
}

// DynamicASN says which ASN a peer may have that has none written down.
type DynamicASN int

// The dynamic ASNs.
const (
	// NotDynamic: PeerASN says it.
	NotDynamic DynamicASN = iota
	// Internal: ours.
	Internal
	// External: any but ours.
	External
)

// IBGP says whether the peer is in our autonomous system.
func (p *BGPPeer) IBGP() bool {
	return p.Dynamic == Internal || p.Dynamic == NotDynamic && p.PeerASN == p.MyASN
}

// Carries says whether sessions with the peer carry addresses of the family of
// ip. An unnumbered session carries both: its link-local next hop serves both
// (RFC 8950).
func (p *BGPPeer) Carries(ip netip.Addr) bool {
	return p.DualStack || p.Interface != "" || p.Address.Is4() == ip.Is4()
}

// endpoint is what two peers of one node must not have in common.
func (p *BGPPeer) endpoint() [2]string {
	if p.Interface != "" {
		return [2]string{p.VRF, p.Interface}
	}
	return [2]string{p.VRF, p.Address.String()}
}

// watchable says whether BFD can watch the peer, and foreseeable whether also before there is a session of BGP with it,
// which tells the address of the peer of an interface.
func (p *BGPPeer) watchable() bool   { return p.VRF == "" }
func (p *BGPPeer) foreseeable() bool { return p.watchable() && p.Interface == "" }

// echoable says whether echoes can test the path to the peer: not over several hops (RFC 5883 section 3), nor on an
// interface, where they would go to a link-local address, which nobody forwards.
func (p *BGPPeer) echoable() bool { return p.watchable() && p.Interface == "" && !p.MultiHop }

// where says where the peer is, in words.
func (p *BGPPeer) where() string {
	if p.Interface != "" {
		return "interface " + p.Interface
	}
	return "address " + p.Address.String()
}

// Password is a password that does not print itself.
type Password string

// String says only whether there is a password.
func (p Password) String() string {
	if p == "" {
		return ""
	}
	return "(set)"
}

// GoString is for %#v.
func (p Password) GoString() string { return p.String() }

// MarshalText keeps the password out of logs.
func (p Password) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// BFDProfile says how BFD watches peers.
type BFDProfile struct {
	Name                    string
	Receive, Transmit, Echo time.Duration
	DetectMultiplier        int
	EchoMode, Passive       bool
	// Strict: sessions stand only while BFD sees the peer.
	Strict     bool
	MinimumTTL int
	Auth       BFDAuth
}

// BFDAuth says how packets of BFD are signed.
type BFDAuth struct {
	// Type is empty where they are not signed.
	Type  v1alpha1.BFDAuthenticationType
	KeyID uint8
	// Secret is the name of the one with the key.
	Secret string
}

// LongestKey is how long a key may be, in bytes.
func (a BFDAuth) LongestKey() int {
	if a.Type == v1alpha1.BFDSimplePassword {
		return limits.LongestPassword
	}
	return limits.LongestSHA1Key
}

// CommunityAliases are the names that one Community object gives.
type CommunityAliases struct {
	Name string
	// Created decides between two objects that give one name.
	Created time.Time
	// Values are communities by their names.
	Values map[string]string
}

// BGPRoute is a prefix that a node announces, and to whom.
type BGPRoute struct {
	Prefix netip.Prefix
	// Peers that are told, sorted by name.
	Peers []RoutePeer
}

// RoutePeer is what one peer is told of a prefix.
type RoutePeer struct {
	Peer string
	// LocalPref of 0: none is said. Always 0 for eBGP peers (RFC 4271, 5.1.5).
	LocalPref   uint32
	Communities community.Set
	// Draining: the node is about to stop serving and others are there to take
	// over, so the peer is to prefer them (RFC 8326).
	Draining bool
}
