package drive

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/migrate/plan"
)

// Change is what would become of an object, without what the API server keeps.
type Change struct {
	Before, After map[string]any
}

// Preview asks the API server what would become of an object of a plan. Where the
// caller may not ask, what the plan has of it stands for that.
func (d *Driver) Preview(ctx context.Context, o plan.Object) (Change, error) {
	if o.New {
		return Change{After: o.Manifest}, nil
	}
	before, after := &unstructured.Unstructured{}, object(o.Manifest)
	before.SetGroupVersionKind(after.GroupVersionKind())
	if err := d.client.Get(ctx, client.ObjectKeyFromObject(after), before); err != nil {
		return Change{}, fmt.Errorf("reading %s %s: %w", o.Kind(), o.Name(), err)
	}
	err := d.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(after), owner, client.DryRunAll)
	switch {
	case apierrors.IsForbidden(err):
		return Change{After: o.Manifest}, nil
	case err != nil:
		return Change{}, fmt.Errorf("asking what would become of %s %s: %w", o.Kind(), o.Name(), err)
	}
	return Change{Before: bare(before), After: bare(after)}, nil
}

// bare is an object without its status and what the API server keeps.
func bare(o *unstructured.Unstructured) map[string]any {
	o = o.DeepCopy()
	for _, field := range []string{"managedFields", "resourceVersion", "uid", "creationTimestamp", "generation"} {
		unstructured.RemoveNestedField(o.Object, "metadata", field)
	}
	unstructured.RemoveNestedField(o.Object, "status")
	return o.Object
}
