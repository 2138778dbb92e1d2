// Package allocator decides which holder has which IP address.
//
// It is pure: values in, values out. It knows no Kubernetes, no clock and no
// network; the caller passes the time and carries out the writes. All rules on
// pools, wishes, sharing, retention and draining have their home here.
//
// The books (Books) are the wished-for state of the ledger, which is the set of
// Address objects at the API server. The caller loads what the API server has,
// asks for decisions, makes the API server agree, and tells the books whenever
// the API server says otherwise.
package allocator

import (
	"fmt"
	"net/netip"
	"time"
)

// Key names a holder: what asks for addresses and keeps them. A holder that is
// deleted and made again has the same Key and another UID.
type Key struct {
	Kind      string // Service or Gateway
	Namespace string
	Name      string
}

func (k Key) String() string { return fmt.Sprintf("%s %s/%s", k.Kind, k.Namespace, k.Name) }

// Family is an IP address family.
type Family uint8

// The two families.
const (
	IPv4 Family = 4
	IPv6 Family = 6
)

func (f Family) String() string { return fmt.Sprintf("IPv%d", uint8(f)) }

// FamilyOf tells the family of an address without an IPv4-mapped prefix.
func FamilyOf(a netip.Addr) Family {
	if a.Is4() {
		return IPv4
	}
	return IPv6
}

// FamilyPolicy says how many of a claim's families must be served, with the
// meaning of Service.spec.ipFamilyPolicy.
type FamilyPolicy uint8

// The family policies.
const (
	// Require asks for an address of every family in Claim.Families.
	Require FamilyPolicy = iota
	// Prefer asks for an address of every family in Claim.Families and takes
	// what there is, at least one.
	Prefer
)

// Port is a protocol and port that a holder serves on its addresses.
type Port struct {
	Protocol string // TCP, UDP or SCTP
	Port     uint16
}

func (p Port) String() string { return fmt.Sprintf("%d/%s", p.Port, p.Protocol) }

// Wish is a value together with the place where a person wrote it, so that a
// refusal can name the place.
type Wish[T any] struct {
	Value  T
	Origin string // for example "spec.loadBalancerIP" or "annotation metallb.io/address-pool"
}

// Claim is what a holder asks for. The zero value of an optional field means
// that the holder does not care.
type Claim struct {
	Key Key
	UID string

	// Families in order of preference, one or two, no duplicates.
	Families []Family
	Policy   FamilyPolicy

	// Addresses asked for explicitly, in the order written. There may be
	// several of one family. When there is at least one of a family, exactly
	// those are given for that family. A family without one is filled from a pool.
	Addresses []Wish[netip.Addr]
	// Pools asked for explicitly, in order. The first with room serves.
	Pools []Wish[string]

	// SharingKey lets holders with the same key have one address, where their
	// ports are disjoint. Empty: not shared.
	SharingKey Wish[string]
	// ShareWith names other namespaces this holder agrees to share with; both
	// sides must agree (or the pool allows it). "*" is any.
	ShareWith []string
	Ports     []Port
	// Local is externalTrafficPolicy: Local.
	Local bool
	// Takeover lets the claim have addresses that its From has, beside it; nil: it
	// takes nothing over. Of a takeover that stands in the ledger, what stands
	// there counts.
	Takeover *Takeover

	// Class is the GatewayClass of a Gateway; empty for Services.
	Class           string
	Labels          map[string]string // of the holder
	NamespaceLabels map[string]string // of its namespace

	// Endpoints is the Service, in the holder's namespace, whose endpoints
	// decide readiness. It is carried into the ledger and not interpreted.
	Endpoints string
	// Advertised holds the labels of the holder that advertisements select
	// by. Carried into the ledger, not interpreted.
	Advertised map[string]string
}

// Selector tells whether labels match. A nil Selector matches nothing.
type Selector func(labels map[string]string) bool

// Admission says which holders of a kind a pool serves. Namespaces and
// NamespaceSelectors are alternatives to each other (either matching is
// enough); HolderSelectors are alternatives too; Classes likewise. The groups
// that are set must all match. A group that is set and matches nobody admits
// nobody.
type Admission struct {
	// Priority orders pools that match: lower numbers first, 0 (unset) last.
	Priority int
	// Namespaces and NamespaceSelectors are set if either is non-nil.
	Namespaces         []string
	NamespaceSelectors []Selector
	HolderSelectors    []Selector
	Classes            []string // Gateways only
}

// Range is a closed range of addresses of one family, From <= To.
type Range struct{ From, To netip.Addr }

// Pool is a set of addresses with rules. Ranges may be in any order; they must
// not overlap each other (the caller reports that; the books survive it).
type Pool struct {
	Name    string
	Ranges  []Range
	Exclude []Range
	// AutoAssign lets holders that named no pool and no address have one.
	AutoAssign bool
	// AvoidBuggyIPs never hands out IPv4 addresses ending in .0 or .255, also
	// when asked for explicitly.
	AvoidBuggyIPs bool
	// Services and Gateways admit holders of their kind. Nil admits all.
	Services, Gateways *Admission
	// ReuseDelay is how long a freed address waits before somebody else gets
	// it; Retain how long it waits for a holder of the same Key. Both give
	// way when nothing else is free, the longest free first.
	ReuseDelay, Retain time.Duration
	// PerNamespaceLimit is the most addresses of this pool (each family
	// counted for itself) that the holders of one namespace may have; 0 is
	// no limit. A shared address counts once for each namespace that holds it.
	PerNamespaceLimit int
	// ShareAcrossNamespaces allows sharing between namespaces.
	ShareAcrossNamespaces bool
	// Draining gives no new address, and moves holders that did not ask for
	// their address explicitly elsewhere, each when another pool can serve it.
	Draining bool
}

// Holding is one holder's part in an address, as it stands in the ledger.
type Holding struct {
	Key        Key
	UID        string
	Ports      []Port
	SharingKey string
	ShareWith  []string
	Local      bool
	// Bound is set once all of Needs is the holder's own. Only a Bound
	// holding is announced. (It stands beside Local to save padding: the
	// books keep a Holding for every address.)
	Bound      bool
	Endpoints  string
	Advertised map[string]string
	// Takeover says from whom the holder takes, or has taken, the address over.
	Takeover *Takeover
	// Since is when the holder got the address.
	Since time.Time
	// Needs are all addresses of the holder, this one among them. The holding
	// is Pending until every address in Needs stands in the ledger with this
	// holder, then Bound.
	Needs []netip.Addr
}

// Entry is one address of the ledger: what the Address object of that IP says
// or should say.
type Entry struct {
	Address netip.Addr
	Pool    string // empty: outside every pool
	Holders []Holding
	// ReservedFor is the holder a person reserved the address for, by
	// creating or editing the Address. Never written by the books.
	ReservedFor *Key
	// Released says who had the address last, and since when it is free. It
	// is set only while there is no holder.
	Released *Release
}

// Release remembers the last holder of a free address.
type Release struct {
	Key Key
	At  time.Time
}
