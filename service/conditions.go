package service

import (
	"net/netip"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
)

// addressCondition says whether the Service has an address.
func addressCondition(in *Input, has []netip.Addr) metav1.Condition {
	if in.Asking.unknown {
		old := condition(in.Service.Status.Conditions, ConditionAddress)
		if old != nil && sameAddresses(addressesIn(old.Message), has) {
			return *old
		}
	}
	if t := in.Takeover; t != nil && t.HandedOver != "" {
		return metav1.Condition{Type: ConditionAddress, Status: metav1.ConditionFalse, Reason: ReasonHandedOver, Message: capped(t.HandedOver, maxMessage)}
	}
	c := metav1.Condition{Type: ConditionAddress, Status: metav1.ConditionTrue, Reason: ReasonAssigned}
	var words []string
	if len(has) > 0 {
		words = append(words, assignedWords(in.Decision.Addresses))
	} else {
		c.Status, c.Reason = metav1.ConditionFalse, ReasonPending
	}
	reason, why := unmet(in)
	switch {
	case reason == "" && len(has) == 0:
		words = append(words, "No address has been decided on yet.")
	case reason == "":
	case len(has) == 0:
		c.Reason = reason
		words = append(words, why...)
	default:
		if !filled(in, has) {
			c.Reason = ReasonKept
		}
		words = append(words, why...)
	}
	if n := in.Decision.Note; n != nil && len(has) > 0 {
		words = append(words, n.String())
	}
	for _, h := range in.Asking.Reading.Hints {
		words = append(words, h.Message)
	}
	c.Message = capped(strings.Join(words, " "), maxMessage)
	return c
}

// unmet says why what is asked for is not, or not wholly, met. Empty: it is.
func unmet(in *Input) (reason string, why []string) {
	if problems := in.Asking.Reading.Problems; len(problems) > 0 {
		for _, p := range problems {
			why = append(why, p.String())
		}
		keeps := "The Service is given no address until then."
		if len(in.Decision.Addresses) > 0 {
			keeps = "The Service keeps what it has until then."
		}
		return problems[0].Reason, append(why, keeps)
	}
	if in.Asking.unknown {
		return "", nil
	}
	if r := in.Decision.Refusal; r != nil {
		return string(r.Reason), []string{r.String()}
	}
	return "", nil
}

// filled tells whether a refusal beside addresses is only about a second family
// that is preferred, not required: all that was asked for by name is there.
func filled(in *Input, has []netip.Addr) bool {
	c := in.Asking.Reading.Claim
	if len(in.Asking.Reading.Problems) > 0 || c.Policy != allocator.Prefer || len(has) == 0 {
		return false
	}
	r := in.Decision.Refusal
	if r == nil || r.Family == 0 {
		return false
	}
	for _, w := range c.Addresses {
		if !slices.Contains(has, w.Value) {
			return false
		}
	}
	for _, a := range has {
		if allocator.FamilyOf(a) == r.Family {
			return false
		}
	}
	return true
}

// announcedCondition says that nobody announces the address; nil while
// somebody does.
func announcedCondition(in *Input, has []netip.Addr) *metav1.Condition {
	if in.Unannounced == nil || len(has) == 0 {
		return nil
	}
	return &metav1.Condition{
		Type: ConditionAnnounced, Status: metav1.ConditionFalse,
		Reason: in.Unannounced.Reason, Message: capped(in.Unannounced.Message, maxMessage),
	}
}

// differs tells whether a condition as it stands says something else than it
// should. That it was found at an older generation is no difference: a write
// that says nothing new would follow every edit of a spec.
func differs(old, want *metav1.Condition) bool {
	if old == nil || want == nil {
		return old != want
	}
	return old.Status != want.Status || old.Reason != want.Reason || !sameWords(old.Message, want.Message)
}
