// Package status is `kubectl fairlead status`: it reads all that may be wrong, and shows
// what is.
package status

import (
	"context"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/findings"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
)

// Command is `kubectl fairlead status`.
func Command(env *kube.Env) *cobra.Command {
	return &cobra.Command{
		Use: "status", Short: "What is wrong now, worst first",
		Long: `What is wrong now, worst first: addresses that nobody announces, Gateways that are not programmed, peers
that are down, speakers that are gone, Services that wait or are contested, pools that are nearly full, and
configuration that is not in use. The whole cluster; with --namespace only the Services and Gateways of it,
and all that they share.

  Down      clients do not get through
  Degraded  they do, and the next failure may change that
  Waiting   somebody does not get what they ask for
  Warning   it may become worse

The exit code is 1 where something is wrong.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			s, err := read(ctx, r, env.Filter())
			if err != nil {
				return nil, false, err
			}
			s.Now = env.Now()
			report := findings.Of(s)
			return report, len(report.Findings) > 0, nil
		}),
	}
}

// read reads what may be wrong.
func read(ctx context.Context, r *kube.Reader, namespace string) (*findings.Snapshot, error) {
	var addresses v1alpha1.AddressList
	var pools v1alpha1.IPAddressPoolList
	var speakers v1alpha1.SpeakerStatusList
	var peers v1alpha1.BGPPeerList
	var l2 v1alpha1.L2AdvertisementList
	var bgp v1alpha1.BGPAdvertisementList
	var communities v1alpha1.CommunityList
	if err := r.Need(ctx, &addresses, &pools, &speakers, &peers, &l2, &bgp, &communities); err != nil {
		return nil, err
	}
	var nodes corev1.NodeList
	var classes gatewayv1.GatewayClassList
	var services corev1.ServiceList
	var gateways gatewayv1.GatewayList
	for _, list := range []client.ObjectList{&nodes, &classes} {
		if err := r.List(ctx, list); err != nil {
			return nil, err
		}
	}
	for _, list := range []client.ObjectList{&services, &gateways} {
		if err := r.List(ctx, list, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
	}
	return &findings.Snapshot{
		Addresses: addresses.Items, Pools: pools.Items, Speakers: speakers.Items, Peers: peers.Items, L2: l2.Items, BGP: bgp.Items,
		Communities: communities.Items, Nodes: nodes.Items, Classes: classes.Items,
		Services: services.Items, Gateways: gateways.Items, Partly: len(r.Gaps()) > 0,
	}, nil
}
