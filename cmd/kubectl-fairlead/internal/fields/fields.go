// Package fields says who wrote a field of an object, by its managedFields.
package fields

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/service"
)

// Writer is who wrote a field.
type Writer struct {
	Manager string `json:"manager"`
	// At is when that manager wrote to the object last.
	At metav1.Time `json:"at,omitzero"`
}

// Writers are those who own a field or something below it, the latest first. The
// path is that of managedFields without "f:": "status", "loadBalancer", "ingress".
func Writers(o metav1.Object, subresource string, path ...string) []Writer {
	steps := make([]string, len(path))
	for i, name := range path {
		steps[i] = "f:" + name
	}
	var out []Writer
	entries := o.GetManagedFields()
	for i := range entries {
		e := &entries[i]
		if e.Subresource != subresource || !service.Owns(e, steps) {
			continue
		}
		w := Writer{Manager: e.Manager}
		if e.Time != nil {
			w.At = *e.Time
		}
		out = append(out, w)
	}
	slices.SortStableFunc(out, func(a, b Writer) int { return b.At.Compare(a.At.Time) })
	return out
}
