package service

import (
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// has are the addresses that the status is to show: none that another holder
// serves by now, or serves still.
func (in *Input) has() []netip.Addr {
	all := addressesOf(in.Decision.Addresses)
	switch t := in.Takeover; {
	case t == nil:
		return all
	case t.HandedOver != "":
		return nil
	default:
		return slices.DeleteFunc(all, func(a netip.Addr) bool { return slices.Contains(t.Hidden, a) })
	}
}

// condition says where a takeover stands; nil: there is none.
func (t *Takeover) condition() *metav1.Condition {
	if t == nil {
		return nil
	}
	c := metav1.Condition{Type: tell.Condition, Status: metav1.ConditionFalse, Reason: t.Reason, Message: capped(t.Message, maxMessage)}
	if t.Done {
		c.Status = metav1.ConditionTrue
	}
	return &c
}

// takeoverEvents tell of a takeover that has come to another phase, or is there no
// more.
func (d *draft) takeoverEvents() []Event {
	before, now := d.old(tell.Condition), d.want[tell.Condition]
	e := tell.Of(before, now)
	if e == nil {
		return nil
	}
	kind := corev1.EventTypeNormal
	if e.Warning {
		kind = corev1.EventTypeWarning
	}
	return []Event{event(kind, e.Reason, "Takeover", e.Message)}
}
