package cases

import (
	"testing"

	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/http"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// experimental are the features of cases whose subject has none of its own and is in the experimental channel, as the
// filters of listeners are.
var experimental = []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute, features.SupportGatewayListenerFilters}

// inInfra is the name of an object in the namespace of the suite's backends.
func inInfra(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: suite.InfrastructureNamespace, Name: name}
}

// accepted waits until the Gateway and the HTTPRoute of that name are accepted, and returns where the Gateway serves.
func accepted(t *testing.T, s *suite.ConformanceTestSuite, name string) string {
	t.Helper()
	return kubernetes.GatewayAndRoutesMustBeAccepted(t, s.Client, s.TimeoutConfig, s.ControllerName,
		kubernetes.NewGatewayRef(inInfra(name)), &gatewayv1.HTTPRoute{}, false, inInfra(name))
}

// answers waits until a path is answered with a status; with 200 it is the first backend that answers.
func answers(t *testing.T, s *suite.ConformanceTestSuite, address, host, path string, status int) {
	t.Helper()
	expected := http.ExpectedResponse{
		Request: http.Request{Host: host, Path: path}, Response: http.Response{StatusCode: status}, Namespace: suite.InfrastructureNamespace,
	}
	if status == 200 {
		expected.Backend = "infra-backend-v1"
	}
	http.MakeRequestAndExpectEventuallyConsistentResponse(t, s.RoundTripper, s.TimeoutConfig, address, expected)
}
