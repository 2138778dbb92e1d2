package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/service"
)

// givingOver is what a takeover means for a Service.
type givingOver struct {
	said *service.Takeover // nil: there is none
	// over is set when the Service has handed all over and is to ask for nothing.
	over bool
	// look is when to look again; zero: not before something happens.
	look time.Time
}

// takeoverOf says where the takeover stands that a Service is a side of, and wakes
// the taker, which takes it on.
func (s *shell) takeoverOf(ctx context.Context, svc *corev1.Service) (givingOver, error) {
	var out givingOver
	p, err := s.serviceParty(ctx, svc)
	if err != nil {
		return out, err
	}
	v, err := s.viewFor(ctx, &p)
	if err != nil || v == nil {
		return out, err
	}
	what := v.Say()
	out.said = &service.Takeover{Done: what.True, Reason: what.Reason, Message: what.Message}
	out.over = s.handedOver(&p, s.ledger.TakenFrom(p.Key))
	if v.Phase != takeover.Done {
		out.look = s.Clock.Now().Add(takeoverLook)
		s.wakeTaker(v)
	}
	if out.over || v.Giver == p.Key && v.Phase == takeover.Switched {
		out.said.HandedOver = handedOverWords(v)
	}
	return out, nil
}

func handedOverWords(v *takeover.View) string {
	return fmt.Sprintf("%s serves what the Service had, and handed over. The Service asks for no address, whatever it says: "+
		"to have another one, ask for it by name (annotation %s).", v.Taker, v1alpha1.AnnotationAddresses)
}

// wakeTaker has a takeover looked at by the one that takes it on.
func (s *shell) wakeTaker(v *takeover.View) {
	g := s.gateways.Load()
	if g == nil || v.Taker.Kind != gateway.KindGateway {
		return
	}
	request := requestFor(v.Taker.Namespace, v.Taker.Name)
	if v.Wanted && v.Phase == takeover.None {
		g.build.add(request)
		return
	}
	g.progress.add(request)
}
