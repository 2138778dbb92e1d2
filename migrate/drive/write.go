package drive

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/migrate/plan"
)

const owner = client.FieldOwner(plan.FieldManager)

func object(manifest map[string]any) *unstructured.Unstructured {
	return (&unstructured.Unstructured{Object: manifest}).DeepCopy()
}

// apply writes the objects of a plan, in their order. What others own stays theirs.
func (d *Driver) apply(ctx context.Context, p *plan.Plan) error {
	for _, o := range p.Objects {
		if err := d.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object(o.Manifest)), owner); err != nil {
			if apierrors.IsConflict(err) {
				return fmt.Errorf("writing %s %s: somebody else owns fields of it and they differ (%w); nothing of theirs was changed: make them equal, or name another holder", o.Kind(), o.Name(), err)
			}
			return fmt.Errorf("writing %s %s: %w", o.Kind(), o.Name(), err)
		}
	}
	return nil
}

func empty(h plan.Holder) client.Object {
	m := metav1.ObjectMeta{Namespace: h.Namespace, Name: h.Name.Name}
	if h.Kind == plan.Gateway {
		return &gatewayv1.Gateway{ObjectMeta: m}
	}
	return &corev1.Service{ObjectMeta: m}
}

// annotate sets or takes away annotations of one holder, in one write.
func (d *Driver) annotate(ctx context.Context, h plan.Holder, values map[string]any) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": values}})
	if err != nil {
		return fmt.Errorf("writing a patch: %w", err)
	}
	if err := d.client.Patch(ctx, empty(h), client.RawPatch(types.MergePatchType, patch), owner); err != nil {
		return fmt.Errorf("annotating %s: %w", h, err)
	}
	return nil
}

// ask sets the annotations of a plan, or none of them.
func (d *Driver) ask(ctx context.Context, p *plan.Plan) error {
	var asked []plan.Holder
	for _, h := range holders(p) {
		values := map[string]any{}
		for _, a := range p.Annotations {
			switch {
			case a.On != h:
			case a.Value == "":
				values[a.Key] = nil
			default:
				values[a.Key] = a.Value
			}
		}
		if err := d.annotate(ctx, h, values); err != nil {
			for _, other := range asked {
				if again := d.takeBack(ctx, p, other); again != nil {
					return fmt.Errorf("%w; and %s keeps its annotation: %w", err, other, again)
				}
			}
			return err
		}
		asked = append(asked, h)
	}
	return nil
}

// holders are those with annotations of a plan, in its order.
func holders(p *plan.Plan) []plan.Holder {
	var out []plan.Holder
	for _, a := range p.Annotations {
		if !slices.Contains(out, a.On) {
			out = append(out, a.On)
		}
	}
	return out
}

// takeBack takes the annotations of a plan away from a holder.
func (d *Driver) takeBack(ctx context.Context, p *plan.Plan, h plan.Holder) error {
	values := map[string]any{}
	for _, a := range p.Annotations {
		if a.On == h && a.Value != "" {
			values[a.Key] = nil
		}
	}
	return client.IgnoreNotFound(d.annotate(ctx, h, values))
}

// Remove takes away what a plan has made: its new objects, and what it has added to
// one that was there.
func (d *Driver) Remove(ctx context.Context, p *plan.Plan) error {
	for _, o := range slices.Backward(p.Objects) {
		var err error
		switch {
		case o.New:
			err = client.IgnoreNotFound(d.client.Delete(ctx, object(o.Manifest)))
		case o.Before != nil:
			err = d.client.Apply(ctx, client.ApplyConfigurationFromUnstructured(object(o.Before)), owner)
		}
		if err != nil {
			return fmt.Errorf("removing what was made of %s %s: %w", o.Kind(), o.Name(), err)
		}
	}
	return nil
}
