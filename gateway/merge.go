package gateway

import (
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// maxParents and maxAncestors are what the CRDs admit. Where others fill the
// list ours are left out, never theirs.
const (
	maxParents   = 32
	maxAncestors = 16
)

// MergeGateway gives the status of a Gateway as it should be written over the
// one that it has, and whether they differ.
func MergeGateway(have, said gatewayv1.GatewayStatus, now time.Time) (gatewayv1.GatewayStatus, bool) {
	out := said
	out.Conditions = mergeConditions(have.Conditions, said.Conditions, GatewayTypes, now)
	out.Listeners = mergeListeners(have.Listeners, said.Listeners, now, func(l *gatewayv1.ListenerStatus) (gatewayv1.SectionName, *[]metav1.Condition) {
		return l.Name, &l.Conditions
	})
	return out, !equality.Semantic.DeepEqual(have, out)
}

// MergeListenerSet does the same for a ListenerSet.
func MergeListenerSet(have, said gatewayv1.ListenerSetStatus, now time.Time) (gatewayv1.ListenerSetStatus, bool) {
	out := said
	out.Conditions = mergeConditions(have.Conditions, said.Conditions, ListenerSetTypes, now)
	out.Listeners = mergeListeners(have.Listeners, said.Listeners, now, func(l *gatewayv1.ListenerEntryStatus) (gatewayv1.SectionName, *[]metav1.Condition) {
		return l.Name, &l.Conditions
	})
	return out, !equality.Semantic.DeepEqual(have, out)
}

// mergeListeners gives the listeners that are said, each with what others have
// said of the one of its name. Parts gives the name and the conditions of one.
func mergeListeners[L any](have, said []L, now time.Time, parts func(*L) (gatewayv1.SectionName, *[]metav1.Condition)) []L {
	had := map[gatewayv1.SectionName][]metav1.Condition{}
	for i := range have {
		name, conditions := parts(&have[i])
		had[name] = *conditions
	}
	out := slices.Clone(said)
	for i := range out {
		name, conditions := parts(&out[i])
		*conditions = mergeConditions(had[name], *conditions, ListenerTypes, now)
	}
	return out
}

// MergeParents gives the entries of a route's status: those of other
// controllers as they are and where they are, ours as said. Entries of ours
// that are said no more go.
func MergeParents(have, said []gatewayv1.RouteParentStatus, now time.Time) ([]gatewayv1.RouteParentStatus, bool) {
	return mergeEntries(have, said, maxParents, RouteTypes, now, func(e *gatewayv1.RouteParentStatus) entry {
		return entry{&e.ParentRef, e.ControllerName, &e.Conditions}
	})
}

// MergeAncestors does the same for a policy.
func MergeAncestors(have, said []gatewayv1.PolicyAncestorStatus, now time.Time) ([]gatewayv1.PolicyAncestorStatus, bool) {
	return mergeEntries(have, said, maxAncestors, PolicyTypes, now, func(e *gatewayv1.PolicyAncestorStatus) entry {
		return entry{&e.AncestorRef, e.ControllerName, &e.Conditions}
	})
}

// entry is what one controller says of a route or a policy to one Gateway.
type entry struct {
	ref        *gatewayv1.ParentReference
	controller gatewayv1.GatewayController
	conditions *[]metav1.Condition
}

// mergeEntries puts entries of ours that are said among those that are there, at
// most so many in all.
func mergeEntries[E any](have, said []E, most int, ours []string, now time.Time, parts func(*E) entry) ([]E, bool) {
	out := []E{}
	told := make([]bool, len(said))
	for _, h := range have {
		had := parts(&h)
		if had.controller != ControllerName {
			out = append(out, h)
			continue
		}
		i := slices.IndexFunc(said, func(s E) bool { return equality.Semantic.DeepEqual(parts(&s).ref, had.ref) })
		if i < 0 || told[i] {
			continue
		}
		told[i] = true
		*had.conditions = mergeConditions(*had.conditions, *parts(&said[i]).conditions, ours, now)
		out = append(out, h)
	}
	for i, s := range said {
		if !told[i] && len(out) < most {
			conditions := parts(&s).conditions
			*conditions = mergeConditions(nil, *conditions, ours, now)
			out = append(out, s)
		}
	}
	return out, !equality.Semantic.DeepEqual(have, out) && len(have)+len(out) > 0
}

// mergeConditions puts what is said among what is there: conditions of types
// that are not ours stay as they are, those of ours that are not said go, and
// one of a newer generation than what is said is left alone.
func mergeConditions(have, said []metav1.Condition, ours []string, now time.Time) []metav1.Condition {
	var out []metav1.Condition
	told := map[string]bool{}
	for _, h := range have {
		if !slices.Contains(ours, h.Type) {
			out = append(out, h)
			continue
		}
		i := slices.IndexFunc(said, func(s metav1.Condition) bool { return s.Type == h.Type })
		if i < 0 {
			continue
		}
		told[h.Type] = true
		s := said[i]
		if h.ObservedGeneration > s.ObservedGeneration {
			out = append(out, h)
			continue
		}
		s.LastTransitionTime = h.LastTransitionTime
		if h.Status != s.Status {
			s.LastTransitionTime = seconds(now)
		}
		s.Message = bounded(s.Message)
		out = append(out, s)
	}
	for _, s := range said {
		if !told[s.Type] {
			s.LastTransitionTime, s.Message = seconds(now), bounded(s.Message)
			out = append(out, s)
		}
	}
	return out
}

// seconds is a time as the API server keeps it.
func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.UTC().Truncate(time.Second)) }

// maxMessage is the most bytes that a condition may say.
const maxMessage = 32768

// bounded ends with a whole character: half of one would come back from the API
// server as another, and be written again for ever.
func bounded(s string) string {
	if len(s) > maxMessage {
		return strings.ToValidUTF8(s[:maxMessage], "")
	}
	return s
}

// MergeClass does the same for a GatewayClass.
func MergeClass(have, said gatewayv1.GatewayClassStatus, now time.Time) (gatewayv1.GatewayClassStatus, bool) {
	out := said
	out.Conditions = mergeConditions(have.Conditions, said.Conditions, ClassTypes, now)
	return out, !equality.Semantic.DeepEqual(have, out)
}
