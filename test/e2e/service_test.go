//go:build e2e

package e2e

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
)

// Every way in which users ask for addresses today gives that address, and it
// answers a client outside the cluster.
func TestLegacyServicesAnswer(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.119", "fd00:30::100-fd00:30::11f")
	w.backend("echo", 2)
	for _, c := range []struct {
		name string
		edit func(*corev1.Service)
		want string
	}{
		{"field", lab.LoadBalancerIP("172.30.0.110"), "172.30.0.110"},
		{"own", lab.Annotate(v1alpha1.AnnotationAddresses, "172.30.0.111"), "172.30.0.111"},
		{"metallb", lab.Annotate("metallb.io/loadBalancerIPs", "172.30.0.112"), "172.30.0.112"},
		{"metallb-old", lab.Annotate("metallb.universe.tf/loadBalancerIPs", "172.30.0.113"), "172.30.0.113"},
		{"kube-vip", lab.Annotate("kube-vip.io/loadbalancerIPs", "172.30.0.114"), "172.30.0.114"},
		{"cilium", lab.Annotate("lbipam.cilium.io/ips", "172.30.0.115"), "172.30.0.115"},
		{"pool", lab.Annotate("metallb.io/address-pool", w.pool), ""},
		{"plain", func(*corev1.Service) {}, ""},
		{"six", lab.IPv6Only, ""},
		{"local", lab.Local, ""},
	} {
		got := w.service(c.name, "echo", 1, c.edit)[0]
		if c.want != "" && got.String() != c.want {
			t.Errorf("Service %s has %s, want %s", c.name, got, c.want)
		}
		if a := w.answers(got, 80); !strings.HasPrefix(a.Pod, "echo-") {
			t.Errorf("Service %s at %s was answered by %+v", c.name, got, a)
		}
		w.announcer(got, "any node", anyNode)
	}
	if c := w.condition("field", "fairlead.dev/Address", metav1.ConditionTrue, "Assigned"); !strings.Contains(c.Message, "fairlead.dev/addresses=172.30.0.110") {
		t.Errorf("the hint does not name the annotation to use: %q", c.Message)
	}
}

func TestDualStackAnswersOnBothFamilies(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109", "fd00:30::100-fd00:30::10f")
	w.backend("echo", 2)
	got := w.service("dual", "echo", 2, lab.DualStack)
	if !got[0].Is4() || !got[1].Is6() {
		t.Fatalf("got %v, want IPv4 then IPv6", got)
	}
	for _, a := range got {
		w.answers(a, 80)
	}
	four, six := w.announcer(got[0], "any node", anyNode), w.announcer(got[1], "any node", anyNode)
	if four != six {
		t.Errorf("the addresses of one Service are announced by %s and %s; they should go together", four, six)
	}
}

func TestSharedAddressServesAllItsServices(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	w.backend("one", 1)
	w.backend("two", 1)
	share := lab.Annotate(v1alpha1.AnnotationSharingKey, "k")
	first := w.service("one", "one", 1, share)[0]
	second := w.service("two", "two", 1, share, lab.Port(8080))[0]
	if first != second {
		t.Fatalf("the Services have %s and %s, want one address", first, second)
	}
	if a := w.answers(first, 80); !strings.HasPrefix(a.Pod, "one-") {
		t.Errorf("port 80 is answered by %s", a.Pod)
	}
	if a := w.answers(first, 8080); !strings.HasPrefix(a.Pod, "two-") {
		t.Errorf("port 8080 is answered by %s", a.Pod)
	}
	w.apply(lab.LoadBalancer(w.namespace, "clash", "one", share, lab.Annotate(v1alpha1.AnnotationAddresses, first.String())))
	w.condition("clash", "fairlead.dev/Address", metav1.ConditionFalse, "")
}

func TestWishThatCannotBeMetWaitsAndSaysWhy(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.101")
	w.backend("echo", 1)
	w.service("first", "echo", 1, lab.LoadBalancerIP("172.30.0.100"))
	w.apply(lab.LoadBalancer(w.namespace, "second", "echo", lab.LoadBalancerIP("172.30.0.100")))
	if c := w.condition("second", "fairlead.dev/Address", metav1.ConditionFalse, ""); !strings.Contains(c.Message, "172.30.0.100") {
		t.Errorf("the condition does not name the address: %q", c.Message)
	}
	w.apply(lab.LoadBalancer(w.namespace, "bad", "echo", lab.Annotate("metallb.io/loadBalancerIPs", "172.30.0.999")))
	if c := w.condition("bad", "fairlead.dev/Address", metav1.ConditionFalse, ""); !strings.Contains(c.Message, "metallb.io/loadBalancerIPs") {
		t.Errorf("the condition does not name the annotation: %q", c.Message)
	}
	if err := w.Client.Delete(w.ctx, lab.LoadBalancer(w.namespace, "first", "echo")); err != nil {
		t.Fatal(err)
	}
	got, err := w.AwaitAddresses(w.ctx, w.namespace, "second", 1)
	if err != nil || got[0].String() != "172.30.0.100" {
		t.Fatalf("the waiting Service got %v, %v", got, err)
	}
}

// A Service that stops being a LoadBalancer loses its address and our entries.
func TestTypeChangeReleases(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.100")
	w.backend("echo", 1)
	got := w.service("s", "echo", 1)[0]
	w.answers(got, 80)
	s := lab.LoadBalancer(w.namespace, "s", "echo")
	edit(w, s, func(s *corev1.Service) {
		s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	})
	if other := w.service("next", "echo", 1)[0]; other != got {
		t.Errorf("the freed address is %s, the next Service got %s", got, other)
	}
	if err := w.Client.Get(w.ctx, client.ObjectKeyFromObject(s), s); err != nil {
		t.Fatal(err)
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 || slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool { return strings.HasPrefix(c.Type, "fairlead.dev/") }) {
		t.Errorf("the status still speaks of us: %+v", s.Status)
	}
}

func TestForeignClassIsLeftAlone(t *testing.T) {
	w := newWorld(t, "172.30.0.100-172.30.0.109")
	w.backend("echo", 1)
	class := "example.com/other"
	w.apply(lab.LoadBalancer(w.namespace, "foreign", "echo", func(s *corev1.Service) { s.Spec.LoadBalancerClass = &class }))
	mine := v1alpha1.LoadBalancerClass
	w.service("mine", "echo", 1, func(s *corev1.Service) { s.Spec.LoadBalancerClass = &mine })
	var s corev1.Service
	if err := w.Client.Get(w.ctx, client.ObjectKey{Namespace: w.namespace, Name: "foreign"}, &s); err != nil {
		t.Fatal(err)
	}
	if len(s.Status.LoadBalancer.Ingress) > 0 || len(s.Status.Conditions) > 0 {
		t.Errorf("the Service of another class was touched: %+v", s.Status)
	}
}
