package adopt

import (
	"maps"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// generic is an object without a type, as it is written.
func generic(o runtime.Object, apiVersion, kind string) *unstructured.Unstructured {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		m = map[string]any{} // only for types that are no objects
	}
	u := &unstructured.Unstructured{Object: m}
	u.SetAPIVersion(apiVersion)
	u.SetKind(kind)
	return u
}

func ours(o runtime.Object, kind string) *unstructured.Unstructured {
	return generic(o, v1alpha1.GroupVersion.String(), kind)
}

// allOurs is ours of each object of a list.
func allOurs[T any, P interface {
	*T
	runtime.Object
}](list []T, kind string) []*unstructured.Unstructured {
	out := make([]*unstructured.Unstructured, len(list))
	for i := range list {
		out[i] = ours(P(&list[i]), kind)
	}
	return out
}

// change is a write, if it changes something.
func change(out []Write, before, after *unstructured.Unstructured) []Write {
	if before == after {
		return out
	}
	return append(out, Write{before, after})
}

func create(o *unstructured.Unstructured) Write { return Write{After: o} }
func remove(o *unstructured.Unstructured) Write { return Write{Before: o} }

// annotated is an object with an annotation; without a value, without it.
func annotated(o *unstructured.Unstructured, key, value string) *unstructured.Unstructured {
	all := maps.Clone(o.GetAnnotations())
	if all[key] == value {
		return o
	}
	if all == nil {
		all = map[string]string{}
	}
	if all[key] = value; value == "" {
		delete(all, key)
	}
	o = o.DeepCopy()
	o.SetAnnotations(all)
	return o
}

// labelled is a node with a label, or without it.
func labelled(o *unstructured.Unstructured, key string, on bool) *unstructured.Unstructured {
	all := maps.Clone(o.GetLabels())
	if _, has := all[key]; has == on {
		return o
	}
	if all == nil {
		all = map[string]string{}
	}
	if all[key] = "true"; !on {
		delete(all, key)
	}
	o = o.DeepCopy()
	o.SetLabels(all)
	return o
}
