package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/service"
)

// Side is a Service or a Gateway that hands its addresses over, or takes those of another.
type Side struct {
	allocator.Key
	// Front is the Service in whose status the nodes find the addresses: the Service itself, or the Gateway's own.
	Front string
}

// ServiceSide is a Service as a side of a takeover.
func ServiceSide(namespace, name string) Side {
	return Side{Key: allocator.Key{Kind: service.KindService, Namespace: namespace, Name: name}, Front: name}
}

// GatewaySide is a Gateway as a side of a takeover.
func GatewaySide(namespace, name, class string) Side {
	return Side{Key: allocator.Key{Kind: gateway.KindGateway, Namespace: namespace, Name: name}, Front: fleet.FrontName(name, class)}
}

// Object has the name of the side's object, and nothing else.
func (s Side) Object() client.Object {
	name := metav1.ObjectMeta{Namespace: s.Namespace, Name: s.Name}
	if s.Kind == gateway.KindGateway {
		return &gatewayv1.Gateway{ObjectMeta: name}
	}
	return &corev1.Service{ObjectMeta: name}
}

// Takes is the annotation by which one takes over from a side.
func Takes(from, taker Side) map[string]string {
	return map[string]string{v1alpha1.AnnotationTakeover: takeover.Word(from.Key, taker.Namespace)}
}

// AskForTakeover writes the annotations on both sides, the taker's first, and takes those of a takeover the other way round from
// them.
func (l *Lab) AskForTakeover(ctx context.Context, from, to Side) error {
	if err := l.ask(ctx, to, takeover.Word(from.Key, to.Namespace), ""); err != nil {
		return err
	}
	return l.ask(ctx, from, "", takeover.Word(to.Key, from.Namespace))
}

// Agree has a side hand over to another, which asks for it already.
func (l *Lab) Agree(ctx context.Context, from, to Side) error {
	return l.ask(ctx, from, "", takeover.Word(to.Key, from.Namespace))
}

// Disagree takes the annotations of takeovers from a side.
func (l *Lab) Disagree(ctx context.Context, s Side) error { return l.ask(ctx, s, "", "") }

func (l *Lab) ask(ctx context.Context, s Side, takes, gives string) error {
	if err := l.Client.Patch(ctx, s.Object(), client.RawPatch(types.MergePatchType, asking(takes, gives))); err != nil {
		return fmt.Errorf("asking %s for a takeover: %w", s.Key, err)
	}
	return nil
}

// asking is a patch that has an object take over and hand over; empty: not.
func asking(takes, gives string) []byte {
	value := func(s string) string {
		if s == "" {
			return "null"
		}
		return strconv.Quote(s)
	}
	return fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s,%q:%s}}}`, v1alpha1.AnnotationTakeover, value(takes), v1alpha1.AnnotationHandover, value(gives))
}

// TakeoverStands wants all of some sides to say that their takeover stands at a phase, or for another reason.
func (l *Lab) TakeoverStands(ctx context.Context, reason string, sides ...Side) error {
	var errs []error
	for _, s := range sides {
		c, err := l.SaysOfTakeover(ctx, s)
		if err == nil && (c == nil || c.Reason != reason) {
			err = fmt.Errorf("%s says %+v", s.Key, c)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// SaysOfTakeover is the condition of a side that tells of its takeover; nil: it has none.
func (l *Lab) SaysOfTakeover(ctx context.Context, s Side) (*metav1.Condition, error) {
	o := s.Object()
	if err := l.Client.Get(ctx, client.ObjectKeyFromObject(o), o); err != nil {
		return nil, fmt.Errorf("reading %s: %w", s.Key, err)
	}
	var said []metav1.Condition
	switch o := o.(type) {
	case *corev1.Service:
		said = o.Status.Conditions
	case *gatewayv1.Gateway:
		said = o.Status.Conditions
	}
	return meta.FindStatusCondition(said, tell.Condition), nil
}

// TakenOver wants a side to have all of some addresses alone, and both sides to say so.
func (l *Lab) TakenOver(ctx context.Context, from, to Side, addresses []netip.Addr) error {
	if err := l.HeldBy(ctx, to, addresses); err != nil {
		return err
	}
	for _, s := range []Side{from, to} {
		c, err := l.SaysOfTakeover(ctx, s)
		if err != nil {
			return err
		}
		if c == nil || c.Reason != string(takeover.Done) || !strings.HasPrefix(c.Message, to.String()+" has ") {
			return fmt.Errorf("%s says %+v", s.Key, c)
		}
	}
	return nil
}

// HeldBy wants a side to be the only holder of some addresses, with no takeover under way.
func (l *Lab) HeldBy(ctx context.Context, s Side, addresses []netip.Addr) error {
	for _, a := range addresses {
		var o v1alpha1.Address
		if err := l.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, &o); err != nil {
			return fmt.Errorf("reading the ledger's entry of %s: %w", a, err)
		}
		var holders []allocator.Key
		for _, h := range o.Spec.Holders {
			holders = append(holders, allocator.Key{Kind: h.Kind, Namespace: h.Namespace, Name: h.Name})
		}
		if !slices.Equal(holders, []allocator.Key{s.Key}) {
			return fmt.Errorf("%s is held by %s", a, o.Spec.Summary)
		}
	}
	return nil
}

// Shows counts those of some addresses that the nodes are told of for a side.
func (l *Lab) Shows(ctx context.Context, s Side, addresses []netip.Addr) (n int, err error) {
	var svc corev1.Service
	if err := l.Client.Get(ctx, client.ObjectKey{Namespace: s.Namespace, Name: s.Front}, &svc); err != nil {
		return 0, fmt.Errorf("reading the Service of %s: %w", s.Key, err)
	}
	for _, a := range Addresses(&svc) {
		if slices.Contains(addresses, a) {
			n++
		}
	}
	return n, nil
}

// AwaitPhase returns as soon as the ledger says that the takeover of an address is in a phase, however short that is.
func (l *Lab) AwaitPhase(ctx context.Context, a netip.Addr, phase takeover.Phase) error {
	watching, err := l.Client.Watch(ctx, &v1alpha1.AddressList{}, client.MatchingFields{"metadata.name": v1alpha1.AddressName(a)})
	if err != nil {
		return fmt.Errorf("watching the ledger's entry of %s: %w", a, err)
	}
	defer watching.Stop()
	last := takeover.None
	for event := range watching.ResultChan() {
		o, ok := event.Object.(*v1alpha1.Address)
		if !ok {
			continue
		}
		if last = phaseOf(o); last == phase {
			return nil
		}
	}
	return fmt.Errorf("waiting for the takeover of %s to be %s: it is %q: %w", a, phase, last, context.Cause(ctx))
}

// phaseOf is that of the takeover that is under way, or was done.
func phaseOf(o *v1alpha1.Address) takeover.Phase {
	for _, h := range o.Spec.Holders {
		if h.Takeover != nil {
			return takeover.Phase(h.Takeover.Phase)
		}
	}
	return takeover.None
}
