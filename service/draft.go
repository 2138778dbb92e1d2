package service

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// draft is a status in the making.
type draft struct {
	in             *Input
	has            []netip.Addr
	ingress        []corev1.LoadBalancerIngress
	ingressChanged bool
	want           map[string]*metav1.Condition // by type; nil: not there
}

// contest puts the condition Contested in. One that stands there is not written
// again for the sake of its counter, only afresh, when something is put right.
func (d *draft) contest(c *Contest, told *metav1.Condition, afresh bool) {
	switch {
	case !c.Contested():
		d.want[ConditionContested] = nil
		return
	case told != nil && !afresh:
		d.want[ConditionContested] = told
		return
	}
	now := d.in.Now
	fresh := &metav1.Condition{Type: ConditionContested, Status: metav1.ConditionTrue}
	var words []string
	if c.asks.contested {
		fresh.Reason = ReasonWishRewritten
		words = append(words, asksWords(&c.asks, d.has, c.Pace, now))
	}
	if c.bout.contested {
		fresh.Reason = ReasonStatusRewritten
		words = slices.Insert(words, 0, boutWords(&c.bout, d.in.Unannounced == nil, now))
	}
	fresh.Message = capped(strings.Join(words, " "), maxMessage)
	d.want[ConditionContested] = fresh
}

func (d *draft) old(kind string) *metav1.Condition {
	return condition(d.in.Service.Status.Conditions, kind)
}

func (d *draft) changed() bool {
	return d.ingressChanged || slices.ContainsFunc(ourConditions, func(kind string) bool {
		return differs(d.old(kind), d.want[kind])
	})
}

// finished is a condition as it is to stand there; nil: not at all.
func (d *draft) finished(kind string) *metav1.Condition {
	if d.want[kind] == nil {
		return nil
	}
	c := *d.want[kind]
	c.ObservedGeneration = d.in.Service.Generation
	c.LastTransitionTime = metav1.NewTime(d.in.Now.UTC().Truncate(1e9))
	if old := d.old(kind); old != nil && old.Status == c.Status && !old.LastTransitionTime.IsZero() {
		c.LastTransitionTime = old.LastTransitionTime
	}
	return &c
}

// conditions are all conditions as they are to stand there: ours in their
// places, those of others as they are.
func (d *draft) conditions() []metav1.Condition {
	if !d.changed() {
		return d.in.Service.Status.Conditions
	}
	var out []metav1.Condition
	for _, c := range d.in.Service.Status.Conditions {
		if !slices.Contains(ourConditions, c.Type) {
			out = append(out, c)
		} else if f := d.finished(c.Type); f != nil {
			out = append(out, *f)
		}
	}
	for _, kind := range ourConditions {
		if f := d.finished(kind); f != nil && d.old(kind) == nil {
			out = append(out, *f)
		}
	}
	return out
}

// patch is the strategic merge patch. What does not change is not in it;
// conditions merge by type, and the ingress list, which is atomic, is replaced.
func (d *draft) patch() []byte {
	type meta struct {
		UID             types.UID `json:"uid,omitempty"`
		ResourceVersion string    `json:"resourceVersion,omitempty"`
	}
	type status struct {
		LoadBalancer *struct {
			Ingress []corev1.LoadBalancerIngress `json:"ingress"`
		} `json:"loadBalancer,omitempty"`
		Conditions []any `json:"conditions,omitempty"`
	}
	var s status
	if d.ingressChanged {
		s.LoadBalancer = &struct {
			Ingress []corev1.LoadBalancerIngress `json:"ingress"`
		}{d.ingress}
	}
	for _, kind := range ourConditions {
		old, f := d.old(kind), d.finished(kind)
		switch {
		case f != nil && (old == nil || *old != *f):
			s.Conditions = append(s.Conditions, f)
		case f == nil && old != nil:
			s.Conditions = append(s.Conditions, map[string]string{"$patch": "delete", "type": kind})
		}
	}
	svc := d.in.Service
	body, err := json.Marshal(map[string]any{"metadata": meta{svc.UID, svc.ResourceVersion}, "status": s})
	if err != nil { // no value above can fail to marshal
		return nil
	}
	return body
}

// patchAgain is the JSON patch that makes the status of a Service, as it was read,
// consist of these entries and conditions.
func patchAgain(svc *corev1.Service, ingress []corev1.LoadBalancerIngress, conditions []metav1.Condition) []byte {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	body, err := json.Marshal([]operation{
		{"test", "/metadata/uid", svc.UID},
		{"test", "/status", svc.Status},
		{"replace", "/status", corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: ingress}, Conditions: conditions}},
	})
	if err != nil { // no value above can fail to marshal
		return nil
	}
	return body
}

// events are what is new in the draft, for those who read the Service's Events.
// What the conditions of the Service said already is not told again.
func (d *draft) events(c *Contest) []Event {
	var out []Event
	if before, now := d.old(ConditionContested), d.want[ConditionContested]; before == nil && now != nil {
		out = append(out, event(corev1.EventTypeWarning, EventContested, "Contest", now.Message))
	} else if before != nil && now == nil {
		out = append(out, event(corev1.EventTypeNormal, EventContestEnded, "Contest", "Nobody has undone anything for a while: the contest is over."))
	}
	out = append(out, d.takeoverEvents()...)
	now := d.want[ConditionAddress]
	if sum, ok := c.bout.conditions[ConditionAddress]; ok && sum == signCondition(now) {
		return out // told before, and somebody took the condition away
	}
	return append(out, d.addressEvents(now)...)
}

func (d *draft) addressEvents(now *metav1.Condition) []Event {
	var out []Event
	old := d.old(ConditionAddress)
	var before []netip.Addr
	if old != nil && old.Status == metav1.ConditionTrue {
		before = addressesIn(old.Message)
	}
	switch {
	case now.Reason == ReasonHandedOver: // the takeover tells
	case len(d.has) == 0 && len(before) > 0:
		out = append(out, event(corev1.EventTypeWarning, EventAddressReleased, "Release", joined(before)+" is the Service's no more."))
	case len(d.has) > 0 && len(before) == 0:
		out = append(out, event(corev1.EventTypeNormal, EventAddressAssigned, "Assign", assignedWords(d.in.Decision.Addresses)))
	case !sameAddresses(d.has, before):
		out = append(out, event(corev1.EventTypeNormal, EventAddressChanged, "Assign",
			fmt.Sprintf("%s Before: %s.", assignedWords(d.in.Decision.Addresses), joined(before))))
	}
	for _, p := range d.in.Asking.Reading.Problems {
		if !said(old, p.String()) {
			out = append(out, event(corev1.EventTypeWarning, p.Reason, "ReadWish", p.String()))
		}
	}
	refusal := d.in.Decision.Refusal
	if refusal != nil && len(d.in.Asking.Reading.Problems) == 0 && now.Reason != ReasonAssigned && !said(old, refusal.String()) {
		out = append(out, event(corev1.EventTypeWarning, EventAddressPending, "Assign", fmt.Sprintf("%s: %s", refusal.Reason, refusal)))
	}
	for _, h := range d.in.Asking.Reading.Hints {
		if h.Reason != "" && !said(old, h.Message) {
			out = append(out, event(corev1.EventTypeWarning, h.Reason, "ReadWish", h.Message))
		}
	}
	return out
}

// said tells whether a condition says something already.
func said(old *metav1.Condition, what string) bool {
	return old != nil && strings.Contains(countless(old.Message), countless(what))
}

func event(kind, reason, action, note string) Event {
	return Event{Type: kind, Reason: reason, Action: action, Note: capped(note, maxNote)}
}
