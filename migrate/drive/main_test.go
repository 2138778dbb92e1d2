package drive

import (
	"os"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/migrate/plan"
	"github.com/fairlead/fairlead/test/apiserver"
)

// apiServer is shared by the tests of this package; nil where there is none.
var apiServer *envtest.Environment

func TestMain(m *testing.M) {
	os.Exit(apiserver.Main(m, apiserver.Options{GatewayAPI: "standard"}, func(env *envtest.Environment) { apiServer = env }))
}

func clientFor(t *testing.T, cfg *rest.Config) client.WithWatch {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, gatewayv1.Install, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.NewWithWatch(cfg, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// world is a namespace with a Service that has an address.
type world struct {
	t         *testing.T
	c         client.WithWatch
	namespace string
	// sharers are Services that share the address, and move too.
	sharers []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if apiServer == nil {
		t.Skip(apiserver.Missing)
	}
	w := &world{t: t, c: clientFor(t, apiServer.Config)}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	w.must(w.c.Create(t.Context(), ns))
	w.namespace = ns.Name
	w.serve("legacy", 80)
	return w
}

// serve makes a Service that has the address.
func (w *world) serve(name string, port int32) {
	w.t.Helper()
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Spec.Ports = []corev1.ServicePort{{Name: "http", Port: port, AppProtocol: new("http")}}
	w.must(w.c.Create(w.t.Context(), svc))
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100"}}
	w.must(w.c.Status().Update(w.t.Context(), svc))
}

// givers are the names of all Services that hand over.
func (w *world) givers() []string { return append([]string{"legacy"}, w.sharers...) }

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) holder(kind plan.Kind, name string) plan.Holder {
	return plan.Holder{Kind: kind, Name: gateway.Name{Namespace: w.namespace, Name: name}}
}

func (w *world) service(name string) *corev1.Service {
	w.t.Helper()
	svc := &corev1.Service{}
	w.must(w.c.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, svc))
	return svc
}

// gateway is nil where there is none.
func (w *world) gateway() *gatewayv1.Gateway {
	w.t.Helper()
	gw := &gatewayv1.Gateway{}
	err := w.c.Get(w.t.Context(), client.ObjectKey{Namespace: w.namespace, Name: "web"}, gw)
	if client.IgnoreNotFound(err) != nil {
		w.t.Fatal(err)
	}
	if err != nil {
		return nil
	}
	return gw
}

// plan plans the way of the Service's address to the Gateway.
func (w *world) plan() *plan.Plan {
	w.t.Helper()
	address := &v1alpha1.Address{}
	address.Spec.Address = "172.30.0.100"
	var services []*corev1.Service
	for _, name := range w.givers() {
		services = append(services, w.service(name))
		address.Spec.Holders = append(address.Spec.Holders, v1alpha1.AddressHolder{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: w.namespace, Name: name}})
	}
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}}
	in := plan.Input{
		From: w.holder(plan.Service, "legacy"), To: w.holder(plan.Gateway, "web"), Options: plan.Options{Create: true, WithSharers: len(w.sharers) > 0},
		Cluster: plan.Cluster{
			Services: services, Classes: []*gatewayv1.GatewayClass{class}, Addresses: []*v1alpha1.Address{address},
			Namespaces: map[string]map[string]string{w.namespace: {"kubernetes.io/metadata.name": w.namespace}},
		},
	}
	if gw := w.gateway(); gw != nil {
		in.Cluster.Gateways = append(in.Cluster.Gateways, gw)
	}
	var routes gatewayv1.HTTPRouteList
	w.must(w.c.List(w.t.Context(), &routes, client.InNamespace(w.namespace)))
	for i := range routes.Items {
		in.Cluster.Routes.HTTP = append(in.Cluster.Routes.HTTP, &routes.Items[i])
	}
	p := plan.Make(in)
	if blocks := p.Blocks(); len(blocks) > 0 {
		w.t.Fatalf("blocked: %v", blocks)
	}
	return p
}
