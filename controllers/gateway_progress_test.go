package controllers

import (
	"errors"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// What others do at the same time is no error of ours, and is not logged as one.
func TestWhatOthersDoIsNoError(t *testing.T) {
	slices := schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}
	going := apierrors.NewForbidden(slices, "edge", errors.New("the namespace is being terminated"))
	going.ErrStatus.Details.Causes = append(going.ErrStatus.Details.Causes, metav1.StatusCause{Type: corev1.NamespaceTerminatingCause})
	refused := apierrors.NewForbidden(slices, "edge", errors.New("no such right"))
	for _, tt := range []struct {
		what string
		err  error
		want reconcile.Result
		told bool
	}{
		{"a conflict", apierrors.NewConflict(slices, "edge", errors.New("changed")), reconcile.Result{RequeueAfter: conflictPause}, false},
		{"an object that is gone", apierrors.NewNotFound(slices, "edge"), reconcile.Result{RequeueAfter: conflictPause}, false},
		{"a namespace that is being removed", going, reconcile.Result{}, false},
		{"a missing right", refused, reconcile.Result{}, true},
	} {
		got, err := (&gateways{}).lost(fmt.Errorf("writing: %w", tt.err))
		if got != tt.want || (err != nil) != tt.told {
			t.Errorf("%s: %+v, %v; want %+v, told %t", tt.what, got, err, tt.want, tt.told)
		}
	}
}
