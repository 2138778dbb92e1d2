// Package takeover says how one holder takes the addresses of another over: what
// the two objects ask for, what comes next, and what is said of it.
//
// It is pure: values in, values out. Where a takeover stands is told by the ledger
// (allocator.Takeover) and by what the statuses of both sides show, so that whoever
// goes on with it, after a crash too, sees the same and does the same.
package takeover

import (
	"slices"
	"time"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Phase is how far a takeover has come. None: the ledger knows of none.
type Phase string

// The phases. Of those that stand in the ledger, all before Done have both sides as
// holders.
const (
	None      Phase = ""
	Requested Phase = Phase(v1alpha1.TakeoverRequested) // second holder; cannot serve the address yet
	Prepared  Phase = Phase(v1alpha1.TakeoverPrepared)  // second holder; could serve it
	Shared    Phase = Phase(v1alpha1.TakeoverShared)    // both statuses show the address
	Switched  Phase = Phase(v1alpha1.TakeoverSwitched)  // only the taker's status shows it
	Returning Phase = Phase(v1alpha1.TakeoverReturning) // undone: only the giver's status shows it
	Done      Phase = allocator.TakeoverDone            // the taker is the only holder
)

// Pace is how long a takeover stays in a phase at least. Nodes hear of one change
// before they hear of the next.
type Pace struct {
	// Prepare is how long the taker must have been able to serve the address.
	Prepare time.Duration
	// Stay is how long it is waited at most for the taker to be served on the nodes
	// that announce the addresses.
	Stay time.Duration
	// Share is how long both must have been in front.
	Share time.Duration
	// Prove is how long it is waited at most for nodes of which it is not known
	// whether they serve the taker.
	Prove time.Duration
	// Close is how long the taker must have been alone in front.
	Close time.Duration
}

// DefaultPace leaves kube-proxy, which takes changes up at most once a second by
// default, and the speakers more time than they need.
var DefaultPace = Pace{Prepare: 3 * time.Second, Stay: time.Minute, Share: 4 * time.Second, Prove: 15 * time.Second, Close: 3 * time.Second}

// Proof is what is known of the nodes that are to serve the taker.
type Proof int

// The proofs.
const (
	Unknown   Proof = iota // some do not say
	Disproven              // one says that it does not
	Proven                 // all say that they do
)

// Facts are all that the next step follows from.
type Facts struct {
	// Wanted: both objects ask for the takeover, and nothing is against it.
	Wanted bool
	// Phase as the ledger has it, and since when.
	Phase Phase
	Since time.Time
	// Ready: the taker can serve the address now. Reachable: were it in front, some
	// node could announce the address.
	Ready, Reachable bool
	// Moves: another node would announce an address then.
	Moves bool
	// TakerShows and GiverShows: all addresses are in the status that kube-proxy
	// follows. TakerHides and GiverHides: none is.
	TakerShows, TakerHides, GiverShows, GiverHides bool
	// TakerSince and GiverSince are when these statuses were written last.
	TakerSince, GiverSince time.Time
	// Stood: the giver has been in front since before the taker was, as far as is known.
	Stood bool
	// Proof tells whether the nodes have taken up the taker's endpoints.
	Proof Proof
	// Left: the giver has ports that the taker has not, and that are to be kept.
	Left bool
	// Behind: one of those who take over together with the taker has not come as far as
	// it. Alone: one has come so little far that nobody may go on, as where it cannot serve.
	Behind, Alone bool
	Now           time.Time
}

// Step is what to do next.
type Step struct {
	// Phase to write into the ledger; the one that it has: nothing. None takes the
	// addresses from the taker again, Done from the giver.
	Phase Phase
	// Wake is when to look again although nothing has happened; zero: not.
	Wake time.Time
}

// Next says what comes next. It goes one step at a time, and never takes one way
// away before the other is there.
func Next(f Facts, p Pace) Step {
	forward := f.Wanted && f.Ready && f.Reachable && !f.Alone
	switch f.Phase {
	case None:
		return Step{Phase: when(f.Wanted, Requested, None)}
	case Requested:
		if !f.Wanted {
			return Step{Phase: when(f.TakerHides, None, Requested)}
		}
		if forward = forward && !f.Behind; forward && f.Moves {
			return f.after(p.Stay, true, Prepared)
		}
		return Step{Phase: when(forward, Prepared, Requested)}
	case Prepared:
		if !forward {
			return Step{Phase: Requested}
		}
		return f.after(p.Prepare, !f.Behind, Shared)
	case Shared:
		if !forward && f.Stood && f.GiverShows {
			return Step{Phase: Returning} // the nodes have the giver, and the taker may serve for seconds only
		}
		if !forward {
			return f.after(p.Share, f.GiverShows, Returning)
		}
		may := f.TakerShows && f.GiverShows && !f.Left && !f.Behind && f.Proof != Disproven
		if f.Proof == Unknown {
			return f.after(max(p.Share, p.Prove), may, Switched)
		}
		return f.after(p.Share, may, Switched)
	case Switched:
		if !forward {
			return Step{Phase: Shared}
		}
		return f.after(p.Close, f.GiverHides && f.TakerShows && !f.Behind, Done)
	case Returning:
		switch {
		case !f.TakerHides:
			return Step{Phase: Returning}
		case f.Wanted:
			return Step{Phase: Requested}
		}
		return Step{Phase: None}
	}
	return Step{Phase: f.Phase}
}

func when(yes bool, then, otherwise Phase) Phase {
	if yes {
		return then
	}
	return otherwise
}

// after goes on to a phase, if it may, once the takeover has been in its own, and both
// statuses as they are, for a while.
func (f Facts) after(least time.Duration, may bool, next Phase) Step {
	if !may {
		return Step{Phase: f.Phase}
	}
	last := f.Since
	for _, t := range []time.Time{f.TakerSince, f.GiverSince} {
		if t.After(last) {
			last = t
		}
	}
	if due := last.Add(least); f.Now.Before(due) {
		return Step{Phase: f.Phase, Wake: due}
	}
	return Step{Phase: next}
}

// TakerInFront tells whether the taker's status shows the addresses in a phase, and
// GiverInFront whether the giver's does.
func (p Phase) TakerInFront() bool { return p == Shared || p == Switched || p == Done }

// GiverInFront tells whether the giver's status shows the addresses in a phase.
func (p Phase) GiverInFront() bool { return p != Switched && p != Done }

// reached is how many steps a phase is on the way.
func (p Phase) reached() int {
	return slices.Index([]Phase{Requested, Prepared, Shared, Switched, Done}, p) + 1
}

// Beside notes how far one who takes over together with the taker has come: they go
// step by step, none a step ahead of the others by more than the one that it takes first.
// It tells whether that one is behind.
func (f *Facts) Beside(other Phase) (behind bool) {
	behind = other.reached() < f.Phase.reached()
	f.Behind = f.Behind || behind
	f.Alone = f.Alone || other.reached() < f.Phase.reached()-1
	return behind
}

// UnderWay tells whether both sides are holders in a phase.
func (p Phase) UnderWay() bool { return p != None && p != Done }
