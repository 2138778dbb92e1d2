package fleet

import (
	"bytes"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares objects, as one YAML stream, with a file in testdata.
func golden(t *testing.T, name string, objects ...any) {
	t.Helper()
	var got bytes.Buffer
	for i, o := range objects {
		if i > 0 {
			got.WriteString("---\n")
		}
		text, err := yaml.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		got.Write(text)
	}
	file := filepath.Join("testdata", name+".yaml")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (go test -update writes it)", err)
	}
	if d := cmp.Diff(string(want), got.String()); d != "" {
		t.Errorf("%s: %s", file, d)
	}
}

func settings() Settings {
	return Settings{
		Namespace: "fairlead-system", Image: DefaultImage, ToolImage: "ghcr.io/fairlead/fairlead-controller:v1", PullPolicy: corev1.PullIfNotPresent,
		XDSService: "fairlead-xds", XDSPort: 18000, Families: []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol},
	}
}

func config(t *testing.T, spec v1alpha1.GatewayConfigSpec) Config {
	t.Helper()
	c, problems := Merge(&v1alpha1.GatewayConfig{Spec: spec}, nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return c
}

// everything is a class's configuration with every field of the fleet set.
func everything() v1alpha1.GatewayConfigSpec {
	return v1alpha1.GatewayConfigSpec{Fleet: &v1alpha1.FleetConfig{
		Mode: v1alpha1.FleetDedicated, Workload: v1alpha1.FleetDeployment, Replicas: new(int32(3)),
		Resources:    &corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2500m"), corev1.ResourceMemory: resource.MustParse("512Mi")}},
		NodeSelector: map[string]string{"edge": "yes"},
		Tolerations:  []corev1.Toleration{{Key: "edge", Operator: corev1.TolerationOpExists}},
		Affinity: &corev1.Affinity{NodeAffinity: &corev1.NodeAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.PreferredSchedulingTerm{{
			Weight: 1, Preference: corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "fast", Operator: corev1.NodeSelectorOpExists}}},
		}}}},
		PriorityClassName: "edge", Image: "example.com/envoy:v9", Concurrency: new(int32(4)), MaxConnections: new(int32(1000)),
		DrainTimeout: &metav1.Duration{Duration: time.Minute}, Labels: map[string]string{"team": "net"},
	}}
}

