//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	envoyGatewayController = "gateway.envoyproxy.io/gatewayclass-controller"
	// envoyGatewayPort is where its Envoys ask it for their configuration.
	envoyGatewayPort = 18000

	// envoyGatewayConfig is its default but for its image, under the name that our
	// nodes have it, and for what its chart would have to install besides.
	envoyGatewayConfig = `
apiVersion: gateway.envoyproxy.io/v1alpha1
kind: EnvoyGateway
gateway:
  controllerName: ` + envoyGatewayController + `
provider:
  type: Kubernetes
  kubernetes:
    shutdownManager: {image: ` + testbed.EnvoyGatewayImage + `}
    proxyTopologyInjector: {disabled: true}
    leaderElection: {disable: true}
logging: {level: {default: info}}
`
)

// A real Envoy Gateway beside us. It makes a Service in its own namespace for each
// Gateway, and asks by spec.externalIPs for what spec.addresses says. Gateways of its
// class get addresses of our pools, those that they ask for or any, are announced, and
// answer, as Gateways of ours do; audit names it; and what goes is free again.
func TestEnvoyGatewayOnOurAddresses(t *testing.T) {
	builds(t, shared.Cluster.BuildEnvoyGateway)
	w := newWorld(t, "172.30.0.180-172.30.0.189", "fd00:30::180-fd00:30::189")
	shop := w.namespace + "-shop" // which our pool does not admit: it need not
	w.alsoNamespace(shop)
	w.apply(
		lab.Echo(shop, "echo", 2), lab.ClusterIP(shop, "echo", "echo"), lab.Echo(w.namespace, "echo", 1), w.clusterIP("echo", "echo"),
		w.httpRoute("ours", "ours", "echo"), lab.Gateway(w.namespace, "ours", string(w.class())),
	)
	w.envoyGateway()
	class := w.envoyGatewayClass(shop)
	pinned, free, noted := lab.Gateway(shop, "pinned", class), lab.Gateway(shop, "free", class), lab.Gateway(shop, "noted", class)
	pinned.Spec.Addresses = []gatewayv1.GatewaySpecAddress{{Type: new(gatewayv1.IPAddressType), Value: "172.30.0.185"}}
	w.apply(envoyProxy(shop, "noted", map[string]any{v1alpha1.AnnotationAddresses: "172.30.0.186"}))
	noted.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{
		ParametersRef: &gatewayv1.LocalParametersReference{Group: "gateway.envoyproxy.io", Kind: "EnvoyProxy", Name: "noted"},
	}
	for _, gw := range []*gatewayv1.Gateway{pinned, free, noted} {
		w.apply(gw, lab.HTTPRoute(shop, gw.Name, gw.Name, "echo"))
	}
	ours := w.programmed("ours")[0]

	asked := w.servedByEnvoyGateway(shop, "pinned", func(s *corev1.Service) bool {
		return slices.Equal(s.Spec.ExternalIPs, []string{"172.30.0.185"})
	})
	if asked.String() != "172.30.0.185" {
		t.Errorf("the Gateway asks for 172.30.0.185 and has %s", asked)
	}
	given := w.servedByEnvoyGateway(shop, "free", func(s *corev1.Service) bool { return len(s.Spec.ExternalIPs) == 0 })
	if given == asked || given == ours {
		t.Errorf("the Gateways have %s, %s and %s (ours)", asked, given, ours)
	}
	instead := w.servedByEnvoyGateway(shop, "noted", func(s *corev1.Service) bool {
		return s.Annotations[v1alpha1.AnnotationAddresses] == "172.30.0.186"
	})
	if instead.String() != "172.30.0.186" {
		t.Errorf("the annotation asks for 172.30.0.186, and the Gateway has %s", instead)
	}
	w.answers(ours, 80)

	w.plugin().says(0, []string{
		"Gateways: Envoy Gateway (class " + class + ", 3 Gateways) asks by spec.externalIPs of a Service. Addresses in a pool are read as wishes and announced.",
		"spec.externalIPs", asked.String(), "0 of ",
	}, "audit")

	for _, gw := range []*gatewayv1.Gateway{pinned, free, noted} {
		if err := w.Client.Delete(w.ctx, gw); err != nil {
			t.Fatal(err)
		}
	}
	w.areFree(asked, given, instead)
	w.answers(ours, 80)
}

// areFree waits until nobody has the addresses, and sees that nobody answers for them.
func (w *world) areFree(addresses ...netip.Addr) {
	w.Helper()
	for _, a := range addresses {
		w.await(a.String()+" to be free", func(ctx context.Context) error {
			o, err := w.address(ctx, a)
			switch {
			case apierrors.IsNotFound(err):
				return nil
			case err != nil:
				return err
			}
			return fmt.Errorf("the ledger has %+v", o.Spec)
		})
		if macs, err := w.whoHas(w.ctx, a); err != nil || len(macs) > 0 {
			w.Errorf("%v answer for %s still (%v)", macs, a, err)
		}
	}
}

