package migrate

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta/testrestmapper"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	apply "sigs.k8s.io/gateway-api/applyconfiguration"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/exit"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

func object(ns, name string) metav1.ObjectMeta { return metav1.ObjectMeta{Namespace: ns, Name: name} }

// objects are a Service with an address, and what a Gateway needs.
func objects() []client.Object {
	svc := &corev1.Service{ObjectMeta: object("shop", "legacy")}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, AppProtocol: new("http")}}
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100"}}
	address := &v1alpha1.Address{ObjectMeta: object("", "172.30.0.100")}
	address.Spec.Address = "172.30.0.100"
	address.Spec.Holders = []v1alpha1.AddressHolder{{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "legacy"}}}
	return []client.Object{
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop", Labels: map[string]string{corev1.LabelMetadataName: "shop"}}}, svc, address,
		&gatewayv1.GatewayClass{ObjectMeta: object("", "fairlead"), Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}},
	}
}

// cluster is one that the command is run against.
type cluster struct {
	client client.WithWatch
	out    *bytes.Buffer
	errs   *bytes.Buffer
	// forbidden are lists and writes that the caller may not do.
	forbidden map[string]bool
	wrote     []string
}

func newCluster(t *testing.T, more ...client.Object) *cluster {
	t.Helper()
	scheme, err := kube.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := &cluster{forbidden: map[string]bool{}}
	refuse := func(what string) error {
		if c.forbidden[what] {
			return apierrors.NewForbidden(schema.GroupResource{Resource: what}, "", errors.New("no"))
		}
		return nil
	}
	c.client = fake.NewClientBuilder().WithScheme(scheme).WithObjects(append(objects(), more...)...).WithStatusSubresource(&corev1.Service{}).
		WithRESTMapper(testrestmapper.TestOnlyStaticRESTMapper(scheme)).
		WithTypeConverters(apply.NewTypeConverter(scheme), managedfields.NewDeducedTypeConverter()).
		WithInterceptorFuncs(interceptor.Funcs{
			List: func(ctx context.Context, under client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
				if _, ok := list.(*v1alpha1.AddressList); ok {
					if err := refuse("addresses"); err != nil {
						return err
					}
				}
				return under.List(ctx, list, opts...)
			},
			Create: func(_ context.Context, _ client.WithWatch, o client.Object, _ ...client.CreateOption) error {
				review := o.(*unstructured.Unstructured)
				resource, _, _ := unstructured.NestedString(review.Object, "spec", "resourceAttributes", "resource")
				return unstructured.SetNestedField(review.Object, !c.forbidden["write "+resource], "status", "allowed")
			},
			Patch: func(ctx context.Context, under client.WithWatch, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
				c.wrote = append(c.wrote, o.GetName())
				return under.Patch(ctx, o, patch, opts...)
			},
		}).Build()
	return c
}

// call runs the command as people do.
func (c *cluster) call(t *testing.T, format string, args ...string) error {
	t.Helper()
	streams, _, out, errs := genericiooptions.NewTestIOStreams()
	c.out, c.errs = out, errs
	env := kube.NewEnv(streams, func() time.Time { return time.Unix(1000, 0) })
	env.Connect = func() (client.Client, error) { return c.client, nil }
	*env.Config.Namespace = "shop"
	if err := env.Format.Set(format); err != nil {
		t.Fatal(err)
	}
	command := Command(env)
	command.SilenceErrors, command.SilenceUsage = true, true
	command.SetArgs(args)
	return command.ExecuteContext(t.Context())
}

func existing() *gatewayv1.Gateway {
	gw := &gatewayv1.Gateway{ObjectMeta: object("shop", "web")}
	gw.Spec.GatewayClassName = "fairlead"
	gw.Spec.Listeners = []gatewayv1.Listener{{Name: "other", Port: 81, Protocol: gatewayv1.HTTPProtocolType}}
	return gw
}

func cilium() []client.Object {
	return []client.Object{
		&appsv1.DaemonSet{ObjectMeta: object("kube-system", "cilium")},
		&corev1.ConfigMap{ObjectMeta: object("kube-system", "cilium-config"), Data: map[string]string{"kube-proxy-replacement": "true"}},
	}
}

// Without --apply the plan is shown, nothing is written, and scripts see that there
// is something to do.
func TestShows(t *testing.T) {
	for _, tt := range []struct {
		name, format string
		more         []client.Object
		args         []string
	}{
		{"create.txt", "table", nil, []string{"--create"}},
		{"wide.txt", "wide", cilium(), []string{"--create"}},
		{"missing.txt", "table", nil, nil},
		{"create.yaml", "yaml", nil, []string{"--create"}},
		{"create.json", "json", nil, []string{"--create", "--tls", "80=a.example.com,b.example.com"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			c := newCluster(t, tt.more...)
			err := c.call(t, tt.format, append([]string{"service", "legacy", "--to-gateway", "web"}, tt.args...)...)
			if !errors.Is(err, exit.ErrWrong) {
				t.Errorf("ended with %v\n%s", err, c.errs)
			}
			golden.Text(t, tt.name, c.out.String())
			svc := &corev1.Service{}
			if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "legacy"}, svc); err != nil || len(svc.Annotations) > 0 || len(c.wrote) > 0 {
				t.Errorf("wrote %v, annotations %v, %v", c.wrote, svc.Annotations, err)
			}
		})
	}
}

