package adopting

import (
	"context"
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/fairlead/fairlead/migrate/adopt"
)

// Only what a second look may mend is tried again.
func TestErrorsThatPass(t *testing.T) {
	peers := schema.GroupResource{Group: "metallb.io", Resource: "bgppeers"}
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{apierrors.NewConflict(peers, "tor", errors.New("changed")), true},
		{apierrors.NewAlreadyExists(peers, "tor"), true},
		{apierrors.NewInternalError(errors.New(`failed calling webhook "bgppeer.metallb.io": no endpoints available`)), true},
		{apierrors.NewInternalError(errors.New("etcd is gone")), false},
		{apierrors.NewForbidden(peers, "tor", errors.New("no")), false},
		{errors.New("connection refused"), false},
	} {
		if got := passes(fmt.Errorf("writing BGPPeer tor: %w", tt.err)); got != tt.want {
			t.Errorf("%v: %t", tt.err, got)
		}
	}
}

// An object that was to be changed and is gone meanwhile is looked at again; one that cannot be made, as its kind is not there,
// is not.
func TestObjectsThatAreGone(t *testing.T) {
	gone := apierrors.NewNotFound(schema.GroupResource{Group: "fairlead.dev", Resource: "addresses"}, "192.0.2.1")
	c := interceptor.NewClient(fake.NewClientBuilder().Build(), interceptor.Funcs{
		Create: func(context.Context, client.WithWatch, client.Object, ...client.CreateOption) error { return gone },
		Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
			return gone
		},
	})
	before := &unstructured.Unstructured{}
	before.SetAPIVersion("fairlead.dev/v1alpha1")
	before.SetKind("Address")
	before.SetName("192.0.2.1")
	if err := one(t.Context(), c, adopt.Write{Before: before, After: before.DeepCopy()}); !passes(err) {
		t.Errorf("a change of what is gone: %v", err)
	}
	if err := one(t.Context(), c, adopt.Write{After: before}); err == nil || passes(err) {
		t.Errorf("a creation that finds no kind: %v", err)
	}
}

func TestSummary(t *testing.T) {
	object := func(kind, name string) *unstructured.Unstructured {
		o := &unstructured.Unstructured{}
		o.SetKind(kind)
		o.SetName(name)
		return o
	}
	a, b := object("BGPPeer", "a"), object("Address", "b")
	list := []adopt.Write{{After: a}, {After: b}, {Before: a, After: a}, {Before: b}, {Before: a}, {Before: b}}
	for n, want := range map[int]string{
		0: "", 2: "created BGPPeer a, Address b", 3: "created BGPPeer a, Address b; changed BGPPeer a",
		5: "created BGPPeer a, Address b; changed BGPPeer a; deleted Address b, BGPPeer a",
		6: "created BGPPeer a, Address b; changed BGPPeer a; deleted Address b and 2 more",
	} {
		if got := summary(list[:n]); got != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
