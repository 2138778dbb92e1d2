package artefacts

import (
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/google/go-cmp/cmp"
)

func object(apiVersion, kind, namespace, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersion)
	o.SetKind(kind)
	o.SetNamespace(namespace)
	o.SetName(name)
	o.SetManagedFields([]metav1.ManagedFieldsEntry{{Manager: "somebody"}})
	return o
}

func pod(namespace, name string, labels map[string]string, restarts int32) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name, UID: types.UID("uid-" + name), Labels: labels},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "main"}}},
		Status:     corev1.PodStatus{ContainerStatuses: []corev1.ContainerStatus{{Name: "main", RestartCount: restarts}}},
	}
}

// kinds are those that the API server of newCollector has.
func kinds() map[schema.GroupVersionResource]string {
	kinds := map[schema.GroupVersionResource]string{
		{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}: "GatewayList",
		{Group: "fairlead.dev", Version: "v1alpha1", Resource: "addresses"}:       "AddressList",
	}
	for _, r := range kubernetesResources {
		kinds[r] = map[string]string{
			"events": "EventList", "namespaces": "NamespaceList", "pods": "PodList", "serviceaccounts": "ServiceAccountList",
			"services": "ServiceList", "daemonsets": "DaemonSetList", "deployments": "DeploymentList", "endpointslices": "EndpointSliceList",
		}[r.Resource]
	}
	return kinds
}

// newCollector sees a cluster with Fairlead, a Gateway and things of others.
func newCollector(t *testing.T) *Collector {
	t.Helper()
	core := fake.NewClientset(
		pod("fairlead-system", "controller", nil, 1),
		pod("fairlead-system", "envoy", map[string]string{gatewayLabel: "gw"}, 0),
		pod("gateway-conformance-infra", "dedicated", map[string]string{gatewayLabel: "gw"}, 0),
		pod("gateway-conformance-infra", "backend", nil, 0),
		pod("shop", "till", nil, 0),
	)
	list := metav1.Verbs{"get", "list"}
	core.Resources = []*metav1.APIResourceList{
		{GroupVersion: "gateway.networking.k8s.io/v1", APIResources: []metav1.APIResource{
			{Name: "gateways", Kind: "Gateway", Verbs: list}, {Name: "gateways/status", Kind: "Gateway", Verbs: metav1.Verbs{"get"}},
		}},
		{GroupVersion: "gateway.networking.k8s.io/v1beta1", APIResources: []metav1.APIResource{{Name: "gateways", Kind: "Gateway", Verbs: list}}},
		{GroupVersion: "fairlead.dev/v1alpha1", APIResources: []metav1.APIResource{{Name: "addresses", Kind: "Address", Verbs: list}}},
		{GroupVersion: "shop.example.com/v1", APIResources: []metav1.APIResource{{Name: "tills", Kind: "Till", Verbs: list}}},
	}
	objects := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), kinds(),
		object("v1", "Namespace", "", "gateway-conformance-infra"),
		object("v1", "Namespace", "", "shop"),
		object("v1", "Service", "fairlead-system", "metrics"),
		object("v1", "Service", "shop", "till"),
	)
	// Given at the start, it would be filed under the plural "gatewaies".
	gateways := schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "gateways"}
	gateway := object("gateway.networking.k8s.io/v1", "Gateway", "shop", "gw")
	if _, err := objects.Resource(gateways).Namespace("shop").Create(t.Context(), gateway, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return &Collector{Namespace: "fairlead-system", objects: objects, discovery: core.Discovery(), core: core}
}

// serveSocket answers as Envoy's admin interface does, on a socket in the volume
// of a pod below root. The path is too long for a socket, as a kubelet's are.
func serveSocket(t *testing.T, root, uid string, handler http.HandlerFunc) {
	t.Helper()
	path := filepath.Join(root, "pods", uid, "volumes", strings.Repeat("kubernetes.io~empty-dir", 5), "run")
	if err := os.MkdirAll(path, 0o755); err != nil {
		t.Fatal(err)
	}
	dir, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	listener, err := net.Listen("unix", fmt.Sprintf("/proc/self/fd/%d/admin.sock", dir.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	// It would be looked for by the short path.
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	server := &http.Server{Handler: handler}
	ended := make(chan struct{})
	go func() { defer close(ended); server.Serve(listener) }()
	t.Cleanup(func() { server.Close(); <-ended })
}

// collected are the files below dir with their texts.
func collected(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

const socketPattern = "pods/*/volumes/*/*/admin.sock"

func TestCollect(t *testing.T) {
	dir, kubelet := t.TempDir(), t.TempDir()
	serveSocket(t, kubelet, "uid-envoy", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.URL.RequestURI()) })
	c := newCollector(t)
	c.EnvoySockets = filepath.Join(kubelet, socketPattern)
	if err := c.Collect(t.Context(), dir, time.Now()); err != nil {
		t.Fatal(err)
	}
	const log = "fake logs" // what the fake client answers
	want := map[string]string{
		"objects/gateways.gateway.networking.k8s.io.yaml":   "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata:\n  name: gw\n  namespace: shop\n",
		"objects/namespaces.yaml":                           "---\napiVersion: v1\nkind: Namespace\nmetadata:\n  name: gateway-conformance-infra\n",
		"objects/services.yaml":                             "---\napiVersion: v1\nkind: Service\nmetadata:\n  name: metrics\n  namespace: fairlead-system\n",
		"logs/fairlead-system.controller.main.log":          log,
		"logs/fairlead-system.controller.main.previous.log": log,
		"logs/fairlead-system.envoy.main.log":               log,
		"logs/gateway-conformance-infra.dedicated.main.log": log,
		"envoy/fairlead-system.envoy.json":                  "/config_dump?include_eds",
	}
	if diff := cmp.Diff(want, collected(t, dir)); diff != "" {
		t.Errorf("what was collected (-want +got):\n%s", diff)
	}
}

// What cannot be had is said, and the rest is there.
func TestCollectWhatCanBeHad(t *testing.T) {
	dir, kubelet := t.TempDir(), t.TempDir()
	serveSocket(t, kubelet, "uid-envoy", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "not now", http.StatusServiceUnavailable) })
	serveSocket(t, kubelet, "uid-dedicated", func(http.ResponseWriter, *http.Request) {})
	c := newCollector(t)
	c.EnvoySockets = filepath.Join(kubelet, socketPattern)
	err := c.Collect(t.Context(), dir, time.Now())
	if err == nil || !strings.Contains(err.Error(), "503") {
		t.Errorf("the error does not say what is missing: %v", err)
	}
	files := collected(t, dir)
	if !strings.Contains(files["missing.txt"], "503") || files["objects/services.yaml"] == "" {
		t.Errorf("missing.txt or objects are not there: %v", files)
	}
	if _, ok := files["envoy/gateway-conformance-infra.dedicated.json"]; !ok {
		t.Errorf("the other Envoy is missing: %v", files)
	}
}
