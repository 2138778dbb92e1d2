package controllers

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// operation is one of a JSON patch (RFC 6902).
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// update writes what differs between two states of an Address. It is a conflict
// when somebody else has changed whose the address is since the first state was
// read, but not when only its status is another: speakers write that all the
// time, and most of all when a holder goes.
func (l *Ledger) update(ctx context.Context, from, to *v1alpha1.Address) (*v1alpha1.Address, error) {
	patch, err := json.Marshal(updateOf(from, to))
	if err != nil {
		return nil, fmt.Errorf("encoding the update of Address %s: %w", to.Name, err)
	}
	answer := &v1alpha1.Address{ObjectMeta: metav1.ObjectMeta{Name: to.Name}}
	err = l.writer.Patch(ctx, answer, client.RawPatch(types.JSONPatchType, patch), client.FieldOwner(v1alpha1.FieldManager))
	if failedTest(err) {
		err = apierrors.NewConflict(schema.GroupResource{Group: v1alpha1.GroupVersion.Group, Resource: "addresses"}, to.Name, err)
	}
	return answer, err
}

// updateOf tests all that the ledger reads of an Address, then writes what is to
// be. The generation stands for the spec and for the beginning of a deletion; the
// finalizers do not move it and are tested themselves; the UID tells an object
// that was made anew.
func updateOf(from, to *v1alpha1.Address) []operation {
	out := []operation{
		{Op: "test", Path: "/metadata/uid", Value: from.UID},
		{Op: "test", Path: "/metadata/generation", Value: from.Generation},
		{Op: "test", Path: "/metadata/finalizers", Value: listOrNull(from.Finalizers)},
	}
	if !sameSpec(&from.Spec, &to.Spec) {
		out = append(out, operation{Op: "replace", Path: "/spec", Value: to.Spec})
	}
	if !slices.Equal(from.Finalizers, to.Finalizers) {
		out = append(out, operation{Op: "add", Path: "/metadata/finalizers", Value: listOrNull(to.Finalizers)})
	}
	return out
}

// listOrNull gives null for an empty list: the API server keeps no empty one, and
// a test for null is one for there being none.
func listOrNull(in []string) any {
	if len(in) == 0 {
		return nil
	}
	return in
}

// failedTest tells a patch that was not applied, as a test in it failed, from one
// whose result is invalid: only the second names the kind of the object.
func failedTest(err error) bool {
	var status apierrors.APIStatus
	if !apierrors.IsInvalid(err) || !errors.As(err, &status) {
		return false
	}
	details := status.Status().Details
	return details == nil || details.Kind == ""
}
