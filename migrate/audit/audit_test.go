package audit

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/forecast"
	"github.com/fairlead/fairlead/migrate/imports"
	"github.com/fairlead/fairlead/service"
)

func workload(kind, image string, ready, wanted int, args ...string) Workload {
	return Workload{Kind: kind, Namespace: "system", Name: "w", Containers: []Container{{Image: image, Args: args, Env: map[string]string{}}}, Ready: ready, Wanted: wanted}
}

func metallb() []Workload {
	return []Workload{workload("Deployment", "quay.io/metallb/controller:v0.16.1", 1, 1), workload("DaemonSet", "quay.io/metallb/speaker:v0.16.1", 3, 3)}
}

func foreign(t *testing.T, text string) []unstructured.Unstructured {
	t.Helper()
	out, err := imports.Decode([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const metallbPool = `apiVersion: metallb.io/v1beta1
kind: IPAddressPool
metadata: {name: public, namespace: metallb-system}
spec: {addresses: ["192.0.2.0/28"]}
`

// lb is a Service of port 80 whose status was written by a manager.
func lb(name, ip, manager string) corev1.Service {
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: name},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	if ip != "" {
		s.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{IP: ip}}
	}
	if manager != "" {
		s.ManagedFields = []metav1.ManagedFieldsEntry{{
			Manager: manager, Operation: "Update", Subresource: "status", Time: &metav1.Time{Time: time.Unix(100, 0)},
			FieldsType: "FieldsV1", FieldsV1: metav1.NewFieldsV1(`{"f:status":{"f:loadBalancer":{"f:ingress":{}}}}`),
		}}
	}
	return s
}

func ours(name string, ranges ...v1alpha1.AddressRange) v1alpha1.IPAddressPool {
	return v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.IPAddressPoolSpec{Addresses: ranges}}
}

func snapshot(change func(*Snapshot)) Snapshot {
	s := Snapshot{Workloads: metallb(), CRDs: []string{"ipaddresspools.metallb.io", "bgppeers.metallb.io"}}
	s.Config = service.Config{Default: true}
	change(&s)
	return s
}

