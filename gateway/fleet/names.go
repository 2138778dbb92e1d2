package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
)

// Labels and names that others look for.
const (
	// FleetLabel is on all objects of a fleet and selects its pods.
	FleetLabel = v1alpha1.LabelFleet
	// LoadBalancerClass is the class of Gateways' Services. No user's Service
	// has it, so that nobody else serves them.
	LoadBalancerClass = "fairlead.dev/gateway"
	// Manager is the label value of what the controller runs.
	Manager = "fairlead-controller"
	// SliceManager is the manager of Gateways' EndpointSlices.
	SliceManager = "gateway-controller.fairlead.dev"
)

const (
	maxLabel = 63
	// maxWorkload leaves room for the suffixes that Kubernetes gives to the
	// pods of a Deployment.
	maxWorkload = 46
	hashLength  = 10
)

// ID says which fleet: that of a class, or that of one Gateway.
type ID struct {
	// Class is the GatewayClass.
	Class string
	// Gateway, if set, has the fleet to itself.
	Gateway gateway.Name
}

// Dedicated says whether the fleet is of one Gateway.
func (id ID) Dedicated() bool { return id.Gateway != gateway.Name{} }

// Name is the name of all objects of the fleet but its Secret, and the value of
// FleetLabel. It is at most 46 characters long and distinct for each ID.
func (id ID) Name() string {
	if !id.Dedicated() {
		return fit("envoy-"+id.Class, maxWorkload, id.Class)
	}
	// Always with a hash: "a-b"/"c" and "a"/"b-c" are two Gateways.
	return hashed("envoy-"+id.Gateway.Namespace+"-"+id.Gateway.Name, maxWorkload, id.Class, id.Gateway.Namespace, id.Gateway.Name)
}

// SecretName is the name of the Secret with the certificate by which the fleet's
// Envoys are known to the xDS server: tls.crt, tls.key and ca.crt.
func (id ID) SecretName() string { return id.Name() + "-xds" }

// FrontName is the name of the objects of a Gateway in its own namespace, by
// GEP-1762: its own name and that of its class; with a hash where that is too long,
// no DNS label, or could be another Gateway's.
func FrontName(gatewayName, class string) string {
	name := gatewayName + "-" + class
	if strings.Contains(class, "-") { // "a" of class "b-c", or "a-b" of class "c"?
		return hashed(name, maxLabel, gatewayName, class)
	}
	return fit(name, maxLabel, gatewayName, class)
}

// labelValue is a name as a label value: itself, or shortened with a hash.
func labelValue(name string) string {
	if len(name) <= maxLabel {
		return name
	}
	return hashed(name, maxLabel, name)
}

// GatewayLabels are the labels by which the objects of a Gateway are found.
func GatewayLabels(gatewayName, class string) map[string]string {
	return map[string]string{
		gatewayv1.GatewayNameLabelKey:      labelValue(gatewayName),
		gatewayv1.GatewayClassNameLabelKey: labelValue(class),
	}
}

// fit is name if it is a DNS label (RFC 1035) that is short enough, and otherwise
// as much of it as is, with a hash of parts.
func fit(name string, limit int, parts ...string) string {
	if len(name) <= limit && sanitized(name) == name && name[0] >= 'a' {
		return name
	}
	return hashed(name, limit, parts...)
}

// hashed is the beginning of name with a hash of parts, as a DNS label (RFC 1035).
func hashed(name string, limit int, parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "/")))
	name = sanitized(name)
	if name[0] < 'a' { // a Service's name begins with a letter
		name = "g" + name
	}
	if room := limit - hashLength - 1; len(name) > room {
		name = name[:room]
	}
	return strings.TrimRight(name, "-") + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// sanitized has '-' for what a DNS label may not have. Names of Kubernetes
// objects are in lower case already.
func sanitized(name string) string {
	return strings.ReplaceAll(name, ".", "-")
}
