//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	contourController = "projectcontour.io/gateway-controller"
	// contourOwned is on all that its provisioner makes for a Gateway.
	contourOwned = "projectcontour.io/owning-gateway-name"
)

// A real Contour beside us, with its provisioner. It makes a Service beside each Gateway,
// and asks by spec.loadBalancerIP for what spec.addresses says. Gateways of its class get
// addresses of our pools, those that they ask for or any, are announced, and answer; audit
// names it; and what goes is free again. A Gateway with spec.addresses has its address, and
// Contour serves nothing on it until its spec changes: Contour does not see the status that
// it wrote itself.
func TestContourOnOurAddresses(t *testing.T) {
	builds(t, shared.Cluster.BuildContour)
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	w.apply(lab.Echo(w.namespace, "echo", 2), w.clusterIP("echo", "echo"))
	w.contour()
	class := w.contourClass()
	pinned, free, noted := lab.Gateway(w.namespace, "pinned", class), lab.Gateway(w.namespace, "free", class), lab.Gateway(w.namespace, "noted", class)
	pinned.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType), Value: "172.30.0.195"}}
	noted.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{
		Annotations: map[gatewayv1.AnnotationKey]gatewayv1.AnnotationValue{v1alpha1.AnnotationAddresses: "172.30.0.196"},
	}
	for _, gw := range []*gatewayv1.Gateway{pinned, free, noted} {
		w.apply(gw, lab.HTTPRoute(w.namespace, gw.Name, gw.Name, "echo"))
	}

	w.notSeenByContour("pinned", "172.30.0.195")
	edit(w, pinned, func(gw *gatewayv1.Gateway) {
		gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{Labels: map[gatewayv1.LabelKey]gatewayv1.LabelValue{"look": "again"}}
	})
	given := w.servedByContour("free", "")
	instead := w.servedByContour("noted", "")
	if instead.String() != "172.30.0.196" {
		t.Errorf("the annotation asks for 172.30.0.196, and the Gateway has %s", instead)
	}
	asked := w.servedByContour("pinned", "172.30.0.195")
	if asked.String() != "172.30.0.195" || given == asked || given == instead {
		t.Errorf("the Gateways have %s, %s and %s", asked, given, instead)
	}

	w.plugin().says(0, []string{
		"Gateways: Contour (class " + class + ", 3 Gateways) asks by spec.loadBalancerIP of a Service. It is read as a wish: the Gateway gets the address if a pool has it.",
		"0 of ",
	}, "audit")

	for _, gw := range []*gatewayv1.Gateway{pinned, free, noted} {
		if err := w.Client.Delete(w.ctx, gw); err != nil {
			t.Fatal(err)
		}
	}
	w.areFree(asked, given, instead)
}

// servedByContour waits until a Gateway is programmed, and gives its address, which must
// be one of ours, announced, and answering.
func (w *world) servedByContour(name, asks string) netip.Addr {
	w.Helper()
	a := w.programmedBy("Contour", w.namespace, name)
	s := w.get("envoy-" + name)
	if s.Spec.LoadBalancerIP != asks || s.Spec.LoadBalancerClass != nil || s.Spec.ExternalTrafficPolicy != corev1.ServiceExternalTrafficPolicyLocal {
		w.Errorf("Contour asks otherwise than it did when this was written: %+v", s.Spec)
	}
	if got := lab.Addresses(s); !slices.Equal(got, []netip.Addr{a}) {
		w.Errorf("the Service of Gateway %s has %v, and the Gateway %s", name, got, a)
	}
	w.reaches(a, s.Name, w.namespace)
	return a
}

// notSeenByContour waits until a Gateway shows the address that it asks for, and Contour
// says that it has none; a route that comes then is refused for that.
func (w *world) notSeenByContour(name, address string) {
	w.Helper()
	gw := &gatewayv1.Gateway{}
	w.await("Contour not to see that "+name+" has "+address, func(ctx context.Context) error {
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: w.namespace, Name: name}, gw); err != nil {
			return err
		}
		if len(gw.Status.Addresses) != 1 || gw.Status.Addresses[0].Value != address {
			return fmt.Errorf("its addresses are %+v", gw.Status.Addresses)
		}
		return says(gw.Status.Conditions, string(gatewayv1.GatewayConditionProgrammed), metav1.ConditionFalse, string(gatewayv1.GatewayReasonAddressNotAssigned))
	})
	late := lab.HTTPRoute(w.namespace, name+"-late", name, "echo")
	w.apply(late)
	w.await("Contour to refuse a route of "+name, func(ctx context.Context) error {
		if err := w.Client.Get(ctx, client.ObjectKeyFromObject(late), late); err != nil {
			return err
		}
		if len(late.Status.Parents) == 0 {
			return errors.New("nobody has looked at it")
		}
		return says(late.Status.Parents[0].Conditions, string(gatewayv1.RouteConditionAccepted), metav1.ConditionFalse, "InvalidGateway")
	})
	w.announcer(mustAddr(address), "any node", anyNode) // it is ours to give, and given
}

