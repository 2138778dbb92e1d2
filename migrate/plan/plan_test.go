package plan

import (
	"fmt"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"pgregory.net/rapid"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
)

// drawService is one with some ports, each once.
func drawService(t *rapid.T) *corev1.Service {
	svc := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "legacy"}}
	svc.Spec.Type = corev1.ServiceTypeLoadBalancer
	svc.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: "172.30.0.100"}}
	protocols := []corev1.Protocol{"", corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP}
	said := []*string{nil, new("http"), new("https"), new("grpc"), new("kubernetes.io/h2c"), new("kubernetes.io/wss"), new("example.com/own")}
	numbers := rapid.SliceOfNDistinct(rapid.Int32Range(1, 40), 1, 20, rapid.ID[int32]).Draw(t, "ports")
	for i, n := range numbers {
		port := corev1.ServicePort{Port: n, Protocol: rapid.SampledFrom(protocols).Draw(t, "protocol"), AppProtocol: rapid.SampledFrom(said).Draw(t, "appProtocol")}
		// The API server wants names where there are several.
		if named := rapid.Bool().Draw(t, "named"); named || len(numbers) > 1 {
			port.Name = rapid.SampledFrom([]string{"http", "tcp-1", "a"}).Draw(t, "name")
			if slices.ContainsFunc(svc.Spec.Ports, func(p corev1.ServicePort) bool { return p.Name == port.Name }) {
				port.Name = fmt.Sprintf("p%d", i)
			}
		}
		svc.Spec.Ports = append(svc.Spec.Ports, port)
	}
	return svc
}

// carriedBy are the ports of a Service that routes of a plan lead to.
func carriedBy(p *Plan) map[string]bool {
	out := map[string]bool{}
	for _, o := range p.Objects {
		spec, _ := o.Manifest["spec"].(map[string]any)
		rules, _ := spec["rules"].([]any)
		for _, r := range rules {
			refs, _ := r.(map[string]any)["backendRefs"].([]any)
			for _, ref := range refs {
				out[fmt.Sprintf("%v/%v", ref.(map[string]any)["port"], o.Kind() == "UDPRoute")] = true
			}
		}
	}
	return out
}

// Every port of a Service has a route, or a note says that it stays; and what was
// planned and done is not planned again.
func TestNoPortIsForgotten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		svc := drawService(t)
		in := Input{
			From: Holder{Service, gateway.Name{Namespace: "shop", Name: "legacy"}}, To: Holder{Gateway, gateway.Name{Namespace: "shop", Name: "web"}},
			Options: Options{Create: true, Ports: PortsKeep}, Cluster: clusterWith(svc),
		}
		p := Make(in)
		carried, any := carriedBy(p), false
		for _, port := range svc.Spec.Ports {
			if port.Protocol == corev1.ProtocolSCTP {
				continue
			}
			any = true
			if !carried[fmt.Sprintf("%d/%v", port.Port, port.Protocol == corev1.ProtocolUDP)] {
				t.Fatalf("port %d/%s has no route in %v", port.Port, port.Protocol, p.Objects)
			}
		}
		if blocked := len(p.Blocks()) > 0; blocked == any {
			t.Fatalf("blocked %v with ports to carry %v: %v", blocked, any, p.Notes)
		}
		if any {
			doneIsDone(t, in, p)
		}
	})
}

func clusterWith(svc *corev1.Service) Cluster {
	address := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: "172.30.0.100"}}
	address.Spec.Address = "172.30.0.100"
	address.Spec.Holders = []v1alpha1.AddressHolder{{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "legacy"}}}
	return Cluster{
		Services:   []*corev1.Service{svc},
		Classes:    []*gatewayv1.GatewayClass{{ObjectMeta: metav1.ObjectMeta{Name: "fairlead"}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName}}},
		Addresses:  []*v1alpha1.Address{address},
		Namespaces: map[string]map[string]string{"shop": {labelNamespace: "shop"}},
	}
}

// doneIsDone plans again with the objects of a plan in the cluster.
func doneIsDone(t *rapid.T, in Input, p *Plan) {
	for _, o := range p.Objects {
		into := map[string]metav1.Object{
			"Gateway": &gatewayv1.Gateway{}, "HTTPRoute": &gatewayv1.HTTPRoute{}, "GRPCRoute": &gatewayv1.GRPCRoute{},
			"TCPRoute": &gatewayv1.TCPRoute{}, "UDPRoute": &gatewayv1.UDPRoute{},
		}[o.Kind()]
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Manifest, into); err != nil {
			t.Fatal(err)
		}
		if gw, ok := into.(*gatewayv1.Gateway); ok {
			in.Cluster.Gateways = append(in.Cluster.Gateways, gw)
		} else {
			addRoute(&in.Cluster.Routes, into)
		}
	}
	again := Make(in)
	for _, o := range again.Objects {
		if o.New || o.Kind() == "Gateway" {
			t.Fatalf("planned again: %v", o.Manifest)
		}
	}
	if len(again.Blocks()) > 0 || len(again.Objects) != len(p.Objects)-1 {
		t.Fatalf("planned again: %v, %d objects", again.Blocks(), len(again.Objects))
	}
}

func TestSeen(t *testing.T) {
	h := Holder{Gateway, gateway.Name{Namespace: "edge", Name: "main"}}
	if got := h.Seen("edge"); got != "gateway/main" {
		t.Errorf("in its own namespace: %s", got)
	}
	if got := h.Seen("shop"); got != "gateway/edge/main" {
		t.Errorf("from another namespace: %s", got)
	}
}