func TestFindings(t *testing.T) {
	for _, tt := range []struct {
		name string
		in   func(t *testing.T, s *Snapshot)
		want []string // one for each finding, in its words
	}{
		{"MetalLB alone", func(*testing.T, *Snapshot) {}, nil},
		{"nothing at all", func(_ *testing.T, s *Snapshot) { s.Workloads, s.CRDs = nil, nil }, nil},
		{"two for Services without a class", func(_ *testing.T, s *Snapshot) {
			s.Workloads = append(s.Workloads, workload("Deployment", "ghcr.io/fyralabs/chisel-operator:v0.7.1", 1, 1))
		}, []string{"MetalLB and ChiselOperator each take Services without a class"}},
		{"klipper beside MetalLB", func(_ *testing.T, s *Snapshot) {
			s.Workloads = append(s.Workloads, workload("DaemonSet", "rancher/klipper-lb:v0.4.13", 3, 3), workload("DaemonSet", "rancher/klipper-lb:v0.4.13", 2, 3))
		}, []string{"MetalLB and k3s servicelb"}},
		{"a class for MetalLB", func(_ *testing.T, s *Snapshot) {
			s.Workloads[0].Containers[0].Args = []string{"--port=7472", "--lb-class=metallb"}
			s.Workloads = append(s.Workloads, workload("Deployment", "example.com/fairlead-controller:0.1.0", 1, 1, "--default-class=true"), workload("DaemonSet", "example.com/fairlead-speaker:0.1.0", 1, 1))
		}, nil},
		{"Fairlead as default too", func(_ *testing.T, s *Snapshot) {
			s.Workloads = append(s.Workloads, workload("Deployment", "example.com/fairlead-controller:0.1.0", 1, 1, "--default-class=true"), workload("DaemonSet", "example.com/fairlead-speaker:0.1.0", 1, 1))
		}, []string{"MetalLB and Fairlead"}},
		{"taken over: its controller is stopped, and its speakers announce", func(t *testing.T, s *Snapshot) {
			s.Workloads[0].Ready, s.Workloads[0].Wanted = 0, 0
			s.Workloads = append(s.Workloads, workload("Deployment", "example.com/fairlead-controller:0.1.0", 1, 1, "--default-class=true"), workload("DaemonSet", "example.com/fairlead-speaker:0.1.0", 1, 1))
			s.Foreign, s.Pools = foreign(t, metallbPool), []v1alpha1.IPAddressPool{ours("public", "192.0.2.0/28")}
			s.Ledger = []v1alpha1.Address{{ObjectMeta: metav1.ObjectMeta{Name: "192.0.2.1", Annotations: map[string]string{v1alpha1.AnnotationAdopted: "metallb, found"}}, Spec: v1alpha1.AddressSpec{Address: "192.0.2.1"}}}
		}, []string{"Of MetalLB, controller is missing, since Fairlead takes the cluster over"}},
		{"speakers without a controller", func(_ *testing.T, s *Snapshot) { s.Workloads = s.Workloads[1:] }, []string{"Of MetalLB, controller is missing"}},
		{"a controller at zero, speakers gone", func(_ *testing.T, s *Snapshot) {
			s.Workloads = []Workload{workload("Deployment", "quay.io/metallb/controller:v0.16.1", 0, 0)}
		}, []string{"none of its controller and speaker is ready"}},
		{"Calico for pods only", func(_ *testing.T, s *Snapshot) {
			s.Workloads = append(s.Workloads, workload("DaemonSet", "docker.io/calico/node:v3.32.0", 3, 3))
		}, nil},
		{"only kinds", func(_ *testing.T, s *Snapshot) { s.Workloads = nil }, []string{"2 kinds of MetalLB and nothing that serves them"}},
		{"pools that overlap", func(t *testing.T, s *Snapshot) {
			s.Foreign, s.Pools = foreign(t, metallbPool), []v1alpha1.IPAddressPool{ours("a", "192.0.2.8/29")}
		}, nil},
		{"pools that overlap while both give", func(t *testing.T, s *Snapshot) {
			s.Foreign, s.Pools = foreign(t, metallbPool), []v1alpha1.IPAddressPool{ours("a", "192.0.2.8/29")}
			s.Workloads = append(s.Workloads, workload("Deployment", "example.com/fairlead-controller:0.1.0", 1, 1), workload("DaemonSet", "example.com/fairlead-speaker:0.1.0", 1, 1))
			mine, name := lb("mine", "192.0.2.8", "fairlead"), v1alpha1.LoadBalancerClass
			mine.Spec.LoadBalancerClass = &name
			s.Services = []corev1.Service{mine}
		}, []string{"Pool public of metallb (192.0.2.0-192.0.2.15)"}},
		{"ours overlap", func(_ *testing.T, s *Snapshot) {
			s.Pools = []v1alpha1.IPAddressPool{ours("a", "192.0.2.0/29"), ours("b", "192.0.2.0/28", "192.0.2.9-192.0.2.1")}
		}, []string{"192.0.2.9-192.0.2.1", "overlaps pool a"}},
		{"one address in two statuses", func(t *testing.T, s *Snapshot) {
			s.Foreign = foreign(t, metallbPool)
			s.Services = []corev1.Service{lb("a", "192.0.2.1", "controller"), lb("b", "192.0.2.1", "controller")}
		}, []string{"192.0.2.1 stands in the statuses of shop/a and shop/b"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := Of(snapshot(func(s *Snapshot) { tt.in(t, s) }))
			if len(r.Findings) != len(tt.want) {
				t.Fatalf("found %+v, want %q", r.Findings, tt.want)
			}
			for i, f := range r.Findings {
				if !strings.Contains(f.What, tt.want[i]) || f.Fix == "" {
					t.Errorf("found %+v, want %q", f, tt.want[i])
				}
			}
			if r.Wrong() != (len(r.Findings) > 0 || r.Changes > 0) {
				t.Errorf("wrong: %v", r.Wrong())
			}
		})
	}
}

