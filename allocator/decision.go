package allocator

import (
	"net/netip"
	"time"
)

// Assigned is an address that a holder has.
type Assigned struct {
	Address netip.Addr
	// Pool is empty when the address lies outside every pool.
	Pool string
	// Origin is where the wish for it was written: the address itself, else
	// the pool. Empty: given automatically.
	Origin string
	// Since is when the holder got it, to the second.
	Since time.Time
}

// Decision is the answer of the books, and what the caller has to write.
//
// The books have changed already. The caller writes Entry(a) for each address
// in Touched, in order (or deletes the object where Entry says so), and after
// each write that succeeded tells the books with Load (or Unload), before the
// next one: an entry with several addresses is completed to Bound only when the
// others are known to stand in the ledger. Then it writes the holder's status,
// and then calls Vacate with Leaving. After a failure anywhere it decides again.
type Decision struct {
	// Addresses is what the holder has after this decision, kept or new,
	// ordered by Claim.Families.
	Addresses []Assigned
	// Bound is set when the holder has addresses and none of what is needed
	// to use them is missing once Touched is written.
	Bound bool
	// Touched are the entries that may differ from the ledger. An address may
	// stand here twice: first Pending, then Bound.
	Touched []netip.Addr
	// Leaving are addresses that the holder has and no longer needs. They stay
	// its own until Vacate.
	Leaving []netip.Addr
	// Refusal says why the wish is not, or not wholly, met. It may stand
	// beside addresses.
	Refusal *Refusal
	// Refused are all refusals, of which Refusal is the first. Adopt gives
	// one for each address that it could not adopt.
	Refused []Refusal
	// Note is worth telling although the wish is met: the pool is draining.
	Note *Refusal
	// Freed are addresses that have no holder any more.
	Freed []netip.Addr
	// Wake are waiting holders that should be decided again, in the order in
	// which they began to wait.
	Wake []Key
}

// ClusterRange is a range of addresses that the cluster uses itself. None of
// them is ever given to a holder.
type ClusterRange struct {
	Range Range
	// What it is, as it should stand in a sentence: "the pod CIDR of node a",
	// "the address of node b".
	What string
}

// Usage counts the addresses of one pool and family. The numbers saturate at
// the largest uint64, which an IPv6 /64 reaches.
type Usage struct {
	// Capacity is what the pool can hand out, in use or not.
	Capacity uint64
	// Assigned have a holder. Reserved have none but are kept for one.
	Assigned, Reserved uint64
	// Available is Capacity less Assigned and Reserved. Cooling and retained
	// addresses are available, as they give way.
	Available uint64
	// Cooling wait for ReuseDelay or Retain to pass.
	Cooling uint64
	// Strays have a holder and this pool's name, but the pool has no longer
	// room for them: its ranges or exclusions changed. They do not count in
	// the numbers above.
	Strays uint64
	// Waiting is the number of holders that wait for an address of this pool.
	Waiting uint64
}
