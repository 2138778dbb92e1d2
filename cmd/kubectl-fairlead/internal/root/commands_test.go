package root

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
)

func in(ns, name string, labels ...string) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Namespace: ns, Name: name, Labels: map[string]string{}}
	for i := 0; i < len(labels); i += 2 {
		m.Labels[labels[i]] = labels[i+1]
	}
	return m
}

func held(address, kind, name, endpoints string) *v1alpha1.Address {
	a := &v1alpha1.Address{ObjectMeta: in("", address), Spec: v1alpha1.AddressSpec{Address: address, Pool: "public", State: v1alpha1.AddressBound}}
	a.Spec.Holders = []v1alpha1.AddressHolder{{
		HolderReference: v1alpha1.HolderReference{Kind: kind, Namespace: "shop", Name: name}, State: v1alpha1.AddressBound, Endpoints: endpoints,
	}}
	a.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: "node1", Interfaces: []string{"eth0"}, Since: metav1.NewTime(noon)}
	return a
}

func slice(ns, service, pod string, labels ...string) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: in(ns, service+"-1", append(labels, discoveryv1.LabelServiceName, service)...),
		Endpoints:  []discoveryv1.Endpoint{{Addresses: []string{"10.0.0.1"}, NodeName: ptr.To("node1"), TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: pod, UID: "1"}}},
	}
}

// cluster is a cluster in which Service shop/waits waits and all else is well.
func cluster(t *testing.T) *fake.ClientBuilder {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	lb := func(name string, status corev1.ServiceStatus) *corev1.Service {
		return &corev1.Service{ObjectMeta: in("shop", name), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer}, Status: status}
	}
	condition := func(kind string, s metav1.ConditionStatus, reason string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: s, Reason: reason, Message: "As it is."}}
	}
	class := &gatewayv1.GatewayClass{ObjectMeta: in("", "fairlead"), Spec: gatewayv1.GatewayClassSpec{ControllerName: "fairlead.dev/gateway-controller"}}
	class.Status.Conditions = condition("Accepted", metav1.ConditionTrue, "Accepted")
	web := &gatewayv1.Gateway{ObjectMeta: in("shop", "web"), Spec: gatewayv1.GatewaySpec{GatewayClassName: "fairlead"}}
	web.Status.Conditions = append(condition("Accepted", metav1.ConditionTrue, "Accepted"), condition("Programmed", metav1.ConditionTrue, "Programmed")...)
	pool := &v1alpha1.IPAddressPool{ObjectMeta: in("", "public"), Spec: v1alpha1.IPAddressPoolSpec{Addresses: []v1alpha1.AddressRange{"192.0.2.0/24"}}}
	pool.Status.Conditions = condition(v1alpha1.PoolReady, metav1.ConditionTrue, "InUse")
	node := &corev1.Node{ObjectMeta: in("", "node1"), Status: corev1.NodeStatus{Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}}}
	return fake.NewClientBuilder().WithScheme(scheme).WithObjects(
		lb("legacy", corev1.ServiceStatus{
			LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}},
			Conditions:   condition("fairlead.dev/Address", metav1.ConditionTrue, "Assigned"),
		}),
		lb("waits", corev1.ServiceStatus{Conditions: condition("fairlead.dev/Address", metav1.ConditionFalse, "PoolExhausted")}),
		class, web, pool, node, &v1alpha1.SpeakerStatus{ObjectMeta: in("", "node1"), Status: v1alpha1.SpeakerStatusStatus{Version: "v1"}},
		held("192.0.2.1", "Service", "legacy", "legacy"), held("192.0.2.2", "Gateway", "web", "web-fairlead"),
		slice("shop", "legacy", "legacy-a"), slice("shop", "web-fairlead", "envoy-a", v1alpha1.LabelFleet, "fleet"),
		slice("fairlead-system", "fleet", "envoy-a", v1alpha1.LabelFleet, "fleet"),
	)
}

