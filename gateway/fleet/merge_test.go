package fleet

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func gc(change func(*v1alpha1.GatewayConfigSpec)) *v1alpha1.GatewayConfig {
	g := &v1alpha1.GatewayConfig{}
	change(&g.Spec)
	return g
}

func TestWithoutAnyConfiguration(t *testing.T) {
	got, problems := Merge(nil, nil)
	if d := cmp.Diff(Default(), got); d != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, d)
	}
}

func TestTheKindOfWorkload(t *testing.T) {
	for _, tt := range []struct {
		mode       v1alpha1.FleetMode
		kind, want v1alpha1.FleetWorkload
	}{
		{"", "", v1alpha1.FleetDaemonSet},
		{v1alpha1.FleetShared, "", v1alpha1.FleetDaemonSet},
		{v1alpha1.FleetDedicated, "", v1alpha1.FleetDeployment},
		{v1alpha1.FleetDedicated, v1alpha1.FleetDaemonSet, v1alpha1.FleetDaemonSet},
		{"", v1alpha1.FleetDeployment, v1alpha1.FleetDeployment},
	} {
		c, problems := Merge(gc(func(s *v1alpha1.GatewayConfigSpec) { s.Fleet = &v1alpha1.FleetConfig{Mode: tt.mode, Workload: tt.kind} }), nil)
		if c.Workload.Kind != tt.want || len(problems) > 0 {
			t.Errorf("%q, %q: %s, %v; want %s", tt.mode, tt.kind, c.Workload.Kind, problems, tt.want)
		}
	}
}

func TestAGatewayGoesBeforeItsClass(t *testing.T) {
	class := gc(func(s *v1alpha1.GatewayConfigSpec) {
		s.Families, s.Pools = []corev1.IPFamily{corev1.IPv4Protocol}, []string{"public"}
		s.SourceRanges = []v1alpha1.SourceRange{"192.0.2.0/24", "2001:db8::/32"}
		s.ServiceAnnotations = map[string]string{"example.com/a": "class", "example.com/b": "class"}
		s.Allow = append(DefaultAllow(), v1alpha1.SettingServiceAnnotations, v1alpha1.SettingTimeouts, v1alpha1.SettingMetrics)
		s.Timeouts = &v1alpha1.GatewayTimeouts{Idle: &metav1.Duration{Duration: time.Minute}}
	})
	gw := gc(func(s *v1alpha1.GatewayConfigSpec) {
		s.Families, s.Pools = []corev1.IPFamily{corev1.IPv6Protocol}, []string{"office"}
		s.SourceRanges = []v1alpha1.SourceRange{"192.0.2.64/26"}
		s.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
		s.ServiceAnnotations = map[string]string{"example.com/b": "gateway"}
		s.Metrics = &v1alpha1.GatewayMetrics{PerRoute: true}
		s.Timeouts = &v1alpha1.GatewayTimeouts{Connect: &metav1.Duration{Duration: time.Second}}
	})
	got, problems := Merge(class, gw)
	want := Default()
	want.Families, want.Pools = []corev1.IPFamily{corev1.IPv6Protocol}, []string{"office"}
	want.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.0.2.64/26")}
	want.TrafficPolicy = corev1.ServiceExternalTrafficPolicyCluster
	want.ServiceAnnotations = map[string]string{"example.com/a": "class", "example.com/b": "gateway"}
	want.Timeouts.Idle, want.Timeouts.Connect = time.Minute, time.Second
	want.RouteMetrics = true
	if d := cmp.Diff(want, got, cmpopts.EquateComparable(netip.Prefix{})); d != "" || len(problems) > 0 {
		t.Errorf("%v %s", problems, d)
	}
}

