package cases

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// GEP-5075: authorities of a ClusterTrustBundle count as those of a ConfigMap do, its changes are followed, and without
// it nothing passes.
var trustBundle = suite.ConformanceTest{
	ShortName:   "FairleadClusterTrustBundle",
	Description: "A BackendTLSPolicy takes authorities from a ClusterTrustBundle, and fails closed without it",
	Features: []features.FeatureName{
		features.SupportGateway, features.SupportHTTPRoute, features.SupportBackendTLSPolicy, features.SupportClusterTrustBundle,
	},
	Manifests: []string{"trust.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		address := accepted(t, s, "own-trust")
		policy, gateway := inInfra("own-trust"), inInfra("own-trust")
		answersTrusted := func(status int) {
			t.Helper()
			http.MakeRequestAndExpectEventuallyConsistentResponse(t, s.RoundTripper, s.TimeoutConfig, address, http.ExpectedResponse{
				Request: http.Request{Host: "abc.example.com", Path: "/"}, Response: http.Response{StatusCode: status}, Namespace: suite.InfrastructureNamespace,
			})
		}
		invalid := metav1.Condition{
			Type: string(gatewayv1.BackendTLSPolicyConditionResolvedRefs), Status: metav1.ConditionFalse, Reason: string(gatewayv1.BackendTLSPolicyReasonInvalidCACertificateRef),
		}
		kubernetes.BackendTLSPolicyMustHaveCondition(t, s.Client, s.TimeoutConfig, policy, gateway, invalid)
		answersTrusted(503)

		authorities, err := kubernetes.GetConfigMapData(s.Client, s.TimeoutConfig, inInfra("tls-checks-ca-certificate"))
		if err != nil {
			t.Fatalf("reading the suite's authority: %v", err)
		}
		bundle := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"trustBundle": authorities["ca.crt"]}}}
		bundle.SetAPIVersion("certificates.k8s.io/v1")
		bundle.SetKind("ClusterTrustBundle")
		bundle.SetName("own-trust")
		s.Applier.MustApplyObjectsWithCleanup(t, s.Client, s.TimeoutConfig, []client.Object{bundle}, s.CleanupTestResources)
		kubernetes.BackendTLSPolicyMustHaveCondition(t, s.Client, s.TimeoutConfig, policy, gateway, metav1.Condition{
			Type: string(gatewayv1.BackendTLSPolicyConditionResolvedRefs), Status: metav1.ConditionTrue, Reason: string(gatewayv1.BackendTLSPolicyReasonResolvedRefs),
		})
		answersTrusted(200)

		if err := s.Client.Delete(t.Context(), bundle); err != nil {
			t.Fatalf("removing the ClusterTrustBundle: %v", err)
		}
		kubernetes.BackendTLSPolicyMustHaveCondition(t, s.Client, s.TimeoutConfig, policy, gateway, invalid)
		answersTrusted(503)
	},
}
