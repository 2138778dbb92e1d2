package controllers

import (
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// specified is an object as somebody writes it, of any types.
func specified(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	o := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte("metadata: {generateName: "+strings.ToLower(kind)+"-}\nspec: "+strings.ReplaceAll(spec, "\t", " ")), &o.Object); err != nil {
		t.Fatalf("%s: %v", spec, err)
	}
	o.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	return o
}

func TestBGPValidation(t *testing.T) {
	w := newWorld(t)
	for _, tt := range bgpValidation {
		err := w.c.Create(w.ctx(), specified(t, tt.kind, tt.spec))
		switch {
		case tt.why == "" && err != nil:
			t.Errorf("%s %s was refused: %v", tt.kind, tt.spec, err)
		case tt.why != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tt.why)):
			t.Errorf("%s %s: the answer is %v, want %q in it", tt.kind, tt.spec, err, tt.why)
		}
	}
}

// A manifest that was written for a kind with namespaces is taken by changing its
// apiVersion: the API server drops the namespace.
func TestANamespaceInAManifestIsDropped(t *testing.T) {
	w := newWorld(t)
	o := specified(t, "BGPPeer", `{myASN: 64512, peerASN: 64513, peerAddress: 192.0.2.1}`)
	o.SetNamespace("metallb-system")
	if err := w.c.Create(w.ctx(), o); err != nil {
		t.Fatal(err)
	}
	if o.GetNamespace() != "" {
		t.Errorf("the object is in namespace %q", o.GetNamespace())
	}
}