func TestServices(t *testing.T) {
	s := snapshot(func(s *Snapshot) {
		s.Foreign = foreign(t, metallbPool)
		pinned := lb("pinned", "192.0.2.2", "controller")
		pinned.Spec.LoadBalancerIP = "192.0.2.2"
		classed := lb("classed", "203.0.113.9", "someone-else")
		name := "example.com/lb"
		classed.Spec.LoadBalancerClass = &name
		hostname := lb("named", "", "cloud")
		hostname.Status.LoadBalancer.Ingress = []corev1.LoadBalancerIngress{{Hostname: "lb.example"}}
		s.Services = []corev1.Service{pinned, lb("plain", "192.0.2.1", "controller"), classed, hostname}
	})
	r := Of(s)
	if !strings.Contains(r.Pools, "metallb") || r.Changes != 1 {
		t.Errorf("foretold by %s, %d changes", r.Pools, r.Changes)
	}
	want := map[string]Service{
		"pinned":  {WrittenBy: "MetalLB", AskedBy: []string{"spec.loadBalancerIP"}, Verdict: forecast.Same},
		"plain":   {WrittenBy: "MetalLB", Verdict: forecast.Adopted},
		"classed": {WrittenBy: "someone-else", AskedBy: []string{"class example.com/lb"}, Verdict: forecast.NotTaken},
		"named":   {WrittenBy: "cloud", Verdict: forecast.Given},
	}
	for _, got := range r.Services {
		w := want[got.Name]
		if got.WrittenBy != w.WrittenBy || got.Verdict != w.Verdict || strings.Join(got.AskedBy, " ") != strings.Join(w.AskedBy, " ") {
			t.Errorf("%s is %+v, want %+v", got.Name, got, w)
		}
	}
}

// After an adoption the statuses are still as the other controller wrote them, and the
// ledger has the addresses: they are Fairlead's.
func TestServicesOfTheLedger(t *testing.T) {
	entry := func(address string, holders ...string) v1alpha1.Address {
		a := v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: address}, Spec: v1alpha1.AddressSpec{Address: address}}
		for _, h := range holders {
			a.Spec.Holders = append(a.Spec.Holders, v1alpha1.AddressHolder{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: h}})
		}
		return a
	}
	both := lb("both", "192.0.2.2", "controller")
	both.Status.LoadBalancer.Ingress = append(both.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: "192.0.2.3"})
	r := Of(snapshot(func(s *Snapshot) {
		s.Pools = []v1alpha1.IPAddressPool{ours("public", "192.0.2.0/28")}
		s.Services = []corev1.Service{lb("adopted", "192.0.2.1", "controller"), both, lb("reserved", "192.0.2.4", "controller")}
		s.Ledger = []v1alpha1.Address{entry("192.0.2.1", "adopted"), entry("192.0.2.2", "both"), entry("192.0.2.4")}
	}))
	want := map[string]string{"adopted": "Fairlead", "both": "MetalLB", "reserved": "MetalLB"}
	for _, got := range r.Services {
		if got.WrittenBy != want[got.Name] {
			t.Errorf("%s is %s's, want %s", got.Name, got.WrittenBy, want[got.Name])
		}
	}
}

