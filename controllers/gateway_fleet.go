package controllers

import (
	"context"
	"fmt"
	"maps"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// runFleets keeps the fleets of a class running, and ends those that no Gateway
// needs any more. It says when to look again: before a certificate ends.
func (g *gateways) runFleets(ctx context.Context, class *gatewayv1.GatewayClass) (time.Time, error) {
	wanted := g.fleetsOf(class.Name)
	var look time.Time
	for _, s := range wanted {
		next, err := g.runFleet(ctx, class, s)
		if err != nil {
			return time.Time{}, err
		}
		look = earliest(look, next)
	}
	select {
	case <-g.opened:
	default:
		return look, nil // which fleets are needed is not known before
	}
	for _, s := range wanted {
		g.feed.Ready(s.fleet.Name())
	}
	return look, g.endFleets(ctx, class.Name, wanted)
}

// runFleet writes the objects of a fleet where they are not what they should be.
func (g *gateways) runFleet(ctx context.Context, class *gatewayv1.GatewayClass, s *serving) (time.Time, error) {
	look, err := g.certify(ctx, s.fleet)
	if err != nil {
		return time.Time{}, err
	}
	objects, err := fleet.Build(s.fleet, s.front.Config, g.fleet, s.front.Infrastructure)
	if err != nil {
		return time.Time{}, err
	}
	sum, err := fingerprint(objects)
	if err != nil {
		return time.Time{}, err
	}
	g.mu.Lock()
	same := g.running[s.fleet.Name()] == sum
	g.mu.Unlock()
	if same {
		return look, nil
	}
	for _, o := range objects.All() {
		if err := g.applyChanged(ctx, class, o); err != nil {
			return time.Time{}, err
		}
	}
	if err := g.dropOthers(ctx, s.fleet, objects); err != nil {
		return time.Time{}, err
	}
	g.mu.Lock()
	g.running[s.fleet.Name()] = sum
	g.mu.Unlock()
	return look, nil
}

// applied is the annotation with the fingerprint of what we last applied, so that
// an object of many fields is compared by one, and defaults of the API server do
// not count.
const applied = "fairlead.dev/applied"

// applyChanged applies an object of a fleet if what we want of it has changed
// since we applied it last.
func (g *gateways) applyChanged(ctx context.Context, class *gatewayv1.GatewayClass, o fleet.Object) error {
	o.SetOwnerReferences(classOwner(class))
	sum, err := fingerprint(o)
	if err != nil {
		return err
	}
	annotations := map[string]string{applied: sum}
	maps.Copy(annotations, o.GetAnnotations())
	o.SetAnnotations(annotations)
	have := g.partial(o)
	err = g.live.Get(ctx, client.ObjectKeyFromObject(o), have)
	switch {
	case err == nil && have.GetAnnotations()[applied] == sum && have.GetDeletionTimestamp() == nil && !touched(have):
		return nil
	case client.IgnoreNotFound(err) != nil:
		return fmt.Errorf("reading %T %s: %w", o, o.GetName(), err)
	}
	if err := g.client.Apply(ctx, applyOf(o), client.FieldOwner(v1alpha1.FieldManager), client.ForceOwnership); err != nil {
		return fmt.Errorf("writing %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// touched tells whether somebody else has written what we apply.
func touched(have client.Object) bool {
	for _, m := range have.GetManagedFields() {
		if m.Manager != v1alpha1.FieldManager && m.Subresource == "" && m.Operation == metav1.ManagedFieldsOperationApply {
			return true
		}
	}
	return false
}

// dropOthers removes the workload that a fleet no longer is.
func (g *gateways) dropOthers(ctx context.Context, id fleet.ID, objects fleet.Objects) error {
	var gone []client.Object
	if objects.DaemonSet == nil {
		gone = append(gone, &appsv1.DaemonSet{})
	}
	if objects.Deployment == nil {
		gone = append(gone, &appsv1.Deployment{})
	}
	if objects.Budget == nil {
		gone = append(gone, &policyv1.PodDisruptionBudget{})
	}
	for _, o := range gone {
		if err := g.drop(ctx, o, id.Name()); err != nil {
			return err
		}
	}
	return nil
}

// drop removes an object of a fleet, if there is one.
func (g *gateways) drop(ctx context.Context, o client.Object, name string) error {
	key := client.ObjectKey{Namespace: g.Namespace, Name: name}
	have := g.partial(o)
	if err := g.live.Get(ctx, key, have); err != nil {
		return client.IgnoreNotFound(err)
	}
	if have.GetLabels()[fleet.FleetLabel] == "" {
		return nil // not ours
	}
	o.SetNamespace(key.Namespace)
	o.SetName(key.Name)
	if err := client.IgnoreNotFound(g.client.Delete(ctx, o)); err != nil {
		return fmt.Errorf("removing %T %s: %w", o, key, err)
	}
	return nil
}

// endFleets removes the fleets of a class that no Gateway needs.
func (g *gateways) endFleets(ctx context.Context, class string, wanted []*serving) error {
	keep := map[string]bool{}
	for _, s := range wanted {
		keep[s.fleet.Name()] = true
	}
	for _, list := range []client.ObjectList{&appsv1.DaemonSetList{}, &appsv1.DeploymentList{}} {
		if err := g.client.List(ctx, list, client.InNamespace(g.Namespace), client.MatchingLabels{gatewayv1.GatewayClassNameLabelKey: fleet.GatewayLabels("", class)[gatewayv1.GatewayClassNameLabelKey]}, client.HasLabels{fleet.FleetLabel}); err != nil {
			return fmt.Errorf("listing the fleets of GatewayClass %s: %w", class, err)
		}
		for _, o := range itemsOf(list) {
			if name := o.GetName(); !keep[name] && o.GetDeletionTimestamp() == nil {
				if err := g.endFleet(ctx, name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (g *gateways) endFleet(ctx context.Context, name string) error {
	for _, o := range []client.Object{
		&appsv1.DaemonSet{}, &appsv1.Deployment{}, &policyv1.PodDisruptionBudget{}, &corev1.Service{}, &corev1.ConfigMap{}, &corev1.ServiceAccount{},
	} {
		if err := g.drop(ctx, o, name); err != nil {
			return err
		}
	}
	g.feed.Forget(name)
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.running, name)
	return nil
}

func itemsOf(list client.ObjectList) []client.Object {
	var out []client.Object
	switch l := list.(type) {
	case *appsv1.DaemonSetList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	case *appsv1.DeploymentList:
		for i := range l.Items {
			out = append(out, &l.Items[i])
		}
	}
	return out
}

// applyOf is an object as a configuration to apply.
func applyOf(o runtime.Object) runtime.ApplyConfiguration {
	return client.ApplyConfigurationFromUnstructured(configOf(o))
}

// configOf is an object without what only the API server writes.
func configOf(o runtime.Object) *unstructured.Unstructured {
	raw, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(err) // a type of ours that is no JSON object
	}
	u := &unstructured.Unstructured{Object: raw}
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	unstructured.RemoveNestedField(u.Object, "metadata", "managedFields")
	unstructured.RemoveNestedField(u.Object, "metadata", "resourceVersion")
	return u
}
