package controllers

import apierrors "k8s.io/apimachinery/pkg/api/errors"

// quiet drops errors after which an event brings the matter up again: somebody
// else's write came first, or the object is gone.
func quiet(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