func TestControllers(t *testing.T) {
	for image, want := range map[string]string{
		"quay.io/metallb/controller:v0.16.1":                  "MetalLB 0.16.1",
		"ghcr.io/kube-vip/kube-vip-iptables:v1.0.0":           "kube-vip 1.0.0",
		"ghcr.io/kube-vip/kube-vip:v1.0.0":                    "kube-vip 1.0.0",
		"ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12":    "kube-vip-cloud-provider 0.0.12",
		"quay.io/cilium/operator-generic:v1.20.0@sha256:aa":   "Cilium LB-IPAM 1.20.0",
		"registry.gitlab.com/purelb/purelb/allocator:v0.13.0": "PureLB 0.13.0",
		"docker.io/calico/kube-controllers:v3.32.0":           "Calico 3.32.0",
		"docker.io/kubesphere/openelb-controller:v0.6.0":      "OpenELB 0.6.0",
		"ghcr.io/fyralabs/chisel-operator:v0.7.1":             "ChiselOperator 0.7.1",
		"rancher/klipper-lb:v0.4.13":                          "k3s servicelb 0.4.13",
		"localhost:5000/fairlead-controller":                  "Fairlead ",
		"quay.io/tigera/operator:v1.40.0":                     "",
		"example.com/controller:v1":                           "",
	} {
		got := controllersIn(&Snapshot{Workloads: []Workload{workload("Deployment", image, 1, 1)}})
		name := ""
		if len(got) > 0 {
			name = got[0].Name + " " + got[0].Version
		}
		if name != want || len(got) > 1 {
			t.Errorf("%s is taken for %q, want %q", image, name, want)
		}
	}
}

// A MetalLB that is limited to a class leaves the others alone, and says which it is.
func TestClass(t *testing.T) {
	for _, args := range [][]string{{"--lb-class=metallb"}, {"--port=7472", "--lb-class", "metallb"}} {
		r := Of(snapshot(func(s *Snapshot) { s.Workloads[0].Containers[0].Args, s.Workloads[1].Containers[0].Args = args, args }))
		c := r.Of(imports.MetalLB)
		if c.Class != "metallb" || c.TakesClassless || c.Classless != "serves only Services of class metallb" {
			t.Errorf("%v: %+v", args, c)
		}
	}
	if c := Of(snapshot(func(*Snapshot) {})).Of(imports.MetalLB); c.Class != "" || !c.TakesClassless || c.Classless != "" {
		t.Errorf("without the flag: %+v", c)
	}
}

// A kube-vip that holds the address of the control plane only serves no Services, and
// announces none.
func TestKubeVipForTheControlPlane(t *testing.T) {
	for value, serves := range map[string]bool{"": true, "true": true, "false": false, "0": false} {
		w := workload("DaemonSet", "ghcr.io/kube-vip/kube-vip:v1.0.0", 3, 3)
		w.Containers[0].Env = map[string]string{"svc_enable": value}
		c := controllersIn(&Snapshot{Workloads: []Workload{w}})[0]
		if c.TakesClassless != serves || (c.Classless == "") != serves || Announces("kube-vip", &w) != serves {
			t.Errorf("svc_enable=%q: %+v", value, c)
		}
	}
}

func TestGateways(t *testing.T) {
	class := func(name, controller string) gatewayv1.GatewayClass {
		return gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: gatewayv1.GatewayClassSpec{ControllerName: gatewayv1.GatewayController(controller)}}
	}
	s := Snapshot{
		GatewayClasses: []gatewayv1.GatewayClass{
			class("eg2", "gateway.envoyproxy.io/gatewayclass-controller"), class("eg", "gateway.envoyproxy.io/gatewayclass-controller"), class("istio", "istio.io/gateway-controller"),
			class("nginx", "gateway.nginx.org/nginx-gateway-controller"), class("cilium", "io.cilium/gateway-controller"), class("loxilb", "loxilb.io/loxilb"),
			class("x", "example.com/x"),
		},
		Gateways: []gatewayv1.Gateway{{Spec: gatewayv1.GatewaySpec{GatewayClassName: "eg"}}, {Spec: gatewayv1.GatewaySpec{GatewayClassName: "gone"}}},
	}
	got := map[string]Gateways{}
	for _, g := range Of(s).Gateways {
		got[g.Name] = g
	}
	for name, way := range map[string]string{
		"Envoy Gateway": wayExternal, "Istio": wayField, "NGINX Gateway Fabric": wayClass, "Cilium": wayVendor, "kube-loxilb": wayServed, "example.com/x": wayUnknown,
	} {
		if got[name].Asks != way || got[name].Fairlead == "" {
			t.Errorf("%s: %+v", name, got[name])
		}
	}
	if eg := got["Envoy Gateway"]; eg.Gateways != 1 || strings.Join(eg.Classes, ",") != "eg,eg2" {
		t.Errorf("%+v", eg)
	}
}

