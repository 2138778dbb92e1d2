package chain

import (
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/fields"
	"github.com/fairlead/fairlead/gateway"
)

// Gateway explains a Gateway.
func Gateway(s *Snapshot, gw *gatewayv1.Gateway) *Report {
	me := v1alpha1.HolderReference{Kind: gateway.KindGateway, Namespace: gw.Namespace, Name: gw.Name}
	r := &Report{
		Kind: gateway.KindGateway, Namespace: gw.Namespace, Name: gw.Name, Problems: []Problem{}, Partly: s.Partly,
		About: "Gateway  class " + string(gw.Spec.GatewayClassName) + "  ports " + gatewayPorts(gw),
	}
	r.checkClass(s, gw)
	r.askGateway(gw)
	r.takeover(gw.Status.Conditions)
	held := s.Held(me)
	for _, a := range held {
		r.decide(s, a, me)
	}
	r.showGateway(gw, held)
	r.listen(gw)
	for _, a := range held {
		r.announce(s, a)
	}
	r.envoys(s, held, me)
	return r
}

func gatewayPorts(gw *gatewayv1.Gateway) string {
	var out []string
	for _, l := range gw.Spec.Listeners {
		if p := fmt.Sprintf("%d/%s", l.Port, l.Protocol); !slices.Contains(out, p) {
			out = append(out, p)
		}
	}
	return strings.Join(out, ",")
}

// checkClass says whether anybody serves the Gateway.
func (r *Report) checkClass(s *Snapshot, gw *gatewayv1.Gateway) {
	switch c := s.Class; {
	case c == nil && s.Partly:
	case c == nil:
		r.wrong(fmt.Sprintf("There is no GatewayClass %s.", gw.Spec.GatewayClassName), "Create it, or name another one: kubectl get gatewayclasses.")
	case c.Spec.ControllerName != gateway.ControllerName:
		r.wrong(fmt.Sprintf("GatewayClass %s is that of %s, not Fairlead's.", c.Name, c.Spec.ControllerName),
			"What it does is not known here: ask its controller, or name a GatewayClass with controllerName "+string(gateway.ControllerName)+".")
	default:
		if a := meta.FindStatusCondition(c.Status.Conditions, string(gatewayv1.GatewayClassConditionStatusAccepted)); a == nil || a.Status != metav1.ConditionTrue {
			what := fmt.Sprintf("The controller of GatewayClass %s (%s) has not accepted it.", c.Name, c.Spec.ControllerName)
			if a != nil {
				what += " " + a.Message
			}
			r.wrong(what, "See: kubectl describe gatewayclass "+c.Name+".")
		}
	}
}

// askGateway adds what a Gateway asks for.
func (r *Report) askGateway(gw *gatewayv1.Gateway) {
	for i, a := range gw.Spec.Addresses {
		kind, value := ptr.Deref(a.Type, gatewayv1.IPAddressType), a.Value
		switch {
		case kind == gateway.TypePool:
			value = "pool " + value
		case value == "":
			value = "any " + string(kind)
		}
		r.Asked = append(r.Asked, Asked{Value: value, Origin: fmt.Sprintf("spec.addresses[%d], type %s", i, kind)})
	}
	if len(gw.Spec.Addresses) == 0 {
		r.Asked = append(r.Asked, Asked{Value: "any address", Origin: "spec.addresses is empty"})
	}
	if key := gw.Annotations[v1alpha1.AnnotationSharingKey]; key != "" {
		r.Asked = append(r.Asked, Asked{Value: "sharing key " + key, Origin: "annotation " + v1alpha1.AnnotationSharingKey})
	}
	if i := gw.Spec.Infrastructure; i != nil && i.ParametersRef != nil {
		r.Asked = append(r.Asked, Asked{Value: string(i.ParametersRef.Kind) + " " + i.ParametersRef.Name, Origin: "spec.infrastructure.parametersRef"})
	}
}

