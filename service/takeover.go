package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	c := metav1.Condition{Type: ConditionTakeover, Status: metav1.ConditionFalse, Reason: t.Reason, Message: capped(t.Message, maxMessage)}
	if t.Done {
		c.Status = metav1.ConditionTrue
	}
	return &c
}

// takeoverEvents tell of a takeover that has come to another phase, or is there no
// more.
func (d *draft) takeoverEvents() []Event {
	before, now := d.old(ConditionTakeover), d.want[ConditionTakeover]
	switch {
	case now != nil && (before == nil || before.Reason != now.Reason):
		kind := corev1.EventTypeNormal
		if strings.HasSuffix(now.Reason, "Refused") {
			kind = corev1.EventTypeWarning
		}
		return []Event{event(kind, EventTakeover+strings.TrimPrefix(now.Reason, EventTakeover), "Takeover", now.Message)}
	case before != nil && now == nil && before.Status != metav1.ConditionTrue:
		return []Event{event(corev1.EventTypeNormal, EventTakeoverRolledBack, "Takeover", "No takeover is under way any more.")}
	}
	return nil
}
