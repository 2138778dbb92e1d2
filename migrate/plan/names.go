package plan

import (
	"fmt"
	"strings"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/service"
)

// The annotations that ask for a takeover, and the type of the condition that
// tells of it on both holders.
const (
	// AnnotationTakeover is on the new holder and names the old one.
	AnnotationTakeover = v1alpha1.AnnotationTakeover
	// AnnotationHandover is on the old holder and names the new one.
	AnnotationHandover = v1alpha1.AnnotationHandover
	// AnnotationHandoverPorts is on the old holder and says what becomes of ports
	// that the new one has not: PortsKeep or PortsDrop.
	AnnotationHandoverPorts = v1alpha1.AnnotationHandoverPorts
	// ConditionTakeover tells of the phases.
	ConditionTakeover = service.ConditionTakeover
)

// What becomes of ports that the new holder has not.
const (
	// PortsKeep: the old holder serves them on, and so stays beside the new one.
	PortsKeep = "keep"
	// PortsDrop: they end.
	PortsDrop = "drop"
)

// FieldManager is who writes the objects of a Plan.
const FieldManager = "kubectl-fairlead"

// Kind is the kind of a holder.
type Kind string

// The kinds of holders.
const (
	Service Kind = "Service"
	Gateway Kind = "Gateway"
)

// Holder names who has an address.
type Holder struct {
	Kind Kind `json:"kind"`
	gateway.Name
}

func (h Holder) String() string { return fmt.Sprintf("%s %s", h.Kind, h.Name) }

// Seen is how an annotation on an object of a namespace names the holder.
func (h Holder) Seen(namespace string) string {
	kind := strings.ToLower(string(h.Kind))
	if h.Namespace == namespace {
		return kind + "/" + h.Name.Name
	}
	return kind + "/" + h.Name.String()
}
