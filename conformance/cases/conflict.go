package cases

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Listeners of one Gateway that cannot share their port are all conflicted (nobody wins inside one object), and the
// Gateway serves by the one beside them.
var conflict = suite.ConformanceTest{
	ShortName:   "FairleadListenerConflict",
	Description: "Listeners of one Gateway that conflict are told so and hurt no other listener",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute},
	Manifests:   []string{"conflict.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		for name, reason := range map[string]gatewayv1.ListenerConditionReason{
			"http": gatewayv1.ListenerReasonProtocolConflict, "bytes": gatewayv1.ListenerReasonProtocolConflict,
			"one": gatewayv1.ListenerReasonHostnameConflict, "another": gatewayv1.ListenerReasonHostnameConflict,
		} {
			kubernetes.GatewayListenerMustHaveConditions(t, s.Client, s.TimeoutConfig, inInfra("own-conflict"), name, []metav1.Condition{
				{Type: string(gatewayv1.ListenerConditionConflicted), Status: metav1.ConditionTrue, Reason: string(reason)},
			})
		}
		kubernetes.HTTPRouteMustHaveRouteAcceptedConditionsTrue(t, s.Client, s.TimeoutConfig, inInfra("own-conflict"), inInfra("own-conflict"))
		address, err := kubernetes.WaitForGatewayAddress(t, s.Client, s.TimeoutConfig, kubernetes.NewGatewayRef(inInfra("own-conflict"), "good"))
		if err != nil {
			t.Fatalf("waiting for the address of the good listener: %v", err)
		}
		answers(t, s, address, "", "/", 200)
	},
}

// Listeners with TLS whose hostnames overlap are told so and serve: a client may keep a connection for both.
var overlap = suite.ConformanceTest{
	ShortName:   "FairleadOverlappingTLSConfig",
	Description: "Listeners with TLS on one port whose hostnames overlap say so, and others do not",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute},
	Manifests:   []string{"overlap.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		accepted(t, s, "own-overlap")
		for _, name := range []string{"wide", "narrow"} {
			kubernetes.GatewayListenerMustHaveConditions(t, s.Client, s.TimeoutConfig, inInfra("own-overlap"), name, []metav1.Condition{
				// The empty reason is any: both listeners have one certificate, which may be told instead.
				{Type: string(gatewayv1.ListenerConditionOverlappingTLSConfig), Status: metav1.ConditionTrue},
			})
		}
		var gateway gatewayv1.Gateway
		if err := s.Client.Get(t.Context(), inInfra("own-overlap"), &gateway); err != nil {
			t.Fatalf("reading the Gateway: %v", err)
		}
		for _, l := range gateway.Status.Listeners {
			for _, c := range l.Conditions {
				if l.Name == "alone" && c.Type == string(gatewayv1.ListenerConditionOverlappingTLSConfig) {
					t.Errorf("the listener without TLS has the condition %+v", c)
				}
			}
		}
	},
}
