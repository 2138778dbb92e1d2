//go:build e2e

package e2e

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// A cluster of one node, whose node is labelled to be kept out of load
// balancing as installers do with control planes: it says why it does not
// announce, and announces when it is told to ignore the label. kube-proxy is in
// iptables mode here, for the rest of the tests use nftables.
func TestSingleNodeCluster(t *testing.T) {
	cluster, err := testbed.Up(t.Context(), testbed.Config{Name: clusterName() + "-one", Nodes: 1, ProxyMode: "iptables", Progress: testbed.NewProgress(testWriter{t})})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := cluster.Down(); err != nil {
			t.Errorf("removing the cluster: %v", err)
		}
	})
	l, err := lab.New(cluster)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, Lab: l, ctx: t.Context(), namespace: "single", pool: "single"}
	if err := l.LoadImages(w.ctx, "e2e-one"); err != nil {
		t.Fatal(err)
	}
	if err := l.Install(w.ctx, nil); err != nil {
		l.Dump(w.ctx, testWriter{t})
		t.Fatal(err)
	}
	edit(w, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node1"}}, func(n *corev1.Node) { n.Labels[corev1.LabelNodeExcludeBalancers] = "" })
	w.apply(lab.MakeNamespace(w.namespace), w.ownPool(w.pool, "172.30.0.100-172.30.0.109"), w.advertisement())
	w.backend("echo", 1)
	a := w.service("s", "echo", 1)[0]
	w.unannounced(a, "NoEligibleNode")
	if err := l.Install(w.ctx, chart.Values{"speaker": chart.Values{"ignoreExcludeLabel": true}}); err != nil {
		t.Fatal(err)
	}
	w.answers(a, 80)
	w.announcer(a, "node1", anyNode)
}