// servedByEnvoyGateway waits until a Gateway is programmed, and gives its address, which
// must be one of ours, announced, and answering.
func (w *world) servedByEnvoyGateway(namespace, name string, asks func(*corev1.Service) bool) netip.Addr {
	w.Helper()
	a := w.programmedBy("Envoy Gateway", namespace, name)
	var services corev1.ServiceList
	err := w.Client.List(w.ctx, &services, client.InNamespace(w.namespace), client.MatchingLabels{"gateway.envoyproxy.io/owning-gateway-name": name})
	if err != nil || len(services.Items) != 1 {
		w.Fatalf("Gateway %s has the Services %+v (%v)", name, services.Items, err)
	}
	if s := &services.Items[0]; !asks(s) || s.Spec.LoadBalancerClass != nil {
		w.Errorf("Envoy Gateway asks otherwise than it did when this was written: %+v", s.Spec)
	}
	w.reaches(a, services.Items[0].Name, namespace)
	return a
}

// programmedBy waits until a Gateway of another implementation is programmed, with one
// address.
func (w *world) programmedBy(who, namespace, name string) netip.Addr {
	w.Helper()
	gw := &gatewayv1.Gateway{}
	w.await(who+" to have programmed "+name, func(ctx context.Context) error {
		if err := w.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: name}, gw); err != nil {
			return err
		}
		for _, c := range gw.Status.Conditions {
			if c.Type == string(gatewayv1.GatewayConditionProgrammed) && c.Status == metav1.ConditionTrue && len(gw.Status.Addresses) == 1 {
				return nil
			}
		}
		return fmt.Errorf("its status is %+v", gw.Status)
	})
	return mustAddr(gw.Status.Addresses[0].Value)
}

// reaches waits until an address that a Service of the world's namespace holds is
// announced, by one node, and leads to echo in a namespace.
func (w *world) reaches(a netip.Addr, service, namespace string) {
	w.Helper()
	w.announcer(a, "any node", anyNode)
	w.oneAnswer(a)
	if o, err := w.address(w.ctx, a); err != nil || o.Spec.Summary != "Service "+w.namespace+"/"+service {
		w.Errorf("the ledger says of %s: %+v, %v", a, o.Spec, err)
	}
	if got := w.answers(a, 80); !strings.HasPrefix(got.Pod, "echo-") || got.Namespace != namespace {
		w.Errorf("%s was answered by %+v", a, got)
	}
}

// envoyGateway installs Envoy Gateway in the world's namespace: what its chart installs,
// as little of it as serves.
func (w *world) envoyGateway() {
	w.Helper()
	program, crds, err := w.Cluster.LoadEnvoyGateway(w.ctx)
	if err != nil {
		w.Fatal(err)
	}
	w.kinds(crds)
	certificates := exec.CommandContext(w.ctx, program, "certgen", "--disable-topology-injector")
	certificates.Env = append(os.Environ(), "KUBECONFIG="+w.Cluster.Kubeconfig(), "ENVOY_GATEWAY_NAMESPACE="+w.namespace)
	if out, err := certificates.CombinedOutput(); err != nil {
		w.Fatalf("making the certificates of Envoy Gateway: %v\n%s", err, out)
	}
	account := metav1.ObjectMeta{Namespace: w.namespace, Name: "envoy-gateway"}
	rights := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: account.Namespace, Name: account.Name}},
	}
	w.apply(
		&corev1.ServiceAccount{ObjectMeta: account}, rights,
		&corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "envoy-gateway-config"}, Data: map[string]string{"envoy-gateway.yaml": envoyGatewayConfig}},
		&corev1.Service{ObjectMeta: account, Spec: corev1.ServiceSpec{
			Selector: map[string]string{"control-plane": "envoy-gateway"},
			Ports:    []corev1.ServicePort{{Name: "grpc", Port: envoyGatewayPort}},
		}},
		envoyGatewayDeployment(account),
	)
	w.Cleanup(func() {
		if err := w.Client.Delete(context.Background(), rights); err != nil {
			w.Errorf("removing the rights of Envoy Gateway: %v", err)
		}
	})
	if err := w.AwaitReady(w.ctx, w.namespace, "envoy-gateway"); err != nil {
		w.Fatal(err)
	}
}

// kinds installs CRDs that go with the world.
func (w *world) kinds(manifest []byte) {
	w.Helper()
	file := filepath.Join(w.TempDir(), "crds.yaml")
	if err := os.WriteFile(file, manifest, 0o600); err != nil {
		w.Fatal(err)
	}
	if _, err := w.Cluster.Kubectl(w.ctx, "apply", "--server-side", "--filename="+file); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		if _, err := w.Cluster.Kubectl(context.Background(), "delete", "--ignore-not-found", "--timeout=60s", "--filename="+file); err != nil {
			w.Error(err)
		}
	})
	if _, err := w.Cluster.Kubectl(w.ctx, "wait", "--for=condition=Established", "--timeout=60s", "--filename="+file); err != nil {
		w.Fatal(err)
	}
}

