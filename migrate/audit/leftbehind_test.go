package audit

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/service"
)

// behind is a Service as a controller leaves it behind.
func behind(namespace, name, ip string, changes ...func(*corev1.Service)) corev1.Service {
	s := lb(name, ip, "")
	s.Namespace, s.Annotations, s.Labels = namespace, map[string]string{}, map[string]string{}
	for _, c := range changes {
		c(&s)
	}
	return s
}

func noted(pairs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			s.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

// Services as each controller leaves them behind keep their addresses with the
// pools that are imported of its example.
func TestServicesLeftBehind(t *testing.T) {
	pinned := func(ip string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
	}
	labelled := func(name, value string) func(*corev1.Service) {
		return func(s *corev1.Service) { s.Labels[name] = value }
	}
	withPorts := func(s *corev1.Service) {
		s.Status.LoadBalancer.Ingress[0].Ports = []corev1.PortStatus{{Port: 80, Protocol: corev1.ProtocolTCP}}
	}
	for source, list := range map[imports.Source][]corev1.Service{
		imports.MetalLB: {
			behind("shop", "auto", "203.0.113.12", noted("metallb.io/ip-allocated-from-pool", "public")),
			behind("shop", "named", "198.51.100.9", noted("metallb.io/loadBalancerIPs", "198.51.100.9", "metallb.universe.tf/address-pool", "public")),
		},
		imports.KubeVip: {
			behind("shop", "auto", "198.51.100.11", pinned("198.51.100.11"), noted("kube-vip.io/loadbalancerIPs", "198.51.100.11", "kube-vip.io/vipHost", "node1"), withPorts),
			behind("other", "global", "192.0.2.5", pinned("192.0.2.5"), noted("kube-vip.io/loadbalancerIPs", "192.0.2.5")),
		},
		imports.Cilium: {
			behind("shop", "auto", "192.0.2.3", labelled("color", "blue")),
			behind("shop", "named", "198.51.100.7", labelled("color", "blue"), noted("lbipam.cilium.io/ips", "198.51.100.7")),
		},
		imports.PureLB: {
			behind("shop", "auto", "192.0.2.100", noted("purelb.io/allocated-by", "PureLB", "purelb.io/allocated-from", "default")),
			behind("shop", "named", "198.51.100.3", noted("purelb.io/service-group", "legacy", "purelb.io/addresses", "198.51.100.3")),
		},
		imports.Calico: {
			behind("shop", "auto", "192.0.2.7"),
			behind("shop", "named", "198.51.100.3", noted("projectcalico.org/loadBalancerIPs", `["198.51.100.3"]`)),
		},
		imports.OpenELB: {
			behind("shop", "auto", "203.0.113.4", noted("lb.kubesphere.io/v1alpha1", "openelb", "eip.openelb.kubesphere.io/v1alpha2", "routed")),
			behind("web", "default", "192.0.2.91", noted("lb.kubesphere.io/v1alpha1", "openelb")),
		},
	} {
		t.Run(string(source), func(t *testing.T) {
			text, err := os.ReadFile(filepath.Join("..", "imports", "testdata", string(source)+".in.yaml"))
			if err != nil {
				t.Fatal(err)
			}
			s := Snapshot{Foreign: foreign(t, string(text))}
			s.Config, s.Services = service.Config{Default: true}, list
			r := Of(s)
			if len(r.Services) != len(list) || r.Changes > 0 {
				t.Errorf("%d Services, %d would change", len(r.Services), r.Changes)
			}
			for _, got := range r.Services {
				if got.Verdict != forecast.Same && got.Verdict != forecast.Adopted || len(got.Gets) != 1 || got.Gets[0] != got.Addresses[0] {
					t.Errorf("%+v", got)
				}
			}
		})
	}
}
