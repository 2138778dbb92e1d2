package adopting

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/inhabit"
	"github.com/fairlead/fairlead/migrate/imports"
)

// hands are a cluster in which the speakers of both controllers say what they announce too.
type hands struct {
	*inhabit.Cluster

	mu sync.Mutex
	// deaf: Fairlead's speakers have no session.
	deaf bool
}

// work lets the hands work until the end of the test.
func work(t *testing.T, cfg *rest.Config, c client.Client) *hands {
	h := &hands{Cluster: inhabit.NewCluster(t, cfg, c)}
	h.Live(h.metallb, h.sessions, h.speakers)
	return h
}

func selects(o *unstructured.Unstructured, node *corev1.Node) bool {
	list, _, _ := unstructured.NestedSlice(o.Object, "spec", "nodeSelectors")
	return len(list) == 0 || slices.ContainsFunc(list, func(v any) bool {
		var s metav1.LabelSelector
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(v.(map[string]any), &s); err != nil {
			return false
		}
		sel, err := metav1.LabelSelectorAsSelector(&s)
		return err == nil && sel.Matches(labels.Set(node.Labels))
	})
}

func (h *hands) list(ctx context.Context, group, version, kind string) ([]unstructured.Unstructured, error) {
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: kind + "List"})
	err := h.Client.List(ctx, list)
	return list.Items, err
}

func (h *hands) nodes(ctx context.Context) ([]corev1.Node, error) {
	var list corev1.NodeList
	err := h.Client.List(ctx, &list)
	return list.Items, err
}

// selected are the nodes that one of the objects of a kind selects.
func (h *hands) selected(ctx context.Context, group, version, kind string) ([]string, error) {
	nodes, err := h.nodes(ctx)
	if err != nil {
		return nil, err
	}
	objects, err := h.list(ctx, group, version, kind)
	var out []string
	for i := range nodes {
		if slices.ContainsFunc(objects, func(o unstructured.Unstructured) bool { return selects(&o, &nodes[i]) }) {
			out = append(out, nodes[i].Name)
		}
	}
	return out, err
}

// metallb says what MetalLB's speakers announce: all nodes that a peer selects by
// BGP, and one that the L2Advertisement selects on layer 2.
func (h *hands) metallb(ctx context.Context) error {
	var daemons appsv1.DaemonSetList
	if err := h.Client.List(ctx, &daemons); err != nil {
		return err
	}
	by, err1 := h.selected(ctx, "metallb.io", "v1beta2", "BGPPeer")
	on, err2 := h.selected(ctx, "metallb.io", "v1beta1", "L2Advertisement")
	if err1 != nil || err2 != nil {
		return fmt.Errorf("%w, %w", err1, err2)
	}
	if len(daemons.Items) == 0 {
		by, on = nil, nil
	}
	if err := h.say(ctx, "ServiceBGPStatus", by); err != nil {
		return err
	}
	return h.say(ctx, "ServiceL2Status", on[:min(len(on), 1)])
}

// say keeps one object of MetalLB for each node.
func (h *hands) say(ctx context.Context, kind string, nodes []string) error {
	have, err := h.list(ctx, "metallb.io", "v1beta1", kind)
	if err != nil {
		return err
	}
	for i := range have {
		if node := have[i].GetLabels()["metallb.io/node"]; !slices.Contains(nodes, node) {
			if err := h.Client.Delete(ctx, &have[i]); err != nil {
				return err
			}
		}
	}
	for _, n := range nodes {
		o := &unstructured.Unstructured{}
		o.SetGroupVersionKind(schema.GroupVersionKind{Group: "metallb.io", Version: "v1beta1", Kind: kind})
		o.SetNamespace("metallb-system")
		o.SetName("of-" + n)
		o.SetLabels(map[string]string{"metallb.io/node": n})
		if err := h.Client.Create(ctx, o); err != nil && !apierrors.IsAlreadyExists(err) {
			return err
		}
	}
	return nil
}

