package cases

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Listeners of one Gateway that cannot share their port are both conflicted, and
// the Gateway serves by the one beside them.
var gatewayListenerConflict = suite.ConformanceTest{
	ShortName:   "FairleadGatewayListenerConflict",
	Description: "Listeners of one Gateway that conflict are told so and hurt no other listener",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute},
	Manifests:   []string{"conflict.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		gateway := types.NamespacedName{Namespace: suite.InfrastructureNamespace, Name: "own-conflict"}
		route := types.NamespacedName{Namespace: suite.InfrastructureNamespace, Name: "own-conflict"}
		for _, name := range []string{"http", "bytes"} {
			kubernetes.GatewayListenerMustHaveConditions(t, s.Client, s.TimeoutConfig, gateway, name, []metav1.Condition{
				{Type: string(gatewayv1.ListenerConditionConflicted), Status: metav1.ConditionTrue, Reason: string(gatewayv1.ListenerReasonProtocolConflict)},
			})
		}
		kubernetes.HTTPRouteMustHaveRouteAcceptedConditionsTrue(t, s.Client, s.TimeoutConfig, route, gateway)
		address, err := kubernetes.WaitForGatewayAddress(t, s.Client, s.TimeoutConfig, kubernetes.NewGatewayRef(gateway, "good"))
		if err != nil {
			t.Fatalf("Gateway %s has no address for its good listener: %v", gateway, err)
		}
		http.MakeRequestAndExpectEventuallyConsistentResponse(t, s.RoundTripper, s.TimeoutConfig, address, http.ExpectedResponse{
			Request: http.Request{Path: "/"}, Response: http.Response{StatusCode: 200},
			Backend: "infra-backend-v1", Namespace: suite.InfrastructureNamespace,
		})
	},
}
