package forecast

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

var start = time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC)

func pool(name string, change func(*v1alpha1.IPAddressPoolSpec), ranges ...v1alpha1.AddressRange) v1alpha1.IPAddressPool {
	p := v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.IPAddressPoolSpec{Addresses: ranges}}
	if change != nil {
		change(&p.Spec)
	}
	return p
}

// svc is a Service of port 80, older the lower its age is.
func svc(name string, age int, changes ...func(*corev1.Service)) corev1.Service {
	ns, name, _ := strings.Cut(name, "/")
	s := corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: name, CreationTimestamp: metav1.NewTime(start.Add(time.Duration(age) * time.Minute)), Annotations: map[string]string{}},
		Spec:       corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol}, Ports: []corev1.ServicePort{{Port: 80}}},
	}
	for _, c := range changes {
		c(&s)
	}
	return s
}

func shows(list ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for _, ip := range list {
			s.Status.LoadBalancer.Ingress = append(s.Status.LoadBalancer.Ingress, corev1.LoadBalancerIngress{IP: ip})
		}
	}
}

func asks(pairs ...string) func(*corev1.Service) {
	return func(s *corev1.Service) {
		for i := 0; i < len(pairs); i += 2 {
			s.Annotations[pairs[i]] = pairs[i+1]
		}
	}
}

func field(ip string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerIP = ip }
}

func port(n int32) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.Ports[0].Port = n }
}

func class(name string) func(*corev1.Service) {
	return func(s *corev1.Service) { s.Spec.LoadBalancerClass = &name }
}

func prefer(s *corev1.Service) {
	policy := corev1.IPFamilyPolicyPreferDualStack
	s.Spec.IPFamilyPolicy, s.Spec.IPFamilies = &policy, []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
}

const shareKey = "metallb.io/allow-shared-ip"

func TestOf(t *testing.T) {
	public := pool("public", nil, "192.0.2.0/28")
	for _, tt := range []struct {
		name     string
		pools    []v1alpha1.IPAddressPool
		services []corev1.Service
		want     []string // "name verdict gets"
		why      string   // in the words of the last one
	}{
		{"asked for by the field", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, field("192.0.2.3"), shows("192.0.2.3"))}, []string{"a/x Same 192.0.2.3"}, ""},
		{"only in the status", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, shows("192.0.2.3"))}, []string{"a/x Adopted 192.0.2.3"}, ""},
		{"outside every pool", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, shows("198.51.100.1"))}, []string{"a/x Conflict 192.0.2.0"}, "lies in no pool"},
		{"no pools at all", nil, []corev1.Service{svc("a/x", 0, shows("192.0.2.3"))}, []string{"a/x Conflict "}, "lies in no pool"},
		{"nothing yet", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0)}, []string{"a/x Given 192.0.2.0"}, ""},
		{"nothing, and nothing free", nil, []corev1.Service{svc("a/x", 0)}, []string{"a/x Waits "}, "No pool"},
		{"of another class", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, class("example.com/x"), shows("192.0.2.3"))}, []string{"a/x NotTaken "}, "second Service"},
		{
			"in two statuses",
			[]v1alpha1.IPAddressPool{public},
			[]corev1.Service{svc("a/x", 0, shows("192.0.2.3")), svc("b/y", 1, shows("192.0.2.3"))},
			[]string{"a/x Adopted 192.0.2.3", "b/y Conflict 192.0.2.0"},
			"held by a/x",
		},
		{
			"shared",
			[]v1alpha1.IPAddressPool{public},
			[]corev1.Service{svc("a/x", 0, asks(shareKey, "k"), shows("192.0.2.3")), svc("a/y", 1, asks(shareKey, "k"), port(81), shows("192.0.2.3"))},
			[]string{"a/x Adopted 192.0.2.3", "a/y Adopted 192.0.2.3"},
			"",
		},
		{
			"shared across namespaces",
			[]v1alpha1.IPAddressPool{public},
			[]corev1.Service{svc("a/x", 0, asks(shareKey, "k"), shows("192.0.2.3")), svc("b/y", 1, asks(shareKey, "k"), port(81), shows("192.0.2.3"))},
			[]string{"a/x Adopted 192.0.2.3", "b/y Conflict 192.0.2.0"},
			"AcrossNamespaces",
		},
		{
			"allowed across namespaces",
			[]v1alpha1.IPAddressPool{pool("public", func(s *v1alpha1.IPAddressPoolSpec) { s.Sharing = v1alpha1.SharingAcrossNamespaces }, "192.0.2.0/28")},
			[]corev1.Service{svc("a/x", 0, asks(shareKey, "k"), shows("192.0.2.3")), svc("b/y", 1, asks(shareKey, "k"), port(81), shows("192.0.2.3"))},
			[]string{"a/x Adopted 192.0.2.3", "b/y Adopted 192.0.2.3"},
			"",
		},
		{"asks for another than it has", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, field("192.0.2.4"), shows("192.0.2.3"))}, []string{"a/x Changes 192.0.2.4"}, "its status does not show"},
		{
			"annotations that contradict",
			[]v1alpha1.IPAddressPool{public},
			[]corev1.Service{svc("a/x", 0, asks("metallb.io/loadBalancerIPs", "192.0.2.4", "kube-vip.io/loadbalancerIPs", "192.0.2.5"), shows("192.0.2.4"))},
			[]string{"a/x Adopted 192.0.2.4"},
			"contradict each other",
		},
		{"a pool that does not admit", []v1alpha1.IPAddressPool{pool("team", func(s *v1alpha1.IPAddressPoolSpec) {
			s.ServiceAllocation = &v1alpha1.ServiceAllocation{Namespaces: []string{"team"}}
		}, "192.0.2.0/28")}, []corev1.Service{svc("a/x", 0, shows("192.0.2.3"))}, []string{"a/x Adopted 192.0.2.3"}, ""},
		{
			"a second family",
			[]v1alpha1.IPAddressPool{pool("both", nil, "192.0.2.0/28", "2001:db8::/64")},
			[]corev1.Service{svc("a/x", 0, prefer, shows("192.0.2.3"))},
			[]string{"a/x Changes 192.0.2.3,2001:db8::"},
			"another family",
		},
		{"the cluster's own", []v1alpha1.IPAddressPool{public}, []corev1.Service{svc("a/x", 0, shows("192.0.2.9"))}, []string{"a/x Conflict 192.0.2.0"}, "node n1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			node := netip.MustParseAddr("192.0.2.9")
			got := Of(Cluster{
				Pools: tt.pools, Services: tt.services, Config: service.Config{Default: true}, Now: start.Add(time.Hour),
				Ranges: []allocator.ClusterRange{{Range: allocator.Range{From: node, To: node}, What: "the address of node n1"}},
			})
			var lines []string
			for _, o := range got {
				var gets []string
				for _, a := range o.Gets {
					gets = append(gets, a.Address.String())
				}
				lines = append(lines, fmt.Sprintf("%s %s %s", o.Service, o.Verdict, strings.Join(gets, ",")))
			}
			if !slices.Equal(lines, tt.want) {
				t.Errorf("foretold: %q, want %q", lines, tt.want)
			}
			if why := strings.Join(got[len(got)-1].Why, " "); (tt.why == "") != (why == "") || !strings.Contains(why, tt.why) {
				t.Errorf("the reason is %q, want %q", why, tt.why)
			}
		})
	}
}