func envoyGatewayDeployment(meta metav1.ObjectMeta) *appsv1.Deployment {
	labels := map[string]string{"control-plane": "envoy-gateway"}
	check := func(path string) *corev1.Probe {
		return &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromInt32(8081)}}}
	}
	return &appsv1.Deployment{ObjectMeta: meta, Spec: appsv1.DeploymentSpec{
		Selector: &metav1.LabelSelector{MatchLabels: labels},
		Replicas: new(int32(1)),
		Template: corev1.PodTemplateSpec{
			ObjectMeta: metav1.ObjectMeta{Labels: labels},
			Spec: corev1.PodSpec{
				ServiceAccountName: meta.Name,
				Volumes: []corev1.Volume{
					{Name: "config", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: "envoy-gateway-config"}}}},
					{Name: "certs", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "envoy-gateway"}}},
					{Name: "wasm", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
				},
				Containers: []corev1.Container{{
					Name: "envoy-gateway", Image: testbed.EnvoyGatewayImage, ImagePullPolicy: corev1.PullNever,
					Args:           []string{"server", "--config-path=/config/envoy-gateway.yaml"},
					Env:            []corev1.EnvVar{{Name: "ENVOY_GATEWAY_NAMESPACE", Value: meta.Namespace}, {Name: "KUBERNETES_CLUSTER_DOMAIN", Value: "cluster.local"}},
					ReadinessProbe: check("/readyz"),
					VolumeMounts: []corev1.VolumeMount{
						{Name: "config", MountPath: "/config", ReadOnly: true}, {Name: "certs", MountPath: "/certs", ReadOnly: true}, {Name: "wasm", MountPath: "/var/lib/eg/wasm"},
					},
				}},
			},
		},
	}}
}

// envoyProxy are parameters of Envoy Gateway: the Envoy that our nodes have, and
// annotations for the Service. All else is as it comes, externalTrafficPolicy: Local too,
// but that no test waits for probes and for the end of Envoys.
func envoyProxy(namespace, name string, annotations map[string]any) *unstructured.Unstructured {
	container := func(name string) map[string]any {
		return map[string]any{"name": name, "startupProbe": map[string]any{"periodSeconds": int64(1)}, "readinessProbe": map[string]any{"periodSeconds": int64(1)}}
	}
	pod := map[string]any{"spec": map[string]any{"containers": []any{container("envoy"), container("shutdown-manager")}}}
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "gateway.envoyproxy.io/v1alpha1", "kind": "EnvoyProxy",
		"metadata": map[string]any{"namespace": namespace, "name": name},
		"spec": map[string]any{
			"shutdown": map[string]any{"drainTimeout": "1s", "minDrainDuration": "1s"},
			"provider": map[string]any{"type": "Kubernetes", "kubernetes": map[string]any{
				"envoyDeployment": map[string]any{
					"container": map[string]any{"image": testbed.EnvoyImage},
					"patch":     map[string]any{"type": "StrategicMerge", "value": map[string]any{"spec": map[string]any{"template": pod}}},
				},
				"envoyService": map[string]any{"annotations": annotations},
			}},
		},
	}}
}

// envoyGatewayClass makes a class of Envoy Gateway, which goes with its Gateways.
func (w *world) envoyGatewayClass(namespaces ...string) string {
	w.Helper()
	w.apply(envoyProxy(w.namespace, "proxy", map[string]any{}))
	class := &gatewayv1.GatewayClass{ObjectMeta: metav1.ObjectMeta{Name: w.namespace + "-envoy"}}
	class.Spec.ControllerName = envoyGatewayController
	class.Spec.ParametersRef = &gatewayv1.ParametersReference{
		Group: "gateway.envoyproxy.io", Kind: "EnvoyProxy", Namespace: new(gatewayv1.Namespace(w.namespace)), Name: "proxy",
	}
	w.apply(class)
	w.Cleanup(func() { w.withGateways(class, namespaces...) })
	return class.Name
}

// withGateways removes a class after its Gateways, while its controller runs: it takes
// the finalizer away.
func (w *world) withGateways(class *gatewayv1.GatewayClass, namespaces ...string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, namespace := range namespaces {
		if err := w.Client.DeleteAllOf(ctx, &gatewayv1.Gateway{}, client.InNamespace(namespace)); err != nil {
			w.Errorf("removing the Gateways of %s: %v", namespace, err)
		}
	}
	if err := w.Client.Delete(ctx, class); err != nil {
		w.Errorf("removing the GatewayClass: %v", err)
	}
	if err := lab.Await(ctx, time.Minute, "the GatewayClass to be gone", func(ctx context.Context) error { return w.isGone(ctx, class) }); err != nil {
		w.Error(err)
	}
}
