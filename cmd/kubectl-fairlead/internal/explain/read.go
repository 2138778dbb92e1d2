package explain

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/arguments"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/chain"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/gather"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
)

// read reads what bears on every address.
func read(ctx context.Context, r *kube.Reader, now time.Time) (*chain.Snapshot, error) {
	var addresses v1alpha1.AddressList
	var pools v1alpha1.IPAddressPoolList
	var speakers v1alpha1.SpeakerStatusList
	var ads v1alpha1.L2AdvertisementList
	if err := r.Need(ctx, &addresses, &pools, &speakers, &ads); err != nil {
		return nil, err
	}
	var nodes corev1.NodeList
	if err := r.List(ctx, &nodes); err != nil {
		return nil, err
	}
	return &chain.Snapshot{
		Addresses: addresses.Items, Pools: pools.Items, Speakers: speakers.Items, Advertisements: ads.Items, Nodes: nodes.Items,
		Slices: map[types.NamespacedName][]discoveryv1.EndpointSlice{}, Now: now,
	}, nil
}

// readClass reads what decides on a Service of another controller's class: whether
// Fairlead announces what that one writes, and what keeps it from that.
func readClass(ctx context.Context, s *chain.Snapshot, r *kube.Reader, svc *corev1.Service) error {
	controllers, err := r.Controllers(ctx)
	if err != nil {
		return err
	}
	for i := range controllers {
		s.Configured = true
		for _, c := range controllers[i].Spec.Template.Spec.Containers {
			classes, _ := arguments.Value(append(slices.Clone(c.Command), c.Args...), "status-classes")
			s.StatusClasses = append(s.StatusClasses, arguments.List(classes)...)
		}
	}
	var ns corev1.Namespace
	if _, err := r.Get(ctx, client.ObjectKey{Name: svc.Namespace}, &ns); err != nil {
		return err
	}
	s.NamespaceLabels = ns.Labels
	var nodes corev1.NodeList
	nodes.Items = s.Nodes
	s.Ranges, err = gather.Ranges(ctx, r, &nodes)
	return err
}

// readEndpoints reads the slices of a Service and, where it is a Gateway's, of the
// Envoys' own Service too.
func readEndpoints(ctx context.Context, s *chain.Snapshot, r *kube.Reader, name types.NamespacedName) error {
	if _, done := s.Slices[name]; done || name.Name == "" {
		return nil
	}
	var list discoveryv1.EndpointSliceList
	if err := r.List(ctx, &list, client.InNamespace(name.Namespace), client.MatchingLabels{discoveryv1.LabelServiceName: name.Name}); err != nil {
		return fmt.Errorf("finding the endpoints of Service %s: %w", name, err)
	}
	s.Slices[name] = list.Items
	for i := range list.Items {
		fleet := list.Items[i].Labels[v1alpha1.LabelFleet]
		if fleet == "" || fleet == name.Name {
			continue
		}
		return readFleet(ctx, s, r, fleet)
	}
	return nil
}

// readFleet reads the slices of the Envoys' own Service, in whichever namespace that
// is.
func readFleet(ctx context.Context, s *chain.Snapshot, r *kube.Reader, fleet string) error {
	var list discoveryv1.EndpointSliceList
	if err := r.List(ctx, &list, client.MatchingLabels{discoveryv1.LabelServiceName: fleet, v1alpha1.LabelFleet: fleet}); err != nil {
		return fmt.Errorf("finding the Envoys of fleet %s: %w", fleet, err)
	}
	for i := range list.Items {
		s.Fleets = list.Items[i].Namespace
		name := types.NamespacedName{Namespace: s.Fleets, Name: fleet}
		s.Slices[name] = append(s.Slices[name], list.Items[i])
	}
	return nil
}

// readHolders reads the endpoints of all who hold some addresses.
func readHolders(ctx context.Context, s *chain.Snapshot, r *kube.Reader, addresses []*v1alpha1.Address) error {
	for _, a := range addresses {
		for i := range a.Spec.Holders {
			if err := readEndpoints(ctx, s, r, chain.ServedBy(&a.Spec.Holders[i])); err != nil {
				return err
			}
		}
	}
	return nil
}