// kube-vip and its cloud provider are one: the one gives what the other announces.
func TestKubeVipAndItsProviderAreNoRivals(t *testing.T) {
	workload := func(name, image string, env map[string]string) Workload {
		return Workload{Kind: "Deployment", Namespace: "kube-system", Name: name, Ready: 1, Wanted: 1, Containers: []Container{{Image: image, Env: env}}}
	}
	vip := workload("kube-vip", "ghcr.io/kube-vip/kube-vip:v1.0.0", map[string]string{"svc_enable": "true"})
	mute := workload("kube-vip", "ghcr.io/kube-vip/kube-vip:v1.0.0", map[string]string{"svc_enable": "false"})
	provider := workload("kube-vip-cloud-provider", "ghcr.io/kube-vip/kube-vip-cloud-provider:v0.0.12", nil)
	ourselves := Workload{Kind: "Deployment", Namespace: "fairlead-system", Name: "fairlead", Ready: 1, Wanted: 1, Containers: []Container{{Image: "example.com/fairlead-controller:0.1.0", Args: []string{"--default-class=true"}}}}
	const rivals, overlap = "overwrite each other", "that a pool of Fairlead has too"
	for _, tt := range []struct {
		name      string
		workloads []Workload
		want      []string
	}{
		{"the two", []Workload{vip, provider}, nil},
		{"and Fairlead", []Workload{vip, provider, ourselves}, []string{rivals, overlap}},
		{"the provider and Fairlead", []Workload{provider, ourselves}, []string{rivals, overlap}},
		{"for the control plane, and Fairlead", []Workload{mute, ourselves}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := Snapshot{Workloads: tt.workloads, Foreign: foreign(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: kubevip, namespace: kube-system}\ndata: {cidr-global: 192.0.2.0/28}\n")}
			s.Pools = []v1alpha1.IPAddressPool{ours("kube-vip-global", "192.0.2.0/28")}
			s.Config = service.Config{Default: true}
			r := Of(s)
			r.Findings = slices.DeleteFunc(r.Findings, func(f Finding) bool { return strings.Contains(f.What, "is missing") })
			if len(r.Findings) != len(tt.want) {
				t.Fatalf("found %+v, want %v", r.Findings, tt.want)
			}
			for i, want := range tt.want {
				if !strings.Contains(r.Findings[i].What, want) || strings.Contains(r.Findings[i].What, "kube-vip and kube-vip-cloud-provider each") {
					t.Errorf("found %+v, want %q in it", r.Findings[i], want)
				}
			}
		})
	}
}

// What is left of a PureLB without its allocator announces, and takes no Services.
func TestPureLBWithoutItsAllocator(t *testing.T) {
	agent := Workload{Kind: "DaemonSet", Namespace: "purelb-system", Name: "lbnodeagent", Ready: 3, Wanted: 3, Containers: []Container{{Image: "ghcr.io/purelb/purelb/lbnodeagent:v0.17.0"}}}
	if c := Of(Snapshot{Workloads: []Workload{agent}}).Of(imports.PureLB); c == nil || c.TakesClassless || !c.Running {
		t.Errorf("the agents alone are %+v", c)
	}
}
