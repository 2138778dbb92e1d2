package pools

import (
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"

	"github.com/fairlead/fairlead/allocator"
)

// Addresses are the addresses of all pools.
func Addresses(list []allocator.Pool) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range list {
		for _, r := range p.Ranges {
			b.AddRange(netipx.IPRangeFrom(r.From, r.To))
		}
	}
	// The builder's errors are about invalid ranges, which it leaves out.
	set, _ := b.IPSet()
	return set
}

// OfNode are the addresses that a node uses: its own, and those of its pods.
func OfNode(n *corev1.Node) []allocator.ClusterRange {
	var out []allocator.ClusterRange
	for _, a := range n.Status.Addresses {
		if ip, err := netip.ParseAddr(a.Address); err == nil {
			out = append(out, allocator.ClusterRange{Range: allocator.Range{From: ip.Unmap(), To: ip.Unmap()}, What: "the address of node " + n.Name})
		}
	}
	for _, p := range n.Spec.PodCIDRs {
		out = appendPrefix(out, p, "the pod CIDR of node "+n.Name)
	}
	return out
}

func appendPrefix(out []allocator.ClusterRange, cidr, what string) []allocator.ClusterRange {
	p, err := netip.ParsePrefix(cidr)
	if err != nil {
		return out
	}
	r := netipx.RangeOfPrefix(p.Masked())
	return append(out, allocator.ClusterRange{Range: allocator.Range{From: r.From(), To: r.To()}, What: what})
}

// OfServiceCIDR are the addresses of a ServiceCIDR.
func OfServiceCIDR(c *networkingv1.ServiceCIDR) []allocator.ClusterRange {
	var out []allocator.ClusterRange
	for _, p := range c.Spec.CIDRs {
		out = appendPrefix(out, p, "the Service CIDR "+c.Name)
	}
	return out
}

// SortRanges puts ranges in an order that does not depend on how they were found.
func SortRanges(list []allocator.ClusterRange) {
	slices.SortFunc(list, func(a, b allocator.ClusterRange) int {
		if c := strings.Compare(a.What, b.What); c != 0 {
			return c
		}
		return a.Range.From.Compare(b.Range.From)
	})
}
