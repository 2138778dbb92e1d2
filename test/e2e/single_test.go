//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/gatewayapi"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

// A cluster of one node, whose node is labelled to be kept out of load
// balancing as installers do with control planes: it says why it does not
// announce, and announces when it is told to ignore the label. kube-proxy is in
// iptables mode here, for the rest of the tests use nftables. And the CRDs of the
// Gateway API, of the standard channel here, come when the controller runs already.
func TestSingleNodeCluster(t *testing.T) {
	cluster, err := testbed.Up(t.Context(), testbed.Config{Name: clusterName() + "-one", Nodes: 1, ProxyMode: "iptables", GatewayAPI: "standard", Progress: testbed.NewProgress(testWriter{t})})
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
	w.gatewayAPI("delete")
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
	w.gatewaysBegin(a)
}

// gatewayAPI has kubectl delete or apply the CRDs of the Gateway API, and the policy that guards them.
func (w *world) gatewayAPI(verb string, flags ...string) {
	w.Helper()
	dir, err := exec.CommandContext(w.ctx, "go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		w.Fatalf("finding the module of the Gateway API: %v", err)
	}
	all, _, err := gatewayapi.Manifests(strings.TrimSpace(string(dir)), "standard")
	if err != nil {
		w.Fatal(err)
	}
	args := append([]string{verb}, flags...)
	for _, file := range all {
		args = append(args, "--filename="+file)
	}
	if _, err := w.Cluster.Kubectl(w.ctx, args...); err != nil {
		w.Fatal(err)
	}
}

// gatewaysBegin wants a controller that started without the CRDs of the Gateway API to have served Services and said what
// is missing, and to serve Gateways when the CRDs are there, without a restart and without a failure of the Service.
func (w *world) gatewaysBegin(service netip.Addr) {
	w.Helper()
	w.logged("Gateways are not served: the CRDs of the Gateway API are not installed")
	before := w.controllersNow()
	w.none(w.probing(service, func() {
		w.gatewayAPI("apply", "--server-side")
		w.logged("The CRDs of the Gateway API are there: Gateways are served")
		w.backend("web", 1)
		w.apply(w.clusterIP("web", "web"), w.httpRoute("all", "web", "web"))
		w.answers(w.gateway("web", w.class())[0], 80)
		w.badHeader()
	}), "the CRDs of the Gateway API come")
	if after := w.controllersNow(); !maps.Equal(before, after) {
		w.Errorf("the controllers were %v, and are %v", before, after)
	}
}

// badHeader is what the CRDs of the standard channel let through, and those of the experimental one do not.
func (w *world) badHeader() {
	w.Helper()
	r := w.splittingHeader("web")
	w.apply(r)
	w.routeSays(r.Name, gatewayv1.RouteConditionAccepted, gatewayv1.RouteReasonUnsupportedValue, "control characters")
}

// logged waits until a controller has said something.
func (w *world) logged(words string) {
	w.Helper()
	w.await(fmt.Sprintf("a controller to say %q", words), func(ctx context.Context) error {
		said, err := w.Cluster.Kubectl(ctx, "-n", lab.Namespace, "logs", "--selector=app.kubernetes.io/component=controller", "--tail=-1")
		if err == nil && !strings.Contains(said, words) {
			err = errors.New("none has said so")
		}
		return err
	})
}

// controllersNow is how often the containers of each controller were restarted, once a rollout of them is done.
func (w *world) controllersNow() map[string]int32 {
	w.Helper()
	if _, err := w.Cluster.Kubectl(w.ctx, "-n", lab.Namespace, "rollout", "status", "deployment/fairlead-controller", "--timeout=1m"); err != nil {
		w.Fatal(err)
	}
	pods, err := w.Pods(w.ctx, "controller")
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]int32{}
	for _, p := range pods {
		if p.DeletionTimestamp != nil {
			continue
		}
		for _, c := range p.Status.ContainerStatuses {
			out[p.Name+"/"+c.Name] = c.RestartCount
		}
	}
	return out
}
