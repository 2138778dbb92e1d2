package controllers

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/fleet"
)

// kindConfig is the kind that parametersRefs may name.
const kindConfig = "GatewayConfig"

// classOf is the class of a Gateway, if it is ours.
func (g *gateways) classOf(ctx context.Context, gw *gatewayv1.Gateway) (*gatewayv1.GatewayClass, error) {
	class := &gatewayv1.GatewayClass{}
	err := g.client.Get(ctx, client.ObjectKey{Name: string(gw.Spec.GatewayClassName)}, class)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading GatewayClass %s: %w", gw.Spec.GatewayClassName, err)
	}
	if !gateway.Ours(class) {
		return nil, nil
	}
	return class, nil
}

// parametersOf is what a Gateway refers to for parameters of its own.
func parametersOf(gw *gatewayv1.Gateway) *gatewayv1.LocalParametersReference {
	if gw.Spec.Infrastructure == nil {
		return nil
	}
	return gw.Spec.Infrastructure.ParametersRef
}

// classRefersTo tells whether a class takes its parameters from a GatewayConfig.
func (g *gateways) classRefersTo(ctx context.Context, name string, config client.Object) bool {
	class := &gatewayv1.GatewayClass{}
	if err := g.client.Get(ctx, client.ObjectKey{Name: name}, class); err != nil {
		return false
	}
	ref := class.Spec.ParametersRef
	return ref != nil && ref.Namespace != nil && string(*ref.Namespace) == config.GetNamespace() && ref.Name == config.GetName()
}

// configFor is what holds for a Gateway. With a problem it is what held before,
// and the problem says why the Gateway is not accepted.
func (g *gateways) configFor(ctx context.Context, class *gatewayv1.GatewayClass, gw *gatewayv1.Gateway) (fleet.Config, *gateway.Problem, error) {
	ofClass, problem, err := g.classConfig(ctx, class)
	if err != nil {
		return fleet.Config{}, nil, err
	}
	var own *v1alpha1.GatewayConfig
	if problem == nil {
		if own, problem, err = g.gatewayConfig(ctx, gw); err != nil {
			return fleet.Config{}, nil, err
		}
	}
	config, faults := fleet.Merge(ofClass, own)
	if problem == nil && len(faults) > 0 {
		problem = invalidParameters(faults)
	}
	name := client.ObjectKeyFromObject(gw)
	g.mu.Lock()
	defer g.mu.Unlock()
	if problem == nil {
		g.settings[name] = config
		return config, nil, nil
	}
	if before, ok := g.settings[name]; ok {
		return before, problem, nil
	}
	return fleet.Default(), problem, nil
}

func invalidParameters(faults []fleet.Problem) *gateway.Problem {
	return &gateway.Problem{Reason: string(gatewayv1.GatewayReasonInvalidParameters), Message: "The GatewayConfig has problems: " + fleet.Words(faults) + "."}
}

// classConfig reads the parameters of a class; nil: it has none.
func (g *gateways) classConfig(ctx context.Context, class *gatewayv1.GatewayClass) (*v1alpha1.GatewayConfig, *gateway.Problem, error) {
	ref := class.Spec.ParametersRef
	if ref == nil {
		return nil, nil, nil
	}
	if !isConfig(string(ref.Group), string(ref.Kind)) || ref.Namespace == nil {
		return nil, unknownParameters(string(ref.Group), string(ref.Kind), "with its namespace"), nil
	}
	return g.readConfig(ctx, types.NamespacedName{Namespace: string(*ref.Namespace), Name: ref.Name})
}

// gatewayConfig reads the parameters that a Gateway has of its own.
func (g *gateways) gatewayConfig(ctx context.Context, gw *gatewayv1.Gateway) (*v1alpha1.GatewayConfig, *gateway.Problem, error) {
	ref := parametersOf(gw)
	if ref == nil {
		return nil, nil, nil
	}
	if !isConfig(string(ref.Group), string(ref.Kind)) {
		return nil, unknownParameters(string(ref.Group), string(ref.Kind), "of the Gateway's namespace"), nil
	}
	return g.readConfig(ctx, types.NamespacedName{Namespace: gw.Namespace, Name: ref.Name})
}

func unknownParameters(group, kind, where string) *gateway.Problem {
	return &gateway.Problem{
		Reason:  string(gatewayv1.GatewayReasonInvalidParameters),
		Message: fmt.Sprintf("parametersRef names a %s of group %q, which is not supported. Refer to a %s of group %s, %s.", kind, group, kindConfig, v1alpha1.GroupVersion.Group, where),
	}
}

func (g *gateways) readConfig(ctx context.Context, name types.NamespacedName) (*v1alpha1.GatewayConfig, *gateway.Problem, error) {
	c := &v1alpha1.GatewayConfig{}
	err := g.client.Get(ctx, name, c)
	if apierrors.IsNotFound(err) {
		return nil, &gateway.Problem{Reason: string(gatewayv1.GatewayReasonInvalidParameters), Message: fmt.Sprintf("GatewayConfig %s does not exist.", name)}, nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("reading GatewayConfig %s: %w", name, err)
	}
	return c, nil, nil
}

// fleetFor is the fleet whose Envoys serve a Gateway.
func fleetFor(class *gatewayv1.GatewayClass, gw *gatewayv1.Gateway, c fleet.Config) fleet.ID {
	id := fleet.ID{Class: class.Name}
	if c.Workload.Mode == v1alpha1.FleetDedicated {
		id.Gateway = gateway.Name{Namespace: gw.Namespace, Name: gw.Name}
	}
	return id
}
