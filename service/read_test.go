package service

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
)

func read(svc *corev1.Service) Reading {
	return Read(svc, Surroundings{InPool: pools}, Config{Default: true})
}

func TestOurs(t *testing.T) {
	class := func(s string) func(*corev1.Service) {
		return func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = &s }
	}
	deleted := func(svc *corev1.Service) { svc.DeletionTimestamp = ptr(metav1.NewTime(start)) }
	clusterIP := func(svc *corev1.Service) { svc.Spec.Type = corev1.ServiceTypeClusterIP }
	for _, tt := range []struct {
		name            string
		svc             *corev1.Service
		cfg             Config
		ours, announced bool
	}{
		{name: "no class, not the default", svc: newService()},
		{name: "no class, the default", svc: newService(), cfg: Config{Default: true}, ours: true},
		{name: "our class", svc: newService(class("fairlead.dev/lb")), ours: true},
		{name: "our class, listed by mistake", svc: newService(class("fairlead.dev/lb")), cfg: Config{StatusClasses: []string{"fairlead.dev/lb"}}, ours: true},
		{name: "empty class", svc: newService(class("")), cfg: Config{Default: true}},
		{name: "foreign class", svc: newService(class("example.com/lb")), cfg: Config{Default: true}},
		{name: "foreign class that is listed", svc: newService(class("example.com/lb")), cfg: Config{StatusClasses: []string{"example.com/lb"}}, announced: true},
		{name: "our class, being deleted", svc: newService(class("fairlead.dev/lb"), deleted)},
		{name: "listed class, being deleted", svc: newService(class("example.com/lb"), deleted), cfg: Config{StatusClasses: []string{"example.com/lb"}}},
		{name: "another type", svc: newService(clusterIP), cfg: Config{Default: true}},
		{name: "another type, our class", svc: newService(clusterIP, class("fairlead.dev/lb"))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := Ours(tt.svc, tt.cfg); got != tt.ours {
				t.Errorf("Ours is %v", got)
			}
			if got := Announced(tt.svc, tt.cfg); got != tt.announced {
				t.Errorf("Announced is %v", got)
			}
		})
	}
}

// TestAddressKeys reads every key that an address can be asked for with, in the
// forms that the controllers they come from accept.
func TestAddressKeys(t *testing.T) {
	lists := []string{
		"fairlead.dev/addresses", "metallb.io/loadBalancerIPs", "metallb.universe.tf/loadBalancerIPs", "kube-vip.io/loadbalancerIPs",
		"lbipam.cilium.io/ips", "io.cilium/lb-ipam-ips", "purelb.io/addresses",
	}
	both := dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv4Protocol, corev1.IPv6Protocol)
	for _, name := range lists {
		origin := "annotation " + name
		for value, want := range map[string]string{
			"172.30.0.7":                     fmt.Sprintf("[172.30.0.7 %s]", origin),
			" 172.30.0.7 , ":                 fmt.Sprintf("[172.30.0.7 %s]", origin),
			"172.30.0.7,172.30.0.7":          fmt.Sprintf("[172.30.0.7 %s]", origin),
			"::ffff:172.30.0.7":              fmt.Sprintf("[172.30.0.7 %s]", origin),
			"172.30.0.7,::ffff:172.30.0.7":   fmt.Sprintf("[172.30.0.7 %s]", origin),
			"172.30.0.8,172.30.0.7":          fmt.Sprintf("[172.30.0.8 %s 172.30.0.7 %[1]s]", origin),
			"FD00:30:0::7, 172.30.0.7":       fmt.Sprintf("[fd00:30::7 %s 172.30.0.7 %[1]s]", origin),
			"":                               "[]",
			" , ,":                           "[]",
			"\u00a0":                         "[]",
			"203.0.113.1":                    fmt.Sprintf("[203.0.113.1 %s]", origin), // outside pools: the books refuse it
			"172.30.0.7\n":                   fmt.Sprintf("[172.30.0.7 %s]", origin),
			"172.30.0.7,,,172.30.0.9,":       fmt.Sprintf("[172.30.0.7 %s 172.30.0.9 %[1]s]", origin),
			"\t172.30.0.7\t,\tfd00:30::1\t ": fmt.Sprintf("[172.30.0.7 %s fd00:30::1 %[1]s]", origin),
		} {
			t.Run(name+"="+value, func(t *testing.T) {
				got := read(newService(both, annotated(name, value)))
				if len(got.Problems) > 0 {
					t.Fatalf("problems: %v", got.Problems)
				}
				if a := addresses(got.Claim); a != want {
					t.Errorf("asks for %s, want %s", a, want)
				}
			})
		}
	}
	for name, svc := range map[string]*corev1.Service{
		"annotation projectcalico.org/loadBalancerIPs": newService(annotated("projectcalico.org/loadBalancerIPs", ` ["172.30.0.7", ""] `)),
		"annotation loxilb.io/staticIP":                newService(annotated("loxilb.io/staticIP", "172.30.0.7 ")),
		"spec.loadBalancerIP":                          newService(loadBalancerIP(" 172.30.0.7,")),
		"spec.externalIPs":                             newService(externalIPs("192.0.2.1", "172.30.0.7")),
	} {
		t.Run(name, func(t *testing.T) {
			got := read(svc)
			if want := fmt.Sprintf("[172.30.0.7 %s]", name); len(got.Problems) > 0 || addresses(got.Claim) != want {
				t.Errorf("asks for %s with %v, want %s", addresses(got.Claim), got.Problems, want)
			}
		})
	}
}

