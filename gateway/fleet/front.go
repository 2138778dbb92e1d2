package fleet

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// Front is what a Gateway has in its own namespace: a Service without a selector
// that holds its addresses, with EndpointSlices that lead to Envoys; or, while it
// has no valid listener and so no port, a ServiceAccount that stands for it.
type Front struct {
	Gateway gateway.Name
	UID     types.UID
	Class   string
	// Fleet are the Envoys that serve it.
	Fleet ID
	Ports []FrontPort
	// Families of the Service; empty: what the API server gives it.
	Families []corev1.IPFamily
	// Infrastructure is the Gateway's spec.infrastructure.
	Infrastructure Metadata
	Config         Config
}

// FrontPort is a port of a Gateway.
type FrontPort struct {
	Number    uint16
	Transport gateway.Transport
	// Envoy is the port of the Envoys on which they serve it.
	Envoy uint16
	// Name of the port in the Service; empty: tcp-80, udp-53.
	Name string
}

func (p FrontPort) name() string {
	if p.Name != "" {
		return p.Name
	}
	return fmt.Sprintf("%s-%d", strings.ToLower(string(p.Transport)), p.Number)
}

// Name is the name of the Service or ServiceAccount.
func (f Front) Name() string { return FrontName(f.Gateway.Name, f.Class) }

// Service holds the Gateway's addresses. Without ports there is none: nil.
func (f Front) Service() *corev1.Service {
	if len(f.Ports) == 0 {
		return nil
	}
	meta := f.meta()
	annotations := maps.Clone(f.Config.ServiceAnnotations)
	maps.Copy(ensure(&annotations), meta.Annotations)
	if len(annotations) > 0 {
		meta.Annotations = annotations
	}
	class := LoadBalancerClass
	s := &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta,
		Spec: corev1.ServiceSpec{
			Type: corev1.ServiceTypeLoadBalancer, LoadBalancerClass: &class, AllocateLoadBalancerNodePorts: new(false),
			ExternalTrafficPolicy: f.Config.TrafficPolicy, IPFamilies: f.Families, IPFamilyPolicy: policyOf(f.Families),
		},
	}
	s.Spec.LoadBalancerSourceRanges = sourceRanges(f.Config.SourceRanges)
	for _, p := range f.ports() {
		s.Spec.Ports = append(s.Spec.Ports, corev1.ServicePort{
			Name: p.name(), Port: int32(p.Number), Protocol: corev1.Protocol(p.Transport),
			// Nobody reads it to forward: it is where the Envoy's port is kept.
			TargetPort: intstr.FromInt32(int32(p.Envoy)),
		})
	}
	return s
}

// sourceRanges are the ranges of a Service. kube-proxy looks at those of the
// address's own family only, and where there is none of that it lets everybody in;
// so a family without a range gets one that no client is in.
func sourceRanges(ranges []netip.Prefix) []string {
	if len(ranges) == 0 {
		return nil
	}
	var out []string
	v4, v6 := false, false
	for _, r := range ranges {
		out = append(out, r.String())
		v4, v6 = v4 || r.Addr().Is4(), v6 || r.Addr().Is6()
	}
	if !v4 {
		out = append(out, "255.255.255.255/32")
	}
	if !v6 {
		out = append(out, "::/128")
	}
	return out
}

// ServiceAccount stands for a Gateway without ports, so that there is an object
// with its labels. With ports there is none: nil.
func (f Front) ServiceAccount() *corev1.ServiceAccount {
	if len(f.Ports) > 0 {
		return nil
	}
	return &corev1.ServiceAccount{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ServiceAccount"},
		ObjectMeta: f.meta(), AutomountServiceAccountToken: new(false),
	}
}

// PortsOf reads back from a Service which ports of Envoy its Gateway has.
func PortsOf(s *corev1.Service) []FrontPort {
	var out []FrontPort
	for _, p := range s.Spec.Ports {
		if envoy := p.TargetPort.IntVal; p.TargetPort.Type == intstr.Int && envoy >= FirstPort && envoy <= LastPort {
			out = append(out, FrontPort{Number: uint16(p.Port), Transport: gateway.Transport(p.Protocol), Envoy: uint16(envoy), Name: p.Name})
		}
	}
	return out
}

func (f Front) meta() metav1.ObjectMeta {
	labels := maps.Clone(f.Infrastructure.Labels)
	maps.Copy(ensure(&labels), GatewayLabels(f.Gateway.Name, f.Class))
	labels["app.kubernetes.io/managed-by"] = Manager
	return metav1.ObjectMeta{
		Namespace: f.Gateway.Namespace, Name: f.Name(), Labels: labels,
		Annotations: maps.Clone(f.Infrastructure.Annotations),
		// Kubernetes removes it with the Gateway, also while nobody else does.
		OwnerReferences: []metav1.OwnerReference{{
			APIVersion: gatewayv1.GroupVersion.String(), Kind: "Gateway", Name: f.Gateway.Name, UID: f.UID, Controller: new(true),
		}},
	}
}

// ports are sorted, so that the order that they came in does not matter.
func (f Front) ports() []FrontPort {
	return slices.SortedFunc(slices.Values(f.Ports), func(a, b FrontPort) int {
		if a.Number != b.Number {
			return int(a.Number) - int(b.Number)
		}
		return strings.Compare(string(a.Transport), string(b.Transport))
	})
}

func policyOf(families []corev1.IPFamily) *corev1.IPFamilyPolicy {
	switch len(families) {
	case 0:
		return nil
	case 1:
		return new(corev1.IPFamilyPolicySingleStack)
	default:
		return new(corev1.IPFamilyPolicyRequireDualStack)
	}
}

// ensure makes a map where there is none.
func ensure(m *map[string]string) map[string]string {
	if *m == nil {
		*m = map[string]string{}
	}
	return *m
}
