package controllers

import (
	"context"
	"fmt"
	"net/netip"
	"sync/atomic"

	"go4.org/netipx"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/pools"
)

// surroundings are what Services are read against: the addresses of all pools.
type surroundings struct {
	pools atomic.Pointer[netipx.IPSet]
}

func (s *surroundings) inPool(a netip.Addr) bool {
	set := s.pools.Load()
	return set != nil && set.Contains(a.Unmap())
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
		out = append(out, pools.OfNode(&nodes.Items[i])...)
	}
	for _, c := range cidrs.Items {
		out = append(out, pools.OfServiceCIDR(&c)...)
	}
	pools.SortRanges(out)
	return out, nil
}
