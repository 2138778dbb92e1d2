package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// quiet drops errors after which an event brings the matter up again: somebody
// else's write came first, or the object is gone.
func quiet(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// patchStatus writes what differs between two states of an object's status, bound
// to the resourceVersion of the first: nothing of others is lost.
func (s *shell) patchStatus(ctx context.Context, before, after client.Object) error {
	return s.client.Status().Patch(ctx, after, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}), client.FieldOwner(v1alpha1.FieldManager))
}

// restate does the same for a status whose fields are lists and plain values, each of
// which is written as a whole. It compares and encodes nothing but the status, and the
// answer is not read: both cost more than all else, with the rest of a large object.
func (s *shell) restate(ctx context.Context, o client.Object, before, after any) error {
	patch, err := restatement(o.GetResourceVersion(), before, after)
	if err != nil {
		return err
	}
	kind, err := s.client.GroupVersionKindFor(o)
	if err != nil {
		return fmt.Errorf("finding the kind of a status: %w", err)
	}
	answer := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: o.GetNamespace(), Name: o.GetName()}}
	answer.SetGroupVersionKind(kind)
	return s.client.Status().Patch(ctx, answer, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
}

// restatement is a merge patch of the fields of a status that differ.
func restatement(resourceVersion string, before, after any) ([]byte, error) {
	had, err := fieldsOf(before)
	if err != nil {
		return nil, err
	}
	has, err := fieldsOf(after)
	if err != nil {
		return nil, err
	}
	for name, value := range had {
		if next, ok := has[name]; !ok {
			has[name] = json.RawMessage("null")
		} else if bytes.Equal(value, next) {
			delete(has, name)
		}
	}
	return json.Marshal(map[string]any{"metadata": map[string]string{"resourceVersion": resourceVersion}, "status": has})
}

func fieldsOf(status any) (map[string]json.RawMessage, error) {
	whole, err := json.Marshal(status)
	if err != nil {
		return nil, fmt.Errorf("encoding a status: %w", err)
	}
	out := map[string]json.RawMessage{}
	if err := json.Unmarshal(whole, &out); err != nil {
		return nil, fmt.Errorf("encoding a status: %w", err)
	}
	return out, nil
}
