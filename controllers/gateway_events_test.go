package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// An object that was deleted and made anew while the watch was down comes as an
// update, and may have the generation of the old one.
func TestWhatPassesAsAChangedSpec(t *testing.T) {
	route := func(uid types.UID, generation int64, version string) client.Object {
		return &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: uid, Generation: generation, ResourceVersion: version}}
	}
	for name, c := range map[string]struct {
		was, is client.Object
		want    bool
	}{
		"a status":             {route("a", 1, "1"), route("a", 1, "2"), false},
		"a spec":               {route("a", 1, "1"), route("a", 2, "2"), true},
		"another of the name":  {route("a", 1, "1"), route("b", 1, "9"), true},
		"the same once more":   {route("a", 1, "1"), route("a", 1, "1"), false},
		"another, other specs": {route("a", 3, "1"), route("b", 1, "9"), true},
	} {
		if got := generationChanged.Update(event.UpdateEvent{ObjectOld: c.was, ObjectNew: c.is}); got != c.want {
			t.Errorf("%s: passes %v, want %v", name, got, c.want)
		}
	}
}