func TestExternalIPsOutsidePoolsAreNoWish(t *testing.T) {
	got := read(newService(externalIPs("192.0.2.1", "not an address", "")))
	if len(got.Claim.Addresses)+len(got.Problems) > 0 {
		t.Errorf("asks for %s with %v", addresses(got.Claim), got.Problems)
	}
	got = Read(newService(externalIPs("172.30.0.1")), Surroundings{}, Config{Default: true})
	if len(got.Claim.Addresses) > 0 {
		t.Errorf("without pools it asks for %s", addresses(got.Claim))
	}
}

// TestProblems are wishes that cannot be followed: each names the key, the
// value, why, and what to write instead.
func TestProblems(t *testing.T) {
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("172.30.0.%d", i+1)
	}
	v6 := dual(corev1.IPFamilyPolicySingleStack, corev1.IPv6Protocol)
	for _, tt := range []struct {
		name         string
		svc          *corev1.Service
		reason       string
		key          string
		value        string
		why, instead string
	}{
		{"rubbish", newService(annotated("metallb.io/loadBalancerIPs", "foo")), ReasonWishInvalid, "annotation metallb.io/loadBalancerIPs", `"foo"`, "is not an IP address", "fairlead.dev/addresses=192.0.2.7"},
		{"rubbish among addresses", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7,foo")), ReasonWishInvalid, "annotation metallb.io/loadBalancerIPs", `"172.30.0.7,foo"`, `"foo" is not an IP address`, "separated by commas"},
		{"a prefix", newService(annotated("fairlead.dev/addresses", "172.30.0.7/32")), ReasonWishInvalid, "annotation fairlead.dev/addresses", "/32", "is not an IP address", "plain addresses"},
		{"leading zeros", newService(loadBalancerIP("172.030.0.7")), ReasonWishInvalid, "spec.loadBalancerIP", "172.030.0.7", "is not an IP address", "plain"},
		{"a zone", newService(v6, loadBalancerIP("fe80::1%eth0")), ReasonWishInvalid, "spec.loadBalancerIP", "fe80::1%eth0", "zone", "plain"},
		{"two in the field", newService(loadBalancerIP("172.30.0.7,172.30.0.8")), ReasonWishInvalid, "spec.loadBalancerIP", "172.30.0.8", "is not one IP address", "one plain address"},
		{"DHCP", newService(annotated("kube-vip.io/loadbalancerIPs", "0.0.0.0")), ReasonWishInvalid, "annotation kube-vip.io/loadbalancerIPs", "0.0.0.0", "DHCP", "Remove it"},
		{"DHCP for IPv6", newService(v6, annotated("kube-vip.io/loadbalancerIPs", "::")), ReasonWishInvalid, "annotation kube-vip.io/loadbalancerIPs", "::", "DHCP", "Remove it"},
		{"DHCP in the field", newService(loadBalancerIP("0.0.0.0")), ReasonWishInvalid, "spec.loadBalancerIP", "0.0.0.0", "DHCP", "Remove it"},
		{"DHCP mapped", newService(loadBalancerIP("::ffff:0.0.0.0")), ReasonWishInvalid, "spec.loadBalancerIP", "0.0.0.0", "DHCP", "Remove it"},
		{"Calico without JSON", newService(annotated("projectcalico.org/loadBalancerIPs", "172.30.0.7")), ReasonWishInvalid, "annotation projectcalico.org/loadBalancerIPs", "172.30.0.7", "JSON", `["192.0.2.7"]`},
		{"Calico with numbers", newService(annotated("projectcalico.org/loadBalancerIPs", "[1]")), ReasonWishInvalid, "annotation projectcalico.org/loadBalancerIPs", "[1]", "JSON", `["192.0.2.7"]`},
		{"Calico with a comma inside", newService(annotated("projectcalico.org/loadBalancerIPs", `["172.30.0.7,172.30.0.8"]`)), ReasonWishInvalid, "annotation projectcalico.org/loadBalancerIPs", "172.30.0.8", "is not an IP address", "fairlead.dev/addresses"},
		{"two for loxilb", newService(annotated("loxilb.io/staticIP", "172.30.0.7,172.30.0.8")), ReasonWishInvalid, "annotation loxilb.io/staticIP", "172.30.0.8", "is not one IP address", "fairlead.dev/addresses"},
		{"the other family", newService(annotated("purelb.io/addresses", "fd00:30::7")), ReasonWishInvalid, "annotation purelb.io/addresses", "fd00:30::7", "the Service is IPv4 only (spec.ipFamilies)", "PreferDualStack"},
		{"the other family, IPv6 only", newService(v6, loadBalancerIP("172.30.0.7")), ReasonWishInvalid, "spec.loadBalancerIP", "172.30.0.7", "the Service is IPv6 only", "IPv6 address"},
		{"too many", newService(annotated("fairlead.dev/addresses", strings.Join(many, ","))), ReasonWishInvalid, "annotation fairlead.dev/addresses", "172.30.0.1", "65 addresses", "fewer"},
		{"a long sharing key", newService(annotated("metallb.io/allow-shared-ip", strings.Repeat("x", 4097))), ReasonWishInvalid, "annotation metallb.io/allow-shared-ip", "xxx", "4096", "shorter"},
		{"foreign ones unequal", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7", "kube-vip.io/loadbalancerIPs", "172.30.0.8")), ReasonWishClash, `annotation metallb.io/loadBalancerIPs ("172.30.0.7") and annotation kube-vip.io/loadbalancerIPs ("172.30.0.8")`, "", "contradict", "fairlead.dev/addresses"},
		{"a subset is unequal", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7", "purelb.io/addresses", "172.30.0.8,172.30.0.7")), ReasonWishClash, `annotation metallb.io/loadBalancerIPs ("172.30.0.7") and annotation purelb.io/addresses`, "", "contradict", "fairlead.dev/addresses"},
		{"three of which one differs", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7", "loxilb.io/staticIP", "172.30.0.7", "io.cilium/lb-ipam-ips", "172.30.0.9")), ReasonWishClash, `metallb.io/loadBalancerIPs ("172.30.0.7"), annotation io.cilium/lb-ipam-ips ("172.30.0.9") and annotation loxilb.io/staticIP ("172.30.0.7")`, "", "contradict", "Remove all but one"},
		{"pools unequal", newService(annotated("metallb.io/address-pool", "a", "purelb.io/service-group", "b")), ReasonWishClash, `metallb.io/address-pool ("a") and annotation purelb.io/service-group ("b")`, "", "contradict", "fairlead.dev/pool"},
		{"sharing keys unequal", newService(annotated("metallb.io/allow-shared-ip", "a", "purelb.io/allow-shared-ip", "b")), ReasonWishClash, `metallb.io/allow-shared-ip ("a") and annotation purelb.io/allow-shared-ip ("b")`, "", "contradict", "fairlead.dev/sharing-key"},
		{"one of two foreign ones is rubbish", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.7", "purelb.io/addresses", "?")), ReasonWishInvalid, "annotation purelb.io/addresses", `"?"`, "is not an IP address", "fairlead.dev/addresses"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(tt.svc)
			if len(got.Problems) != 1 {
				t.Fatalf("want one problem, got %v", got.Problems)
			}
			p := got.Problems[0]
			if p.Reason != tt.reason || !strings.Contains(p.Key, tt.key) || !strings.Contains(p.Value, tt.value) ||
				!strings.Contains(p.Why, tt.why) || !strings.Contains(p.Instead, tt.instead) {
				t.Errorf("got %+v", p)
			}
			for _, part := range []string{p.Key, p.Value, p.Why, p.Instead} {
				if !strings.Contains(p.String(), part) {
					t.Errorf("%q lacks %q", p, part)
				}
			}
		})
	}
}

// TestRanks: ours override foreign ones, foreign ones the fields; equal values
// never clash.
func TestRanks(t *testing.T) {
	for _, tt := range []struct {
		name string
		svc  *corev1.Service
		want string
	}{
		{"ours over all", newService(annotated("fairlead.dev/addresses", "172.30.0.1", "metallb.io/loadBalancerIPs", "172.30.0.2", "kube-vip.io/loadbalancerIPs", "172.30.0.3"), loadBalancerIP("172.30.0.4")), "[172.30.0.1 annotation fairlead.dev/addresses]"},
		{"ours over rubbish", newService(annotated("fairlead.dev/addresses", "172.30.0.1", "metallb.io/loadBalancerIPs", "rubbish"), loadBalancerIP("0.0.0.0")), "[172.30.0.1 annotation fairlead.dev/addresses]"},
		{"ours without content says nothing", newService(annotated("fairlead.dev/addresses", " ", "metallb.io/loadBalancerIPs", "172.30.0.2")), "[172.30.0.2 annotation metallb.io/loadBalancerIPs]"},
		{"foreign over the field", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.2"), loadBalancerIP("172.30.0.4")), "[172.30.0.2 annotation metallb.io/loadBalancerIPs]"},
		{"equal to the field", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.4"), loadBalancerIP("172.30.0.4")), "[172.30.0.4 annotation metallb.io/loadBalancerIPs]"},
		{"equal in another spelling and order", newService(annotated("metallb.io/loadBalancerIPs", "172.30.0.4, 172.30.0.5", "purelb.io/addresses", "::ffff:172.30.0.5,172.30.0.4,")), "[172.30.0.4 annotation metallb.io/loadBalancerIPs 172.30.0.5 annotation metallb.io/loadBalancerIPs]"},
		{"the field over external ones", newService(loadBalancerIP("172.30.0.4"), externalIPs("172.30.0.9")), "[172.30.0.4 spec.loadBalancerIP]"},
		{"several external ones", newService(externalIPs("172.30.0.9", "192.0.2.1", "172.30.0.8")), "[172.30.0.9 spec.externalIPs 172.30.0.8 spec.externalIPs]"},
		{"the new prefix over the old", newService(annotated("metallb.universe.tf/loadBalancerIPs", "172.30.0.2", "metallb.io/loadBalancerIPs", "172.30.0.1")), "[172.30.0.1 annotation metallb.io/loadBalancerIPs]"},
		{"the old prefix when the new says nothing", newService(annotated("io.cilium/lb-ipam-ips", "172.30.0.2", "lbipam.cilium.io/ips", ",")), "[172.30.0.2 annotation io.cilium/lb-ipam-ips]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(tt.svc)
			if len(got.Problems) > 0 || addresses(got.Claim) != tt.want {
				t.Errorf("asks for %s with %v", addresses(got.Claim), got.Problems)
			}
		})
	}
}

func TestPoolAndSharingKeys(t *testing.T) {
	for _, name := range []string{"fairlead.dev/pool", "metallb.io/address-pool", "metallb.universe.tf/address-pool", "purelb.io/service-group"} {
		got := read(newService(annotated(name, " public , second,")))
		want := []allocator.Wish[string]{{Value: "public", Origin: "annotation " + name}, {Value: "second", Origin: "annotation " + name}}
		if d := cmp.Diff(want, got.Claim.Pools); d != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %s %v", name, d, got.Problems)
		}
	}
	for _, name := range []string{
		"fairlead.dev/sharing-key", "metallb.io/allow-shared-ip", "metallb.universe.tf/allow-shared-ip", "lbipam.cilium.io/sharing-key",
		"io.cilium/lb-ipam-sharing-key", "purelb.io/allow-shared-ip",
	} {
		got := read(newService(annotated(name, " dns,tcp ")))
		if want := (allocator.Wish[string]{Value: "dns,tcp", Origin: "annotation " + name}); got.Claim.SharingKey != want || len(got.Problems) > 0 {
			t.Errorf("%s: %+v %v", name, got.Claim.SharingKey, got.Problems)
		}
	}
	for _, name := range []string{"lbipam.cilium.io/sharing-cross-namespace", "io.cilium/lb-ipam-sharing-cross-namespace"} {
		got := read(newService(annotated(name, "web, dns,*,Not A Name,")))
		if d := cmp.Diff([]string{"web", "dns", "*"}, got.Claim.ShareWith); d != "" || len(got.Problems) > 0 {
			t.Errorf("%s: %s %v", name, d, got.Problems)
		}
		if len(got.Hints) != 1 || !strings.Contains(got.Hints[0].Message, `"Not A Name"`) {
			t.Errorf("%s: hints %v", name, got.Hints)
		}
	}
	got := read(newService(annotated("fairlead.dev/sharing-key", "x", "metallb.io/allow-shared-ip", "a", "purelb.io/allow-shared-ip", "b")))
	if got.Claim.SharingKey.Value != "x" || len(got.Problems) > 0 {
		t.Errorf("ours does not override: %+v %v", got.Claim.SharingKey, got.Problems)
	}
}

func TestFamilies(t *testing.T) {
	v4, v6 := corev1.IPv4Protocol, corev1.IPv6Protocol
	bare := func(svc *corev1.Service) { svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy = nil, nil }
	cluster := func(list ...string) func(*corev1.Service) {
		return func(svc *corev1.Service) { svc.Spec.ClusterIP, svc.Spec.ClusterIPs = list[0], list }
	}
	a, b := allocator.IPv4, allocator.IPv6
	for _, tt := range []struct {
		name     string
		svc      *corev1.Service
		families []allocator.Family
		policy   allocator.FamilyPolicy
	}{
		{"IPv4", newService(), []allocator.Family{a}, allocator.Require},
		{"IPv6", newService(dual(corev1.IPFamilyPolicySingleStack, v6)), []allocator.Family{b}, allocator.Require},
		{"single stack with two families is the first", newService(dual(corev1.IPFamilyPolicySingleStack, v6, v4)), []allocator.Family{b}, allocator.Require},
		{"prefer", newService(dual(corev1.IPFamilyPolicyPreferDualStack, v4, v6)), []allocator.Family{a, b}, allocator.Prefer},
		{"prefer, IPv6 first", newService(dual(corev1.IPFamilyPolicyPreferDualStack, v6, v4)), []allocator.Family{b, a}, allocator.Prefer},
		{"prefer in a cluster of one family", newService(dual(corev1.IPFamilyPolicyPreferDualStack, v4)), []allocator.Family{a}, allocator.Require},
		{"require", newService(dual(corev1.IPFamilyPolicyRequireDualStack, v6, v4)), []allocator.Family{b, a}, allocator.Require},
		{"require with one family written", newService(dual(corev1.IPFamilyPolicyRequireDualStack, v6)), []allocator.Family{b, a}, allocator.Require},
		{"no policy, two families", newService(dual("", v4, v6), func(svc *corev1.Service) { svc.Spec.IPFamilyPolicy = nil }), []allocator.Family{a, b}, allocator.Require},
		{"missing: by the clusterIPs", newService(bare, cluster("fd00::1", "10.0.0.1")), []allocator.Family{b, a}, allocator.Require},
		{"missing: by the clusterIP", newService(bare, func(svc *corev1.Service) { svc.Spec.ClusterIPs, svc.Spec.ClusterIP = nil, "fd00::1" }), []allocator.Family{b}, allocator.Require},
		{"headless and missing: by the address asked for", newService(bare, cluster("None"), loadBalancerIP("fd00:30::1")), []allocator.Family{b}, allocator.Require},
		{"headless and missing", newService(bare, cluster("None")), []allocator.Family{a}, allocator.Require},
		{"headless", newService(cluster("None"), dual(corev1.IPFamilyPolicyRequireDualStack, v4, v6)), []allocator.Family{a, b}, allocator.Require},
		{"unknown family", newService(dual(corev1.IPFamilyPolicySingleStack, "IPX")), []allocator.Family{a}, allocator.Require},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := read(tt.svc)
			if !slices.Equal(got.Claim.Families, tt.families) || got.Claim.Policy != tt.policy || len(got.Problems) > 0 {
				t.Errorf("families %v policy %v problems %v", got.Claim.Families, got.Claim.Policy, got.Problems)
			}
		})
	}
	// One address beside PreferDualStack: the other family is left to a pool.
	got := read(newService(dual(corev1.IPFamilyPolicyPreferDualStack, v4, v6), loadBalancerIP("172.30.0.7")))
	if len(got.Problems) > 0 || len(got.Claim.Addresses) != 1 || len(got.Claim.Families) != 2 || got.Claim.Policy != allocator.Prefer {
		t.Errorf("one address beside PreferDualStack: %+v %v", got.Claim, got.Problems)
	}
}

