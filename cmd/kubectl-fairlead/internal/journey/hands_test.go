package journey

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/controllers"
	"github.com/fairlead/fairlead/service"
)

// hands do what a cluster does by itself: workloads become ready, Fairlead's controller
// (the real one) runs as its Deployment says, and its speakers say what they announce.
type hands struct {
	t   *testing.T
	cfg *rest.Config
	c   client.Client
	// stop ends Fairlead's controller, which runs with the flag in as.
	stop func()
	as   string
	// progress is what was printed so far by commands that write.
	progress string

	mu sync.Mutex
	// moved are Services whose status was ever another than at the start.
	moved []string
	first map[string]string
}

// work lets the hands work until the end of the test.
func work(t *testing.T, cfg *rest.Config, c client.Client) *hands {
	h := &hands{t: t, cfg: cfg, c: c, stop: func() {}, first: map[string]string{}}
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() {
		for tick := time.NewTicker(50 * time.Millisecond); ctx.Err() == nil; {
			if err := h.round(ctx); err != nil && ctx.Err() == nil && !apierrors.IsConflict(err) && !apierrors.IsNotFound(err) {
				t.Errorf("the cluster: %v", err)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
		h.stop()
	})
	t.Cleanup(func() { cancel(); all.Wait() })
	return h
}

func (h *hands) round(ctx context.Context) error {
	for _, do := range []func(context.Context) error{h.watch, h.deployments, h.daemons, h.speakers, h.announcements} {
		if err := do(ctx); err != nil {
			return err
		}
	}
	return nil
}

// watch remembers each Service whose addresses change.
func (h *hands) watch(ctx context.Context) error {
	var list corev1.ServiceList
	if err := h.c.List(ctx, &list); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for i := range list.Items {
		name, now := list.Items[i].Namespace+"/"+list.Items[i].Name, fmt.Sprint(service.Shown(&list.Items[i]))
		if before, ok := h.first[name]; ok && before != now {
			h.moved = append(h.moved, name+" from "+before+" to "+now)
		} else {
			h.first[name] = now
		}
	}
	return nil
}

func (h *hands) deployments(ctx context.Context) error {
	var list appsv1.DeploymentList
	if err := h.c.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if strings.Contains(d.Spec.Template.Spec.Containers[0].Image, "fairlead") {
			h.fairlead(d.Spec.Template.Spec.Containers[0].Args[0])
		}
		n := ptr.Deref(d.Spec.Replicas, 1)
		if d.Status.ObservedGeneration == d.Generation && d.Status.ReadyReplicas == n {
			continue
		}
		d.Status = appsv1.DeploymentStatus{ObservedGeneration: d.Generation, Replicas: n, UpdatedReplicas: n, ReadyReplicas: n, AvailableReplicas: n}
		if err := h.c.Status().Update(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// daemons are ready on three nodes.
func (h *hands) daemons(ctx context.Context) error {
	var list appsv1.DaemonSetList
	if err := h.c.List(ctx, &list); err != nil {
		return err
	}
	for i := range list.Items {
		d := &list.Items[i]
		if d.Status.ObservedGeneration == d.Generation && d.Status.NumberReady == 3 {
			continue
		}
		d.Status = appsv1.DaemonSetStatus{ObservedGeneration: d.Generation, NumberReady: 3, UpdatedNumberScheduled: 3, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3}
		if err := h.c.Status().Update(ctx, d); err != nil {
			return err
		}
	}
	return nil
}

// ready tells whether all workloads are as they are written.
func (h *hands) ready(ctx context.Context) bool {
	var deployments appsv1.DeploymentList
	var daemons appsv1.DaemonSetList
	if h.c.List(ctx, &deployments) != nil || h.c.List(ctx, &daemons) != nil {
		return false
	}
	return !slices.ContainsFunc(deployments.Items, func(d appsv1.Deployment) bool { return d.Status.ObservedGeneration != d.Generation }) &&
		!slices.ContainsFunc(daemons.Items, func(d appsv1.DaemonSet) bool { return d.Status.ObservedGeneration != d.Generation })
}

// fairlead runs the controller with a flag.
func (h *hands) fairlead(flag string) {
	if h.as == flag {
		return
	}
	h.stop()
	h.as = flag
	scheme, err := controllers.Scheme()
	if err != nil {
		h.t.Error(err)
		return
	}
	m := controllers.ManagerOptions(scheme)
	m.Metrics = metricsserver.Options{BindAddress: "0"}
	m.Controller.SkipNameValidation = ptr.To(true)
	mgr, err := manager.New(controllers.Unlimited(h.cfg), m)
	if err == nil {
		err = controllers.Add(mgr, controllers.Options{Service: service.Config{Default: flag == "--default-class=true"}, Settle: time.Hour})
	}
	if err != nil {
		h.t.Error(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	h.stop = func() {
		cancel()
		if err := <-done; err != nil {
			h.t.Errorf("Fairlead's controller: %v", err)
		}
		h.stop = func() {}
	}
}

// selected are the nodes that one of some lists of selectors selects.
func (h *hands) selected(ctx context.Context, lists [][]metav1.LabelSelector) ([]string, error) {
	var nodes corev1.NodeList
	if err := h.c.List(ctx, &nodes); err != nil {
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
	if err := h.c.List(ctx, &nodes); err != nil || h.as == "" {
		return err
	}
	if err := h.c.List(ctx, &peers); err != nil {
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
		err := h.c.Get(ctx, client.ObjectKeyFromObject(s), s)
		if apierrors.IsNotFound(err) {
			err = h.c.Create(ctx, s)
		}
		if err != nil {
			return err
		}
		if (want == nil) == (s.Status.BGP == nil) && (want == nil || len(want.Sessions) == len(s.Status.BGP.Sessions)) {
			continue
		}
		s.Status.BGP = want
		if err := h.c.Status().Update(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// speaking tells whether each node has a speaker.
func (h *hands) speaking(ctx context.Context) bool {
	var nodes corev1.NodeList
	var list v1alpha1.SpeakerStatusList
	return h.c.List(ctx, &nodes) == nil && h.c.List(ctx, &list) == nil && len(list.Items) == len(nodes.Items)
}

// announcements: an address that is bound is announced as soon as an advertisement, or
// a peer, selects a node.
func (h *hands) announcements(ctx context.Context) error {
	var ledger v1alpha1.AddressList
	var l2 v1alpha1.L2AdvertisementList
	var peers v1alpha1.BGPPeerList
	for _, list := range []client.ObjectList{&ledger, &l2, &peers} {
		if err := h.c.List(ctx, list); err != nil {
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
		if err := h.c.Status().Update(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

// await waits until something holds.
func (h *hands) await(what string, holds func(ctx context.Context) bool) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	for !holds(ctx) {
		select {
		case <-ctx.Done():
			h.t.Fatalf("waiting for %s: %v", what, ctx.Err())
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// helm sets whether Fairlead is the default, as the command asks people to.
func (h *hands) helm(on bool) {
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: "fairlead-controller"}}
	patch := fmt.Sprintf(`[{"op":"replace","path":"/spec/template/spec/containers/0/args","value":["--default-class=%t"]}]`, on)
	if err := h.c.Patch(h.t.Context(), d, client.RawPatch("application/json-patch+json", []byte(patch))); err != nil {
		h.t.Error(err)
	}
}

// bound tells whether Fairlead holds all that the statuses show.
func (h *hands) bound(ctx context.Context) bool {
	var ledger v1alpha1.AddressList
	return h.c.List(ctx, &ledger) == nil && len(ledger.Items) > 0 &&
		!slices.ContainsFunc(ledger.Items, func(a v1alpha1.Address) bool { return a.Spec.State != v1alpha1.AddressBound })
}
