//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	eventsv1 "k8s.io/api/events/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/lab"
)

// nginxClass is what NGINX Gateway Fabric 2.7 sets on the Service of a Gateway with
// spec.addresses, whose status it then writes itself: the name of its controller.
const nginxClass = "gateway.nginx.org/nginx-gateway-controller"

// asked is a Service as a Gateway implementation writes it for a Gateway "web" with an
// address in spec.addresses. Only the pods behind it are ours: echo in place of a proxy.
type asked struct {
	by   string
	name string
	edit func(s *corev1.Service, address string)
	// writesStatus: its class is its own, and so is the status.
	writesStatus bool
	// servesItself: its data plane takes the traffic before kube-proxy sees it, and
	// behind its Service is an endpoint that nobody has.
	servesItself bool
}

func othersGateways() []asked {
	return []asked{
		{by: "Istio 1.30", name: "web-istio", edit: func(s *corev1.Service, address string) {
			s.Labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "web", "gateway.networking.k8s.io/gateway-class-name": "istio"}
			status := corev1.ServicePort{Name: "status-port", Port: 15021, AppProtocol: new("tcp")}
			s.Spec.Ports[0].AppProtocol = new("http")
			s.Spec.Ports = []corev1.ServicePort{status, s.Spec.Ports[0]}
			s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack)
			s.Spec.LoadBalancerIP = address
		}},
		{by: "Contour 1.33.8", name: "envoy-web", edit: func(s *corev1.Service, address string) {
			s.Labels = map[string]string{"app.kubernetes.io/managed-by": "contour-gateway-provisioner", "projectcontour.io/owning-gateway-name": "web", "gateway.networking.k8s.io/gateway-name": "web"}
			s.Spec.SessionAffinity = corev1.ServiceAffinityNone
			s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			s.Spec.LoadBalancerIP = address
		}},
		{by: "Envoy Gateway 1.9.0", name: "envoy-shop-web-5d2b1c9e", edit: func(s *corev1.Service, address string) {
			s.Labels = map[string]string{
				"app.kubernetes.io/managed-by":                   "envoy-gateway",
				"gateway.envoyproxy.io/owning-gateway-name":      "web",
				"gateway.envoyproxy.io/owning-gateway-namespace": "shop",
			}
			s.Spec.Ports[0].Name = "http-80"
			s.Spec.SessionAffinity = corev1.ServiceAffinityNone
			s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
			s.Spec.ExternalIPs = []string{address}
		}},
		{by: "NGINX Gateway Fabric 2.6", name: "web-nginx", edit: func(s *corev1.Service, address string) {
			nginxService(s)
			s.Spec.ExternalIPs = []string{address}
		}},
		{by: "NGINX Gateway Fabric 2.7", name: "web-nginx-next", writesStatus: true, edit: func(s *corev1.Service, _ string) {
			nginxService(s)
			s.Spec.LoadBalancerClass = new(nginxClass)
		}},
		{by: "Cilium 1.20", name: "cilium-gateway-web", servesItself: true, edit: func(s *corev1.Service, address string) {
			s.Labels = map[string]string{"gateway.networking.k8s.io/gateway-name": "web", "io.cilium.gateway/owning-gateway": "web"}
			s.Annotations["lbipam.cilium.io/ips"] = address
			s.Spec.Ports[0].Name = "port-80"
			s.Spec.Selector = nil
		}},
	}
}

func nginxService(s *corev1.Service) {
	s.Labels = map[string]string{"app.kubernetes.io/managed-by": "ngf-nginx", "gateway.networking.k8s.io/gateway-name": "web"}
	s.Spec.Ports[0].Name = "port-80"
	s.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
	s.Spec.IPFamilyPolicy = new(corev1.IPFamilyPolicyPreferDualStack)
}

// ask makes the Service as the implementation does, and the status with it where that
// is the implementation's too.
func (w *world) ask(a *asked, namespace string, address netip.Addr) {
	w.Helper()
	s := lab.LoadBalancer(namespace, a.name, "echo", func(s *corev1.Service) {
		s.Spec.AllocateLoadBalancerNodePorts = nil // none of them sets it
		a.edit(s, address.String())
	})
	w.apply(s)
	if a.writesStatus {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: address.String()}}
		if err := w.Client.Status().Update(w.ctx, s, client.FieldOwner("gateway")); err != nil {
			w.Fatal(err)
		}
	}
	if a.servesItself {
		w.apply(&discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{
				Namespace: namespace, Name: a.name,
				Labels: map[string]string{discoveryv1.LabelServiceName: a.name, discoveryv1.LabelManagedBy: "cilium-operator"},
			},
			AddressType: discoveryv1.AddressTypeIPv4,
			Endpoints:   []discoveryv1.Endpoint{{Addresses: []string{"192.192.192.192"}}},
			Ports:       []discoveryv1.EndpointPort{{Name: new("port-80"), Port: new(int32(9999))}},
		})
	}
}

