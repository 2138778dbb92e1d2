package gateway

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
)

const cluster = gatewayv1.GatewayAddressRoutabilityCluster

// want is an entry of spec.addresses.
func want(value string, routability gatewayv1.GatewayAddressRoutabilityType) gatewayv1.GatewaySpecAddress {
	return gatewayv1.GatewaySpecAddress{Value: value, Routability: routability}
}

func fromPool(name string) gatewayv1.GatewaySpecAddress {
	return gatewayv1.GatewaySpecAddress{Type: new(TypePool), Value: name}
}

func ips(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

// asking is a Gateway with these addresses, in a cluster of both families that is
// IPv4 first.
func asking(t *testing.T, list ...gatewayv1.GatewaySpecAddress) (*Asked, *Problem) {
	t.Helper()
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web"}, Spec: gatewayv1.GatewaySpec{Addresses: list}}
	b := &Built{in: Input{Gateway: gw}, Model: &Model{}}
	return b.Ask(Wishes{Families: []allocator.Family{allocator.IPv4}, Cluster: []allocator.Family{allocator.IPv4, allocator.IPv6}})
}

// Each entry of spec.addresses is a wish of its own, for one address.
func TestAsk(t *testing.T) {
	v4, v6 := allocator.IPv4, allocator.IPv6
	for name, tt := range map[string]struct {
		list     []gatewayv1.GatewaySpecAddress
		families []allocator.Family // of the claim; nil: there is none
		policy   allocator.FamilyPolicy
		inside   []allocator.Family
		static   []netip.Addr
	}{
		"nothing":                  {nil, []allocator.Family{v4}, allocator.Require, nil, nil},
		"any":                      {[]gatewayv1.GatewaySpecAddress{want("", "")}, []allocator.Family{v4}, allocator.Require, nil, nil},
		"two":                      {[]gatewayv1.GatewaySpecAddress{want("", ""), want("", "")}, []allocator.Family{v4, v6}, allocator.Prefer, nil, nil},
		"three":                    {[]gatewayv1.GatewaySpecAddress{want("", ""), want("", ""), want("", "")}, []allocator.Family{v4, v6}, allocator.Prefer, nil, nil},
		"one that is written":      {[]gatewayv1.GatewaySpecAddress{want("2001:db8::7", "")}, []allocator.Family{v6}, allocator.Require, nil, nil},
		"written, and any":         {[]gatewayv1.GatewaySpecAddress{want("", ""), want("192.0.2.7", "")}, []allocator.Family{v4, v6}, allocator.Require, nil, nil},
		"sentinel":                 {[]gatewayv1.GatewaySpecAddress{want("", RoutabilitySentinel)}, []allocator.Family{v4}, allocator.Require, nil, nil},
		"of a pool":                {[]gatewayv1.GatewaySpecAddress{fromPool("public")}, []allocator.Family{v4}, allocator.Require, nil, nil},
		"inside":                   {[]gatewayv1.GatewaySpecAddress{want("", cluster)}, nil, allocator.Require, []allocator.Family{v4}, nil},
		"inside, both":             {[]gatewayv1.GatewaySpecAddress{want("", cluster), want("", cluster)}, nil, allocator.Require, []allocator.Family{v4, v6}, nil},
		"inside, written":          {[]gatewayv1.GatewaySpecAddress{want("", cluster), want("fd00::7", cluster)}, nil, allocator.Require, []allocator.Family{v6, v4}, ips("fd00::7")},
		"inside and outside":       {[]gatewayv1.GatewaySpecAddress{want("", cluster), want("", "")}, []allocator.Family{v4}, allocator.Require, []allocator.Family{v4}, nil},
		"inside and of a pool":     {[]gatewayv1.GatewaySpecAddress{want("", cluster), fromPool("public")}, []allocator.Family{v4}, allocator.Require, []allocator.Family{v4}, nil},
		"nothing that could be":    {[]gatewayv1.GatewaySpecAddress{want("", "example.com/wan")}, nil, allocator.Require, nil, nil},
		"one that could, and not":  {[]gatewayv1.GatewaySpecAddress{want("", "example.com/wan"), want("", "")}, []allocator.Family{v4}, allocator.Require, nil, nil},
		"IPv4 in IPv6's clothes":   {[]gatewayv1.GatewaySpecAddress{want("::ffff:192.0.2.7", "")}, []allocator.Family{v4}, allocator.Require, nil, nil},
		"twice of a family inside": {[]gatewayv1.GatewaySpecAddress{want("10.0.0.7", cluster), want("10.0.0.8", cluster)}, nil, allocator.Require, []allocator.Family{v4}, ips("10.0.0.7")},
	} {
		t.Run(name, func(t *testing.T) {
			got, problem := asking(t, tt.list...)
			if problem != nil {
				t.Fatal(problem)
			}
			if (got.Claim == nil) != (tt.families == nil) {
				t.Fatalf("the claim is %+v", got.Claim)
			}
			if c := got.Claim; c != nil && (!slices.Equal(c.Families, tt.families) || c.Policy != tt.policy) {
				t.Errorf("the claim is for %v, policy %v; want %v, %v", c.Families, c.Policy, tt.families, tt.policy)
			}
			inside, static := got.Inside()
			if !slices.Equal(inside, tt.inside) || !slices.Equal(static, tt.static) {
				t.Errorf("inside: %v %v, want %v %v", inside, static, tt.inside, tt.static)
			}
		})
	}
}

func TestAskUnsupported(t *testing.T) {
	for name, a := range map[string]gatewayv1.GatewaySpecAddress{
		"a hostname":               {Type: new(gatewayv1.HostnameAddressType), Value: "a.example.com"},
		"no address":               want("192.0.2", ""),
		"a pool inside":            {Type: new(TypePool), Value: "public", Routability: cluster},
		"a pool with the sentinel": {Type: new(TypePool), Value: "public", Routability: RoutabilitySentinel},
	} {
		if _, problem := asking(t, want("", ""), a); problem == nil || problem.Reason != string(gatewayv1.GatewayReasonUnsupportedAddress) || !strings.Contains(problem.Message, "spec.addresses[1]") {
			t.Errorf("%s: %v", name, problem)
		}
	}
}

// Every wish that is met has one address in the status, which says what the wish
// said; AddressesAssigned tells of the others.
func TestAssign(t *testing.T) {
	refusal := &allocator.Refusal{Reason: allocator.PoolExhausted, Pool: "public"}
	for name, tt := range map[string]struct {
		list     []gatewayv1.GatewaySpecAddress
		external []netip.Addr
		refused  *allocator.Refusal
		inside   []netip.Addr
		unable   string
		want     []Address
		reason   gatewayv1.GatewayConditionReason
		says     string
	}{
		"by default": {
			external: ips("192.0.2.1", "2001:db8::1"),
			want:     []Address{{netip.MustParseAddr("192.0.2.1"), ""}, {netip.MustParseAddr("2001:db8::1"), ""}}, reason: "AddressesAssigned",
		},
		"by default, none":    {refused: refusal, reason: "NotAssigned", says: "public"},
		"by default, not yet": {reason: "NotAssigned", says: "yet"},
		"of a pool, none":     {list: []gatewayv1.GatewaySpecAddress{fromPool("public")}, refused: refusal, reason: "NotAssigned", says: "public"},
		"outside and inside": {
			list: []gatewayv1.GatewaySpecAddress{want("", cluster), want("", "")}, external: ips("192.0.2.1"), inside: ips("10.0.0.1"),
			want: []Address{{netip.MustParseAddr("192.0.2.1"), ""}, {netip.MustParseAddr("10.0.0.1"), cluster}}, reason: "AddressesAssigned",
		},
		"the sentinel": {
			list: []gatewayv1.GatewaySpecAddress{want("", RoutabilitySentinel)}, external: ips("192.0.2.1"),
			want: []Address{{netip.MustParseAddr("192.0.2.1"), RoutabilitySentinel}}, reason: "AddressesAssigned",
		},
		"written ones first": {
			list: []gatewayv1.GatewaySpecAddress{want("", RoutabilitySentinel), want("192.0.2.1", "")}, external: ips("192.0.2.1", "2001:db8::1"),
			want: []Address{{netip.MustParseAddr("192.0.2.1"), ""}, {netip.MustParseAddr("2001:db8::1"), RoutabilitySentinel}}, reason: "AddressesAssigned",
		},
		"written inside, another one is there": {
			list: []gatewayv1.GatewaySpecAddress{want("10.0.0.7", cluster)}, inside: ips("10.0.0.1"),
			reason: "NotAssigned", says: "10.0.0.1 already",
		},
		"written inside, and refused": {
			list: []gatewayv1.GatewaySpecAddress{want("192.0.2.7", cluster), want("", "")}, external: ips("192.0.2.1"), unable: "not in the range.",
			want: []Address{{netip.MustParseAddr("192.0.2.1"), ""}}, reason: "PartiallyAssigned", says: "spec.addresses[0]: not in the range.",
		},
		"inside, not yet": {list: []gatewayv1.GatewaySpecAddress{want("", cluster)}, reason: "NotAssigned", says: "yet"},
		"one too many": {
			list: []gatewayv1.GatewaySpecAddress{want("", ""), want("", ""), want("", "")}, external: ips("192.0.2.1", "2001:db8::1"),
			want:   []Address{{netip.MustParseAddr("192.0.2.1"), ""}, {netip.MustParseAddr("2001:db8::1"), ""}},
			reason: "PartiallyAssigned", says: "spec.addresses[2]",
		},
		"an unknown scope is not replaced": {
			list: []gatewayv1.GatewaySpecAddress{want("", "example.com/wan")}, inside: ips("10.0.0.1"), reason: "NotAssigned", says: "example.com/wan",
		},
		"what is kept meanwhile is told": {
			list: []gatewayv1.GatewaySpecAddress{want("192.0.2.9", "")}, external: ips("192.0.2.1"), refused: refusal,
			want: []Address{{netip.MustParseAddr("192.0.2.1"), ""}}, reason: "PartiallyAssigned", says: "public",
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked, problem := asking(t, tt.list...)
			if problem != nil {
				t.Fatal(problem)
			}
			got := asked.Assign(tt.external, tt.refused, tt.inside, tt.unable)
			if diff := cmp.Diff(tt.want, got.Addresses, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
			c := got.condition(3)
			if c.Reason != string(tt.reason) || !strings.Contains(c.Message, tt.says) || c.ObservedGeneration != 3 ||
				(c.Status == metav1.ConditionTrue) != (tt.reason == "AddressesAssigned") {
				t.Errorf("the condition is %+v, want reason %s and %q in it", c, tt.reason, tt.says)
			}
			for i, said := range got.addresses(true) {
				if said.Routability == nil || *said.Routability != got.Addresses[i].Routability {
					t.Errorf("%s says routability %v", said.Value, said.Routability)
				}
			}
			for _, said := range got.addresses(false) {
				if said.Routability != nil {
					t.Errorf("%s says routability %q, which the CRD does not have", said.Value, *said.Routability)
				}
			}
		})
	}
}
