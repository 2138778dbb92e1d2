package controllers

import (
	"context"
	"fmt"
	"slices"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
)

// viewOf is a takeover as the ledger and all objects tell it.
func (s *shell) viewOf(ctx context.Context, givers []allocator.Key, taker allocator.Key) (*takeover.View, error) {
	v := &takeover.View{Taker: taker, Phase: s.phaseOf(givers, taker)}
	if t := s.ledger.TakenBy(taker); v.Phase != takeover.None {
		v.Addresses = t.Addresses
	}
	from, err := s.giversOf(ctx, v, givers)
	if err != nil {
		return nil, err
	}
	for i := range from {
		v.Givers = append(v.Givers, allocator.Giver{Key: from[i].Key, UID: string(from[i].uid)})
	}
	if v.Phase == takeover.Done {
		v.Beside = s.tookBeside(v)
		return v, nil
	}
	if len(v.Addresses) == 0 {
		v.Addresses = s.ledger.Held(givers[0])
	}
	v.Beside = takesBeside(from, taker)
	takers := v.Takers()
	to := make([]party, len(takers))
	var ports []allocator.Port
	for i, k := range takers {
		if to[i], err = s.partyOf(ctx, k); err != nil {
			return nil, err
		}
		ports = append(ports, s.ledger.PortsOf(k)...)
	}
	for i := range from {
		if lacks := takeover.Lacking(s.ledger.PortsOf(from[i].Key), ports); len(lacks) > 0 {
			v.Left = append(v.Left, takeover.Left{Giver: from[i].Key, Ports: lacks, Drop: from[i].Drop})
		}
	}
	for i := range to {
		if v.Refused == "" {
			v.Refused, err = s.refusedTakeover(ctx, v, givers, from, &to[i])
		}
		if err != nil {
			return nil, err
		}
	}
	for i := range to {
		if v.Refused+v.Waiting == "" {
			v.Waiting = s.waitingTakeover(givers, from, &to[i])
		}
	}
	v.Wanted = v.Refused+v.Waiting == ""
	return v, nil
}

// phaseOf is how far a takeover has come by the ledger.
func (s *shell) phaseOf(givers []allocator.Key, taker allocator.Key) takeover.Phase {
	if t := s.ledger.TakenBy(taker); t != nil && slices.Equal(t.Keys(), givers) {
		return takeover.Phase(t.Phase)
	}
	return takeover.None
}

// takesBeside are those to whom a giver hands over beside a taker. Several who give
// together give to one.
func takesBeside(from []party, taker allocator.Key) (out []allocator.Key) {
	if len(from) != 1 || !slices.Contains(from[0].Gives, taker) {
		return nil
	}
	for _, k := range from[0].Gives {
		if k != taker {
			out = append(out, k)
		}
	}
	return out
}

// tookBeside are those who took the addresses of a takeover that is done together with
// its taker, and have them.
func (s *shell) tookBeside(v *takeover.View) (out []allocator.Key) {
	for _, t := range s.ledger.TakingsFrom(v.Givers[0].Key) {
		if t.Taker != v.Taker && t.Done() && allOf(v.Addresses, t.Addresses) {
			out = append(out, t.Taker)
		}
	}
	return out
}

