package service

import (
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// entryAddress is the address of an ingress entry, if it has one.
func entryAddress(e corev1.LoadBalancerIngress) (netip.Addr, bool) {
	a, err := netip.ParseAddr(e.IP)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// Shown are the addresses that the status of a Service shows, each once.
func Shown(svc *corev1.Service) []netip.Addr {
	var out []netip.Addr
	for _, e := range svc.Status.LoadBalancer.Ingress {
		if a, ok := entryAddress(e); ok && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// ingressEntry is an address as we write it.
func ingressEntry(a netip.Addr) corev1.LoadBalancerIngress {
	mode := corev1.LoadBalancerIPModeVIP
	return corev1.LoadBalancerIngress{IP: a.String(), IPMode: &mode}
}

// says tells whether an entry says of an address what we say. What others add
// to it and what does not change its meaning is left to them: ports, and an
// ipMode that is not set, which means VIP.
func says(e corev1.LoadBalancerIngress, a netip.Addr) bool {
	return e.IP == a.String() && e.Hostname == "" && (e.IPMode == nil || *e.IPMode == corev1.LoadBalancerIPModeVIP)
}

// mergeIngress makes an ingress list say that the Service has the given
// addresses. Entries that say so already stay byte for byte. Entries whose
// address the Service does not have, although it lies in our pools or was the
// Service's (wrong), go. All others belong to others and stay byte for byte and
// in their order. The second result tells whether anything had to change; the
// order alone is no reason.
func mergeIngress(list []corev1.LoadBalancerIngress, have []netip.Addr, wrong func(netip.Addr) bool) ([]corev1.LoadBalancerIngress, bool) {
	ours := make([]*corev1.LoadBalancerIngress, len(have))
	var others []corev1.LoadBalancerIngress
	changed := false
	for i := range list {
		e := &list[i]
		a, ok := entryAddress(*e)
		if !ok {
			others = append(others, *e)
			continue
		}
		at := slices.Index(have, a)
		switch {
		case at >= 0 && ours[at] == nil && says(*e, a):
			ours[at] = e
		case at >= 0 || wrong(a):
			changed = true
		default:
			others = append(others, *e)
		}
	}
	var out []corev1.LoadBalancerIngress
	for i, a := range have {
		if ours[i] != nil {
			out = append(out, *ours[i])
			continue
		}
		out, changed = append(out, ingressEntry(a)), true
	}
	if !changed {
		return list, false
	}
	return append(out, others...), true
}

// shown is an ingress list in a sentence.
func shown(list []corev1.LoadBalancerIngress) string {
	const most = 4
	var out []string
	for i, e := range list {
		if i == most {
			out = append(out, "...")
			break
		}
		s := e.IP
		if s == "" {
			s = e.Hostname
		}
		out = append(out, s)
	}
	if len(out) == 0 {
		return "nothing"
	}
	return strings.Join(out, ",")
}

// joined are addresses in a sentence.
func joined(list []netip.Addr) string {
	out := make([]string, len(list))
	for i, a := range list {
		out[i] = a.String()
	}
	return strings.Join(out, ", ")
}
