package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/migrate/takeover"
)

// stage is a takeover that a holder is a side of, and what comes next in it.
type stage struct {
	view *takeover.View // nil: there is none
	// step is there where the holder is the taker of one that is under way.
	step *takeover.Step
}

// taking is what a takeover asks of its taker.
type taking struct {
	// unready says why the taker could not serve addresses now; empty: it could.
	unready func(addresses []netip.Addr) (string, error)
	// service is the one by which the nodes are told of the taker.
	service client.ObjectKey
}

// stepOf says what comes next in a takeover that is under way, and notes in the view
// what stands in its way; nil: none is.
func (s *shell) stepOf(ctx context.Context, v *takeover.View, taker taking) (*takeover.Step, error) {
	t := s.ledger.TakenBy(v.Taker)
	if t == nil || t.Done() || !v.Phase.UnderWay() {
		return nil, nil
	}
	f := takeover.Facts{Wanted: v.Wanted, Phase: v.Phase, Since: t.Since, Left: v.Keeps(), Now: s.Clock.Now(), GiverShows: true, GiverHides: true}
	// One of several takers may be a step ahead, and the giver gone from the front for it.
	f.Stood = len(v.Beside) == 0 && s.stood.get(memoryOf(v.Taker))
	shown, since, err := s.frontOf(ctx, v.Taker)
	if err != nil {
		return nil, err
	}
	f.TakerShows, f.TakerHides, f.TakerSince = allOf(t.Addresses, shown), noneOf(t.Addresses, shown), since
	for _, giver := range v.Keys() {
		shown, since, err := s.frontOf(ctx, giver)
		if err != nil {
			return nil, err
		}
		f.GiverShows, f.GiverHides = f.GiverShows && allOf(t.Addresses, shown), f.GiverHides && noneOf(t.Addresses, shown)
		if since.After(f.GiverSince) {
			f.GiverSince = since
		}
	}
	var behind []allocator.Key
	for _, other := range v.Beside {
		if f.Beside(s.phaseOf(v.Keys(), other)) {
			behind = append(behind, other)
		}
	}
	if err := s.prove(ctx, v, &f, t.Addresses, taker); err != nil {
		return nil, err
	}
	if f.Behind && v.Obstacle == "" {
		v.Obstacle = fmt.Sprintf("It goes on when %s has come as far.", takeover.Names(behind))
	}
	step := takeover.Next(f, s.Takeover)
	return &step, nil
}

// prove finds out whether the taker can serve, whether nodes could announce the
// addresses then, and whether they know of it; the first that is not so is the
// obstacle.
func (s *shell) prove(ctx context.Context, v *takeover.View, f *takeover.Facts, addresses []netip.Addr, taker taking) (err error) {
	if v.Obstacle, err = taker.unready(addresses); err != nil {
		return err
	}
	f.Ready = v.Obstacle == ""
	if f.Reachable, f.Moves, err = s.reachable(ctx, addresses); err != nil {
		return err
	}
	if f.Ready && !f.Reachable {
		v.Obstacle = fmt.Sprintf("No node that announces the address could serve it for both. "+
			"Have endpoints of %s on nodes where %s is served and announced.", v.Taker, takeover.Names(v.Keys()))
	}
	if f.Ready && f.Reachable && f.Moves && f.Phase == takeover.Requested {
		v.Obstacle = fmt.Sprintf("A node that announces the address does not serve %s yet; that is waited for, for at most %s.", v.Taker, s.Takeover.Stay)
	}
	if f.Phase != takeover.Shared {
		return nil
	}
	proof, unproven, err := s.provenOn(ctx, taker.service)
	if err != nil {
		return fmt.Errorf("asking the nodes: %w", err)
	}
	f.Proof = proof
	if v.Obstacle == "" {
		v.Obstacle = unproven
	}
	return nil
}

// lookAgain takes a takeover one step on, and says when to look again; zero: not
// before something happens.
func (s *shell) lookAgain(ctx context.Context, at stage) (time.Time, error) {
	look, err := s.carryOn(ctx, at)
	if err != nil || look == 0 {
		return time.Time{}, err
	}
	return s.Clock.Now().Add(look), nil
}

// carryOn takes a takeover one step on, and says when to look again; 0: not before
// something happens.
func (s *shell) carryOn(ctx context.Context, at stage) (time.Duration, error) {
	switch {
	case at.view == nil || at.view.Phase == takeover.Done:
		return 0, nil
	case at.step == nil:
		return takeoverLook, nil
	}
	if at.step.Phase == at.view.Phase {
		if at.step.Wake.IsZero() {
			return takeoverLook, nil
		}
		return max(at.step.Wake.Sub(s.Clock.Now()), time.Millisecond), nil
	}
	taker := at.view.Taker
	if at.view.Phase == takeover.Prepared && at.step.Phase == takeover.Shared {
		s.stood.put(memoryOf(taker), true)
	} else {
		s.stood.forget(memoryOf(taker))
	}
	var err error
	switch at.step.Phase {
	case takeover.None:
		err = s.ledger.Withdraw(ctx, taker)
	case takeover.Done:
		err = s.ledger.HandOver(ctx, taker)
	default:
		err = s.ledger.Advance(ctx, taker, string(at.step.Phase))
	}
	if err != nil {
		return 0, fmt.Errorf("taking the takeover by %s to %q: %w", taker, at.step.Phase, err)
	}
	return time.Millisecond, nil
}

// memoryOf is what a holder is called in a memory of holders of all kinds.
func memoryOf(k allocator.Key) types.NamespacedName {
	return types.NamespacedName{Namespace: k.Namespace, Name: k.Kind + "/" + k.Name}
}
