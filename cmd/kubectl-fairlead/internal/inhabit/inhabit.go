// Package inhabit makes the cluster that a test of the plugin's commands begins with.
package inhabit

import (
	"os"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/migrate/imports"
)

// From makes the objects of a file of manifests, with their statuses, which the controller
// of others wrote.
func From(t *testing.T, c client.Client, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	objects, err := imports.Decode(text)
	if err != nil {
		t.Fatal(err)
	}
	for i := range objects {
		o := &objects[i]
		status := o.Object["status"]
		if err := c.Create(t.Context(), o); err != nil {
			t.Fatalf("creating %s %s: %v", o.GetKind(), o.GetName(), err)
		}
		if status == nil {
			continue
		}
		o.Object["status"] = status
		if err := c.Status().Update(t.Context(), o, client.FieldOwner("controller")); err != nil {
			t.Fatalf("writing the status of %s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
}
