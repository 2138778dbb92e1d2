package fleet

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Kubernetes writes the slices of two families one after the other. What an Envoy is must not depend on which of them is
// read first while they differ: it would be listed, taken out and listed again.
func TestEnvoysWhileTheirFamiliesDiffer(t *testing.T) {
	slice := func(family discoveryv1.AddressType, address string, ready, serving, terminating bool) discoveryv1.EndpointSlice {
		return discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: "fairlead-system", Name: string(family)}, AddressType: family,
			Endpoints: []discoveryv1.Endpoint{{
				Addresses: []string{address}, NodeName: new("node1"), Zone: new("west"),
				Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
				TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: "envoy-1", UID: "1"},
			}},
		}
	}
	for name, tt := range map[string]struct {
		one, other                  [3]bool
		unacknowledged              bool
		ready, serving, terminating bool
	}{
		"both ready":           {one: [3]bool{true, true}, other: [3]bool{true, true}, ready: true, serving: true},
		"not acknowledged":     {one: [3]bool{true, true}, other: [3]bool{true, true}, unacknowledged: true},
		"one is not ready yet": {one: [3]bool{true, true}},
		"one begins to end":    {one: [3]bool{true, true}, other: [3]bool{false, true, true}, serving: true, terminating: true},
		"both end":             {one: [3]bool{false, true, true}, other: [3]bool{false, true, true}, serving: true, terminating: true},
		"one has ended":        {one: [3]bool{false, true, true}, other: [3]bool{false, false, true}, terminating: true},
	} {
		t.Run(name, func(t *testing.T) {
			listed := []discoveryv1.EndpointSlice{
				slice(discoveryv1.AddressTypeIPv4, "10.0.0.1", tt.one[0], tt.one[1], tt.one[2]),
				slice(discoveryv1.AddressTypeIPv6, "fd00::1", tt.other[0], tt.other[1], tt.other[2]),
			}
			want := []Envoy{{
				Namespace: "fairlead-system", Name: "envoy-1", UID: "1", Node: "node1", Zone: "west",
				IPs:   []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("fd00::1")},
				Ready: tt.ready, Serving: tt.serving, Terminating: tt.terminating,
			}}
			for range 2 {
				if got := Envoys(listed, map[string]bool{"envoy-1": !tt.unacknowledged}); !reflect.DeepEqual(got, want) {
					t.Errorf("slices of %s first: got %+v, want %+v", listed[0].AddressType, got, want)
				}
				slices.Reverse(listed)
			}
		})
	}
}

// Endpoints that are no pods of a node, as somebody may write by hand, are no Envoys.
func TestEnvoysArePodsOfNodes(t *testing.T) {
	listed := []discoveryv1.EndpointSlice{{Endpoints: []discoveryv1.Endpoint{
		{Addresses: []string{"10.0.0.1"}, NodeName: new("node1")},
		{Addresses: []string{"10.0.0.2"}, NodeName: new("node1"), TargetRef: &corev1.ObjectReference{Kind: "Node", Name: "a"}},
		{Addresses: []string{"10.0.0.3"}, TargetRef: &corev1.ObjectReference{Kind: "Pod", Name: "a"}},
	}}}
	if got := Envoys(listed, map[string]bool{"a": true}); len(got) > 0 {
		t.Errorf("got %+v, want none", got)
	}
}