// Whichever way a Gateway implementation asks for the address of a Gateway, it gets
// that address from our pool, and it is announced and answers. Where no pool admits
// the namespace of the Service it is not announced, and that is said.
func TestGatewaysOfOthersGetAddresses(t *testing.T) {
	w := newWorld(t, "172.30.0.150-172.30.0.169", "fd00:30::150-fd00:30::15f")
	w.backend("echo", 3)
	began := w.ourWritesOf("web-nginx-next")
	address := mustAddr("172.30.0.150")
	granted := map[netip.Addr]asked{}
	for _, a := range othersGateways() {
		w.ask(&a, w.namespace, address)
		granted[address] = a
		address = address.Next()
	}
	for address, a := range granted {
		w.await(fmt.Sprintf("the Service of %s to have %s", a.by, address), func(context.Context) error {
			if got := lab.Addresses(w.get(a.name)); !slices.Contains(got, address) {
				return fmt.Errorf("it has %v; conditions: %+v", got, w.get(a.name).Status.Conditions)
			}
			return nil
		})
		w.announcer(address, "any node", anyNode)
		if o, err := w.address(w.ctx, address); err != nil || o.Spec.Summary != "Service "+w.namespace+"/"+a.name {
			t.Errorf("%s: the ledger says %+v, %v", a.by, o.Spec, err)
		}
		if a.servesItself {
			w.oneAnswer(address)
		} else if got := w.answers(address, 80); !strings.HasPrefix(got.Pod, "echo-") {
			t.Errorf("%s: %s was answered by %+v", a.by, address, got)
		}
	}
	if now := w.ourWritesOf("web-nginx-next"); now != began {
		t.Errorf("the status that NGINX Gateway Fabric writes was written by us: %s", now)
	}
	w.ownClassIsLeftAlone()
	w.notAdmitted(mustAddr("172.30.0.160"))
}

// ourWritesOf is what the API server recorded of our writes into a Service, as far as
// it is there.
func (w *world) ourWritesOf(service string) string {
	w.Helper()
	var s corev1.Service
	err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: service}, &s)
	if client.IgnoreNotFound(err) != nil {
		w.Fatal(err)
	}
	for _, f := range s.ManagedFields {
		if strings.HasPrefix(f.Manager, "fairlead") {
			return fmt.Sprint(f)
		}
	}
	return ""
}

// ownClassIsLeftAlone is kube-loxilb 0.9.8: it asks by spec.loadBalancerIP, but of a
// class that it serves, announces and writes the status of itself.
func (w *world) ownClassIsLeftAlone() {
	w.Helper()
	w.apply(lab.LoadBalancer(w.namespace, "loxilb", "echo", lab.LoadBalancerIP("172.30.0.169"), func(s *corev1.Service) {
		s.Labels = map[string]string{"implementation": "kube-loxilb", "ipam-address": "172.30.0.169"}
		s.Annotations["gateway-api-controller"] = "loxilb.io/loxilb"
		s.Spec.LoadBalancerClass = new("loxilb.io/loxilb")
	}))
	w.service("behind", "echo", 1) // served after it
	if s := w.get("loxilb"); len(s.Status.LoadBalancer.Ingress) > 0 || len(s.Status.Conditions) > 0 {
		w.Errorf("the Service of kube-loxilb was touched: %+v", s.Status)
	}
}

// notAdmitted has the same asked for from a namespace that no pool admits.
func (w *world) notAdmitted(address netip.Addr) {
	w.Helper()
	other := w.namespace + "-other"
	w.alsoNamespace(other)
	for _, a := range othersGateways() {
		w.ask(&a, other, address)
		if a.writesStatus {
			w.eventSays(other, a.name, "PoolNotAdmitted", address.String(), "is not announced", w.pool)
		} else {
			w.saysNotAdmitted(other, &a)
		}
		var asks corev1.Service
		if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: other, Name: a.name}, &asks); err != nil {
			w.Fatal(err)
		}
		if got := lab.Addresses(&asks); !a.writesStatus && len(got) > 0 {
			w.Errorf("%s: a Service of a namespace that is not admitted has %v", a.by, got)
		}
		if o, err := w.address(w.ctx, address); !apierrors.IsNotFound(err) {
			w.Errorf("%s: %s is in the ledger: %+v, %v", a.by, address, o.Spec, err)
		}
		if macs, err := w.whoHas(w.ctx, address); err != nil || len(macs) > 0 {
			w.Errorf("%s: %v answer for %s, which is nobody's (%v)", a.by, macs, address, err)
		}
		address = address.Next()
	}
}

func (w *world) saysNotAdmitted(namespace string, a *asked) {
	w.Helper()
	w.await("the Service of "+a.by+" to say that no pool admits it", func(ctx context.Context) error {
		var s corev1.Service
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: a.name}, &s); err != nil {
			return err
		}
		for _, c := range s.Status.Conditions {
			if c.Type == "fairlead.dev/Address" && c.Status == metav1.ConditionFalse && c.Reason == "PoolNotAdmitted" && strings.Contains(c.Message, w.pool) {
				return nil
			}
		}
		return fmt.Errorf("it has %+v", s.Status.Conditions)
	})
}

// eventSays waits for an Event about a Service that has all these words.
func (w *world) eventSays(namespace, service, reason string, words ...string) {
	w.Helper()
	w.await(fmt.Sprintf("an Event %s at Service %s with %q", reason, service, words), func(ctx context.Context) error {
		var all eventsv1.EventList
		if err := w.Client.List(ctx, &all, client.InNamespace(namespace)); err != nil {
			return err
		}
		var said []string
		for _, e := range all.Items {
			if e.Regarding.Name != service {
				continue
			}
			if e.Reason == reason && !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(e.Note, word) }) {
				return nil
			}
			said = append(said, e.Reason+": "+e.Note)
		}
		return fmt.Errorf("there are %q", said)
	})
}

// alsoNamespace makes a further namespace, which begins to go before the world does.
func (w *world) alsoNamespace(name string) {
	w.Helper()
	w.apply(lab.MakeNamespace(name))
	w.Cleanup(func() {
		if err := client.IgnoreNotFound(w.Client.Delete(context.Background(), lab.MakeNamespace(name))); err != nil {
			w.Errorf("removing the namespace %s: %v", name, err)
		}
	})
}
