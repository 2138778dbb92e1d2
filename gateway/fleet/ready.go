package fleet

import (
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/plural"
)

// The reasons of the condition Ready of a GatewayConfig.
const (
	ReasonInUse   = "InUse"
	ReasonInvalid = "Invalid"
)

// Use is who takes parameters from a GatewayConfig.
type Use struct {
	Classes  []string
	Gateways int
	// Problems are those for any of them.
	Problems []Problem
}

// Ready is the condition of a GatewayConfig; nil: nobody refers to it, so there is
// nothing to say.
func Ready(c *v1alpha1.GatewayConfig, u Use) *metav1.Condition {
	if len(u.Classes)+u.Gateways == 0 {
		return nil
	}
	out := &metav1.Condition{Type: v1alpha1.GatewayConfigReady, Status: metav1.ConditionTrue, Reason: ReasonInUse, ObservedGeneration: c.Generation}
	if len(u.Problems) > 0 {
		out.Status, out.Reason = metav1.ConditionFalse, ReasonInvalid
		out.Message = Words(u.Problems) + ". What held before goes on to hold."
		return out
	}
	out.Message = u.words()
	return out
}

func (u Use) words() string {
	var by []string
	switch n := len(u.Classes); {
	case n == 1:
		by = append(by, "GatewayClass "+u.Classes[0])
	case n > 1:
		by = append(by, plural.Count(n, "GatewayClass"))
	}
	if u.Gateways > 0 {
		by = append(by, plural.Count(u.Gateways, "Gateway"))
	}
	return strings.Join(by, " and ") + " use it."
}