// on runs the plugin on a cluster.
func on(t *testing.T, c client.Client, args ...string) (out, errs string, code int) {
	t.Helper()
	streams, _, o, e := genericiooptions.NewTestIOStreams()
	env := kube.NewEnv(streams, func() time.Time { return noon })
	env.Connect = func() (client.Client, error) { return c, nil }
	code = Run(t.Context(), env, args)
	return o.String(), e.String(), code
}

func TestCommands(t *testing.T) {
	c := cluster(t).Build()
	for _, tt := range []struct {
		args string
		code int
		want []string
	}{
		{"explain service legacy -n shop", 0, []string{"shop/legacy", "since 2026-07-01 12:00:00", "1 ready", "Nothing is wrong."}},
		{"explain svc waits -n shop", 1, []string{"no address", "1. As it is.", "has no endpoints"}},
		{"explain gateway web -n shop", 0, []string{"shop/web", "1 Envoys serve", "Nothing is wrong."}},
		{"explain address 192.0.2.2", 0, []string{"Gateway shop/web", "1 Envoys serve"}},
		{"explain address 192.0.2.99", 0, []string{"nobody has it", "pool public, Free"}},
		{"explain address 2001-0db8-0000-0000-0000-0000-0000-0007", 1, []string{"2001:db8::7 lies in no pool"}},
		{"explain address legacy", 2, []string{"no IP address"}},
		{"explain service none -n shop", 2, []string{"there is no Service none in namespace shop"}},
		{"explain gateway legacy -n shop", 2, []string{"there is no Gateway legacy"}},
		{"explain service legacy -A", 2, []string{"--all-namespaces"}},
		{"explain service", 2, []string{"See: kubectl fairlead explain service --help"}},
		{"explain", 2, []string{"kubectl fairlead explain service NAME"}},
		{"addresses", 0, []string{"192.0.2.1", "Service shop/legacy", "node1 L2"}},
		{"addresses -n other", 0, []string{"The ledger is empty"}},
		{"pools", 0, []string{"192.0.2.0/24"}},
		{"announcers -o wide", 0, []string{"192.0.2.1,192.0.2.2"}},
		{"peers", 0, []string{"no BGPPeer"}},
		{"version", 0, []string{"v1 on 1 node"}},
		{"status", 1, []string{"Waiting", "Service shop/waits"}},
		{"status -n other", 0, []string{"Nothing is wrong: 2 addresses"}},
	} {
		out, errs, code := on(t, c, strings.Fields(tt.args)...)
		if code != tt.code {
			t.Errorf("%s: code %d\n%s%s", tt.args, code, out, errs)
		}
		for _, want := range tt.want {
			if !strings.Contains(out+errs, want) {
				t.Errorf("%s does not say %q:\n%s%s", tt.args, want, out, errs)
			}
		}
	}
}

// Whether Fairlead follows another controller's class is read from its own
// controller, and who may not read that is told so.
func TestStatusClasses(t *testing.T) {
	announced := &corev1.Service{
		ObjectMeta: in("shop", "edge"), Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: ptr.To("example.com/edge")},
		Status: corev1.ServiceStatus{LoadBalancer: corev1.LoadBalancerStatus{Ingress: []corev1.LoadBalancerIngress{{IP: "192.0.2.1"}}}},
	}
	controller := &appsv1.Deployment{ObjectMeta: in("fairlead-system", "fairlead-controller", "app.kubernetes.io/name", "fairlead", "app.kubernetes.io/component", "controller")}
	b := func(c corev1.Container) *fake.ClientBuilder {
		controller.Spec.Template.Spec.Containers = []corev1.Container{c}
		return cluster(t).WithObjects(announced, controller.DeepCopy())
	}
	listed := corev1.Container{Args: []string{"--default-class=true", "--status-classes=example.com/one,example.com/edge"}}
	forbids := interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		if _, ok := list.(*appsv1.DeploymentList); ok {
			return apierrors.NewForbidden(schema.GroupResource{Group: "apps", Resource: "deployments"}, "", nil)
		}
		return c.List(ctx, list, opts...)
	}}
	for _, c := range []corev1.Container{
		listed,
		{Command: []string{"/fairlead-controller", "-status-classes", "example.com/one, example.com/edge"}, Args: []string{"--default-class"}},
		{Args: []string{"--status-classes=example.com/one", "--status-classes", "example.com/edge"}},
	} {
		out, errs, code := on(t, b(c).Build(), "explain", "service", "edge", "-n", "shop")
		if code != 1 || !strings.Contains(out, "192.0.2.1 is held by shop/legacy") || errs != "" {
			t.Errorf("a class that is listed by %q: code %d\n%s%s", c.Args, code, out, errs)
		}
	}
	overruled := corev1.Container{Args: []string{"--status-classes=example.com/edge", "--status-classes=example.com/one"}}
	out, _, code := on(t, b(overruled).Build(), "explain", "service", "edge", "-n", "shop")
	if code != 1 || !strings.Contains(out, "services.statusClasses") {
		t.Errorf("a class that is not listed by the last flag: code %d\n%s", code, out)
	}
	out, errs, code := on(t, b(listed).WithInterceptorFuncs(forbids).Build(), "explain", "service", "edge", "-n", "shop")
	if code != 1 || !strings.Contains(out, "services.statusClasses") || !strings.Contains(errs, "deployments.apps") {
		t.Errorf("a class that may be listed: code %d\n%s%s", code, out, errs)
	}
}