// showGateway adds what the status says, and who wrote it.
func (r *Report) showGateway(gw *gatewayv1.Gateway, held []*v1alpha1.Address) {
	writers := fields.Writers(gw, "status", "status", "addresses")
	for _, a := range gw.Status.Addresses {
		note := writersNote(writers)
		if !slices.ContainsFunc(held, func(h *v1alpha1.Address) bool { return h.Spec.Address == a.Value }) {
			note = "inside of the cluster, or another controller's; " + note
		}
		r.Status = append(r.Status, Shown{Value: a.Value, Writers: writers, Note: note})
	}
	if len(gw.Status.Addresses) == 0 {
		r.Status = append(r.Status, Shown{})
	}
	for _, kind := range []gatewayv1.GatewayConditionType{gatewayv1.GatewayConditionAccepted, gatewayv1.GatewayConditionProgrammed} {
		c := meta.FindStatusCondition(gw.Status.Conditions, string(kind))
		if c == nil || c.Status == metav1.ConditionUnknown {
			r.wrong(fmt.Sprintf("No controller has said whether the Gateway is %s.", kind), "Is its class Fairlead's, and does a controller lead? See: kubectl get gatewayclasses.")
			return
		}
		r.Programs = append(r.Programs, Condition{c.Type, string(c.Status), c.Reason, c.Message})
		switch {
		case c.Status == metav1.ConditionFalse:
			r.wrong(fmt.Sprintf("The Gateway is not %s (%s). %s", kind, c.Reason, c.Message), "")
		case c.ObservedGeneration < gw.Generation:
			r.wrong(fmt.Sprintf("%s speaks of generation %d, and the Gateway is at %d.", kind, c.ObservedGeneration, gw.Generation),
				"Does a controller lead? Look at its pods and log.")
		}
	}
	if c := meta.FindStatusCondition(gw.Status.Conditions, gateway.ConditionRejected); c != nil {
		r.wrong(c.Message, "The listeners and routes that it is of have the condition "+c.Type+" too. Undo their last change.")
	}
}

// listen adds the listeners.
func (r *Report) listen(gw *gatewayv1.Gateway) {
	for _, l := range gw.Spec.Listeners {
		out := Listener{Name: string(l.Name), Port: l.Port, Protocol: string(l.Protocol), Hostname: string(ptr.Deref(l.Hostname, ""))}
		for _, s := range gw.Status.Listeners {
			if s.Name != l.Name {
				continue
			}
			out.Routes = s.AttachedRoutes
			out.Wrong = wrongListener(s.Conditions)
		}
		if out.Wrong != "" {
			r.wrong("Listener "+out.Name+": "+out.Wrong, "")
		}
		r.Listeners = append(r.Listeners, out)
	}
}

// wrongListener is the first condition of a listener that is not as it should be.
func wrongListener(conditions []metav1.Condition) string {
	for _, want := range []struct {
		kind gatewayv1.ListenerConditionType
		bad  metav1.ConditionStatus
	}{
		{gatewayv1.ListenerConditionConflicted, metav1.ConditionTrue},
		{gatewayv1.ListenerConditionAccepted, metav1.ConditionFalse},
		{gatewayv1.ListenerConditionResolvedRefs, metav1.ConditionFalse},
		{gatewayv1.ListenerConditionProgrammed, metav1.ConditionFalse},
	} {
		if c := meta.FindStatusCondition(conditions, string(want.kind)); c != nil && c.Status == want.bad {
			return fmt.Sprintf("%s %s, %s: %s", c.Type, c.Status, c.Reason, c.Message)
		}
	}
	return ""
}

// envoys adds the Envoys that serve the Gateway.
func (r *Report) envoys(s *Snapshot, held []*v1alpha1.Address, me v1alpha1.HolderReference) {
	var seen []types.NamespacedName
	for _, a := range held {
		h := holderOf(a, me)
		if name := ServedBy(h); name.Name != "" && !slices.Contains(seen, name) {
			seen = append(seen, name)
			r.serve(s, name, h.ExternalTrafficPolicy, true)
		}
	}
}
