package cases

import (
	"net/netip"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/gateway-api/conformance/utils/kubernetes"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// An entry of spec.addresses without a value is a wish for any address.
var anyAddress = suite.ConformanceTest{
	ShortName:   "FairleadIPAddressWithoutValue",
	Description: "A Gateway that asks for an IPAddress without a value gets one and serves at it",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute, features.SupportGatewayStaticAddresses},
	Manifests:   []string{"any-address.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		asks(t, s, "own-any-address", gatewayv1.GatewaySpecAddress{})
		answers(t, s, accepted(t, s, "own-any-address"), "", "/", 200)
	},
}

// GEP-5093: an address of the scope Cluster is the cluster IP of the Gateway's own Service, and the scope is said.
var clusterAddress = suite.ConformanceTest{
	ShortName:   "FairleadAddressRoutabilityCluster",
	Description: "A Gateway that asks for an address inside of the cluster has the cluster IP of its own Service, and none of a pool",
	Features: []features.FeatureName{
		features.SupportGateway, features.SupportGatewayAddressRoutability, features.SupportGatewayAddressRoutabilityCluster,
	},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		name := inInfra("own-cluster-address")
		asks(t, s, name.Name, gatewayv1.GatewaySpecAddress{Routability: gatewayv1.GatewayAddressRoutabilityCluster})
		// The suite's wait for a condition ends at once where the Gateway has none of this generation yet.
		if _, err := kubernetes.WaitForGatewayAddress(t, s.Client, s.TimeoutConfig, kubernetes.NewGatewayRef(name)); err != nil {
			t.Fatalf("waiting for the Gateway's address: %v", err)
		}
		kubernetes.GatewayMustHaveCondition(t, s.Client, s.TimeoutConfig, name, metav1.Condition{
			Type: string(gatewayv1.GatewayConditionProgrammed), Status: metav1.ConditionTrue,
		})
		kubernetes.GatewayMustHaveCondition(t, s.Client, s.TimeoutConfig, name, metav1.Condition{Type: "AddressesAssigned", Status: metav1.ConditionTrue})
		address := onlyAddress(t, s, name)
		if address.Routability == nil || *address.Routability != gatewayv1.GatewayAddressRoutabilityCluster {
			t.Errorf("the address is %+v, want the routability Cluster", address)
		}
		var services corev1.ServiceList
		if err := s.Client.List(t.Context(), &services, client.InNamespace(name.Namespace), client.MatchingLabels{gatewayv1.GatewayNameLabelKey: name.Name}); err != nil {
			t.Fatalf("looking for the Gateway's own Service: %v", err)
		}
		if len(services.Items) != 1 {
			t.Fatalf("the Gateway has %d Services, want one", len(services.Items))
		}
		own := services.Items[0]
		if own.Spec.ClusterIP != address.Value || len(own.Status.LoadBalancer.Ingress) > 0 {
			t.Errorf("the Gateway says %s; its Service has the cluster IP %s, and outside of the cluster %+v", address.Value, own.Spec.ClusterIP, own.Status.LoadBalancer.Ingress)
		}
		if _, err := netip.ParseAddr(address.Value); err != nil {
			t.Errorf("the address is none: %v", err)
		}
	},
}

// ipv6Pool is of conformance/manifests/addresses.yaml. Who has no IPv6 leaves it out.
const ipv6Pool = "conformance-ipv6"

// A Gateway that asks for IPv6 only says an address of that family, and serves at it.
var ipv6Address = suite.ConformanceTest{
	ShortName:   "FairleadIPv6Address",
	Description: "A Gateway whose GatewayConfig asks for IPv6 has one address, of that family, and serves at it",
	Features:    []features.FeatureName{features.SupportGateway, features.SupportHTTPRoute},
	Manifests:   []string{"ipv6.yaml"},
	Test: func(t *testing.T, s *suite.ConformanceTestSuite) {
		pool := &metav1.PartialObjectMetadata{TypeMeta: metav1.TypeMeta{APIVersion: "fairlead.dev/v1alpha1", Kind: "IPAddressPool"}}
		if err := s.Client.Get(t.Context(), client.ObjectKey{Name: ipv6Pool}, pool); apierrors.IsNotFound(err) {
			t.Skipf("there is no pool %s with IPv6 addresses", ipv6Pool)
		} else if err != nil {
			t.Fatalf("looking for the pool %s: %v", ipv6Pool, err)
		}
		address := accepted(t, s, "own-ipv6")
		if ip, err := netip.ParseAddr(address); err != nil || !ip.Is6() {
			t.Errorf("the Gateway serves at %s, want an address of IPv6", address)
		}
		answers(t, s, address, "", "/", 200)
		onlyAddress(t, s, inInfra("own-ipv6"))
	},
}

// onlyAddress is what a Gateway says that it has, which must be one.
func onlyAddress(t *testing.T, s *suite.ConformanceTestSuite, name types.NamespacedName) gatewayv1.GatewayStatusAddress {
	t.Helper()
	var gateway gatewayv1.Gateway
	if err := s.Client.Get(t.Context(), name, &gateway); err != nil {
		t.Fatalf("reading the Gateway: %v", err)
	}
	if len(gateway.Status.Addresses) != 1 {
		t.Fatalf("the Gateway has the addresses %+v, want one", gateway.Status.Addresses)
	}
	return gateway.Status.Addresses[0]
}

// asks makes a Gateway that asks for addresses of the type IPAddress. It stands in no manifest: there the suite puts
// addresses of its own in their place.
func asks(t *testing.T, s *suite.ConformanceTestSuite, name string, addresses ...gatewayv1.GatewaySpecAddress) {
	t.Helper()
	for i := range addresses {
		addresses[i].Type = new(gatewayv1.IPAddressType)
	}
	gateway := &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: suite.InfrastructureNamespace, Name: name},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: gatewayv1.ObjectName(s.GatewayClassName), Addresses: addresses,
			Listeners: []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
	s.Applier.MustApplyObjectsWithCleanup(t, s.Client, s.TimeoutConfig, []client.Object{gateway}, s.CleanupTestResources)
}
