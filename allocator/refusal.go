package allocator

import (
	"fmt"
	"net/netip"
	"strings"
	"time"
)

// Reason names why a wish is not met. The values are fit for a condition.
type Reason string

// The reasons.
const (
	AddressInvalid        Reason = "AddressInvalid"        // not a plain unicast-looking address
	AddressTaken          Reason = "AddressTaken"          // another holder has it
	AddressOutsidePools   Reason = "AddressOutsidePools"   // in no pool, and not reserved for the holder
	AddressNotInPool      Reason = "AddressNotInPool"      // in a pool other than those asked for
	AddressExcluded       Reason = "AddressExcluded"       // excluded by its pool
	AddressReserved       Reason = "AddressReserved"       // kept by a person for another holder
	AddressRetained       Reason = "AddressRetained"       // waits for its last holder to return
	AddressInClusterRange Reason = "AddressInClusterRange" // used by the cluster itself
	PoolUnknown           Reason = "PoolUnknown"
	PoolNotAdmitted       Reason = "PoolNotAdmitted"
	PoolExhausted         Reason = "PoolExhausted"
	PoolDraining          Reason = "PoolDraining"
	NoPool                Reason = "NoPool"            // no pool gives addresses to this holder by itself
	FamilyMismatch        Reason = "FamilyMismatch"    // an address of a family not asked for
	FamilyUnavailable     Reason = "FamilyUnavailable" // no pool of the holder has this family
	LimitReached          Reason = "LimitReached"
	PortsClash            Reason = "PortsClash"
	SharingKeyMismatch    Reason = "SharingKeyMismatch"
	HasAnotherAddress     Reason = "HasAnotherAddress" // of Adopt: the ledger is newer than the status
	NoFamily              Reason = "NoFamily"          // the claim names no family
)

// Refusal says why a wish is not met: what is, why, and what to do. Of a holder
// in another namespace it tells only that the address is held elsewhere.
type Refusal struct {
	Reason  Reason
	Family  Family     // zero: not about one family
	Address netip.Addr // zero: not about one address
	Pool    string     // empty: not about one pool
	Pools   []string   // all that were tried, when more than one
	// Holder has the address (or it is reserved or retained for it), in the
	// namespace of the one who asks. Elsewhere: a holder in another namespace.
	Holder    *Key
	Elsewhere bool
	Since     time.Time // how long Holder has had it; zero when Elsewhere
	Until     time.Time // when a retained address becomes free at the latest
	Origin    string    // where the wish was written; empty: automatic
	Port      Port      // that clashes
	What      string    // the cluster range
	Namespace string    // whose limit is reached
	Limit     int
	// InUse and Capacity count the addresses of Pool in Family.
	InUse, Capacity uint64
	// Kept is set when the holder has an address nevertheless.
	Kept bool
	// Partly is set when the other family is served, as the claim only prefers both.
	Partly bool
}

// Error is String, so that a Refusal can travel as an error.
func (r *Refusal) Error() string { return r.String() }

// String is one to three plain sentences.
func (r *Refusal) String() string {
	var s strings.Builder
	s.WriteString(r.what())
	switch {
	case r.Partly:
		s.WriteString(" The holder is served without it.")
	case r.Kept && r.Reason != PoolDraining:
		s.WriteString(" The address in use is kept meanwhile.")
	}
	return s.String()
}

func (r *Refusal) by() string {
	if r.Origin == "" {
		return ""
	}
	return ", asked for by " + r.Origin + ","
}

// who has the address, for a sentence.
func (r *Refusal) who() string {
	if r.Holder == nil {
		return "elsewhere"
	}
	who := "by " + r.Holder.String()
	if !r.Since.IsZero() {
		who += " since " + stamp(r.Since)
	}
	return who
}

func (r *Refusal) forWhom() string {
	if r.Holder == nil {
		return "a holder elsewhere"
	}
	return r.Holder.String()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }

