package controllers

import (
	"context"
	"fmt"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
)

// sided is what a takeover means for a Service.
type sided struct {
	party party
	stage
	// over is set when the Service has handed all over and is to ask for nothing.
	over bool
}

// sideOf says in which takeover a Service is a side, and makes of what it asks for
// what it is to have as such.
func (s *shell) sideOf(ctx context.Context, svc *corev1.Service, asking *service.Asking) (sided, error) {
	side, err := s.takeoverOf(ctx, svc)
	if err == nil {
		s.direct(&side, asking)
	}
	return side, err
}

// takeoverOf says in which takeover a Service is a side, and wakes the taker, which
// takes it on.
func (s *shell) takeoverOf(ctx context.Context, svc *corev1.Service) (out sided, err error) {
	if !s.inTakeover(service.KeyOf(svc), svc.Annotations) {
		return out, nil
	}
	if out.party, err = s.serviceParty(ctx, svc); err != nil {
		return out, err
	}
	if out.view, err = s.viewFor(ctx, &out.party); err != nil || out.view == nil {
		return out, err
	}
	out.over = s.handedOver(&out.party, s.ledger.TakenFrom(out.party.Key))
	if out.view.Gives(out.party.Key) && out.view.Phase != takeover.Done {
		s.wakeTakers(out.view)
	}
	return out, nil
}

// direct makes of what a Service asks for what it is to have as a side of a takeover.
func (s *shell) direct(t *sided, asking *service.Asking) {
	key, has := t.party.Key, s.ledger.TakenBy(t.party.Key)
	begins := t.view != nil && t.view.Taker == key && t.view.Phase == takeover.None
	claim := &asking.Reading.Claim
	switch {
	case has != nil && !has.Done():
		asking.Claim, asking.Decide = *pinned(claim, has.Addresses, has.Keys(), false), true
		asking.Claim.Takeover = &has.Takeover
	case begins && t.view.Wanted && len(asking.Reading.Problems) == 0:
		asking.Claim, asking.Decide = *pinned(claim, t.view.Addresses, t.view.Keys(), false), true
		asking.Claim.Takeover = t.view.Begin(s.Clock.Now())
	case t.over, begins && len(s.ledger.Held(key)) == 0:
		asking.Decide = false
	case has != nil && len(asking.Reading.Problems) == 0 && allOf(t.party.wishes, has.Addresses):
		asking.Claim = *pinned(claim, has.Addresses, has.Keys(), true)
	}
}

// stand works out, when the books have decided, where the takeover stands, and what
// the status is to say of it; nil: there is none.
func (s *shell) stand(ctx context.Context, svc *corev1.Service, t *sided, d allocator.Decision) (said *service.Takeover, err error) {
	key := t.party.Key
	if t.view == nil {
		return nil, nil
	}
	if t.view.Taker == key && t.view.Phase == takeover.None && t.view.Wanted {
		if t.view, err = s.viewFor(ctx, &t.party); err != nil || t.view == nil {
			return nil, err
		}
		if t.view.Phase == takeover.None && d.Refusal != nil {
			t.view.Wanted, t.view.Refused = false, d.Refusal.String()
		}
	}
	v := t.view
	if v.Taker == key {
		t.step, err = s.stepOf(ctx, v, taking{
			unready: func([]netip.Addr) (string, error) { return s.unreadyService(ctx, svc), nil },
			service: client.ObjectKeyFromObject(svc),
		})
		if err != nil {
			return nil, err
		}
	}
	what := v.Say()
	said = &service.Takeover{Done: what.True, Reason: what.Reason, Message: what.Message}
	if v.Taker == key && v.Phase.UnderWay() && !v.Phase.TakerInFront() {
		said.Hidden = v.Addresses
	}
	if t.over || len(s.givesUp(key)) > 0 {
		said.HandedOver = handedOverWords(v)
	}
	return said, nil
}

// unreadyService says why a Service could not serve now; empty: it could.
func (s *shell) unreadyService(ctx context.Context, svc *corev1.Service) string {
	if s.endpointsOf(ctx)(client.ObjectKeyFromObject(svc)).Ready {
		return ""
	}
	return fmt.Sprintf("Service %s/%s has no ready endpoint.", svc.Namespace, svc.Name)
}

func handedOverWords(v *takeover.View) string {
	return fmt.Sprintf("%s what the Service had, and handed over. The Service asks for no address, whatever it says: "+
		"to have another one, ask for it by name (annotation %s).", v.TakersServe(), v1alpha1.AnnotationAddresses)
}

// wakeTakers has a takeover looked at by those that take it on.
func (s *shell) wakeTakers(v *takeover.View) {
	g := s.gateways.Load()
	for _, k := range v.Takers() {
		switch request := requestFor(k.Namespace, k.Name); {
		case k.Kind == service.KindService:
			s.services.add(request)
		case g == nil:
		case v.Wanted && v.Phase == takeover.None:
			g.build.add(request)
		default:
			g.progress.add(request)
		}
	}
}
