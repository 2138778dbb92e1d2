package findings

import (
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/plural"
)

// A pool is nearly full when no more than so many addresses of a family are left,
// and no more than so many percent of all.
const (
	few        = 5
	fewPercent = 10
)

// pools finds those that are invalid, overlap, or are full or nearly so.
func pools(s *Snapshot) []Finding {
	var out []Finding
	for i := range s.Pools {
		p := &s.Pools[i]
		f := Finding{Severity: Warning, Kind: "IPAddressPool", Name: p.Name, See: "kubectl fairlead pools -o wide"}
		add := func(what, why string) {
			f.What, f.Why = what, why
			out = append(out, f)
		}
		c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolReady)
		switch {
		case c == nil:
			add("no controller has looked at it", "Does the controller run, and does one lead? Look at its pods and log.")
		case c.Status == metav1.ConditionFalse && !p.Spec.Draining:
			add("not in use: "+c.Reason, c.Message)
		}
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolOverlapping); c != nil && c.Status == metav1.ConditionTrue {
			add("overlaps", c.Message)
		}
		if p.Spec.Draining || toBeUsedUp(p) {
			continue
		}
		if c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.PoolExhausted); c != nil && c.Status == metav1.ConditionTrue {
			add("full", c.Message)
			continue
		}
		for _, family := range []struct {
			name            string
			assigned, avail int64
		}{{"IPv4", p.Status.AssignedIPv4, p.Status.AvailableIPv4}, {"IPv6", p.Status.AssignedIPv6, p.Status.AvailableIPv6}} {
			if nearlyFull(family.assigned, family.avail) {
				are := "are"
				if family.avail == 1 {
					are = "is"
				}
				add(fmt.Sprintf("%d %% of %s used", 100*family.assigned/(family.assigned+family.avail), family.name),
					fmt.Sprintf("%s %s left. Add a range to the pool before there is none.", plural.Count(family.avail, "address"), are))
			}
		}
	}
	return out
}

// toBeUsedUp tells whether a pool is meant to have nothing left: one of a single
// address, or one that is asked for by name only. Who waits for it is told all the
// same.
func toBeUsedUp(p *v1alpha1.IPAddressPool) bool {
	s := &p.Status
	return !ptr.Deref(p.Spec.AutoAssign, true) || s.AvailableIPv4 <= 1 && s.AvailableIPv6 <= 1 && s.AssignedIPv4+s.AvailableIPv4 <= 1 && s.AssignedIPv6+s.AvailableIPv6 <= 1
}

// nearlyFull tells whether few addresses are left.
func nearlyFull(assigned, available int64) bool {
	return assigned > 0 && available <= few && 100*available <= fewPercent*(assigned+available)
}

// notUsed is the reason of a condition of what nobody refers to, which is no harm.
const notUsed = "NotUsed"

// configuration finds advertisements and communities with bad conditions.
func configuration(s *Snapshot) []Finding {
	var out []Finding
	add := func(kind, name, condition string, conditions []metav1.Condition) {
		if c := meta.FindStatusCondition(conditions, condition); c != nil && c.Status == metav1.ConditionFalse && c.Reason != notUsed {
			out = append(out, Finding{Severity: Warning, Kind: kind, Name: name, What: "not in use: " + c.Reason, Why: c.Message})
		}
	}
	for i := range s.L2 {
		add("L2Advertisement", s.L2[i].Name, v1alpha1.AdvertisementReady, s.L2[i].Status.Conditions)
	}
	for i := range s.BGP {
		add("BGPAdvertisement", s.BGP[i].Name, v1alpha1.AdvertisementReady, s.BGP[i].Status.Conditions)
	}
	for i := range s.Communities {
		add("Community", s.Communities[i].Name, v1alpha1.CommunityReady, s.Communities[i].Status.Conditions)
	}
	return out
}
