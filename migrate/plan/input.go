package plan

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
)

// Input is all that a Plan follows from. Nothing in it is modified.
type Input struct {
	// From has the address, To is to have it.
	From, To Holder
	Options  Options
	Cluster  Cluster
}

// Options are what people may ask for.
type Options struct {
	// Create makes the new holder if there is none.
	Create bool
	// Class of a new holder: a GatewayClass, or the loadBalancerClass of a
	// Service. Empty: the one GatewayClass of Fairlead, or Fairlead's own.
	Class string
	// Ports says what becomes of ports that the new holder has not: PortsKeep,
	// PortsDrop, or empty: then nothing is done while there are any.
	Ports string
	// HTTP and Streams are ports of a Service to carry as HTTP, and as bytes,
	// whatever their appProtocol says.
	HTTP, Streams []int32
	// TLS are ports whose TLS is passed through by hostname.
	TLS map[int32][]string
	// WithSharers moves all Services that share the address, at once; from a Gateway, those
	// who handed it over at once.
	WithSharers bool
}

// Cluster is what is there. Objects that concern neither holder may be among
// them.
type Cluster struct {
	Services []*corev1.Service
	Gateways []*gatewayv1.Gateway
	Classes  []*gatewayv1.GatewayClass
	Configs  []*v1alpha1.GatewayConfig
	Routes   gateway.Routes
	Grants   []*gatewayv1.ReferenceGrant
	// Addresses is the ledger; BooksClosed is set where it may not be read.
	Addresses   []*v1alpha1.Address
	BooksClosed bool
	// Namespaces has the labels of namespaces.
	Namespaces map[string]map[string]string
	// RefusesSecondOwner is set where a replacement of kube-proxy (Cilium's)
	// refuses a second Service with the same address and port.
	RefusesSecondOwner bool
}

func find[T metav1.Object](list []T, n gateway.Name) (out T) {
	for _, o := range list {
		if o.GetNamespace() == n.Namespace && o.GetName() == n.Name {
			return o
		}
	}
	return out
}

func (c *Cluster) service(n gateway.Name) *corev1.Service { return find(c.Services, n) }

func (c *Cluster) gateway(n gateway.Name) *gatewayv1.Gateway { return find(c.Gateways, n) }

func (c *Cluster) class(name string) *gatewayv1.GatewayClass {
	return find(c.Classes, gateway.Name{Name: name})
}

// configOf are the parameters of a class, if it has any and they are there.
func (c *Cluster) configOf(class *gatewayv1.GatewayClass) *v1alpha1.GatewayConfig {
	if class == nil || class.Spec.ParametersRef == nil || class.Spec.ParametersRef.Namespace == nil {
		return nil
	}
	p := class.Spec.ParametersRef
	return find(c.Configs, gateway.Name{Namespace: string(*p.Namespace), Name: p.Name})
}

// ownConfig are the parameters of a Gateway itself.
func (c *Cluster) ownConfig(gw *gatewayv1.Gateway) *v1alpha1.GatewayConfig {
	if gw == nil || gw.Spec.Infrastructure == nil || gw.Spec.Infrastructure.ParametersRef == nil {
		return nil
	}
	return find(c.Configs, gateway.Name{Namespace: gw.Namespace, Name: gw.Spec.Infrastructure.ParametersRef.Name})
}
