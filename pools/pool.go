// Package pools reads what the API server has of pools and of the cluster into
// values of package allocator, for all who keep books: the controller, and what
// foretells what it would do.
package pools

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"go4.org/netipx"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// What the CRD's defaults are, for objects made before they were set.
const (
	defaultReuseDelay = 5 * time.Minute
	defaultRetain     = 10 * time.Minute
)

// Read reads an IPAddressPool into a pool of the allocator, and says what of it
// cannot be used. What is left of a faulty pool works.
func Read(o *v1alpha1.IPAddressPool) (allocator.Pool, []string) {
	s, r := &o.Spec, &poolReader{name: o.Name}
	p := allocator.Pool{
		Name: o.Name, AutoAssign: s.AutoAssign == nil || *s.AutoAssign, AvoidBuggyIPs: s.AvoidBuggyIPs,
		ReuseDelay: durationOr(s.ReuseDelay, defaultReuseDelay), Retain: durationOr(s.Retain, defaultRetain),
		PerNamespaceLimit: int(s.PerNamespaceLimit), Draining: s.Draining,
		ShareAcrossNamespaces: s.Sharing == v1alpha1.SharingAcrossNamespaces,
		Ranges:                r.ranges("addresses", s.Addresses),
		Exclude:               r.ranges("exclude", s.Exclude),
	}
	if a := s.ServiceAllocation; a != nil {
		p.Services = &allocator.Admission{
			Priority: int(a.Priority), Namespaces: a.Namespaces,
			NamespaceSelectors: r.selectors("serviceAllocation.namespaceSelectors", a.NamespaceSelectors),
			HolderSelectors:    r.selectors("serviceAllocation.serviceSelectors", a.ServiceSelectors),
		}
	}
	if a := s.GatewayAllocation; a != nil {
		p.Gateways = &allocator.Admission{
			Priority: int(a.Priority), Namespaces: a.Namespaces, Classes: a.GatewayClasses,
			NamespaceSelectors: r.selectors("gatewayAllocation.namespaceSelectors", a.NamespaceSelectors),
			HolderSelectors:    r.selectors("gatewayAllocation.gatewaySelectors", a.GatewaySelectors),
		}
	}
	return p, r.problems
}

func durationOr(d *metav1.Duration, otherwise time.Duration) time.Duration {
	if d == nil {
		return otherwise
	}
	return d.Duration
}

// poolReader collects what is wrong with a pool while it is read.
type poolReader struct {
	name     string
	problems []string
}

func (r *poolReader) ranges(field string, in []v1alpha1.AddressRange) []allocator.Range {
	var out []allocator.Range
	for i, s := range in {
		parsed, err := ParseRange(string(s))
		if err != nil {
			r.problems = append(r.problems, fmt.Sprintf("spec.%s[%d] %q is not used: %v.", field, i, s, err))
			continue
		}
		out = append(out, parsed)
	}
	return out
}

// selectors keeps a selector that is invalid as one that matches nobody: a
// mistake must not open a pool to everyone.
func (r *poolReader) selectors(field string, in []metav1.LabelSelector) []allocator.Selector {
	var out []allocator.Selector
	for i := range in {
		s, err := metav1.LabelSelectorAsSelector(&in[i])
		if err != nil {
			r.problems = append(r.problems, fmt.Sprintf("spec.%s[%d] matches nobody: %v.", field, i, err))
			out = append(out, nil)
			continue
		}
		out = append(out, func(set map[string]string) bool { return s.Matches(labels.Set(set)) })
	}
	return out
}

// ParseRange reads a prefix or a range. The API server has checked its form;
// what it cannot check is the order of the ends.
func ParseRange(s string) (allocator.Range, error) {
	if from, to, is := strings.Cut(s, "-"); is {
		a, err := netip.ParseAddr(strings.TrimSpace(from))
		if err != nil {
			return allocator.Range{}, fmt.Errorf("%q is not an address", strings.TrimSpace(from))
		}
		b, err := netip.ParseAddr(strings.TrimSpace(to))
		if err != nil {
			return allocator.Range{}, fmt.Errorf("%q is not an address", strings.TrimSpace(to))
		}
		a, b = a.Unmap(), b.Unmap()
		switch {
		case a.Zone() != "" || b.Zone() != "":
			return allocator.Range{}, fmt.Errorf("an address with a zone cannot be in a pool")
		case a.Is4() != b.Is4():
			return allocator.Range{}, fmt.Errorf("its ends are of different families; write one range for each")
		case b.Less(a):
			return allocator.Range{}, fmt.Errorf("its end lies before its start; write %s-%s", b, a)
		}
		return allocator.Range{From: a, To: b}, nil
	}
	p, err := netip.ParsePrefix(strings.TrimSpace(s))
	if err != nil {
		return allocator.Range{}, fmt.Errorf("write a prefix such as 192.0.2.0/24 or a range such as 192.0.2.10-192.0.2.20")
	}
	r := netipx.RangeOfPrefix(p.Masked())
	return allocator.Range{From: r.From().Unmap(), To: r.To().Unmap()}, nil
}

// ByAge orders pools by the time they came to be, then by name: the older one
// keeps what two have in common.
func ByAge(pools []v1alpha1.IPAddressPool) []v1alpha1.IPAddressPool {
	pools = slices.Clone(pools)
	slices.SortFunc(pools, func(a, b v1alpha1.IPAddressPool) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), strings.Compare(a.Name, b.Name))
	})
	return pools
}
