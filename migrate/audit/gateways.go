package audit

import (
	"cmp"
	"slices"
	"strings"
)

// Gateways are those of one implementation.
type Gateways struct {
	// Controller is the controllerName of its classes, Name what it is called.
	Controller string   `json:"controller"`
	Name       string   `json:"name"`
	Classes    []string `json:"classes"`
	Gateways   int      `json:"gateways"`
	// Asks says how it asks for the addresses of Gateways.
	Asks string `json:"asks"`
	// Fairlead says what that means here.
	Fairlead string `json:"fairlead"`
}

// The ways in which implementations ask for addresses.
const (
	wayField    = "spec.loadBalancerIP of a Service"
	wayExternal = "spec.externalIPs of a Service"
	wayVendor   = "annotation lbipam.cilium.io/ips of a Service"
	wayClass    = "spec.externalIPs of a Service (2.7 and later: a class of its own, whose status it writes)"
	wayServed   = "spec.loadBalancerIP of a Service of its own class, which it serves itself"
	wayNone     = "not at all: spec.addresses is ignored"
	wayOwn      = "Fairlead itself"
	wayUnknown  = "not known"
)

func consequence(way string) string {
	switch way {
	case wayField, wayVendor:
		return "It is read as a wish: the Gateway gets the address if a pool has it."
	case wayExternal:
		return "Addresses in a pool are read as wishes and announced."
	case wayClass:
		return "Addresses in a pool are read as wishes and announced; for its own class name it in services.statusClasses."
	case wayServed:
		return "Fairlead leaves the Services of that class alone."
	case wayNone:
		return "Pin the Service of the Gateway by fairlead.dev/addresses."
	case wayOwn:
		return "Addresses come from its pools."
	}
	return "See what its Services ask for."
}

// implementations by the beginning of the controllerName.
var implementations = []struct{ prefix, name, way string }{
	{"fairlead.dev/", "Fairlead", wayOwn},
	{"istio.io/", "Istio", wayField},
	{"projectcontour.io/", "Contour", wayField},
	{"loxilb.io/", "kube-loxilb", wayServed},
	{"gateway.envoyproxy.io/", "Envoy Gateway", wayExternal},
	{"gateway.nginx.org/", "NGINX Gateway Fabric", wayClass},
	{"io.cilium/", "Cilium", wayVendor},
	{"kgateway.dev/", "kgateway", wayUnknown},
	{"traefik.io/", "Traefik", wayNone},
	{"konghq.com/", "Kong", wayNone},
	{"haproxy-ingress.github.io/", "HAProxy Ingress", wayNone},
}

// gatewaysIn are the implementations by their classes.
func gatewaysIn(s *Snapshot) []Gateways {
	byController := map[string]*Gateways{}
	ofClass := map[string]*Gateways{}
	for i := range s.GatewayClasses {
		c := &s.GatewayClasses[i]
		name := string(c.Spec.ControllerName)
		g := byController[name]
		if g == nil {
			g = implementation(name)
			byController[name] = g
		}
		g.Classes = append(g.Classes, c.Name)
		ofClass[c.Name] = g
	}
	for i := range s.Gateways {
		if g := ofClass[string(s.Gateways[i].Spec.GatewayClassName)]; g != nil {
			g.Gateways++
		}
	}
	var out []Gateways
	for _, g := range byController {
		slices.Sort(g.Classes)
		out = append(out, *g)
	}
	slices.SortFunc(out, func(a, b Gateways) int { return cmp.Compare(a.Controller, b.Controller) })
	return out
}

func implementation(controller string) *Gateways {
	g := &Gateways{Controller: controller, Name: controller, Asks: wayUnknown}
	for _, i := range implementations {
		if strings.HasPrefix(controller, i.prefix) {
			g.Name, g.Asks = i.name, i.way
		}
	}
	g.Fairlead = consequence(g.Asks)
	return g
}
