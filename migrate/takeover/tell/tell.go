// Package tell has the condition that tells of a takeover on both of its sides, and the
// Events that follow from it. It knows nothing of who has which address.
package tell

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Condition is the type of the condition on both sides.
const Condition = "fairlead.dev/Takeover"

// Reasons of the condition beside the phases, and of Events.
const (
	// ReasonRefused: the takeover cannot be, as it is asked for.
	ReasonRefused = "TakeoverRefused"
	// ReasonWaiting: one side asks for it and the other does not, or has nothing.
	ReasonWaiting = "TakeoverWaiting"
	// ReasonRolledBack is of an Event only: the takeover is undone.
	ReasonRolledBack = "TakeoverRolledBack"
)

// Refused tells whether a condition says that a takeover cannot be.
func Refused(c *metav1.Condition) bool { return c != nil && c.Reason == ReasonRefused }

// Event is what is told of a takeover once.
type Event struct {
	Warning         bool
	Reason, Message string
}

// Of gives the Event for a change of the condition on an object: of each phase, and of a
// takeover that is no more and was not done; nil: there is nothing to tell.
func Of(before, now *metav1.Condition) *Event {
	switch {
	case now != nil && (before == nil || before.Reason != now.Reason):
		const kind = "Takeover" // the reasons of an object's Events are of many kinds
		return &Event{Warning: Refused(now), Reason: kind + strings.TrimPrefix(now.Reason, kind), Message: now.Message}
	case now == nil && before != nil && before.Status != metav1.ConditionTrue:
		return &Event{Reason: ReasonRolledBack, Message: "No takeover is under way any more."}
	}
	return nil
}