func (r *Refusal) what() string {
	a := r.Address.String() + r.by()
	pool := "Pool " + r.Pool + r.by()
	switch r.Reason {
	case AddressInvalid:
		return fmt.Sprintf("%s is not an address that can be given out. Write a plain IPv4 or IPv6 address, without a zone.", a)
	case AddressTaken:
		return fmt.Sprintf("%s is held %s. It is waited for and no other one is given. Free it, ask for another, or share it with a sharing key that both have.", a, r.who())
	case AddressOutsidePools:
		return fmt.Sprintf("%s lies in no pool. Add it to a pool, or ask for an address of a pool.", a)
	case AddressNotInPool:
		return fmt.Sprintf("%s lies in pool %s, which is not the pool asked for. Change one of the two wishes.", a, r.Pool)
	case AddressExcluded:
		return fmt.Sprintf("%s is excluded by pool %s (exclude or avoidBuggyIPs). Ask for another address, or change the pool.", a, r.Pool)
	case AddressReserved:
		return fmt.Sprintf("%s is reserved for %s. Ask for another address, or change the reservation.", a, r.forWhom())
	case AddressRetained:
		return fmt.Sprintf("%s was released and is kept for %s until %s. Wait, or ask for another address.", a, r.forWhom(), stamp(r.Until))
	case AddressInClusterRange:
		return fmt.Sprintf("%s belongs to %s. Ask for another address.", a, r.What)
	case PoolUnknown:
		return fmt.Sprintf("%s does not exist. Create it, or ask for another pool.", pool)
	case PoolNotAdmitted:
		return fmt.Sprintf("%s does not admit this holder (its namespaces, selectors or classes). Ask for another pool, or have its rules changed.", pool)
	case PoolDraining:
		if r.Kept {
			return fmt.Sprintf("Pool %s is being drained, and the address in use is kept as long as %s.", r.Pool, r.keptWhile())
		}
		return fmt.Sprintf("%s is being drained and gives out no addresses. Ask for another pool.", pool)
	case PoolExhausted:
		return r.exhausted()
	case NoPool:
		return "No pool gives addresses to this holder by itself. Ask for a pool or an address, or let a pool admit it with autoAssign."
	case FamilyMismatch:
		return fmt.Sprintf("%s is an %s address, a family that was not asked for. Add the family, or ask for another address.", a, r.Family)
	case FamilyUnavailable:
		return fmt.Sprintf("%s no %s addresses. Add such a range, or ask for another family or pool.", r.poolsHave(), r.Family)
	case LimitReached:
		return fmt.Sprintf("Namespace %s has the %d %s addresses that pool %s allows a namespace. Free one, or ask for another pool.", r.Namespace, r.Limit, r.Family, r.Pool)
	case PortsClash:
		return fmt.Sprintf("%s has port %s in use already, %s. Use another port or another address.", a, r.Port, r.heldBy())
	case SharingKeyMismatch:
		return fmt.Sprintf("%s is held %s with another sharing key. Use the same key on both, or another address.", a, r.who())
	case HasAnotherAddress:
		return fmt.Sprintf("%s is not adopted: the ledger has another %s address for this holder.", a, r.Family)
	case NoFamily:
		return "No IP family is asked for. Set ipFamilies."
	}
	return string(r.Reason)
}

func (r *Refusal) keptWhile() string {
	if r.Origin != "" {
		return "it is asked for by " + r.Origin
	}
	return "no other pool has room"
}

func (r *Refusal) heldBy() string {
	if r.Holder == nil {
		return "elsewhere"
	}
	return "by " + r.Holder.String()
}

func (r *Refusal) poolsHave() string {
	switch {
	case len(r.Pools) > 1:
		return "Pools " + r.list() + " have"
	case r.Pool != "":
		return "Pool " + r.Pool + " has"
	}
	return "The pools for this holder have"
}

// list names the pools, if they are many only the first.
func (r *Refusal) list() string {
	const most = 5
	if len(r.Pools) <= most {
		return strings.Join(r.Pools, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(r.Pools[:most], ", "), len(r.Pools)-most)
}

func (r *Refusal) exhausted() string {
	if len(r.Pools) > 1 {
		return fmt.Sprintf("None of the pools %s has a free %s address. Add a range to one of them or ask for another pool.", r.list(), r.Family)
	}
	return fmt.Sprintf("Pool %s has no free %s address (%d of %d in use). Add a range to it or ask for another pool.", r.Pool, r.Family, r.InUse, r.Capacity)
}