// group is a cluster in which a second Service shares the address.
func group(t *testing.T) *cluster {
	t.Helper()
	api := &corev1.Service{ObjectMeta: object("shop", "api")}
	api.Spec.Type = corev1.ServiceTypeLoadBalancer
	api.Spec.Ports = []corev1.ServicePort{{Name: "db", Port: 5432, Protocol: corev1.ProtocolTCP}}
	api.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100"}}
	c := newCluster(t, api)
	address := &v1alpha1.Address{}
	if err := c.client.Get(t.Context(), client.ObjectKey{Name: "172.30.0.100"}, address); err != nil {
		t.Fatal(err)
	}
	address.Spec.Holders = append(address.Spec.Holders, v1alpha1.AddressHolder{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "api"}})
	if err := c.client.Update(t.Context(), address); err != nil {
		t.Fatal(err)
	}
	return c
}

// Those who share the address are read, shown and asked too, and nothing of that is
// left when it fails.
func TestWithSharers(t *testing.T) {
	c := group(t)
	if err := c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--create", "--with-sharers"); !errors.Is(err, exit.ErrWrong) || len(c.wrote) > 0 {
		t.Errorf("ended with %v, wrote %v\n%s", err, c.wrote, c.errs)
	}
	golden.Text(t, "group.txt", c.out.String())
	err := c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--create", "--with-sharers", "--apply", "--cleanup", "--timeout", "1ms")
	if !errors.Is(err, exit.ErrWrong) || !strings.Contains(c.out.String(), "undone    0.0 s. Service shop/legacy and Service shop/api serve as before") {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
	for _, name := range []string{"legacy", "api"} {
		svc := &corev1.Service{}
		if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: name}, svc); err != nil || len(svc.Annotations) > 0 {
			t.Errorf("%s has %v, %v", name, svc.Annotations, err)
		}
	}
	for _, o := range []client.Object{&gatewayv1.Gateway{ObjectMeta: object("shop", "web")}, &gatewayv1.TCPRoute{ObjectMeta: object("shop", "api")}} {
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T is still there (%v)", o, err)
		}
	}
}