// Programs read one document, in either format, whatever is wrong.
func TestForPrograms(t *testing.T) {
	c := cluster(t).Build()
	for _, args := range []string{"explain service waits -n shop", "explain gateway web -n shop", "explain address 192.0.2.1", "addresses", "pools", "announcers", "peers", "status", "version"} {
		j, _, _ := on(t, c, append(strings.Fields(args), "-o", "json")...)
		y, _, _ := on(t, c, append(strings.Fields(args), "-o", "yaml")...)
		asJSON, err := yaml.YAMLToJSON([]byte(y))
		if err != nil {
			t.Errorf("%s: %v\n%s", args, err, y)
			continue
		}
		var a, b any
		if err1, err2 := json.Unmarshal([]byte(j), &a), json.Unmarshal(asJSON, &b); err1 != nil || err2 != nil {
			t.Errorf("%s: %v, %v\n%s", args, err1, err2, j)
			continue
		}
		x, err1 := json.Marshal(a)
		z, err2 := json.Marshal(b)
		if err1 != nil || err2 != nil || string(x) != string(z) {
			t.Errorf("%s: JSON and YAML differ:\n%s\n%s", args, x, z)
		}
	}
}

// A cluster that knows no kind of Fairlead is told as such; one without the Gateway
// API lacks nothing.
func TestClustersWithoutKinds(t *testing.T) {
	without := func(group string) client.Client {
		lacks := func(o any) error {
			list, ok := o.(client.ObjectList)
			if !ok {
				return nil
			}
			gvk, err := kindOf(list)
			if err != nil || gvk.Group != group {
				return err
			}
			return &meta.NoKindMatchError{GroupKind: gvk.GroupKind()}
		}
		return cluster(t).WithInterceptorFuncs(interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			if err := lacks(list); err != nil {
				return err
			}
			return c.List(ctx, list, opts...)
		}}).Build()
	}
	for _, args := range []string{"explain service legacy -n shop", "addresses", "pools", "announcers", "peers", "status"} {
		if out, errs, code := on(t, without("fairlead.dev"), strings.Fields(args)...); code != 2 || !strings.Contains(errs, "Fairlead is not installed there") || out != "" {
			t.Errorf("%s without Fairlead: code %d\n%s%s", args, code, out, errs)
		}
	}
	if out, errs, code := on(t, without(gatewayv1.GroupName), "status", "-n", "other"); code != 0 || errs != "" || !strings.Contains(out, "0 Gateways") {
		t.Errorf("without the Gateway API: code %d\n%s%s", code, out, errs)
	}
}

func kindOf(list client.ObjectList) (schema.GroupVersionKind, error) {
	scheme, err := kube.Scheme()
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	kinds, _, err := scheme.ObjectKinds(list)
	if err != nil {
		return schema.GroupVersionKind{}, err
	}
	return kinds[0], nil
}