func TestClaim(t *testing.T) {
	svc := newService(annotated("fairlead.dev/pool", "public"), func(svc *corev1.Service) {
		svc.Labels = map[string]string{"app": "shop"}
		svc.Spec.ExternalTrafficPolicy = corev1.ServiceExternalTrafficPolicyLocal
		svc.Spec.Ports = []corev1.ServicePort{{Port: 53, Protocol: "UDP"}, {Port: 53}, {Port: 53, Protocol: "TCP"}, {Port: 70000}, {Port: -1}}
	})
	got := Read(svc, Surroundings{NamespaceLabels: map[string]string{"team": "a"}}, Config{Default: true}).Claim
	want := allocator.Claim{
		Key: allocator.Key{Kind: "Service", Namespace: "shop", Name: "legacy"}, UID: "uid-1",
		Families: []allocator.Family{allocator.IPv4},
		Pools:    []allocator.Wish[string]{{Value: "public", Origin: "annotation fairlead.dev/pool"}},
		Ports:    []allocator.Port{{Protocol: "UDP", Port: 53}, {Protocol: "TCP", Port: 53}},
		Local:    true, Labels: map[string]string{"app": "shop"}, NamespaceLabels: map[string]string{"team": "a"},
		Endpoints: "legacy", Advertised: map[string]string{"app": "shop"},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
}

func TestLimitsOfTheLedger(t *testing.T) {
	ports := func(svc *corev1.Service) {
		for i := range 1001 {
			svc.Spec.Ports = append(svc.Spec.Ports, corev1.ServicePort{Port: int32(i + 1000)})
		}
	}
	labels := func(svc *corev1.Service) {
		svc.Labels = map[string]string{}
		for i := range 257 {
			svc.Labels[fmt.Sprint("l", i)] = ""
		}
	}
	for name, change := range map[string]func(*corev1.Service){"spec.ports": ports, "metadata.labels": labels} {
		if got := read(newService(change)).Problems; len(got) != 1 || got[0].Key != name {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// BenchmarkSteady is one look at a Service at which nothing has changed.
func BenchmarkSteady(b *testing.B) {
	c := newCluster(b, newService(loadBalancerIP("172.30.0.100")))
	c.reconcile()
	c.reconcile()
	d := assigned("public", "spec.loadBalancerIP", "172.30.0.100")
	for b.Loop() {
		asking, contest := c.contest.Ask(c.svc, read(c.svc), c.held, c.now)
		out := Status(Input{Service: c.svc, Asking: asking, Decision: d, InPool: pools, Contest: contest, Now: c.now})
		if out.Write {
			b.Fatalf("it writes %s", out.Patch())
		}
	}
	b.ReportMetric(float64(unsafe.Sizeof(c.contest)), "state-bytes")
}

func TestHints(t *testing.T) {
	got := read(newService(loadBalancerIP("::ffff:172.30.0.100")))
	want := []Hint{{
		Reason:  "LoadBalancerIPDeprecated",
		Message: "spec.loadBalancerIP is deprecated: set the annotation fairlead.dev/addresses=172.30.0.100 instead (kubectl annotate service -n shop legacy fairlead.dev/addresses=172.30.0.100).",
	}}
	if d := cmp.Diff(want, got.Hints); d != "" {
		t.Error(d)
	}
	for name, svc := range map[string]*corev1.Service{
		"plain":                newService(),
		"equal annotation too": newService(loadBalancerIP("172.30.0.100"), annotated("fairlead.dev/addresses", "172.30.0.100")),
		"equal external one":   newService(annotated("fairlead.dev/addresses", "172.30.0.9"), externalIPs("172.30.0.9")),
	} {
		if got := read(svc).Hints; len(got) > 0 {
			t.Errorf("%s: %v", name, got)
		}
	}
	got = read(newService(annotated("fairlead.dev/addresses", "172.30.0.1"), externalIPs("172.30.0.9", "192.0.2.1")))
	if len(got.Hints) != 1 || !strings.Contains(got.Hints[0].Message, "spec.externalIPs 172.30.0.9 is overridden by annotation fairlead.dev/addresses") {
		t.Errorf("an external address that nobody announces is not told: %v", got.Hints)
	}
}

func TestOlderNameIsHinted(t *testing.T) {
	older := func(old, now string) []Hint {
		return read(newService(annotated("metallb.universe.tf/address-pool", old, "metallb.io/address-pool", now))).Hints
	}
	if got := older("a", "a"); len(got) > 0 {
		t.Errorf("equal values: %v", got)
	}
	got := older("a", "b")
	if len(got) != 1 || got[0].Message != "annotation metallb.io/address-pool counts, and annotation metallb.universe.tf/address-pool, the older name of the same, does not: remove it." {
		t.Errorf("unequal values: %v", got)
	}
}

// TestStatusClass: of a class whose controller writes the status itself, the
// addresses there that lie in our pools are asked for, and nothing else.
func TestStatusClass(t *testing.T) {
	cfg := Config{StatusClasses: []string{"example.com/gateway"}}
	class := func(svc *corev1.Service) { svc.Spec.LoadBalancerClass = ptr("example.com/gateway") }
	svc := newService(class, loadBalancerIP("172.30.0.1"), annotated("fairlead.dev/addresses", "172.30.0.2"), showing(
		corev1.LoadBalancerIngress{Hostname: "lb.example.com"}, corev1.LoadBalancerIngress{IP: "192.0.2.1"},
		corev1.LoadBalancerIngress{IP: "fd00:30::7"}, corev1.LoadBalancerIngress{IP: "172.30.0.7"}, corev1.LoadBalancerIngress{IP: "172.30.0.7"},
	))
	got := Read(svc, Surroundings{InPool: pools}, cfg)
	if want := "[fd00:30::7 status.loadBalancer.ingress 172.30.0.7 status.loadBalancer.ingress]"; addresses(got.Claim) != want || !got.Asks() {
		t.Errorf("asks for %s", addresses(got.Claim))
	}
	if want := []allocator.Family{allocator.IPv6, allocator.IPv4}; !slices.Equal(got.Claim.Families, want) {
		t.Errorf("families %v", got.Claim.Families)
	}
	if len(got.Hints)+len(got.Problems) > 0 {
		t.Errorf("%v %v", got.Hints, got.Problems)
	}
	if Read(newService(class, showing(corev1.LoadBalancerIngress{IP: "192.0.2.1"})), Surroundings{InPool: pools}, cfg).Asks() {
		t.Error("asks for something although no address lies in a pool")
	}
}

// FuzzRead: whatever is written into the places that are read, reading does not
// panic, gives the same twice, and never asks for something unusable.
func FuzzRead(f *testing.F) {
	f.Add("172.30.0.7", `["172.30.0.7"]`, "public", "key", "web,*", "172.30.0.7", "172.30.0.9", uint8(0))
	f.Add(",", "[]", " ", ",", ",,", "0.0.0.0", "", uint8(1))
	f.Add("::ffff:1.2.3.4%x", "null", "\u00a0", "\u2003", "A", "::", "::1", uint8(2))
	f.Add("fd00::1, 1.1.1.1,", `{"a":1}`, "a,b,a", "\xff", "\xff,", "1.1.1.1,", "x", uint8(3))
	f.Fuzz(func(t *testing.T, list, jsonList, pool, sharing, namespaces, field, external string, mode uint8) {
		for _, s := range []*string{&list, &jsonList, &pool, &sharing, &namespaces, &field, &external} {
			*s = strings.ToValidUTF8(*s, "?") // as the API server sees to it
		}
		svc := newService(loadBalancerIP(field), externalIPs(external), annotated(
			"metallb.io/loadBalancerIPs", list, "projectcalico.org/loadBalancerIPs", jsonList, "purelb.io/service-group", pool,
			"metallb.io/address-pool", sharing, "metallb.io/allow-shared-ip", sharing, "lbipam.cilium.io/sharing-cross-namespace", namespaces,
		))
		if mode&1 != 0 {
			svc.Spec.IPFamilies, svc.Spec.IPFamilyPolicy, svc.Spec.ClusterIPs = nil, nil, []string{field}
		}
		if mode&2 != 0 {
			dual(corev1.IPFamilyPolicyPreferDualStack, corev1.IPv6Protocol, corev1.IPv4Protocol)(svc)
		}
		if mode&4 != 0 {
			delete(svc.Annotations, "metallb.io/loadBalancerIPs")
			delete(svc.Annotations, "projectcalico.org/loadBalancerIPs")
		}
		got := read(svc)
		if wishOf(got).sum != wishOf(read(svc)).sum {
			t.Error("two readings of one Service differ")
		}
		if len(got.Claim.Families) == 0 {
			t.Error("no family is asked for")
		}
		for _, w := range got.Claim.Addresses {
			if !w.Value.IsValid() || w.Value.IsUnspecified() || w.Value.Is4In6() || w.Value.Zone() != "" {
				t.Errorf("asks for %v", w)
			}
			if len(got.Problems) == 0 && !slices.Contains(got.Claim.Families, allocator.FamilyOf(w.Value)) {
				t.Errorf("asks for %v of a family it does not have", w)
			}
		}
		for _, p := range got.Problems {
			if p.Key == "" || p.Why == "" || p.Instead == "" || len(p.String()) > 4096 {
				t.Errorf("a problem without words, or with too many: %+v", p)
			}
		}
		c := newCluster(t, svc)
		c.reconcile()
		if out := c.reconcile(); out.Changed {
			t.Errorf("a second look changes something: %s", out.Patch())
		}
	})
}
