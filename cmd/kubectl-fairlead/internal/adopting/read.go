package adopting

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/gather"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/imports"
)

// read reads all that an adoption looks at.
func read(ctx context.Context, r *kube.Reader, source imports.Source) (adopt.Snapshot, error) {
	var s adopt.Snapshot
	var err error
	if s.Cluster, err = gather.Cluster(ctx, r); err != nil {
		return s, err
	}
	if r.Absent(&v1alpha1.IPAddressPoolList{}) {
		return s, kube.ErrNotInstalled
	}
	if s.Workloads, err = gather.Workloads(ctx, r); err != nil {
		return s, err
	}
	if s.CiliumConfig, err = gather.CiliumConfig(ctx, r, s.Workloads); err != nil {
		return s, err
	}
	if s.CRDs, err = gather.CRDs(ctx, r); err != nil {
		return s, err
	}
	if s.Foreign, err = gather.Foreign(ctx, r, source); err != nil {
		return s, err
	}
	if err := readOurs(ctx, r, &s); err != nil {
		return s, err
	}
	return s, readAnnouncing(ctx, r, source, &s)
}

func readOurs(ctx context.Context, r *kube.Reader, s *adopt.Snapshot) error {
	var l2 v1alpha1.L2AdvertisementList
	var bgp v1alpha1.BGPAdvertisementList
	var peers v1alpha1.BGPPeerList
	var profiles v1alpha1.BFDProfileList
	var communities v1alpha1.CommunityList
	var speakers v1alpha1.SpeakerStatusList
	var nodes corev1.NodeList
	var deployments appsv1.DeploymentList
	var daemons appsv1.DaemonSetList
	for _, list := range []client.ObjectList{&l2, &bgp, &peers, &profiles, &communities, &speakers, &nodes, &deployments, &daemons} {
		if err := r.List(ctx, list); err != nil {
			return err
		}
	}
	s.L2Advertisements, s.BGPAdvertisements, s.Peers = l2.Items, bgp.Items, peers.Items
	s.Profiles, s.Communities, s.Speakers = profiles.Items, communities.Items, speakers.Items
	s.Nodes, s.Deployments, s.DaemonSets = nodes.Items, deployments.Items, daemons.Items
	return nil
}

// readAnnouncing reads what the other controller says of its announcements.
func readAnnouncing(ctx context.Context, r *kube.Reader, source imports.Source, s *adopt.Snapshot) error {
	if source != imports.MetalLB {
		return nil
	}
	for _, kind := range []string{"ServiceL2Status", "ServiceBGPStatus"} {
		found, err := gather.Unstructured(ctx, r, schema.GroupVersionKind{Group: "metallb.io", Version: "v1beta1", Kind: kind})
		if err != nil {
			return err
		}
		s.Announcing = append(s.Announcing, found...)
	}
	return nil
}
