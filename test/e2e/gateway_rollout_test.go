//go:build e2e

package e2e

import (
	"testing"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
)

// New connections do not fail while the Envoys are replaced one by one, nor while the
// controllers are.
func TestGatewayThroughRollouts(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	w.backend("echo", 2)
	class := w.class()
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	before := w.allListed("web", class)
	w.none(w.probing(a, func() {
		w.rollOut("daemonset/" + fleet.ID{Class: string(class)}.Name())
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
	w.none(w.probing(a, func() { w.rollOut("deployment/fairlead-controller") }), "a rolling update of the controllers")
	w.answers(a, 80)
}

// rollOut replaces the pods of a workload as an update does, and waits for the last. It
// waits for those before too: pods that are not available yet are all replaced at once.
func (w *world) rollOut(workload string) {
	w.Helper()
	for _, command := range [][]string{{"status", workload, "--timeout=2m"}, {"restart", workload}, {"status", workload, "--timeout=4m"}} {
		if out, err := w.Cluster.Kubectl(w.ctx, append([]string{"-n", lab.Namespace, "rollout"}, command...)...); err != nil {
			w.Fatalf("%v: %s", err, out)
		}
	}
}
