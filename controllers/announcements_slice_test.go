package controllers

import (
	"slices"
	"testing"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/allocator"
)

// The endpoints of a Gateway's own Service decide whether the Gateway's addresses are announced.
func TestHoldersOfSlice(t *testing.T) {
	slice := &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{
		Namespace: "shop", Name: "web-class-ipv4-0", Labels: map[string]string{discoveryv1.LabelServiceName: "web-class"},
		OwnerReferences: []metav1.OwnerReference{{Kind: "Gateway", Name: "web"}},
	}}
	want := []allocator.Key{{Kind: "Service", Namespace: "shop", Name: "web-class"}, {Kind: "Gateway", Namespace: "shop", Name: "web"}}
	if got := holdersOfSlice(slice); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