// TestProblems: what is wrong does not count, and says what to do.
func TestProblems(t *testing.T) {
	limit := func(request, limit string) *v1alpha1.FleetConfig {
		return &v1alpha1.FleetConfig{Resources: &corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(request)},
			Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)},
		}}
	}
	closed := gc(func(s *v1alpha1.GatewayConfigSpec) { s.Allow = []v1alpha1.GatewaySetting{} })
	for name, tt := range map[string]struct {
		class, gateway *v1alpha1.GatewayConfig
		field, says    string
	}{
		"replicas of a DaemonSet": {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Fleet = &v1alpha1.FleetConfig{Replicas: new(int32(2))} }), field: "spec.fleet.replicas", says: "workload: Deployment"},
		"request above limit":     {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Fleet = limit("2Gi", "1Gi") }), field: "spec.fleet.resources", says: "above the limit"},
		"too little memory":       {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Fleet = limit("8Mi", "16Mi") }), field: "spec.fleet.resources", says: "64Mi"},
		"a label of ours": {class: gc(func(s *v1alpha1.GatewayConfigSpec) {
			s.Fleet = &v1alpha1.FleetConfig{Labels: map[string]string{FleetLabel: "other"}}
		}), field: "spec.fleet.labels", says: FleetLabel},
		"no label": {class: gc(func(s *v1alpha1.GatewayConfigSpec) {
			s.Fleet = &v1alpha1.FleetConfig{NodeSelector: map[string]string{"a b": "c"}}
		}), field: "spec.fleet.nodeSelector", says: "a b"},
		"an annotation of ours": {class: gc(func(s *v1alpha1.GatewayConfigSpec) {
			s.ServiceAnnotations = map[string]string{"fairlead.dev/pool": "x"}
		}), field: "spec.serviceAnnotations", says: "fairlead.dev/pool"},
		"no prefix":    {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.SourceRanges = []v1alpha1.SourceRange{"192.0.2.0"} }), field: "spec.sourceRanges[0]", says: "192.0.2.0/24"},
		"no port":      {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Tracing = &v1alpha1.GatewayTracing{Endpoint: "host:99999"} }), field: "spec.tracing.endpoint", says: "HOST:PORT"},
		"no collector": {class: gc(func(s *v1alpha1.GatewayConfigSpec) { s.AccessLog = &v1alpha1.AccessLog{Sink: v1alpha1.LogOTLP} }), field: "spec.accessLog.endpoint", says: "HOST:PORT"},
		"a negative timeout": {class: gc(func(s *v1alpha1.GatewayConfigSpec) {
			s.Timeouts = &v1alpha1.GatewayTimeouts{Idle: &metav1.Duration{Duration: -1}}
		}), field: "spec.timeouts.idle", says: "negative"},
		"a tenant's fleet":   {gateway: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Fleet = &v1alpha1.FleetConfig{Image: "evil"} }), field: "spec.fleet", says: "GatewayClass"},
		"a tenant's log":     {gateway: gc(func(s *v1alpha1.GatewayConfigSpec) { s.AccessLog = &v1alpha1.AccessLog{} }), field: "spec.accessLog", says: "spec.allow"},
		"nothing is allowed": {class: closed, gateway: gc(func(s *v1alpha1.GatewayConfigSpec) { s.Pools = []string{"office"} }), field: "spec.pools", says: "spec.allow"},
		"a tenant's wide range": {
			class:   gc(func(s *v1alpha1.GatewayConfigSpec) { s.SourceRanges = []v1alpha1.SourceRange{"192.0.2.0/24"} }),
			gateway: gc(func(s *v1alpha1.GatewayConfigSpec) { s.SourceRanges = []v1alpha1.SourceRange{"0.0.0.0/0"} }),
			field:   "spec.sourceRanges[0]", says: "outside",
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, problems := Merge(tt.class, tt.gateway)
			if len(problems) != 1 || problems[0].Field != tt.field || !strings.Contains(problems[0].Message, tt.says) {
				t.Fatalf("problems %v; want one of %s that says %q", problems, tt.field, tt.says)
			}
			if want := map[bool]Source{true: FromGateway, false: FromClass}[tt.gateway != nil]; problems[0].Source != want {
				t.Errorf("it is from %s, want %s", problems[0].Source, want)
			}
			// What the class alone says, or nothing, is what holds.
			want := Default()
			if tt.gateway != nil {
				want, _ = Merge(tt.class, nil)
			}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(netip.Prefix{})); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestEveryFieldOfAClassCounts(t *testing.T) {
	spec := everything()
	spec.AccessLog = &v1alpha1.AccessLog{Format: v1alpha1.LogText}
	spec.Tracing = &v1alpha1.GatewayTracing{Endpoint: "[2001:db8::7]:4317", Ratio: "0.5"}
	spec.ClientAddress = &v1alpha1.ClientAddress{TrustedHops: 2, ProxyProtocol: true}
	spec.Limits = &v1alpha1.GatewayLimits{RequestHeadersKiB: new(int32(8)), ConcurrentStreams: new(int32(9)), RequestsPerConnection: new(int32(10))}
	got := config(t, spec)
	if d := cmp.Diff(&AccessLog{Format: v1alpha1.LogText, Sink: v1alpha1.LogStdout}, got.AccessLog); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&Tracing{Endpoint: "[2001:db8::7]:4317", Ratio: 0.5}, got.Tracing); d != "" {
		t.Error(d)
	}
	if got.Client != (Client{TrustedHops: 2, ProxyProtocol: true}) || got.Limits != (Limits{8, 9, 10}) {
		t.Errorf("%+v, %+v", got.Client, got.Limits)
	}
}
