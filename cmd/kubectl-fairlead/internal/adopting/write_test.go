package adopting

import (
	"errors"
	"fmt"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

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
