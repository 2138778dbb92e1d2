package gateway

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// Event is something that is worth telling about an object.
type Event struct {
	Warning bool
	Reason  string
	Message string
}

// StatusEvents tell what has changed in the status of a Gateway: its addresses,
// and whether it is accepted, resolved and programmed. Waiting is no news.
func StatusEvents(before, after gatewayv1.GatewayStatus) []Event {
	var out []Event
	for _, a := range after.Addresses {
		if !hasAddress(before.Addresses, a.Value) {
			out = append(out, Event{Reason: "AddressAssigned", Message: fmt.Sprintf("The Gateway has the address %s.", a.Value)})
		}
	}
	for _, a := range before.Addresses {
		if !hasAddress(after.Addresses, a.Value) {
			out = append(out, Event{Reason: "AddressReleased", Message: fmt.Sprintf("The Gateway no longer has the address %s.", a.Value)})
		}
	}
	out = append(out, takeoverEvents(before.Conditions, after.Conditions)...)
	out = append(out, rejectionEvents(before.Conditions, after.Conditions)...)
	return append(out, ConditionEvents(before.Conditions, after.Conditions, "Accepted", "ResolvedRefs", "Programmed", "AddressesAssigned")...)
}

// takeoverEvents tell of a takeover that the Gateway is a side of.
func takeoverEvents(before, after []metav1.Condition) []Event {
	e := tell.Of(meta.FindStatusCondition(before, tell.Condition), meta.FindStatusCondition(after, tell.Condition))
	if e == nil {
		return nil
	}
	return []Event{{Warning: e.Warning, Reason: e.Reason, Message: e.Message}}
}

func hasAddress(list []gatewayv1.GatewayStatusAddress, value string) bool {
	return slices.ContainsFunc(list, func(a gatewayv1.GatewayStatusAddress) bool { return a.Value == value })
}

// ConditionEvents tell of conditions that have turned bad, or bad in another way,
// and of those that were bad and are good. Their reasons are those of the
// conditions; one that is only waiting is not told.
func ConditionEvents(before, after []metav1.Condition, kinds ...string) []Event {
	var out []Event
	for _, kind := range kinds {
		was, is := meta.FindStatusCondition(before, kind), meta.FindStatusCondition(after, kind)
		switch {
		case is == nil || is.Reason == string(gatewayv1.GatewayReasonPending):
		case is.Status == metav1.ConditionFalse && (was == nil || was.Status != is.Status || was.Reason != is.Reason):
			out = append(out, Event{Warning: true, Reason: is.Reason, Message: is.Message})
		case is.Status == metav1.ConditionTrue && was != nil && was.Status != is.Status && was.Status != metav1.ConditionUnknown,
			is.Status == metav1.ConditionTrue && kind == "Programmed" && (was == nil || was.Status != is.Status):
			out = append(out, Event{Reason: is.Reason, Message: is.Message})
		}
	}
	return out
}