// sessions are those of Fairlead's speakers.
func (h *hands) sessions(ctx context.Context) error {
	nodes, err := h.nodes(ctx)
	if err != nil {
		return err
	}
	var peers v1alpha1.BGPPeerList
	if err := h.Client.List(ctx, &peers); err != nil {
		return err
	}
	h.mu.Lock()
	state := v1alpha1.SessionEstablished
	if h.deaf {
		state = v1alpha1.SessionActive
	}
	h.mu.Unlock()
	for i := range nodes {
		var want *v1alpha1.SpeakerBGP
		for j := range peers.Items {
			p, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&peers.Items[j])
			if err != nil {
				return err
			}
			if selects(&unstructured.Unstructured{Object: p}, &nodes[i]) {
				want = &v1alpha1.SpeakerBGP{Sessions: []v1alpha1.SpeakerSession{{Peer: peers.Items[j].Name, State: state, Since: metav1.Unix(1000, 0)}}}
			}
		}
		s := &v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{Name: nodes[i].Name}}
		if err := h.Client.Get(ctx, client.ObjectKeyFromObject(s), s); apierrors.IsNotFound(err) {
			err = h.Client.Create(ctx, s)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
		if fmt.Sprint(s.Status.BGP != nil && s.Status.BGP.Sessions[0].State == state) == fmt.Sprint(want != nil) && (want != nil) == (s.Status.BGP != nil) {
			continue
		}
		s.Status.BGP = want
		if err := h.Client.Status().Update(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// speakers let the first node that Fairlead's L2Advertisement selects answer for all
// addresses, once MetalLB's have let them go.
func (h *hands) speakers(ctx context.Context) error {
	var ledger v1alpha1.AddressList
	if err := h.Client.List(ctx, &ledger); err != nil {
		return err
	}
	on, err := h.selected(ctx, v1alpha1.GroupVersion.Group, "v1alpha1", "L2Advertisement")
	if err != nil {
		return err
	}
	theirs, err := h.list(ctx, "metallb.io", "v1beta1", "ServiceL2Status")
	if err != nil {
		return err
	}
	for i := range ledger.Items {
		a := &ledger.Items[i]
		up := len(on) > 0 && len(theirs) == 0 && a.Spec.State == v1alpha1.AddressBound
		if up == (a.Status.Layer2 != nil) {
			continue
		}
		c := metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionFalse, Reason: "NoEligibleNode", Message: "No node is selected."}
		if a.Status.Layer2 = nil; up {
			a.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: on[0], Since: metav1.Unix(1000, 0)}
			c = metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: metav1.ConditionTrue, Reason: "Layer2", Message: on[0] + " answers."}
		}
		meta.SetStatusCondition(&a.Status.Conditions, c)
		if err := h.Client.Status().Update(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// touch writes MetalLB's L2Advertisement, in vain.
func (h *hands) touch(ctx context.Context) error {
	list, err := h.list(ctx, "metallb.io", "v1beta1", "L2Advertisement")
	if err != nil {
		return err
	}
	return h.Client.Update(ctx, &list[0], client.DryRunAll)
}

// webhook admits what MetalLB is configured by, and nobody serves it, until it is
// removed.
func (h *hands) webhook(ctx context.Context) (remove func()) {
	h.T.Helper()
	c, err := client.New(h.Config, client.Options{})
	if err != nil {
		h.T.Fatal(err)
	}
	fail, none := admissionv1.Fail, admissionv1.SideEffectClassNone
	w := &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "metallb-webhook-configuration"},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "l2advertisementvalidationwebhook.metallb.io", FailurePolicy: &fail, SideEffects: &none, AdmissionReviewVersions: []string{"v1"},
			ClientConfig: admissionv1.WebhookClientConfig{Service: &admissionv1.ServiceReference{Namespace: "metallb-system", Name: "metallb-webhook-service"}},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Update},
				Rule:       admissionv1.Rule{APIGroups: []string{"metallb.io"}, APIVersions: []string{"*"}, Resources: []string{"*"}},
			}},
		}},
	}
	if err := c.Create(ctx, w); err != nil {
		h.T.Fatal(err)
	}
	h.Await("the API server to ask the webhook", func(ctx context.Context) bool { return h.touch(ctx) != nil })
	return func() {
		if err := c.Delete(ctx, w); err != nil {
			h.T.Fatal(err)
		}
		h.Await("the API server to forget the webhook", func(ctx context.Context) bool { return h.touch(ctx) == nil })
	}
}

// install installs MetalLB's workloads again, its controller with 0 replicas, and none
// of its speakers is ready.
func (h *hands) install(ctx context.Context) {
	h.T.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "cluster.yaml"))
	if err != nil {
		h.T.Fatal(err)
	}
	objects, err := imports.Decode(text)
	if err != nil {
		h.T.Fatal(err)
	}
	for i := range objects {
		o := &objects[i]
		if o.GetNamespace() != "metallb-system" || o.GetKind() != "Deployment" && o.GetKind() != "DaemonSet" {
			continue
		}
		if o.GetKind() == "Deployment" {
			o.Object["spec"].(map[string]any)["replicas"] = int64(0)
		}
		if err := h.Client.Create(ctx, o); err != nil {
			h.T.Fatal(err)
		}
	}
	h.speakersReady(ctx, 0)
}

// speakersReady says how many of MetalLB's three speakers are ready.
func (h *hands) speakersReady(ctx context.Context, n int32) {
	h.T.Helper()
	d := &appsv1.DaemonSet{}
	err := h.Client.Get(ctx, client.ObjectKey{Namespace: "metallb-system", Name: "speaker"}, d)
	if err == nil {
		d.Status = appsv1.DaemonSetStatus{NumberReady: n, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3}
		err = h.Client.Status().Update(ctx, d)
	}
	if err != nil {
		h.T.Fatal(err)
	}
}
