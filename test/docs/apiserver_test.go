package docs

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/gatewayapi"
)

// Every example is taken by a real API server with our CRDs.
func TestExamplesAreTaken(t *testing.T) {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip("needs kube-apiserver and etcd: set KUBEBUILDER_ASSETS to their folder (`make test` does)")
	}
	crds, err := gatewayapi.CRDs("standard")
	if err != nil {
		t.Fatal(err)
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     append(crds, filepath.Join(chart.Dir(), "files", "crds")),
		ErrorIfCRDPathMissing: true,
	}
	env.ControlPlane.GetAPIServer().Configure().Set("service-cluster-ip-range", "10.96.0.0/16,fd00:96::/112")
	config, err := env.Start()
	if err != nil {
		t.Fatalf("starting an API server: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	examples, err := AllExamples(scheme)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range examples {
		if e.Object != nil {
			take(t, c, e)
		}
	}
}

// take creates an example without keeping it.
func take(t *testing.T, c client.Client, e Example) {
	t.Helper()
	if ns := e.Object.GetNamespace(); ns != "" {
		err := c.Create(t.Context(), &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: ns}})
		if err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatalf("making namespace %s: %v", ns, err)
		}
	}
	err := c.Create(t.Context(), e.Object, client.DryRunAll, client.FieldValidation(metav1.FieldValidationStrict))
	if err != nil && !apierrors.IsAlreadyExists(err) {
		t.Errorf("%s: %s %s is refused: %v", e.Block, e.Object.GetObjectKind().GroupVersionKind().Kind, e.Object.GetName(), err)
	}
}
