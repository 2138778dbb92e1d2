package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
)

// surroundings are what Services are read against: the addresses of all pools.
type surroundings struct {
	pools atomic.Pointer[netipx.IPSet]
}

func (s *surroundings) inPool(a netip.Addr) bool {
	set := s.pools.Load()
	return set != nil && set.Contains(a.Unmap())
}

// rangesOf are the addresses of all pools.
func rangesOf(pools []allocator.Pool) *netipx.IPSet {
	var b netipx.IPSetBuilder
	for _, p := range pools {
		for _, r := range p.Ranges {
			b.AddRange(netipx.IPRangeFrom(r.From, r.To))
		}
	}
	// The builder's errors are about invalid ranges, which it leaves out.
	set, _ := b.IPSet()
	return set
}

// namespaceLabels are the labels of a namespace; nil if there is none.
func (s *shell) namespaceLabels(ctx context.Context, name string) (map[string]string, error) {
	ns := namespaceObject()
	err := s.client.Get(ctx, client.ObjectKey{Name: name}, ns)
	if err != nil && !apierrors.IsNotFound(err) {
		return nil, fmt.Errorf("reading Namespace %s: %w", name, err)
	}
	return ns.Labels, nil
}

// clusterRanges are the addresses that the cluster uses itself.
func (s *shell) clusterRanges(ctx context.Context) ([]allocator.ClusterRange, error) {
	var nodes corev1.NodeList
	if err := s.client.List(ctx, &nodes); err != nil {
		return nil, fmt.Errorf("listing Nodes: %w", err)
	}
	var cidrs networkingv1.ServiceCIDRList
	if err := s.client.List(ctx, &cidrs); err != nil && !meta.IsNoMatchError(err) {
		return nil, fmt.Errorf("listing ServiceCIDRs: %w", err)
	}
	var out []allocator.ClusterRange
	for i := range nodes.Items {
		out = append(out, rangesOfNode(&nodes.Items[i])...)
	}
	for _, c := range cidrs.Items {
		for _, p := range c.Spec.CIDRs {
			out = appendPrefix(out, p, "the Service CIDR "+c.Name)
		}
	}
	slices.SortFunc(out, func(a, b allocator.ClusterRange) int {
		if c := strings.Compare(a.What, b.What); c != 0 {
			return c
		}
		return a.Range.From.Compare(b.Range.From)
	})
	return out, nil
}

func rangesOfNode(n *corev1.Node) []allocator.ClusterRange {
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
