package lab

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// GatewayClass is a class that Fairlead serves.
func GatewayClass(name string) *gatewayv1.GatewayClass {
	return &gatewayv1.GatewayClass{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       gatewayv1.GatewayClassSpec{ControllerName: gateway.ControllerName},
	}
}

// Gateway has one HTTP listener, on port 80.
func Gateway(namespace, name, class string) *gatewayv1.Gateway {
	return &gatewayv1.Gateway{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Spec: gatewayv1.GatewaySpec{
			GatewayClassName: gatewayv1.ObjectName(class),
			Listeners:        []gatewayv1.Listener{{Name: "http", Port: 80, Protocol: gatewayv1.HTTPProtocolType}},
		},
	}
}

// HTTPRoute leads all requests of a Gateway to port 80 of Services.
func HTTPRoute(namespace, name, gatewayName string, services ...string) *gatewayv1.HTTPRoute {
	port := gatewayv1.PortNumber(80)
	r := &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(gatewayName)}}
	rule := gatewayv1.HTTPRouteRule{}
	for _, s := range services {
		ref := gatewayv1.HTTPBackendRef{}
		ref.Name, ref.Port = gatewayv1.ObjectName(s), &port
		rule.BackendRefs = append(rule.BackendRefs, ref)
	}
	r.Spec.Rules = []gatewayv1.HTTPRouteRule{rule}
	return r
}

// GRPCRoute leads all calls for a host to port 80 of a Service.
func GRPCRoute(namespace, name, gatewayName, host, service string) *gatewayv1.GRPCRoute {
	port := gatewayv1.PortNumber(80)
	r := &gatewayv1.GRPCRoute{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	r.Spec.ParentRefs = []gatewayv1.ParentReference{{Name: gatewayv1.ObjectName(gatewayName)}}
	r.Spec.Hostnames = []gatewayv1.Hostname{gatewayv1.Hostname(host)}
	ref := gatewayv1.GRPCBackendRef{}
	ref.Name, ref.Port = gatewayv1.ObjectName(service), &port
	r.Spec.Rules = []gatewayv1.GRPCRouteRule{{BackendRefs: []gatewayv1.GRPCBackendRef{ref}}}
	return r
}

// ClusterIP is a Service inside of the cluster for the pods of a backend.
func ClusterIP(namespace, name, backend string) *corev1.Service {
	s := LoadBalancer(namespace, name, backend)
	s.Spec.Type, s.Spec.AllocateLoadBalancerNodePorts = corev1.ServiceTypeClusterIP, nil
	return s
}