// On the way back from a Gateway those who handed over together are read and shown, and
// ask for nothing when it fails.
func TestWithSharersBack(t *testing.T) {
	handed := map[string]string{v1alpha1.AnnotationHandover: "gateway/web", v1alpha1.AnnotationSharingKey: "k"}
	done := []metav1.Condition{{Type: tell.Condition, Status: metav1.ConditionTrue, Reason: plan.Done}}
	api := &corev1.Service{ObjectMeta: object("shop", "api")}
	api.Annotations, api.Status.Conditions = handed, done
	api.Spec.Type = corev1.ServiceTypeLoadBalancer
	api.Spec.Ports = []corev1.ServicePort{{Name: "db", Port: 5432, Protocol: corev1.ProtocolTCP}}
	gw := existing()
	gw.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/legacy,service/api"}
	gw.Spec.Listeners = []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}, {Name: "db", Port: 5432, Protocol: gatewayv1.TCPProtocolType}}
	gw.Status.Addresses, gw.Status.Conditions = []gatewayv1.GatewayStatusAddress{{Value: "172.30.0.100"}}, done
	c := newCluster(t, api, gw)
	legacy, address := &corev1.Service{}, &v1alpha1.Address{}
	for o, key := range map[client.Object]client.ObjectKey{legacy: {Namespace: "shop", Name: "legacy"}, address: {Name: "172.30.0.100"}} {
		if err := c.client.Get(t.Context(), key, o); err != nil {
			t.Fatal(err)
		}
	}
	legacy.Annotations = handed
	address.Spec.Holders[0].HolderReference = v1alpha1.HolderReference{Kind: "Gateway", Namespace: "shop", Name: "web"}
	for _, o := range []client.Object{legacy, address} {
		if err := c.client.Update(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	legacy.Status = corev1.ServiceStatus{Conditions: done}
	if err := c.client.Status().Update(t.Context(), legacy); err != nil {
		t.Fatal(err)
	}
	if err := c.call(t, "table", "gateway", "web", "--to-service", "legacy", "--with-sharers"); !errors.Is(err, exit.ErrWrong) || len(c.wrote) > 0 {
		t.Errorf("ended with %v, wrote %v\n%s", err, c.wrote, c.errs)
	}
	golden.Text(t, "group-back.txt", c.out.String())
	err := c.call(t, "table", "gateway", "web", "--to-service", "legacy", "--with-sharers", "--apply", "--timeout", "1ms")
	if !errors.Is(err, exit.ErrWrong) || !strings.Contains(c.out.String(), "undone    0.0 s. Gateway shop/web serves as before") || len(c.wrote) == 0 {
		t.Errorf("ended with %v, wrote %v\n%s", err, c.wrote, c.out)
	}
	if err := c.client.Get(t.Context(), client.ObjectKey{Namespace: "shop", Name: "api"}, api); err != nil || api.Annotations[v1alpha1.AnnotationTakeover] != "" {
		t.Errorf("api has %v, %v", api.Annotations, err)
	}
}

// With --apply and a controller that says nothing, everything is taken back.
func TestApplies(t *testing.T) {
	c := newCluster(t)
	err := c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--create", "--apply", "--cleanup", "--timeout", "1ms")
	if !errors.Is(err, exit.ErrWrong) || !strings.Contains(c.out.String(), "undone    0.0 s. Service shop/legacy serves as before, since the controller said nothing of it within 1ms.") {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
	for _, o := range []client.Object{&gatewayv1.Gateway{ObjectMeta: object("shop", "web")}, &gatewayv1.HTTPRoute{ObjectMeta: object("shop", "legacy")}} {
		if err := c.client.Get(t.Context(), client.ObjectKeyFromObject(o), o); !apierrors.IsNotFound(err) {
			t.Errorf("%T is still there (%v)", o, err)
		}
	}
}

// A takeover that is done is only told of.
func TestDoneBefore(t *testing.T) {
	gw := existing()
	gw.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/legacy"}
	gw.Status.Conditions = []metav1.Condition{{Type: tell.Condition, Status: metav1.ConditionTrue, Reason: plan.Done, Message: "done"}}
	c := newCluster(t, gw)
	svc := &corev1.Service{ObjectMeta: object("shop", "legacy")}
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"annotations":{"`+v1alpha1.AnnotationHandover+`":"gateway/web"}}}`))
	if err := c.client.Patch(t.Context(), svc, patch); err != nil {
		t.Fatal(err)
	}
	if err := c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--apply"); err != nil || !strings.Contains(c.out.String(), "Roll back: kubectl fairlead migrate gateway web -n shop --to-service legacy --apply") {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
	if err := c.call(t, "json", "service", "legacy", "--to-gateway", "web", "--apply"); err != nil || !strings.Contains(c.out.String(), `"outcome": "Done"`) {
		t.Errorf("ended with %v\n%s", err, c.out)
	}
}

// What the caller may not do is said before anything is written.
func TestRights(t *testing.T) {
	c := newCluster(t)
	c.forbidden["write httproutes"] = true
	err := c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--create", "--apply")
	if exit.Code(err) != exit.Failed || !strings.Contains(err.Error(), "create httproutes.gateway.networking.k8s.io in namespace shop") || len(c.wrote) > 0 {
		t.Errorf("ended with %v, wrote %v", err, c.wrote)
	}
	c.forbidden["addresses"] = true
	err = c.call(t, "table", "service", "legacy", "--to-gateway", "web", "--create", "--apply")
	if exit.Code(err) != exit.Failed || !strings.Contains(c.errs.String(), "list addresses") || len(c.wrote) > 0 {
		t.Errorf("ended with %v, wrote %v\n%s", err, c.wrote, c.errs)
	}
}

func TestCommandLine(t *testing.T) {
	c := newCluster(t)
	for says, args := range map[string][]string{
		"at least one of the flags":     {"service", "legacy"},
		"none of the others can be":     {"service", "legacy", "--to-gateway", "a", "--to-service", "b"},
		"accepts 1 arg":                 {"service", "--to-gateway", "a"},
		"names no Gateway":              {"service", "legacy", "--to-gateway", "a/b/c"},
		`--tls "443" is not PORT=HOST`:  {"service", "legacy", "--to-gateway", "a", "--tls", "443"},
		`--tls "0=x" is not PORT=HOST`:  {"service", "legacy", "--to-gateway", "a", "--tls", "0=x"},
		`--ports "lose": write keep or`: {"service", "legacy", "--to-gateway", "a", "--ports", "lose"},
		"[to-service with-sharers]":     {"service", "legacy", "--to-service", "b", "--with-sharers"},
		"[to-gateway with-sharers]":     {"gateway", "web", "--to-gateway", "b", "--with-sharers"},
		"unknown flag: --http":          {"gateway", "web", "--to-service", "a", "--http", "80"},
	} {
		if err := c.call(t, "table", args...); err == nil || exit.Code(err) != exit.Failed || !strings.Contains(err.Error(), says) {
			t.Errorf("%v: %v, want %q", args, err, says)
		}
	}
}
