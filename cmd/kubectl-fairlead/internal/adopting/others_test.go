package adopting

import (
	"context"
	"path/filepath"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/inhabit"
	"github.com/fairlead/fairlead/migrate/adopt"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/test/apiserver"
)

// kubeVip is kube-vip's DaemonSet, as somebody removes and installs it.
func (h *hands) kubeVip() *appsv1.DaemonSet {
	h.T.Helper()
	d := &appsv1.DaemonSet{}
	if err := h.Client.Get(h.T.Context(), client.ObjectKey{Namespace: "kube-system", Name: "kube-vip-ds"}, d); err != nil {
		h.T.Fatal(err)
	}
	return d
}

// kubeVipRuns says how many of the three pods of kube-vip are ready, and how many are
// of the DaemonSet as it stands.
func (h *hands) kubeVipRuns(ready, updated int32) {
	h.T.Helper()
	d := h.kubeVip()
	d.Status = appsv1.DaemonSetStatus{
		ObservedGeneration: d.Generation, NumberReady: ready, UpdatedNumberScheduled: updated, DesiredNumberScheduled: 3, CurrentNumberScheduled: 3,
	}
	if err := h.Client.Status().Update(h.T.Context(), d); err != nil {
		h.T.Fatal(err)
	}
}

// fromFairlead are the nodes that announce for Fairlead on layer 2.
func (h *hands) fromFairlead(ctx context.Context) []string {
	h.T.Helper()
	on, err := h.selected(ctx, v1alpha1.GroupVersion.Group, "v1alpha1", "L2Advertisement")
	if err != nil {
		h.T.Fatal(err)
	}
	return on
}

// stays takes a step back in vain, and checks what that waits for and that Fairlead
// goes on announcing from all nodes.
func (s *shell) stays(h *hands, want string) {
	s.t.Helper()
	s.stuck([]string{want}, "--undo", "--apply")
	if on := h.fromFairlead(s.t.Context()); len(on) != 3 {
		s.t.Errorf("Fairlead announces from %v", on)
	}
}

// From kube-vip to Fairlead and all the way back: Fairlead lets no node go before
// kube-vip runs on all of them again, also for somebody who asks anew each time.
func TestKubeVipThereAndBack(t *testing.T) {
	cfg := apiserver.Start(t, apiserver.Options{CRDs: []string{filepath.Join("testdata", "crds.yaml")}})
	s := newShell(t, cfg)
	s.peer = imports.KubeVip
	inhabit.From(t, s.c, filepath.Join("testdata", "kube-vip.yaml"))
	h := work(t, cfg, s.c)
	before := h.kubeVip()

	s.does(exit.Fine, "--apply")
	s.does(exit.Fine, "--apply")
	s.stuck([]string{"waits for kube-vip to leave Services without a class alone"}, "--apply")
	if err := s.c.Delete(t.Context(), h.kubeVip()); err != nil {
		t.Fatal(err)
	}
	h.Helm(true)
	s.does(exit.Fine, "--all", "--apply")
	if left := h.traces(t.Context()); len(left) > 0 {
		t.Errorf("traces are left: %v", left)
	}

	s.stays(h, "waits for you to install kube-vip again, with svc_enable=true. Then both answer for an address on layer 2")
	again := &appsv1.DaemonSet{ObjectMeta: metav1.ObjectMeta{Namespace: before.Namespace, Name: before.Name}, Spec: before.Spec}
	if err := s.c.Create(t.Context(), again); err != nil {
		t.Fatal(err)
	}
	h.kubeVipRuns(1, 3)
	s.stays(h, "what announces for kube-vip to run (1 of 3 are ready)")
	h.kubeVipRuns(3, 1)
	s.stays(h, "DaemonSet kube-system/kube-vip-ds of kube-vip to be rolled out")
	h.kubeVipRuns(3, 3)
	if err := s.goesOn(adopt.End); err != nil {
		t.Errorf("with kube-vip on all nodes: %v", err)
	}
	h.kubeVipRuns(2, 3)
	s.stays(h, "what announces for kube-vip to run (2 of 3 are ready)")
	h.kubeVipRuns(3, 3)
	s.does(exit.Fine, "--undo", "--apply")
	if on := h.fromFairlead(t.Context()); len(on) > 0 {
		t.Errorf("Fairlead announces from %v", on)
	}
	h.Helm(false)
	s.does(exit.Fine, "--undo", "--all", "--apply")
	h.WantUnmoved()
	if left := h.traces(t.Context()); len(left) > 0 {
		t.Errorf("traces are left: %v", left)
	}
	for _, kind := range []string{"IPAddressPool", "L2Advertisement"} {
		h.none(kind)
	}
}
