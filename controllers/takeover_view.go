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
	v := &takeover.View{Taker: taker}
	if t := s.ledger.TakenBy(taker); t != nil && slices.Equal(t.Keys(), givers) {
		v.Phase, v.Addresses = takeover.Phase(t.Phase), t.Addresses
	}
	from, err := s.giversOf(ctx, v, givers)
	if err != nil {
		return nil, err
	}
	to, err := s.partyOf(ctx, taker)
	if err != nil {
		return nil, err
	}
	for i := range from {
		v.Givers = append(v.Givers, allocator.Giver{Key: from[i].Key, UID: string(from[i].uid)})
	}
	if v.Phase == takeover.Done {
		return v, nil
	}
	if len(v.Addresses) == 0 {
		v.Addresses = s.ledger.Held(givers[0])
	}
	for i := range from {
		if lacks := takeover.Lacking(s.ledger.PortsOf(from[i].Key), s.ledger.PortsOf(taker)); len(lacks) > 0 {
			v.Left = append(v.Left, takeover.Left{Giver: from[i].Key, Ports: lacks, Drop: from[i].Drop})
		}
	}
	if v.Refused, err = s.refusedTakeover(ctx, v, from, &to); err == nil && v.Refused == "" {
		v.Waiting = s.waitingTakeover(v, givers, from, &to)
	}
	v.Wanted = v.Refused == "" && v.Waiting == ""
	return v, err
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
	case p.Gives != nil:
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
	taker, err := s.partyOf(ctx, *p.Gives)
	if err != nil {
		return nil, err
	}
	if slices.Contains(taker.Takes, p.Key) {
		return s.viewOf(ctx, taker.Takes, taker.Key)
	}
	return s.viewOf(ctx, []allocator.Key{p.Key}, *p.Gives)
}

// refusedTakeover says why a takeover cannot be, whoever asks for it; empty: it can.
func (s *shell) refusedTakeover(ctx context.Context, v *takeover.View, from []party, to *party) (string, error) {
	if to.Problem != "" {
		return to.Problem, nil
	}
	for i := range from {
		if why, err := s.refusedGiver(ctx, v, &from[i], to); why != "" || err != nil {
			return why, err
		}
	}
	switch held := s.ledger.Held(v.Taker); {
	case v.Taker.Kind == service.KindService && v.Phase == takeover.None && len(held) > 0:
		return fmt.Sprintf("%s has an address of its own. A Service can take over only while it has none: make it anew, with the annotation from the start.", v.Taker), nil
	case v.Phase == takeover.None && !noneOf(v.Addresses, held):
		// While it takes over it would not serve, and it would lose the address if it went back.
		return fmt.Sprintf("%s shares an address with %s. To take over more of those who share it, give back what it has, and take over from all of them at once.",
			v.Taker, takeover.Names(v.Keys())), nil
	case to.found && !to.ours:
		return fmt.Sprintf("%s is of a class of another controller, which would not serve the address.", v.Taker), nil
	}
	for _, a := range to.wishes {
		if len(v.Addresses) > 0 && !slices.Contains(v.Addresses, a) {
			return fmt.Sprintf("%s asks for %s, which %s does not have. Take it out of spec.addresses, or end the takeover.", v.Taker, a, takeover.Names(v.Keys())), nil
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
		return fmt.Sprintf("%s is not of all the families of %s. Change its spec.ipFamilies and spec.ipFamilyPolicy.", v.Taker, from.Key), nil
	case from.found && !from.ours:
		return fmt.Sprintf("%s has its address from another controller. Give it to Fairlead first (class %s).", from.Key, v1alpha1.LoadBalancerClass), nil
	case v.Phase == takeover.None && len(held) > 0 && len(v.Addresses) > 0 && (!allOf(held, v.Addresses) || !allOf(v.Addresses, held)):
		return fmt.Sprintf("%s and %s do not have the same addresses. Only those who share all of theirs can hand over together: name one, or let them share (annotation %s).",
			v.Givers[0].Key, from.Key, v1alpha1.AnnotationSharingKey), nil
	}
	granted, err := s.granted(ctx, v.Taker, from.Key)
	if err != nil || granted {
		return "", err
	}
	return fmt.Sprintf("%s may not take over from namespace %s. Create a ReferenceGrant there, from kind %s of namespace %s to kind %s.",
		v.Taker, from.Key.Namespace, v.Taker.Kind, v.Taker.Namespace, from.Key.Kind), nil
}

// waitingTakeover says what a takeover from givers lacks; empty: nothing.
func (s *shell) waitingTakeover(v *takeover.View, givers []allocator.Key, from []party, to *party) string {
	for i := range from {
		if !from[i].found {
			return fmt.Sprintf("%s does not exist.", from[i].Key)
		}
	}
	switch {
	case !to.found:
		return fmt.Sprintf("%s does not exist, or Gateways are not served.", v.Taker)
	case !slices.Equal(to.Takes, givers):
		return fmt.Sprintf("%s does not ask for it. Set the annotation %s=%s on it.", v.Taker, v1alpha1.AnnotationTakeover, takeover.Words(givers, v.Taker.Namespace))
	}
	for i := range from {
		if gives := from[i].Gives; gives == nil || *gives != v.Taker {
			return fmt.Sprintf("%s does not agree. Set the annotation %s=%s on it.", from[i].Key, v1alpha1.AnnotationHandover, takeover.Word(v.Taker, from[i].Key.Namespace))
		}
	}
	for i := range from {
		if len(s.ledger.Held(from[i].Key)) == 0 {
			return fmt.Sprintf("%s has no address yet.", from[i].Key)
		}
	}
	return ""
}
