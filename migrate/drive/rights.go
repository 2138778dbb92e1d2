package drive

import (
	"context"
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/migrate/plan"
)

// Right is something that the caller must be allowed to do.
type Right struct {
	Verb     string `json:"verb"`
	Group    string `json:"group,omitempty"`
	Resource string `json:"resource"`
	// Namespace is empty for what is in none.
	Namespace string `json:"namespace"`
	// Name is empty where none is known to the API server yet.
	Name string `json:"name,omitempty"`
}

func (r Right) String() string {
	out := r.Verb + " " + schema.GroupResource{Group: r.Group, Resource: r.Resource}.String()
	if r.Name != "" {
		out += " " + r.Name
	}
	if r.Namespace == "" {
		return out
	}
	return out + " in namespace " + r.Namespace
}

// Missing are the rights for the writes of a plan, and for following it, that the
// caller lacks.
func (d *Driver) Missing(ctx context.Context, p *plan.Plan, cleanup bool) ([]Right, error) {
	needs, err := d.needs(p, cleanup)
	if err != nil {
		return nil, err
	}
	return Lacking(ctx, d.client, needs)
}

// Lacking are those of some rights that the caller has not.
func Lacking(ctx context.Context, c client.Client, needs []Right) ([]Right, error) {
	var out []Right
	for _, r := range needs {
		ok, err := r.given(ctx, c)
		if err != nil {
			return nil, err
		}
		if !ok {
			out = append(out, r)
		}
	}
	return out, nil
}

func (d *Driver) needs(p *plan.Plan, cleanup bool) ([]Right, error) {
	var out []Right
	add := func(gvk schema.GroupVersionKind, namespace, name string, verbs ...string) error {
		for _, v := range verbs {
			r, err := RightTo(d.client, v, gvk, namespace)
			if err != nil {
				return err
			}
			if v != "create" {
				r.Name = name
			}
			if !slices.Contains(out, r) {
				out = append(out, r)
			}
		}
		return nil
	}
	for _, o := range p.Objects {
		verbs := []string{"patch"}
		if o.New {
			verbs = append(verbs, "create")
			if cleanup {
				verbs = append(verbs, "delete")
			}
		}
		if err := add(object(o.Manifest).GroupVersionKind(), o.Name().Namespace, o.Name().Name, verbs...); err != nil {
			return nil, err
		}
	}
	for _, h := range holders(p) {
		gvk, err := d.client.GroupVersionKindFor(empty(h))
		if err != nil {
			return nil, fmt.Errorf("finding the kind of %s: %w", h, err)
		}
		if err := add(gvk, h.Namespace, h.Name.Name, "get", "watch", "patch"); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// RightTo is the right to do something with all objects of a kind in a namespace.
func RightTo(c client.Client, verb string, gvk schema.GroupVersionKind, namespace string) (Right, error) {
	m, err := c.RESTMapper().RESTMapping(gvk.GroupKind(), gvk.Version)
	if meta.IsNoMatchError(err) {
		return Right{}, fmt.Errorf("the cluster does not serve %s: %w", gvk.Kind, err)
	}
	if err != nil {
		return Right{}, fmt.Errorf("finding the resource of %s: %w", gvk.Kind, err)
	}
	return Right{Verb: verb, Group: gvk.Group, Resource: m.Resource.Resource, Namespace: namespace}, nil
}

// given asks the API server whether the caller has the right.
func (r Right) given(ctx context.Context, c client.Client) (bool, error) {
	review := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
		"spec": map[string]any{"resourceAttributes": map[string]any{
			"verb": r.Verb, "group": r.Group, "resource": r.Resource, "namespace": r.Namespace, "name": r.Name,
		}},
	}}
	if err := c.Create(ctx, review); err != nil {
		return false, fmt.Errorf("asking for the right to %s: %w", r, err)
	}
	allowed, _, err := unstructured.NestedBool(review.Object, "status", "allowed")
	if err != nil {
		return false, fmt.Errorf("reading whether there is the right to %s: %w", r, err)
	}
	return allowed, nil
}