// says is an error unless there is such a condition.
func says(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, reason string) error {
	for _, c := range conditions {
		if c.Type == kind && c.Status == status && c.Reason == reason {
			return nil
		}
	}
	return fmt.Errorf("there is no %s=%s (%s) among %+v", kind, status, reason, conditions)
}

// contour installs the provisioner of Contour in the world's namespace.
func (w *world) contour() {
	w.Helper()
	crds, err := w.Cluster.LoadContour(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.kinds(crds)
	account := metav1.ObjectMeta{Namespace: w.namespace, Name: "contour-gateway-provisioner"}
	labels := map[string]string{"control-plane": account.Name}
	rights := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	provisioner := &appsv1.Deployment{ObjectMeta: account, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Replicas: new(int32(1)),
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				ServiceAccountName: account.Name,
				Containers: []corev1.Container{{
					Name: "provisioner", Image: testbed.ContourImage, ImagePullPolicy: corev1.PullNever, Command: []string{"contour"},
					Args: []string{"gateway-provisioner", "--metrics-addr=127.0.0.1:8080", "--envoy-image=" + testbed.EnvoyImage},
				}},
			},
		},
	}}
	w.apply(&corev1.ServiceAccount{ObjectMeta: account}, rights, provisioner)
	w.Cleanup(func() {
		if err := w.Client.Delete(context.Background(), rights); err != nil {
			w.Errorf("removing the rights of Contour: %v", err)
		}
	})
	if err := w.AwaitReady(w.ctx, w.namespace, account.Name); err != nil {
		w.Fatal(err)
	}
}

// contourClass makes a class of Contour, with one Contour and one Envoy for each Gateway,
// which goes after them.
func (w *world) contourClass() string {
	w.Helper()
	one := map[string]any{"replicas": int64(1)}
	parameters := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "projectcontour.io/v1alpha1", "kind": "ContourDeployment",
		"metadata": map[string]any{"namespace": w.namespace, "name": "one"},
		"spec": map[string]any{
			"contour": map[string]any{"deployment": one},
			"envoy":   map[string]any{"workloadType": "Deployment", "deployment": one},
		},
	}}
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-contour"}}
	class.Spec.ControllerName = contourController
	class.Spec.ParametersRef = &gatewayv1.ParametersReference{
		Group: "projectcontour.io", Kind: "ContourDeployment", Namespace: new(gatewayv1.Namespace(w.namespace)), Name: "one",
	}
	w.apply(parameters, class)
	w.Cleanup(func() { w.withContours(class) })
	return class.Name
}

// withContours removes a class after its Gateways and what the provisioner made for them
// outside of the namespace: it has no finalizer, and looks only at Gateways of a class
// that is there.
func (w *world) withContours(class *gatewayv1.GatewayClass) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := w.Client.DeleteAllOf(ctx, &gatewayv1.Gateway{}, client.InNamespace(w.namespace)); err != nil {
		w.Errorf("removing the Gateways of %s: %v", w.namespace, err)
	}
	err := lab.Await(ctx, time.Minute, "the rights of all Contours to be gone", func(ctx context.Context) error {
		var roles rbacv1.ClusterRoleList
		var bindings rbacv1.ClusterRoleBindingList
		for _, list := range []client.ObjectList{&roles, &bindings} {
			if err := w.Client.List(ctx, list, client.HasLabels{contourOwned}); err != nil {
				return err
			}
		}
		if n := len(roles.Items) + len(bindings.Items); n > 0 {
			return fmt.Errorf("%d are there", n)
		}
		return nil
	})
	if err != nil {
		w.Error(err)
	}
	if err := w.Client.Delete(ctx, class); err != nil {
		w.Errorf("removing the GatewayClass: %v", err)
	}
}
