package controllers

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
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