func TestFleets(t *testing.T) {
	dedicated := ID{Class: "edge", Gateway: gateway.Name{Namespace: "shop", Name: "web"}}
	v4 := settings()
	v4.Families = v4.Families[:1]
	v4.PullSecrets = []corev1.LocalObjectReference{{Name: "registry"}}
	unlimited := v1alpha1.GatewayConfigSpec{Fleet: &v1alpha1.FleetConfig{Resources: &corev1.ResourceRequirements{}}}
	for name, tt := range map[string]struct {
		id       ID
		spec     v1alpha1.GatewayConfigSpec
		settings Settings
		extra    Metadata
	}{
		"shared":    {id: ID{Class: "fairlead"}, settings: settings(), extra: Metadata{Labels: map[string]string{"not": "used"}}},
		"unlimited": {id: ID{Class: "fairlead"}, spec: unlimited, settings: v4},
		"dedicated": {
			id: dedicated, spec: everything(), settings: settings(),
			extra: Metadata{Labels: map[string]string{"cost": "shop", FleetLabel: "stolen"}, Annotations: map[string]string{"example.com/a": "b"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			o, err := Build(tt.id, config(t, tt.spec), tt.settings, tt.extra)
			if err != nil {
				t.Fatal(err)
			}
			var all []any
			for _, object := range o.All() {
				all = append(all, object)
			}
			golden(t, name, all...)
		})
	}
}

func TestADeploymentAloneHasABudget(t *testing.T) {
	for _, kind := range []v1alpha1.FleetWorkload{v1alpha1.FleetDaemonSet, v1alpha1.FleetDeployment} {
		o, err := Build(ID{Class: "c"}, config(t, v1alpha1.GatewayConfigSpec{Fleet: &v1alpha1.FleetConfig{Workload: kind}}), settings(), Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		deployment := kind == v1alpha1.FleetDeployment
		if (o.Budget != nil) != deployment || (o.Deployment != nil) != deployment || (o.DaemonSet != nil) == deployment {
			t.Errorf("%s: budget %v, deployment %v, daemonset %v", kind, o.Budget != nil, o.Deployment != nil, o.DaemonSet != nil)
		}
	}
}

func TestARolloutFollowsTheBootstrap(t *testing.T) {
	mark := func(connections int32) string {
		o, err := Build(ID{Class: "c"}, config(t, v1alpha1.GatewayConfigSpec{Fleet: &v1alpha1.FleetConfig{MaxConnections: &connections}}), settings(), Metadata{})
		if err != nil {
			t.Fatal(err)
		}
		return o.DaemonSet.Spec.Template.Annotations[bootstrapPrint]
	}
	first, again, other := mark(1), mark(1), mark(2)
	if first != again || first == other {
		t.Errorf("marks %s, %s, %s", first, again, other)
	}
}

func TestNames(t *testing.T) {
	long := strings.Repeat("a", 253)
	ids := []ID{
		{Class: "fairlead"},
		{Class: "a.b"},
		{Class: "a-b"},
		{Class: long},
		{Class: long[:252] + "b"},
		{Class: "c", Gateway: gateway.Name{Namespace: "a", Name: "b-c"}},
		{Class: "c", Gateway: gateway.Name{Namespace: "a-b", Name: "c"}},
		{Class: "c", Gateway: gateway.Name{Namespace: "a", Name: long}},
		{Class: "d", Gateway: gateway.Name{Namespace: "a", Name: long}},
	}
	seen := map[string]ID{}
	for _, id := range ids {
		name := id.Name()
		if other, ok := seen[name]; ok {
			t.Errorf("%v and %v are both %s", id, other, name)
		}
		seen[name] = id
		if problems := validation.IsDNS1035Label(name); len(problems) > 0 || len(name) > maxWorkload {
			t.Errorf("%v: name %q (%d): %v", id, name, len(name), problems)
		}
		if problems := validation.IsDNS1123Subdomain(id.SecretName()); len(problems) > 0 {
			t.Errorf("%v: Secret %q: %v", id, id.SecretName(), problems)
		}
	}
	fronts := map[string]string{}
	for _, n := range []string{"web", "web.example.com", "web-example-com", "8080", long, long[:252] + "b", "a." + long[2:]} {
		name := FrontName(n, "fairlead")
		if other, ok := fronts[name]; ok {
			t.Errorf("Gateways %s and %s are both %s", n, other, name)
		}
		fronts[name] = n
		if problems := validation.IsDNS1035Label(name); len(problems) > 0 {
			t.Errorf("Gateway %q: name %q: %v", n, name, problems)
		}
		for k, v := range GatewayLabels(n, n) {
			if problems := validation.IsValidLabelValue(v); len(problems) > 0 {
				t.Errorf("Gateway %q: label %s=%q: %v", n, k, v, problems)
			}
		}
	}
	if a, b := FrontName("a", "b-c"), FrontName("a-b", "c"); a == b {
		t.Errorf("Gateway a of class b-c and Gateway a-b of class c are both %s", a)
	}
	if got := FrontName("web", "fairlead"); got != "web-fairlead" {
		t.Errorf("the usual name is %q, want that of GEP-1762", got)
	}
}

func front() Front {
	return Front{
		Gateway: gateway.Name{Namespace: "shop", Name: "web"}, UID: types.UID("uid-1"), Class: "fairlead", Fleet: ID{Class: "fairlead"},
		Ports: []FrontPort{
			{Number: 443, Transport: gateway.TCP, Envoy: 10443, Name: "https"},
			{Number: 53, Transport: gateway.UDP, Envoy: 10054},
			{Number: 53, Transport: gateway.TCP, Envoy: 10053},
		},
		Families:       []corev1.IPFamily{corev1.IPv6Protocol, corev1.IPv4Protocol},
		Infrastructure: Metadata{Labels: map[string]string{"cost": "shop"}, Annotations: map[string]string{"example.com/both": "gateway"}},
		Config: Config{
			TrafficPolicy:      corev1.ServiceExternalTrafficPolicyLocal,
			ServiceAnnotations: map[string]string{"example.com/both": "class", "example.com/class": "class"},
			SourceRanges:       []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		},
	}
}

func envoys() []Envoy {
	ip := netip.MustParseAddr
	return []Envoy{
		{Namespace: "fairlead-system", Name: "e-2", UID: "u2", Node: "node2", IPs: []netip.Addr{ip("10.244.2.5"), ip("fd00:244:2::5")}, Ready: true, Serving: true},
		{Namespace: "fairlead-system", Name: "e-1", UID: "u1", Node: "node1", Zone: "a", IPs: []netip.Addr{ip("fd00:244:1::5"), ip("10.244.1.5")}, Serving: true, Terminating: true},
		{Namespace: "fairlead-system", Name: "e-3", UID: "u3", Node: "node3", IPs: []netip.Addr{ip("10.244.3.5")}},
	}
}

func TestFront(t *testing.T) {
	f := front()
	all := []any{f.Service()}
	for _, s := range f.Slices(envoys(), 0) {
		all = append(all, s)
	}
	golden(t, "front", all...)
	if f.ServiceAccount() != nil {
		t.Error("a Gateway with ports has a ServiceAccount")
	}

	f.Ports = nil
	golden(t, "stand-in", f.ServiceAccount())
	if f.Service() != nil || f.Slices(envoys(), 1) != nil {
		t.Error("a Gateway without ports has a Service or slices")
	}
}

func TestOrderOfInputDoesNotMatter(t *testing.T) {
	a, b := front(), front()
	b.Ports[0], b.Ports[2] = b.Ports[2], b.Ports[0]
	es := envoys()
	turned := []Envoy{es[2], es[0], es[1]}
	if d := cmp.Diff(a.Service(), b.Service()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(a.Slices(es, 0), b.Slices(turned, 0)); d != "" {
		t.Error(d)
	}
}

func TestPortsAreReadBack(t *testing.T) {
	f := front()
	got := PortsOf(f.Service())
	want := f.ports()
	for i := range want {
		want[i].Name = want[i].name()
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	s := f.Service()
	s.Spec.Ports[0].TargetPort.IntVal = 80 // somebody's edit
	if got := PortsOf(s); len(got) != 2 {
		t.Errorf("a port outside the range is taken: %v", got)
	}
}

// TestSourceRangesShutOutTheOtherFamily: kube-proxy lets everybody in who comes by
// a family that has no range.
func TestSourceRangesShutOutTheOtherFamily(t *testing.T) {
	for _, tt := range []struct{ ranges, want string }{
		{"", ""},
		{"192.0.2.0/24", "192.0.2.0/24 ::/128"},
		{"2001:db8::/32", "2001:db8::/32 255.255.255.255/32"},
		{"192.0.2.0/24 2001:db8::/32", "192.0.2.0/24 2001:db8::/32"},
	} {
		var ranges []netip.Prefix
		for _, r := range strings.Fields(tt.ranges) {
			ranges = append(ranges, netip.MustParsePrefix(r))
		}
		if got := strings.Join(sourceRanges(ranges), " "); got != tt.want {
			t.Errorf("%q: %q, want %q", tt.ranges, got, tt.want)
		}
	}
}
