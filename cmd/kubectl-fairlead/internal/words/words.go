// Package words says in a few words what stands in objects of Fairlead's kinds,
// the same in all commands.
package words

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/plural"
)

// Reference names a holder: "Service shop/legacy".
func Reference(r v1alpha1.HolderReference) string {
	return r.Kind + " " + r.Namespace + "/" + r.Name
}

// Announced says who announces an address: "node2 L2, BGP 3 nodes to 2 peers".
// Empty: nobody does.
func Announced(s *v1alpha1.AddressStatus) string {
	var parts []string
	if l := s.Layer2; l != nil && l.TakenBy == "" {
		parts = append(parts, l.Node+" L2")
	}
	if b := s.BGP; b != nil && b.Nodes > 0 {
		parts = append(parts, "BGP "+plural.Count(int(b.Nodes), "node")+" to "+plural.Count(int(b.Peers), "peer"))
	}
	return strings.Join(parts, ", ")
}

// NotAnnounced is the condition that says why nobody announces an address that is
// in use; nil: it is announced, or need not be.
func NotAnnounced(a *v1alpha1.Address) *metav1.Condition {
	c := meta.FindStatusCondition(a.Status.Conditions, v1alpha1.AddressAnnounced)
	switch {
	case a.Spec.State != v1alpha1.AddressBound:
		return nil
	case c != nil && c.Status == metav1.ConditionFalse:
		return c
	case Announced(&a.Status) != "":
		return nil
	}
	return &metav1.Condition{
		Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "Unknown",
		Message: "No speaker announces it, and the controller has not said why yet. Does the controller run?",
	}
}

// Remedy is what to do about a reason for which nobody announces an address; empty:
// what the message of the condition says.
func Remedy(reason string) string {
	switch announcer.Reason(reason) {
	case announcer.NoAdvertisement:
		return "Create an L2Advertisement or a BGPAdvertisement that selects its pool."
	case announcer.NoInterface:
		return "See which interfaces the speakers can use: kubectl fairlead announcers -o wide."
	}
	return ""
}

// Ports are those of a holder: "80/TCP,53/UDP".
func Ports(ports []v1alpha1.HolderPort) string {
	out := make([]string, 0, len(ports))
	for _, p := range ports {
		out = append(out, fmt.Sprintf("%d/%s", p.Port, p.Protocol))
	}
	return strings.Join(out, ",")
}

// Left is how long it is until a time, to the minute, or to the second where that
// is near. Empty: it has passed.
func Left(t, now time.Time) string {
	d := t.Sub(now)
	switch {
	case d <= 0:
		return ""
	case d < 2*time.Minute:
		return d.Round(time.Second).String()
	case d < 2*time.Hour:
		return fmt.Sprintf("%d min", int(d.Minutes()))
	}
	return fmt.Sprintf("%d h", int(d.Hours()))
}

// ByAddress sorts what has an address by it: IPv4 first.
func ByAddress[T any](list []T, address func(*T) string) {
	slices.SortStableFunc(list, func(a, b T) int { return Compare(address(&a), address(&b)) })
}

// Compare orders two addresses as numbers; what is none comes last.
func Compare(a, b string) int {
	x, err1 := netip.ParseAddr(a)
	y, err2 := netip.ParseAddr(b)
	switch {
	case err1 != nil && err2 != nil:
		return strings.Compare(a, b)
	case err1 != nil:
		return 1
	case err2 != nil:
		return -1
	}
	return x.Compare(y)
}

// Condition is the one of a type: "True", or "False NoSession"; empty: there is
// none.
func Condition(conditions []metav1.Condition, kind string) string {
	c := meta.FindStatusCondition(conditions, kind)
	switch {
	case c == nil:
		return ""
	case c.Status == metav1.ConditionTrue:
		return string(c.Status)
	}
	return string(c.Status) + " " + c.Reason
}
