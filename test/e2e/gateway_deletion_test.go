//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
)

// In whatever order a person deletes what makes a Gateway, nothing stays: no
// address, no Service, no slice, no Envoy; and nothing hangs on a finalizer.
func TestGatewayIsDeletedInAnyOrder(t *testing.T) {
	w := newWorld(t, "172.30.0.160-172.30.0.169")
	w.backend("echo", 1)
	for _, order := range []string{"class gateway route service", "service route gateway class", "gateway class service route", "route class service gateway"} {
		t.Run(strings.ReplaceAll(order, " ", "-"), func(t *testing.T) { w.deleteGatewayIn(t, strings.Fields(order)) })
	}
}

func (w *world) deleteGatewayIn(t *testing.T, order []string) {
	outer := w.T
	w.T = t
	defer func() { w.T = outer }()
	class := w.class()
	objects := map[string]client.Object{
		"class":   lab.GatewayClass(string(class)),
		"gateway": lab.Gateway(w.namespace, "web", string(class)),
		"route":   w.httpRoute("all", "web", "echo"),
		"service": w.clusterIP("echo", "echo"),
	}
	w.apply(objects["service"], objects["route"])
	a := w.gateway("web", class)[0]
	w.answers(a, 80)
	for _, what := range order {
		if err := w.Client.Delete(w.ctx, objects[what]); err != nil {
			t.Fatalf("deleting the %s: %v", what, err)
		}
	}
	w.await("all to be gone", func(ctx context.Context) error {
		for what, o := range objects {
			if err := w.isGone(ctx, o); err != nil {
				return fmt.Errorf("the %s: %w", what, err)
			}
		}
		front := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: fleet.FrontName("web", string(class))}}
		if err := w.isGone(ctx, front); err != nil {
			return fmt.Errorf("the Gateway's Service: %w", err)
		}
		if slices, err := w.slices(ctx, front.Name); err != nil || len(slices) > 0 {
			return fmt.Errorf("%d slices of the Gateway's Service are left: %w", len(slices), err)
		}
		if o, err := w.address(ctx, a); !apierrors.IsNotFound(err) {
			return fmt.Errorf("address %s is held by %q: %w", a, o.Spec.Summary, err)
		}
		return w.fleetIsGone(ctx, class)
	})
}

func (w *world) isGone(ctx context.Context, o client.Object) error {
	have := o.DeepCopyObject().(client.Object)
	switch err := w.Client.Get(ctx, client.ObjectKeyFromObject(o), have); {
	case apierrors.IsNotFound(err):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("it is still there, with the finalizers %q", have.GetFinalizers())
}

func (w *world) fleetIsGone(ctx context.Context, class gatewayv1.ObjectName) error {
	of := client.MatchingLabels{fleet.FleetLabel: fleet.ID{Class: string(class)}.Name()}
	for _, list := range []client.ObjectList{&appsv1.DaemonSetList{}, &appsv1.DeploymentList{}, &corev1.PodList{}, &corev1.ServiceList{}} {
		if err := w.Client.List(ctx, list, client.InNamespace(lab.Namespace), of); err != nil {
			return err
		}
		raw, err := apimeta.ExtractList(list)
		if err != nil {
			return err
		}
		if len(raw) > 0 {
			return fmt.Errorf("of the fleet, %d of %T are left", len(raw), list)
		}
	}
	return nil
}