// giversOf are the objects of those who give; of a takeover that is under way, those who
// have not gone meanwhile, as their ports have gone with them.
func (s *shell) giversOf(ctx context.Context, v *takeover.View, givers []allocator.Key) (out []party, err error) {
	for _, k := range givers {
		if v.Phase.UnderWay() && noneOf(v.Addresses, s.ledger.Held(k)) {
			continue
		}
		p, err := s.partyOf(ctx, k)
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}

// viewFor is the takeover that a holder is a side of, one that is under way before one
// that is asked for, and that before one that is done; nil: none.
func (s *shell) viewFor(ctx context.Context, p *party) (*takeover.View, error) {
	by, from := s.ledger.TakenBy(p.Key), s.ledger.TakenFrom(p.Key)
	switch {
	case by != nil && !by.Done():
		return s.viewOf(ctx, by.Keys(), p.Key)
	case from != nil && !from.Done():
		return s.viewOf(ctx, from.Keys(), from.Taker)
	case p.Problem != "":
		return &takeover.View{Refused: p.Problem}, nil
	case len(p.Takes) > 0:
		return s.viewOf(ctx, p.Takes, p.Key)
	case len(p.Gives) > 0:
		return s.viewByGiver(ctx, p)
	case by != nil:
		return s.viewOf(ctx, by.Keys(), p.Key)
	case s.handedOver(p, from):
		return s.viewOf(ctx, from.Keys(), from.Taker)
	}
	return nil, nil
}

// viewByGiver is the takeover that a holder agrees to: with the others whom the taker
// names.
func (s *shell) viewByGiver(ctx context.Context, p *party) (*takeover.View, error) {
	taker, err := s.partyOf(ctx, p.Gives[0])
	if err != nil {
		return nil, err
	}
	if slices.Contains(taker.Takes, p.Key) {
		return s.viewOf(ctx, taker.Takes, taker.Key)
	}
	return s.viewOf(ctx, []allocator.Key{p.Key}, taker.Key)
}

// refusedTakeover says why one of those who take over cannot, whoever asks for it; empty: it
// can.
func (s *shell) refusedTakeover(ctx context.Context, v *takeover.View, givers []allocator.Key, from []party, to *party) (string, error) {
	if to.Problem != "" {
		return to.Problem, nil
	}
	for i := range from {
		if why, err := s.refusedGiver(ctx, v, &from[i], to); why != "" || err != nil {
			return why, err
		}
	}
	begun := s.phaseOf(givers, to.Key) != takeover.None
	switch held := s.ledger.Held(to.Key); {
	case to.Key.Kind == service.KindService && !begun && len(held) > 0:
		return fmt.Sprintf("%s has an address of its own. A Service can take over only while it has none: make it anew, with the annotation from the start.", to.Key), nil
	case !begun && !noneOf(v.Addresses, held):
		// While it takes over it would not serve, and it would lose the address if it went back.
		return fmt.Sprintf("%s shares an address with %s. To take over more of those who share it, give back what it has, and take over from all of them at once.",
			to.Key, takeover.Names(v.Keys())), nil
	case to.found && !to.ours:
		return fmt.Sprintf("%s is of a class of another controller, which would not serve the address.", to.Key), nil
	}
	for _, a := range to.wishes {
		if len(v.Addresses) > 0 && !slices.Contains(v.Addresses, a) {
			return fmt.Sprintf("%s asks for %s, which %s does not have. Take it out of spec.addresses, or end the takeover.", to.Key, a, takeover.Names(v.Keys())), nil
		}
	}
	return "", nil
}

// refusedGiver says why one of the givers cannot give to the taker; empty: it can.
func (s *shell) refusedGiver(ctx context.Context, v *takeover.View, from, to *party) (string, error) {
	held := s.ledger.Held(from.Key)
	switch {
	case from.Problem != "":
		return from.Problem, nil
	case to.lacksFamily(v.Addresses):
		return fmt.Sprintf("%s is not of all the families of %s. Change its spec.ipFamilies and spec.ipFamilyPolicy.", to.Key, from.Key), nil
	case len(v.Givers) > 1 && len(from.Gives) > 1:
		return fmt.Sprintf("%s names several whom it hands over to, and %s hand over together. Either several give to one, or one gives to several.", from.Key, takeover.Names(v.Keys())), nil
	case from.found && !from.ours:
		return fmt.Sprintf("%s has its address from another controller. Give it to Fairlead first (class %s).", from.Key, v1alpha1.LoadBalancerClass), nil
	case v.Phase == takeover.None && len(held) > 0 && len(v.Addresses) > 0 && (!allOf(held, v.Addresses) || !allOf(v.Addresses, held)):
		return fmt.Sprintf("%s and %s do not have the same addresses. Only those who share all of theirs can hand over together: name one, or let them share (annotation %s).",
			v.Givers[0].Key, from.Key, v1alpha1.AnnotationSharingKey), nil
	}
	granted, err := s.granted(ctx, to.Key, from.Key)
	if err != nil || granted {
		return "", err
	}
	return fmt.Sprintf("%s may not take over from namespace %s. Create a ReferenceGrant there, from kind %s of namespace %s to kind %s.",
		to.Key, from.Key.Namespace, to.Key.Kind, to.Key.Namespace, from.Key.Kind), nil
}

// waitingTakeover says what a takeover from givers by one lacks; empty: nothing.
func (s *shell) waitingTakeover(givers []allocator.Key, from []party, to *party) string {
	for i := range from {
		if !from[i].found {
			return fmt.Sprintf("%s does not exist.", from[i].Key)
		}
	}
	switch {
	case !to.found:
		return fmt.Sprintf("%s does not exist, or Gateways are not served.", to.Key)
	case !slices.Equal(to.Takes, givers):
		return fmt.Sprintf("%s does not ask for it. Set the annotation %s=%s on it.", to.Key, v1alpha1.AnnotationTakeover, takeover.Words(givers, to.Key.Namespace))
	}
	for i := range from {
		if !slices.Contains(from[i].Gives, to.Key) {
			return fmt.Sprintf("%s does not agree. Set the annotation %s=%s on it.", from[i].Key, v1alpha1.AnnotationHandover, takeover.Word(to.Key, from[i].Key.Namespace))
		}
	}
	for i := range from {
		if len(s.ledger.Held(from[i].Key)) == 0 {
			return fmt.Sprintf("%s has no address yet.", from[i].Key)
		}
	}
	return ""
}
