//go:build e2e

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/rivals"
)

const (
	chiselImage = "ghcr.io/fyralabs/chisel-operator:v0.7.1"
	// chiselExit is the address of its exit node.
	chiselExit = "203.0.113.9"
)

// chisel is a ChiselOperator beside us: what its manifests install, and a program that
// writes as it does.
type chisel struct {
	*plugin
	api     kubernetes.Interface
	running *rivals.Fight
}

// ChiselOperator serves Services without a class, as we do. audit names it before
// anything happens; the condition, the Event and explain name it while it overwrites
// us. Then either of the two gets a class (the class way), and a Service that both
// shall serve is doubled (the two-Service way): after each, nothing is written.
func TestChiselOperatorBeside(t *testing.T) {
	w := newWorld(t, "172.30.0.170-172.30.0.179")
	w.backend("echo", 2)
	web := w.service("web", "echo", 1)[0]
	w.answers(web, 80)
	c := w.chisel()
	const both = "each take Services without a class"
	c.says(1, []string{"Found: ChiselOperator 0.7.1: operator", "takes Services without a class", both, "ChiselOperator and Fairlead"}, "audit", "--namespace="+w.namespace)

	c.start("")
	contested := w.condition("web", "fairlead.dev/Contested", metav1.ConditionTrue, "StatusRewritten")
	if !strings.Contains(contested.Message, `"chisel-operator" wrote status.loadBalancer.ingress `+chiselExit) {
		t.Errorf("the condition does not name it: %q", contested.Message)
	}
	w.eventSays(w.namespace, "web", "Contested", "chisel-operator", chiselExit)
	c.says(1, []string{"Contested", `"chisel-operator" wrote`}, "explain", "service", "web", "--namespace="+w.namespace)
	w.oneAnswer(web)

	c.start(rivals.ChiselClass)              // LOAD_BALANCER_CLASS
	w.shows("web", web.String(), chiselExit) // it leaves its entry behind
	w.withoutEntry("web", 1)
	w.shows("web", web.String())
	w.answers(web, 80)
	c.saysNot(both, "audit")
	c.quiet("chisel-operator has a class")
	w.leavesItsFinalizer("web")

	c.start("")
	w.service("web", "echo", 1)
	doubled := w.service("web-fairlead", "echo", 1, func(s *corev1.Service) { s.Spec.LoadBalancerClass = new(v1alpha1.LoadBalancerClass) })[0]
	w.install(withValue(defaultValues(), "services", chart.Values{"defaultClass": false}))
	w.shows("web", chiselExit)
	w.answers(doubled, 80)
	c.saysNot(both, "audit")
	c.quiet("Fairlead serves its class only, and the Service is doubled")
	for _, condition := range w.get("web").Status.Conditions {
		if strings.HasPrefix(condition.Type, "fairlead.dev/") {
			t.Errorf("the Service that is chisel-operator's still has our condition %+v", condition)
		}
	}
}

func withValue(values chart.Values, key string, value any) chart.Values {
	values[key] = value
	return values
}

// chisel installs what the chart of ChiselOperator installs; its program comes by start.
func (w *world) chisel() *chisel {
	w.Helper()
	if err := w.Cluster.LoadAs(w.ctx, chiselImage); err != nil {
		w.Fatal(err)
	}
	api, err := w.Cluster.Client()
	if err != nil {
		w.Fatal(err)
	}
	c := &chisel{plugin: w.plugin(), api: api}
	for _, kind := range []string{"ExitNode", "ExitNodeProvisioner"} {
		crd := foreignCRD("chisel-operator.io", kind)
		w.apply(crd)
		w.Cleanup(func() {
			if err := w.Client.Delete(context.Background(), crd); client.IgnoreNotFound(err) != nil {
				w.Errorf("removing %s: %v", crd.GetName(), err)
			}
		})
	}
	labels := map[string]string{"app.kubernetes.io/name": "chisel-operator", "app.kubernetes.io/instance": "chisel-operator"}
	w.apply(&appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "chisel-operator", Labels: labels},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: labels},
			Replicas: new(int32(1)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "chisel-operator", Image: chiselImage, ImagePullPolicy: corev1.PullNever}}},
			},
		},
	})
	if err := w.AwaitReady(w.ctx, w.namespace, "chisel-operator"); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { c.start(""); c.awaitNoFinalizers(); c.stop() })
	return c
}

