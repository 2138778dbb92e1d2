package plan

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

const annotationSharing = v1alpha1.AnnotationSharingKey

// labelNamespace is on every namespace, with its name.
const labelNamespace = "kubernetes.io/metadata.name"

func selectorOf(namespace string) *metav1.LabelSelector {
	return &metav1.LabelSelector{MatchLabels: map[string]string{labelNamespace: namespace}}
}

// extend adds listeners to a Gateway that is there. What was applied to it before
// is applied again: the API server takes away what its manager leaves out.
func (t *toGateway) extend(key string) {
	manifest, err := applied(t.live)
	before, again := applied(t.live)
	if err = errors.Join(err, again); err == nil {
		err = t.extendManifest(manifest, key)
	}
	if err != nil {
		t.p.note(Blocked, t.in.To.String(), fmt.Sprintf("What was applied to it before cannot be read: %v.", err), "Use another Gateway (--create makes one).")
		return
	}
	t.p.Objects = append(t.p.Objects, Object{Manifest: manifest, Before: before})
}

// applied is what of a Gateway was written as objects of a Plan.
func applied(gw *gatewayv1.Gateway) (map[string]any, error) {
	out := map[string]any{}
	live, err := asMap(gw)
	if err != nil {
		return nil, err
	}
	for _, e := range gw.ManagedFields {
		if e.Manager != FieldManager || e.Operation != metav1.ManagedFieldsOperationApply || e.Subresource != "" || e.FieldsV1 == nil {
			continue
		}
		var fields map[string]any
		if err := json.Unmarshal(e.FieldsV1.GetRawBytes(), &fields); err != nil {
			return nil, fmt.Errorf("reading managedFields: %w", err)
		}
		if own, ok := owned(fields, live).(map[string]any); ok {
			out = own
		}
	}
	out["apiVersion"], out["kind"] = gatewayv1.GroupVersion.String(), "Gateway"
	m := within(out, "metadata")
	m["name"], m["namespace"] = gw.Name, gw.Namespace
	return out, nil
}

// owned is the part of a value that a set of fields names, as managedFields write
// it; nil: there is nothing of it.
func owned(fields map[string]any, live any) any {
	switch v := live.(type) {
	case map[string]any:
		if len(fields) == 0 {
			return v
		}
		out := map[string]any{}
		for key, below := range fields {
			name, is := strings.CutPrefix(key, "f:")
			have, there := v[name]
			sub, _ := below.(map[string]any)
			if is && there {
				out[name] = owned(sub, have)
			}
		}
		return out
	case []any:
		if len(fields) == 0 {
			return v
		}
		var out []any
		for _, item := range v {
			if sub, is := itemOf(fields, item); is {
				out = append(out, owned(sub, item))
			}
		}
		return out
	}
	return live
}

// itemOf finds what a set of fields names of an item of a list.
func itemOf(fields map[string]any, item any) (map[string]any, bool) {
	m, isMap := item.(map[string]any)
	for key, below := range fields {
		raw, is := strings.CutPrefix(key, "k:")
		var by map[string]any
		if !is || !isMap || json.Unmarshal([]byte(raw), &by) != nil {
			continue
		}
		same := true
		for k, v := range by {
			same = same && reflect.DeepEqual(m[k], v)
		}
		if same {
			sub, _ := below.(map[string]any)
			return sub, true
		}
	}
	return nil, false
}

func asMap(v any) (map[string]any, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	out := map[string]any{}
	if err := json.Unmarshal(raw, &out); err != nil {
		return nil, err
	}
	return out, nil
}

func (t *toGateway) extendManifest(manifest map[string]any, key string) error {
	spec := within(manifest, "spec")
	listeners, _ := spec["listeners"].([]any)
	for _, l := range t.added {
		m, err := asMap(l)
		if err != nil {
			return err
		}
		listeners = append(listeners, m)
	}
	slices.SortStableFunc(listeners, func(a, b any) int { return t.place(a) - t.place(b) })
	if len(listeners) > 0 {
		spec["listeners"] = listeners
	} else {
		delete(manifest, "spec")
	}
	if key != "" {
		within(within(manifest, "metadata"), "annotations")[annotationSharing] = key
	}
	return nil
}

// place is where a listener stands in the Gateway.
func (t *toGateway) place(listener any) int {
	m, _ := listener.(map[string]any)
	return slices.IndexFunc(t.will.Spec.Listeners, func(l gatewayv1.Listener) bool { return string(l.Name) == m["name"] })
}

// within is the map under a key, made where there is none.
func within(m map[string]any, key string) map[string]any {
	if have, ok := m[key].(map[string]any); ok {
		return have
	}
	made := map[string]any{}
	m[key] = made
	return made
}