// Who has an address of a pool by himself keeps it, whatever else there is; and
// the same snapshot in another order gives the same.
func TestWhatIsThereStays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 12).Draw(t, "services")
		c := Cluster{Pools: []v1alpha1.IPAddressPool{pool("public", nil, "192.0.2.0/28")}, Config: service.Config{Default: true}, Now: start}
		used := map[int]bool{}
		for i := range n {
			s := svc(fmt.Sprintf("ns%d/s%d", i%3, i), rapid.IntRange(0, 3).Draw(t, "age"))
			if rapid.Bool().Draw(t, "has one") {
				a := rapid.IntRange(0, 15).Draw(t, "address")
				if !used[a] {
					used[a] = true
					shows(fmt.Sprintf("192.0.2.%d", a))(&s)
				}
			}
			c.Services = append(c.Services, s)
		}
		first := Of(c)
		for _, o := range first {
			if len(o.Has) > 0 && o.Verdict != Adopted {
				t.Fatalf("%s has %v: %s, %v", o.Service, o.Has, o.Verdict, o.Why)
			}
		}
		c.Services = rapid.Permutation(c.Services).Draw(t, "order")
		if a, b := fmt.Sprint(first), fmt.Sprint(Of(c)); a != b {
			t.Fatalf("another order foretells\n%s\nand not\n%s", b, a)
		}
	})
}

func TestTheLedgerCounts(t *testing.T) {
	s := svc("a/x", 0, shows("192.0.2.3"))
	s.UID = "u"
	c := Cluster{Pools: []v1alpha1.IPAddressPool{pool("public", nil, "192.0.2.0/28")}, Services: []corev1.Service{s}, Config: service.Config{Default: true}, Now: start}
	c.Ledger = []v1alpha1.Address{{ObjectMeta: metav1.ObjectMeta{Name: "192.0.2.3"}, Spec: v1alpha1.AddressSpec{
		Address: "192.0.2.3", Pool: "public", State: v1alpha1.AddressReserved, ReservedFor: &v1alpha1.HolderReference{Kind: "Service", Namespace: "b", Name: "y"},
	}}}
	got := Of(c)[0]
	if got.Verdict != Conflict || !strings.Contains(strings.Join(got.Why, " "), "reserved") {
		t.Errorf("%s: %v", got.Verdict, got.Why)
	}
}
