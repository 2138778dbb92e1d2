package annotations

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/service"
)

func newService(changes ...func(*corev1.Service)) *corev1.Service {
	svc := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: "u", ResourceVersion: "7", Annotations: map[string]string{"other": "stays"}},
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
			Ports: []corev1.ServicePort{{Port: 80}},
		},
	}
	policy := corev1.IPFamilyPolicyPreferDualStack
	svc.Spec.IPFamilyPolicy = &policy
	for _, c := range changes {
		c(svc)
	}
	return svc
}

func annotated(pairs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			s.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func field(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
}

func shows(list ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, ip := range list {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

func TestRewrite(t *testing.T) {
	const ours = "fairlead.dev/addresses"
	for _, tt := range []struct {
		name    string
		svc     *corev1.Service
		pin     bool
		want    map[string]string // beside "other"
		refused string
	}{
		{"nothing asked", newService(), false, nil, ""},
		{"the field", newService(field("192.0.2.7")), false, map[string]string{ours: "192.0.2.7"}, ""},
		{"the field and the same annotation", newService(field("192.0.2.7"), annotated("metallb.io/loadBalancerIPs", "192.0.2.7")), false, map[string]string{ours: "192.0.2.7"}, ""},
		{"an overridden field", newService(field("192.0.2.9"), annotated("metallb.io/loadBalancerIPs", "192.0.2.7")), false, map[string]string{ours: "192.0.2.7"}, ""},
		{
			"everything of MetalLB", newService(annotated("metallb.universe.tf/loadBalancerIPs", "192.0.2.7, 2001:DB8::7", "metallb.io/address-pool", "public", "metallb.io/allow-shared-ip", "a b")), false,
			map[string]string{ours: "192.0.2.7,2001:db8::7", "fairlead.dev/pool": "public", "fairlead.dev/sharing-key": "a b"},
			"",
		},
		{"Calico's list", newService(annotated("projectcalico.org/loadBalancerIPs", `["192.0.2.7"]`)), false, map[string]string{ours: "192.0.2.7"}, ""},
		{"two that clash", newService(annotated("metallb.io/loadBalancerIPs", "192.0.2.7", "kube-vip.io/loadbalancerIPs", "192.0.2.8")), false, nil, "contradict each other"},
		{"no address", newService(annotated("kube-vip.io/loadbalancerIPs", "0.0.0.0")), false, nil, "by DHCP"},
		{"ours already", newService(annotated(ours, "192.0.2.7 , 2001:db8::7", "metallb.io/loadBalancerIPs", "192.0.2.9")), false, map[string]string{ours: "192.0.2.7 , 2001:db8::7"}, ""},
		{"OpenELB", newService(annotated(openelbPool, "lan", openelbAddress, "192.0.2.7")), false, map[string]string{ours: "192.0.2.7", "fairlead.dev/pool": "lan"}, ""},
		{"pinned", newService(shows("192.0.2.7", "2001:db8::7")), true, map[string]string{ours: "192.0.2.7,2001:db8::7"}, ""},
		{"not pinned", newService(shows("192.0.2.7")), false, nil, ""},
		{"pinned beside a wish", newService(field("192.0.2.9"), shows("192.0.2.7", "2001:db8::7")), true, map[string]string{ours: "192.0.2.9,2001:db8::7"}, ""},
		{
			"across namespaces", newService(annotated("lbipam.cilium.io/sharing-key", "k", "lbipam.cilium.io/sharing-cross-namespace", "edge")), false,
			map[string]string{"fairlead.dev/sharing-key": "k", "lbipam.cilium.io/sharing-cross-namespace": "edge"},
			"",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := tt.svc.DeepCopy()
			w := Rewrite(tt.svc, service.Surroundings{}, Options{Pin: tt.pin})
			if refused := strings.Join(w.Refused, " "); (tt.refused == "") != (refused == "") || !strings.Contains(refused, tt.refused) {
				t.Fatalf("refused: %q, want %q", refused, tt.refused)
			}
			if tt.refused != "" {
				if len(w.Changes) > 0 {
					t.Errorf("a refused Service has changes: %v", w.Changes)
				}
				return
			}
			if w.Service.Spec.LoadBalancerIP != "" || len(w.Service.Annotations) != len(tt.want)+1 || w.Service.Annotations["other"] != "stays" {
				t.Errorf("it has %v, and %q", w.Service.Annotations, w.Service.Spec.LoadBalancerIP)
			}
			for name, value := range tt.want {
				if got := w.Service.Annotations[name]; got != value {
					t.Errorf("%s is %q, want %q", name, got, value)
				}
			}
			patched(t, before, w)
			again := Rewrite(w.Service, service.Surroundings{}, Options{Pin: tt.pin})
			if len(again.Changes) > 0 {
				t.Errorf("a second time changes %v", again.Changes)
			}
		})
	}
}

// patched tells whether the patch does what the new Service says.
func patched(t *testing.T, before *corev1.Service, w *Rewritten) {
	t.Helper()
	patch, err := w.Patch()
	if err != nil {
		t.Fatal(err)
	}
	was, _ := json.Marshal(before)
	is, err := jsonpatch.MergePatch(was, patch)
	if err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(w.Service)
	if !jsonpatch.Equal(is, want) {
		t.Errorf("the patch %s makes\n%s\nand not\n%s", patch, is, want)
	}
}

// Whatever is written, what is asked for is the same afterwards, or nothing is
// rewritten and it says why.
func TestTheClaimStays(t *testing.T) {
	value := rapid.SampledFrom([]string{"", "192.0.2.7", "192.0.2.7,2001:db8::7", "192.0.2.8", " 192.0.2.7 ,", "x", "0.0.0.0", `["192.0.2.7"]`, "public", "a,b", "ä, b"})
	around := service.Surroundings{InPool: netip.MustParsePrefix("192.0.2.0/24").Contains}
	names := append(service.ForeignAnnotations(), "fairlead.dev/addresses", "fairlead.dev/pool", "fairlead.dev/sharing-key", "lbipam.cilium.io/sharing-cross-namespace")
	rapid.Check(t, func(t *rapid.T) {
		svc := newService(field(value.Draw(t, "field")))
		for range rapid.IntRange(0, 4).Draw(t, "annotations") {
			svc.Annotations[rapid.SampledFrom(names).Draw(t, "name")] = value.Draw(t, "value")
		}
		if rapid.Bool().Draw(t, "external") {
			svc.Spec.ExternalIPs = []string{"192.0.2.50"}
		}
		cfg := service.Config{Default: true}
		before := service.Read(svc, around, cfg)
		w := Rewrite(svc, around, Options{})
		after := service.Read(w.Service, around, cfg)
		switch {
		case len(before.Problems) > 0:
			if len(w.Refused) == 0 || len(w.Changes) > 0 {
				t.Fatalf("rewritten in spite of %v: %v", before.Problems, w.Changes)
			}
		case len(w.Refused) > 0:
			t.Fatalf("refused: %v", w.Refused)
		case len(after.Problems) > 0 || !sameWish(&before.Claim, &after.Claim):
			t.Fatalf("asked for %+v, and asks for %+v (%v)", before.Claim, after.Claim, after.Problems)
		}
		if len(w.Refused) == 0 && w.Service.Spec.LoadBalancerIP != "" {
			t.Fatal("the field is still there")
		}
	})
}

const manifest = `# Our shop.
apiVersion: v1
kind: Service
metadata:
  name: web # the front
  annotations:
    metallb.io/allow-shared-ip: shop
    note: "keep me"
spec:
  type: LoadBalancer
  loadBalancerIP: 192.0.2.7
  ports:
    - port: 80 # HTTP
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: other
data:
  loadBalancerIP: 192.0.2.9
`

const rewritten = `# Our shop.
apiVersion: v1
kind: Service
metadata:
  name: web # the front
  annotations:
    note: "keep me"
    fairlead.dev/addresses: 192.0.2.7
    fairlead.dev/sharing-key: shop
spec:
  type: LoadBalancer
  ports:
    - port: 80 # HTTP
---
apiVersion: v1
kind: ConfigMap
metadata:
  name: other
data:
  loadBalancerIP: 192.0.2.9
`

func TestManifest(t *testing.T) {
	out, all, err := Manifest([]byte(manifest), service.Surroundings{}, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 1 || string(out) != rewritten {
		t.Errorf("%d Services; it is now\n%s", len(all), out)
	}
	for _, bad := range []string{"a: [", "apiVersion: v1\nkind: Service\nspec: {ports: 7}\n"} {
		if _, _, err := Manifest([]byte(bad), service.Surroundings{}, Options{}); err == nil {
			t.Errorf("%q is taken", bad)
		}
	}
}

func FuzzManifest(f *testing.F) {
	f.Add([]byte(manifest))
	f.Add([]byte("apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Service, metadata: {annotations: null}, spec: {type: LoadBalancer, loadBalancerIP: 192.0.2.1}}\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		_, all, err := Manifest(in, service.Surroundings{}, Options{})
		if err != nil {
			return
		}
		for _, w := range all {
			if len(w.Refused) > 0 && len(w.Changes) > 0 {
				t.Errorf("refused and changed: %v %v", w.Refused, w.Changes)
			}
		}
	})
}
