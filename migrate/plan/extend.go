package plan

import (
	"encoding/json"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	apply "sigs.k8s.io/gateway-api/applyconfiguration/apis/v1"

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
	if err == nil {
		err = t.extendManifest(manifest, key)
	}
	if err != nil {
		t.p.note(Blocked, t.in.To.String(), fmt.Sprintf("What was applied to it before cannot be read: %v.", err), "Use another Gateway (--create makes one).")
		return
	}
	t.p.Objects = append(t.p.Objects, Object{Manifest: manifest})
}

// applied is what of a Gateway was written as objects of a Plan.
func applied(gw *gatewayv1.Gateway) (map[string]any, error) {
	own, err := apply.ExtractGateway(gw, FieldManager)
	if err != nil {
		return nil, err
	}
	return asMap(own)
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
