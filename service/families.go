package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/allocator"
)

// familiesOf says which families a Service needs, in its order of preference.
//
// The API server fills in spec.ipFamilies for every Service of type
// LoadBalancer, headless ones too. Where it is missing nevertheless, the
// clusterIPs tell, and where those are missing too, the addresses asked for;
// IPv4 is what is left.
func familiesOf(svc *corev1.Service, asked []netip.Addr) ([]allocator.Family, allocator.FamilyPolicy) {
	families := declared(svc)
	if len(families) == 0 {
		families = clusterFamilies(svc)
	}
	if len(families) == 0 {
		for _, a := range asked {
			families = appendNew(families, allocator.FamilyOf(a))
		}
	}
	if len(families) == 0 {
		families = []allocator.Family{allocator.IPv4}
	}
	policy := svc.Spec.IPFamilyPolicy
	switch {
	case policy == nil:
		return families, allocator.Require
	case *policy == corev1.IPFamilyPolicySingleStack:
		return families[:1], allocator.Require
	case *policy == corev1.IPFamilyPolicyRequireDualStack:
		return appendNew(appendNew(families, allocator.IPv4), allocator.IPv6), allocator.Require
	case *policy == corev1.IPFamilyPolicyPreferDualStack && len(families) > 1:
		return families, allocator.Prefer
	}
	return families, allocator.Require
}

func declared(svc *corev1.Service) []allocator.Family {
	var out []allocator.Family
	for _, f := range svc.Spec.IPFamilies {
		switch f {
		case corev1.IPv4Protocol:
			out = appendNew(out, allocator.IPv4)
		case corev1.IPv6Protocol:
			out = appendNew(out, allocator.IPv6)
		}
	}
	return out
}

func clusterFamilies(svc *corev1.Service) []allocator.Family {
	ips := svc.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{svc.Spec.ClusterIP}
	}
	var out []allocator.Family
	for _, s := range ips {
		if a, err := netip.ParseAddr(s); err == nil {
			out = appendNew(out, allocator.FamilyOf(a.Unmap()))
		}
	}
	return out
}

func appendNew[T comparable](list []T, v T) []T {
	if slices.Contains(list, v) {
		return list
	}
	return append(list, v)
}

func familyNames(families []allocator.Family) string {
	names := make([]string, len(families))
	for i, f := range families {
		names[i] = f.String()
	}
	return strings.Join(names, " and ")
}
