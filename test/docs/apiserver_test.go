package docs

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/apiserver"
)

// Every example is taken by a real API server with our CRDs.
func TestExamplesAreTaken(t *testing.T) {
	config := apiserver.Start(t, apiserver.Options{GatewayAPI: "standard", Flags: apiserver.DualStack})
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