// foreignCRD is a kind of others, of which only that it is there counts.
func foreignCRD(group, kind string) *unstructured.Unstructured {
	plural := strings.ToLower(kind) + "s"
	crd := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
		"metadata": map[string]any{"name": plural + "." + group},
		"spec": map[string]any{
			"group": group, "scope": "Namespaced",
			"names": map[string]any{"kind": kind, "plural": plural, "singular": strings.ToLower(kind)},
			"versions": []any{map[string]any{
				"name": "v1", "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}
	return crd
}

// start starts the program anew, with LOAD_BALANCER_CLASS or without.
func (c *chisel) start(class string) {
	c.Helper()
	c.stop()
	c.setClass(class)
	c.running = rivals.ChiselOperator(chiselExit, class).Start(context.WithoutCancel(c.ctx), c.api, types.NamespacedName{Namespace: c.namespace})
}

func (c *chisel) stop() {
	if c.running != nil {
		c.running.Stop()
	}
}

// setClass writes the setting where audit reads it.
func (c *chisel) setClass(class string) {
	c.Helper()
	patch := fmt.Sprintf(`{"spec":{"template":{"spec":{"containers":[{"name":"chisel-operator","env":[{"name":"LOAD_BALANCER_CLASS","value":%q}]}]}}}}`, class)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: c.namespace, Name: "chisel-operator"}}
	if err := c.Client.Patch(context.WithoutCancel(c.ctx), d, client.RawPatch(types.StrategicMergePatchType, []byte(patch))); err != nil {
		c.Error(err)
	}
}

// saysNot waits until a command does not say something any more.
func (c *chisel) saysNot(words string, args ...string) {
	c.Helper()
	c.await(fmt.Sprintf("kubectl fairlead %s not to say %q", strings.Join(args, " "), words), func(ctx context.Context) error {
		got := c.fairlead(ctx, args...)
		if !strings.Contains(got.out, "ChiselOperator 0.7.1") || strings.Contains(got.out, words) {
			return fmt.Errorf("it says:\n%s%s", got.out, got.errs)
		}
		return nil
	})
}

// shows waits until these are all addresses in the status of a Service.
func (w *world) shows(service string, addresses ...string) {
	w.Helper()
	var want []netip.Addr
	for _, a := range addresses {
		want = append(want, mustAddr(a))
	}
	w.await(fmt.Sprintf("%s to show %v", service, want), func(context.Context) error {
		if got := lab.Addresses(w.get(service)); !slices.Equal(got, want) {
			return fmt.Errorf("it shows %v", got)
		}
		return nil
	})
}

// withoutEntry takes an entry out of the status of a Service.
func (w *world) withoutEntry(service string, i int) {
	w.Helper()
	patch := fmt.Sprintf(`-p=[{"op":"remove","path":"/status/loadBalancer/ingress/%d"}]`, i)
	if _, err := w.Cluster.Kubectl(w.ctx, "-n", w.namespace, "patch", "service", service, "--subresource=status", "--type=json", patch); err != nil {
		w.Fatal(err)
	}
}

// quiet waits until nothing is written, and then sees that nobody tries to.
func (c *chisel) quiet(when string) {
	c.Helper()
	c.atRest()
	theirs, all := c.running.Writes(), c.writeRequests()
	before := c.atRest()
	if now := c.running.Writes(); now != theirs {
		c.Errorf("%s: chisel-operator wrote %d times more", when, now-theirs)
	}
	if now := c.writeRequests(); !maps.Equal(now, all) {
		c.Errorf("%s: the API server had requests to write:\n%v, before\n%v", when, now, all)
	}
	after, err := c.versions(c.ctx)
	if err != nil || !equal(before, after) {
		c.Errorf("%s: something was written: %v, before %v (%v)", when, after, before, err)
	}
}

// writing is a line of the API server's metrics that counts requests to write Services
// or entries of the ledger.
var writing = regexp.MustCompile(`^apiserver_request_total\{.*resource="(services|addresses)".*verb="(POST|PUT|PATCH|APPLY|DELETE)".*\} ([0-9.e+]+)$`)

// writeRequests are how many requests to write there were, done or not, by resource and verb.
func (w *world) writeRequests() map[string]float64 {
	w.Helper()
	api, err := w.Cluster.Client()
	if err != nil {
		w.Fatal(err)
	}
	text, err := api.CoreV1().RESTClient().Get().AbsPath("/metrics").DoRaw(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	out := map[string]float64{}
	lines := bufio.NewScanner(bytes.NewReader(text))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		found := writing.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		n, err := strconv.ParseFloat(found[3], 64)
		if err != nil {
			w.Fatal(err)
		}
		out[found[1]+" "+found[2]] += n
	}
	if len(out) == 0 || lines.Err() != nil {
		w.Fatalf("the API server's metrics count no requests to write (%v)", lines.Err())
	}
	return out
}

// leavesItsFinalizer deletes a Service that ChiselOperator once served and serves no
// more: its finalizer stays until somebody takes it away.
func (w *world) leavesItsFinalizer(service string) {
	w.Helper()
	s := w.get(service)
	if !slices.Contains(s.Finalizers, rivals.ChiselFinalizer) {
		w.Fatalf("Service %s has no finalizer of chisel-operator: %v", service, s.Finalizers)
	}
	if err := w.Client.Delete(w.ctx, s); err != nil {
		w.Fatal(err)
	}
	if s := w.get(service); s.DeletionTimestamp == nil {
		w.Errorf("the finalizer does not hold Service %s", service)
	}
	if _, err := w.Cluster.Kubectl(w.ctx, "-n", w.namespace, "patch", "service", service, "--type=json", `-p=[{"op":"remove","path":"/metadata/finalizers"}]`); err != nil {
		w.Fatal(err)
	}
	w.await("Service "+service+" to be gone", func(ctx context.Context) error { return w.isGone(ctx, s) })
}

// awaitNoFinalizers deletes the Services and waits until ChiselOperator has let them go,
// so that the namespace can go.
func (c *chisel) awaitNoFinalizers() {
	ctx := context.WithoutCancel(c.ctx)
	if err := c.Client.DeleteAllOf(ctx, &corev1.Service{}, client.InNamespace(c.namespace)); err != nil {
		c.Error(err)
	}
	err := lab.Await(ctx, 30*time.Second, "the Services to be gone", func(ctx context.Context) error {
		var left corev1.ServiceList
		if err := c.Client.List(ctx, &left, client.InNamespace(c.namespace)); err != nil {
			return err
		}
		if len(left.Items) > 0 {
			return fmt.Errorf("%d are left", len(left.Items))
		}
		return nil
	})
	if err != nil {
		c.Error(err)
	}
}
