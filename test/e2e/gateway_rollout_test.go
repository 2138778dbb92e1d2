//go:build e2e

package e2e

import (
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
)

// New connections do not fail while the Envoys are replaced one by one, nor while the
// controllers are.
func TestGatewayThroughRollouts(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	class, a, before := w.web()
	w.noneNew(w.probing(a, func() {
		w.rollOut("daemonset/"+fleet.ID{Class: string(class)}.Name(), 4*time.Minute)
		w.allListed("web", class)
	}), "a rolling update of the Envoys")
	after, err := w.envoys(w.ctx, class)
	if err != nil {
		t.Fatal(err)
	}
	for node, pod := range before {
		if after[node] == nil || after[node].UID == pod.UID {
			t.Errorf("the Envoy of %s was not replaced", node)
		}
	}
	w.none(w.probing(a, func() { w.rollOut("deployment/fairlead-controller", 4*time.Minute) }), "a rolling update of the controllers")
	w.answers(a, 80)
}

// An upgrade of the controllers, and the way back, replaces no Envoy: nothing in their
// pods is of the controllers' version.
func TestUpgradeLeavesEnvoysAlone(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	class, _, _ := w.web()
	before := w.fleetGeneration(class)
	first := w.Version
	defer func() { w.Version = first }()
	if err := w.LoadImages(w.ctx, "e2e-upgraded"); err != nil {
		t.Fatal(err)
	}
	release, err := w.Release()
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		name   string
		change func() error
	}{
		{"upgraded", func() error { return w.Install(w.ctx, defaultValues()) }},
		{"rolled-back", func() error { return release.Rollback(2 * time.Minute) }},
	} {
		if err := step.change(); err != nil {
			t.Fatal(err)
		}
		// What the new leader makes of the fleet is there before this answers.
		w.apply(w.httpRoute(step.name, step.name, "echo"))
		w.answers(w.gateway(step.name, class)[0], 80)
		if after := w.fleetGeneration(class); after != before {
			t.Errorf("%s: the DaemonSet is of generation %d, and was of %d", step.name, after, before)
		}
	}
}

// fleetGeneration counts the changes of what runs the Envoys of a class.
func (w *world) fleetGeneration(class gatewayv1.ObjectName) int64 {
	w.Helper()
	d := &appsv1.DaemonSet{}
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: lab.Namespace, Name: fleet.ID{Class: string(class)}.Name()}, d); err != nil {
		w.Fatal(err)
	}
	return d.Generation
}

// rollOut replaces the pods of a workload as an update does, and waits for the last. It
// waits for those before too: pods that are not available yet are all replaced at once.
func (w *world) rollOut(workload string, within time.Duration) {
	w.Helper()
	for _, command := range [][]string{{"status", workload, "--timeout=2m"}, {"restart", workload}, {"status", workload, "--timeout=" + within.String()}} {
		if out, err := w.Cluster.Kubectl(w.ctx, append([]string{"-n", lab.Namespace, "rollout"}, command...)...); err != nil {
			w.Fatalf("%v: %s", err, out)
		}
	}
}
