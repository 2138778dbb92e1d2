package journey

import (
	"context"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/inhabit"
)

// hands are a cluster in which workloads of all kinds become ready, and Fairlead's speakers say what they announce.
type hands struct {
	*inhabit.Cluster
	// progress is what was printed so far by commands that write.
	progress string
}

// work lets the hands work until the end of the test.
func work(t *testing.T, cfg *rest.Config, c client.Client) *hands {
	h := &hands{Cluster: inhabit.NewCluster(t, cfg, c)}
	h.Live(h.daemons, h.speakers, h.announcements)
	return h
}

// daemons are ready on three nodes.
func (h *hands) daemons(ctx context.Context) error {
	var list appsv1.DaemonSetList
	if err := h.Client.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if d.Status.ObservedGeneration == d.Generation && d.Status.NumberReady == 3 {
			continue
		}
		d.Status = appsv1.DaemonSetStatus{ObservedGeneration: d.Generation, NumberReady: 3, UpdatedNumberScheduled: 3, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3}
		if err := h.Client.Status().Update(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// ready tells whether all workloads are as they are written.
func (h *hands) ready(ctx context.Context) bool {
	var deployments appsv1.DeploymentList
	var daemons appsv1.DaemonSetList
	if h.Client.List(ctx, &deployments) != nil || h.Client.List(ctx, &daemons) != nil {
		return false
	}
	return !slices.ContainsFunc(deployments.Items, func(d appsv1.Deployment) bool { return d.Status.ObservedGeneration != d.Generation }) &&
		!slices.ContainsFunc(daemons.Items, func(d appsv1.DaemonSet) bool { return d.Status.ObservedGeneration != d.Generation })
}

// selected are the nodes that one of some lists of selectors selects.
func (h *hands) selected(ctx context.Context, lists [][]metav1.LabelSelector) ([]string, error) {
	var nodes corev1.NodeList
	if err := h.Client.List(ctx, &nodes); err != nil {
		return nil, err
	}
	var out []string
	for i := range nodes.Items {
		if slices.ContainsFunc(lists, func(list []metav1.LabelSelector) bool { return matches(list, nodes.Items[i].Labels) }) {
			out = append(out, nodes.Items[i].Name)
		}
	}
	return out, nil
}

func matches(list []metav1.LabelSelector, has map[string]string) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(s metav1.LabelSelector) bool {
		sel, err := metav1.LabelSelectorAsSelector(&s)
		return err == nil && sel.Matches(labels.Set(has))
	})
}

// speakers have a session with each peer that selects their node, once Fairlead is
// installed.
func (h *hands) speakers(ctx context.Context) error {
	var nodes corev1.NodeList
	var peers v1alpha1.BGPPeerList
	if err := h.Client.List(ctx, &nodes); err != nil || h.Flag == "" {
		return err
	}
	if err := h.Client.List(ctx, &peers); err != nil {
		return err
	}
	for i := range nodes.Items {
		var want *v1alpha1.SpeakerBGP
		for j := range peers.Items {
			if p := &peers.Items[j]; matches(p.Spec.NodeSelectors, nodes.Items[i].Labels) {
				if want == nil {
					want = &v1alpha1.SpeakerBGP{}
				}
				want.Sessions = append(want.Sessions, v1alpha1.SpeakerSession{Peer: p.Name, State: v1alpha1.SessionEstablished, Since: metav1.Unix(1000, 0)})
			}
		}
		s := &v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{Name: nodes.Items[i].Name}}
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(s), s)
		if apierrors.IsNotFound(err) {
			err = h.Client.Create(ctx, s)
		}
		if err != nil {
			return err
		}
		if (want == nil) == (s.Status.BGP == nil) && (want == nil || len(want.Sessions) == len(s.Status.BGP.Sessions)) {
			continue
		}
		s.Status.BGP = want
		if err := h.Client.Status().Update(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// speaking tells whether each node has a speaker.
func (h *hands) speaking(ctx context.Context) bool {
	var nodes corev1.NodeList
	var list v1alpha1.SpeakerStatusList
	return h.Client.List(ctx, &nodes) == nil && h.Client.List(ctx, &list) == nil && len(list.Items) == len(nodes.Items)
}

// announcements: an address that is bound is announced as soon as an advertisement, or
// a peer, selects a node.
func (h *hands) announcements(ctx context.Context) error {
	var ledger v1alpha1.AddressList
	var l2 v1alpha1.L2AdvertisementList
	var peers v1alpha1.BGPPeerList
	for _, list := range []client.ObjectList{&ledger, &l2, &peers} {
		if err := h.Client.List(ctx, list); err != nil {
			return err
		}
	}
	var selectors [][]metav1.LabelSelector
	for i := range l2.Items {
		selectors = append(selectors, l2.Items[i].Spec.NodeSelectors)
	}
	for i := range peers.Items {
		selectors = append(selectors, peers.Items[i].Spec.NodeSelectors)
	}
	on, err := h.selected(ctx, selectors)
	if err != nil {
		return err
	}
	for i := range ledger.Items {
		a := &ledger.Items[i]
		up := len(on) > 0 && a.Spec.State == v1alpha1.AddressBound
		c := metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "NoEligibleNode", Message: "No node is selected."}
		if a.Status.Layer2 = nil; up {
			a.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: on[0], Since: metav1.Unix(1000, 0)}
			c = metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionTrue, Reason: "Layer2", Message: on[0] + " answers."}
		}
		if !meta.SetStatusCondition(&a.Status.Conditions, c) {
			continue
		}
		if err := h.Client.Status().Update(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// bound tells whether Fairlead holds all that the statuses show.
func (h *hands) bound(ctx context.Context) bool {
	var ledger v1alpha1.AddressList
	return h.Client.List(ctx, &ledger) == nil && len(ledger.Items) > 0 &&
		!slices.ContainsFunc(ledger.Items, func(a v1alpha1.Address) bool { return a.Spec.State != v1alpha1.AddressBound })
}
