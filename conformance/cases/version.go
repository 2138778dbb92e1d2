package cases

import (
	"context"
	"fmt"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// GEP-922: an implementation says which CRDs it is made for, and may serve on best effort by others.
var unsupportedVersion = suite.ConformanceTest{
	ShortName:   "FairleadUnsupportedVersion",
	Description: "With a CRD of another version the GatewayClass says so, and its Gateways serve on",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute},
	Manifests:   []string{"version.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address := accepted(t, s, "own-version")
		answers(t, s, address, "", "/", 200)
		supported(t, s, metav1.ConditionTrue, gatewayv1.GatewayClassReasonSupportedVersion)
		restore := func() { versioned(t, s, consts.BundleVersion) }
		t.Cleanup(restore)
		versioned(t, s, "v1.99.0")
		supported(t, s, metav1.ConditionFalse, gatewayv1.GatewayClassReasonUnsupportedVersion)
		accepted(t, s, "own-version")
		answers(t, s, address, "", "/", 200)
		restore()
		supported(t, s, metav1.ConditionTrue, gatewayv1.GatewayClassReasonSupportedVersion)
	},
}

// versioned has the CRD of HTTPRoutes say that it is of a version, also when the test is over.
func versioned(t *testing.T, s *suite.ConformanceTestSuite, version string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), s.TimeoutConfig.CreateTimeout)
	defer cancel()
	crd := &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apiextensions.k8s.io/v1", Kind: "CustomResourceDefinition"},
		ObjectMeta: metav1.ObjectMeta{Name: "httproutes." + gatewayv1.GroupName},
	}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, consts.BundleVersionAnnotation, version)
	if err := s.Client.Patch(ctx, crd, client.RawPatch(types.MergePatchType, patch)); err != nil {
		t.Fatalf("having the CRD %s say that it is of version %s: %v", crd.Name, version, err)
	}
}

// supported waits until the GatewayClass says this of the CRDs, and goes on to be accepted.
func supported(t *testing.T, s *suite.ConformanceTestSuite, status metav1.ConditionStatus, reason gatewayv1.GatewayClassConditionReason) {
	t.Helper()
	var problem error
	says := func(ctx context.Context) (bool, error) {
		var class gatewayv1.GatewayClass
		if problem = s.Client.Get(ctx, types.NamespacedName{Name: s.GatewayClassName}, &class); problem != nil {
			return false, nil
		}
		c := meta.FindStatusCondition(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusSupportedVersion))
		if c == nil || c.Status != status || c.Reason != string(reason) || !meta.IsStatusConditionTrue(class.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)) {
			problem = fmt.Errorf("its conditions are %+v", class.Status.Conditions)
		}
		return problem == nil, nil
	}
	if err := wait.PollUntilContextTimeout(t.Context(), s.TimeoutConfig.DefaultPollInterval, s.TimeoutConfig.GWCMustBeAccepted, true, says); err != nil {
		t.Fatalf("waiting for GatewayClass %s, accepted, to say SupportedVersion=%s with the reason %s: %v: %v", s.GatewayClassName, status, reason, err, problem)
	}
}
