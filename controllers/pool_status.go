package controllers

import (
	"fmt"
	"math"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// maxMessage is the most bytes of a condition's message.
const maxMessage = 32768

// poolStatus is what a pool's status should say: its usage, what reading it
// found wrong, and what the allocator says of it among the others.
func poolStatus(o *v1alpha1.IPAddressPool, usage map[allocator.Family]allocator.Usage, faults []string, problems []allocator.PoolProblem, now metav1.Time) v1alpha1.IPAddressPoolStatus {
	s := *o.Status.DeepCopy()
	s.ObservedGeneration = o.Generation
	v4, has4 := usage[allocator.IPv4]
	v6, has6 := usage[allocator.IPv6]
	s.AssignedIPv4, s.AvailableIPv4 = saturate(v4.Assigned), saturate(v4.Available)
	s.AssignedIPv6, s.AvailableIPv6 = saturate(v6.Assigned), saturate(v6.Available)
	s.Assigned = both(v4.Assigned, v6.Assigned, has4, has6)
	s.Available = both(v4.Available, v6.Available, has4, has6)
	for _, c := range poolConditions(o, usage, faults, problems) {
		c.ObservedGeneration, c.LastTransitionTime = o.Generation, now
		meta.SetStatusCondition(&s.Conditions, c)
	}
	return s
}

func saturate(n uint64) int64 {
	if n > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(n)
}

// both writes a number of each family for people.
func both(v4, v6 uint64, has4, has6 bool) string {
	switch {
	case has4 && has6:
		return fmt.Sprintf("%d IPv4, %d IPv6", v4, v6)
	case has6:
		return fmt.Sprint(v6)
	}
	return fmt.Sprint(v4)
}

func poolConditions(o *v1alpha1.IPAddressPool, usage map[allocator.Family]allocator.Usage, faults []string, problems []allocator.PoolProblem) []metav1.Condition {
	var overlaps []string
	for _, p := range problems {
		if p.Pool != o.Name {
			continue
		}
		if p.Reason == allocator.ProblemOverlapping || p.Reason == allocator.ProblemClusterRange {
			overlaps = append(overlaps, p.String())
		} else {
			faults = append(faults, p.String())
		}
	}
	ready := metav1.Condition{Type: v1alpha1.PoolReady, Status: metav1.ConditionTrue, Reason: "InUse", Message: "The pool gives out addresses."}
	switch {
	case len(faults) > 0:
		ready = metav1.Condition{
			Type: v1alpha1.PoolReady, Status: metav1.ConditionFalse, Reason: "InvalidSpec",
			Message: capped(strings.Join(faults, " ") + " Everything else of the pool is in use."),
		}
	case o.Spec.Draining:
		ready = metav1.Condition{
			Type: v1alpha1.PoolReady, Status: metav1.ConditionFalse, Reason: "Draining",
			Message: "The pool gives out nothing more (spec.draining). Holders that did not ask for their address move to other pools, each once another pool can serve it.",
		}
	}
	overlapping := metav1.Condition{
		Type: v1alpha1.PoolOverlapping, Status: metav1.ConditionFalse, Reason: "NoOverlap",
		Message: "No other pool and no part of the cluster has addresses of this pool.",
	}
	if len(overlaps) > 0 {
		overlapping.Status, overlapping.Reason, overlapping.Message = metav1.ConditionTrue, "Overlapping", capped(strings.Join(overlaps, " "))
	}
	return []metav1.Condition{ready, overlapping, exhausted(usage)}
}

// exhausted is true when a family of the pool has nothing left. Its message does
// not count who waits, as it would change with each of them.
func exhausted(usage map[allocator.Family]allocator.Usage) metav1.Condition {
	var full []string
	for _, f := range []allocator.Family{allocator.IPv4, allocator.IPv6} {
		if u, ok := usage[f]; ok && u.Capacity > 0 && u.Available == 0 {
			full = append(full, fmt.Sprintf("All %d %s addresses are in use.", u.Capacity, f))
		}
	}
	if len(full) == 0 {
		return metav1.Condition{Type: v1alpha1.PoolExhausted, Status: metav1.ConditionFalse, Reason: "AddressesLeft", Message: "The pool has addresses left."}
	}
	return metav1.Condition{
		Type: v1alpha1.PoolExhausted, Status: metav1.ConditionTrue, Reason: "NoAddressLeft",
		Message: strings.Join(full, " ") + " Add a range to spec.addresses, or let holders ask for another pool.",
	}
}

// capped keeps a message within what the API server takes.
func capped(s string) string {
	if len(s) <= maxMessage {
		return s
	}
	return s[:maxMessage-4] + " ..."
}
