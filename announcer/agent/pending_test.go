package agent

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// What was deleted and made anew while the watch was down is an update, and its
// generation may be that of the old one.
func TestWhatChangesTheWorld(t *testing.T) {
	object := func(uid types.UID, generation int64, labels map[string]string, version string) *v1alpha1.L2Advertisement {
		return &v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "all", UID: uid, Generation: generation, Labels: labels, ResourceVersion: version}}
	}
	for name, c := range map[string]struct {
		was, is *v1alpha1.L2Advertisement
		want    bool
	}{
		"a status":            {object("a", 1, nil, "1"), object("a", 1, nil, "2"), false},
		"a spec":              {object("a", 1, nil, "1"), object("a", 2, nil, "2"), true},
		"a label":             {object("a", 1, nil, "1"), object("a", 1, map[string]string{"for": "shop"}, "2"), true},
		"another of the name": {object("a", 1, nil, "1"), object("b", 1, nil, "9"), true},
	} {
		a := &Agent{pending: newPending()}
		a.worldEvents().OnUpdate(c.was, c.is)
		if got := a.pending.take().world; got != c.want {
			t.Errorf("%s: the world has changed: %v, want %v", name, got, c.want)
		}
	}
}
