package gateway

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/migrate/takeover/tell"
)

// Problem is a reason with words that say what is, why, and what to do.
type Problem struct {
	Reason  string
	Message string
}

// Progress is what has become of a Gateway outside of the rules.
type Progress struct {
	// Assignment is which addresses the Gateway has; nil: nothing is decided.
	Assignment *Assignment
	// Routability has each of them say from where it can be reached.
	Routability bool
	// Refused says why the Gateway is not accepted at all: its addresses or
	// parameters are of a kind that is not supported.
	Refused *Problem
	// Takeover says where one stands that the Gateway is a side of; nil: it is none.
	Takeover *metav1.Condition
	// Rejected is what Envoys do not take of it.
	Rejected []Rejection
	// Waiting says why the Gateway is not programmed, with a reason of the
	// condition Programmed; nil: it is.
	Waiting *Problem

	concerned concerned
}

// Said is what the status of objects should be, own parts only: a writer merges
// it with what others have written.
type Said struct {
	Gateway      gatewayv1.GatewayStatus
	ListenerSets []SetSaid
	// Routes are sorted by age. Those that are said again, of the same Built or
	// of one that was rebuilt from it, are the same pointers.
	Routes   []*RouteSaid
	Policies []PolicySaid
}

// SetSaid is the status of a ListenerSet.
type SetSaid struct {
	Name Name
	Edition
	Status gatewayv1.ListenerSetStatus
}

// Edition tells which of the objects that bore a name one after the other a status is about, and in which generation: one
// that was deleted and made anew may have the generation of the old one.
type Edition struct {
	UID        types.UID
	Generation int64
}

// EditionOf is that of an object.
func EditionOf(o metav1.Object) Edition {
	return Edition{UID: o.GetUID(), Generation: o.GetGeneration()}
}

// RouteSaid are the entries of a route's status for this Gateway and its
// ListenerSets.
type RouteSaid struct {
	Kind string
	Name
	Edition
	Parents []gatewayv1.RouteParentStatus
}

// PolicySaid is the entry of a BackendTLSPolicy's status for this Gateway.
type PolicySaid struct {
	Name
	Edition
	Ancestor gatewayv1.PolicyAncestorStatus
}

// GatewayTypes, ListenerTypes, ListenerSetTypes, RouteTypes and PolicyTypes are
// the types of conditions that are ours: one that is not said goes away.
var (
	GatewayTypes     = []string{"Accepted", "Programmed", "ResolvedRefs", "InsecureFrontendValidationMode", "AddressesAssigned", tell.Condition, ConditionRejected}
	ListenerTypes    = []string{"Accepted", "Programmed", "ResolvedRefs", "Conflicted", "OverlappingTLSConfig", ConditionRejected}
	ListenerSetTypes = []string{"Accepted", "Programmed"}
	RouteTypes       = []string{"Accepted", "ResolvedRefs", "PartiallyInvalid", ConditionRejected}
	PolicyTypes      = []string{"Accepted", "ResolvedRefs", ConditionRejected}
)

// condition makes one; without a verdict it is good.
func condition[T ~string](kind T, generation int64, bad *verdict, good, message string) metav1.Condition {
	c := metav1.Condition{Type: string(kind), Status: metav1.ConditionTrue, Reason: good, Message: message, ObservedGeneration: generation}
	if bad != nil {
		c.Status, c.Reason, c.Message = metav1.ConditionFalse, bad.reason, bad.message
	}
	return c
}

// Status says what the status of the Gateway and of everything around it should
// be.
func (b *Built) Status(p Progress) Said {
	p.concerned = b.concern(p.Rejected)
	out := Said{Gateway: b.gatewayStatus(p), Routes: b.routesSaid, Policies: b.policiesSaid}
	for _, o := range b.frame.owners[1:] {
		out.ListenerSets = append(out.ListenerSets, SetSaid{Name: o.name, Edition: EditionOf(o.meta), Status: b.setStatus(o, p)})
	}
	out.Routes, out.Policies = p.concerned.tellRoutes(out.Routes, b.routes), p.concerned.tellPolicies(out.Policies)
	return out
}

// Counts tells whether the listeners of a Gateway's status are those that it has, and
// say how many routes are attached to each.
func (b *Built) Counts(said []gatewayv1.ListenerStatus) bool {
	return slices.EqualFunc(b.frame.owners[0].listeners, said, func(l *listener, s gatewayv1.ListenerStatus) bool {
		return l.spec.Name == s.Name && int32(len(b.on[l])) == s.AttachedRoutes
	})
}

func (b *Built) gatewayStatus(p Progress) gatewayv1.GatewayStatus {
	own := b.frame.owners[0]
	generation := own.meta.Generation
	s := gatewayv1.GatewayStatus{}
	accepted := b.accepted(own, p)
	s.Conditions = []metav1.Condition{accepted, b.programmed(p, accepted), b.resolved(own)}
	if a := p.Assignment; a != nil {
		s.Addresses = a.addresses(p.Routability)
		s.Conditions = append(s.Conditions, a.condition(generation))
	}
	if t := p.Takeover; t != nil {
		t := *t
		t.Type, t.ObservedGeneration = tell.Condition, generation
		s.Conditions = append(s.Conditions, t)
	}
	if c := b.insecure(generation); c != nil {
		s.Conditions = append(s.Conditions, *c)
	}
	s.Conditions = append(s.Conditions, rejection(p.concerned.gateway, generation)...)
	for _, l := range own.listeners {
		s.Listeners = append(s.Listeners, gatewayv1.ListenerStatus{
			Name: l.spec.Name, SupportedKinds: l.kindsSaid(), AttachedRoutes: int32(len(b.on[l])), Conditions: l.conditions(generation, p),
		})
	}
	attached := int32(0)
	for _, o := range b.frame.owners[1:] {
		if o.refused == nil && o.serves() {
			attached++
		}
	}
	s.AttachedListenerSets = &attached
	return s
}

// addresses are those of a status.
func (a *Assignment) addresses(routability bool) []gatewayv1.GatewayStatusAddress {
	var out []gatewayv1.GatewayStatusAddress
	for _, is := range a.Addresses {
		said := gatewayv1.GatewayStatusAddress{Type: new(gatewayv1.IPAddressType), Value: is.IP.String()}
		if routability {
			said.Routability = new(is.Routability)
		}
		out = append(out, said)
	}
	return out
}

// condition is AddressesAssigned (GEP-5093).
func (a *Assignment) condition(generation int64) metav1.Condition {
	var why *verdict
	switch {
	case len(a.Unmet) > 0 && a.Some:
		why = because(gatewayv1.GatewayReasonAddressesPartiallyAssigned, "%s", strings.Join(a.Unmet, " "))
	case len(a.Unmet) > 0:
		why = because(gatewayv1.GatewayReasonAddressesNotAssigned, "%s", strings.Join(a.Unmet, " "))
	}
	return condition(gatewayv1.GatewayConditionAddressesAssigned, generation, why, string(gatewayv1.GatewayReasonAddressesAssigned), "The Gateway has the addresses that it asks for.")
}

// kindsSaid is never nil: the list is to be there and empty.
func (l *listener) kindsSaid() []gatewayv1.RouteGroupKind {
	if l.kinds == nil {
		return []gatewayv1.RouteGroupKind{}
	}
	return l.kinds
}

// serves tells whether a listener of the owner can be served as it is asked for.
func (o *owner) serves() bool {
	return slices.ContainsFunc(o.listeners, func(l *listener) bool { return l.served() && l.unresolved == nil })
}

// valid tells whether a listener is accepted, whatever its references.
func (l *listener) valid() bool { return l.rejected == nil && l.conflict == nil }

// accepted sums the listeners up, and what is wrong with the Gateway itself.
func (b *Built) accepted(own *owner, p Progress) metav1.Condition {
	generation := own.meta.Generation
	if p.Refused != nil {
		return condition(gatewayv1.GatewayConditionAccepted, generation, &verdict{p.Refused.Reason, p.Refused.Message}, "", "")
	}
	bad, good := invalidOf(own)
	switch {
	case len(bad) == 0:
		return condition(gatewayv1.GatewayConditionAccepted, generation, nil, string(gatewayv1.GatewayReasonAccepted), "All listeners are valid.")
	case good == 0 && !b.setsServe():
		return condition(gatewayv1.GatewayConditionAccepted, generation,
			because(gatewayv1.GatewayReasonListenersNotValid, "No listener is valid: %s. See status.listeners.", strings.Join(bad, ", ")), "", "")
	}
	return condition(gatewayv1.GatewayConditionAccepted, generation, nil, string(gatewayv1.GatewayReasonListenersNotValid),
		fmt.Sprintf("Not valid, and left out: listener %s. See status.listeners.", strings.Join(bad, ", ")))
}

// setsServe tells whether a ListenerSet has a valid listener.
func (b *Built) setsServe() bool {
	return slices.ContainsFunc(b.frame.owners[1:], func(o *owner) bool { return o.refused == nil && o.serves() })
}

// invalidOf names the listeners that are not accepted, and counts the others.
func invalidOf(o *owner) (bad []string, good int) {
	for _, l := range o.listeners {
		if l.valid() {
			good++
		} else {
			bad = append(bad, string(l.spec.Name))
		}
	}
	return bad, good
}

func (b *Built) programmed(p Progress, accepted metav1.Condition) metav1.Condition {
	generation := accepted.ObservedGeneration
	var why *verdict
	switch {
	case accepted.Status != metav1.ConditionTrue:
		why = because(gatewayv1.GatewayReasonInvalid, "%s", accepted.Message)
	case !b.Listening():
		why = because(gatewayv1.GatewayReasonInvalid, "No listener can be served. See status.listeners.")
	case p.Waiting != nil:
		why = &verdict{p.Waiting.Reason, p.Waiting.Message}
	}
	return condition(gatewayv1.GatewayConditionProgrammed, generation, why, string(gatewayv1.GatewayReasonProgrammed), "The addresses are announced, and Envoy serves the listeners.")
}

// resolved sums up what the Gateway and its listeners refer to.
func (b *Built) resolved(own *owner) metav1.Condition {
	why := b.frame.unresolved
	if why == nil {
		var bad []string
		for _, l := range own.listeners {
			if l.unresolved != nil {
				bad = append(bad, string(l.spec.Name))
			}
		}
		if len(bad) > 0 {
			why = because(gatewayv1.GatewayReasonListenersNotResolved, "Listener %s refers to what cannot be used. See status.listeners.", strings.Join(bad, ", "))
		}
	}
	return condition(gatewayv1.GatewayConditionResolvedRefs, own.meta.Generation, why, string(gatewayv1.GatewayReasonResolvedRefs), "Everything referred to was found.")
}

// insecure is there only while clients without a valid certificate are let in
// (GEP-91).
func (b *Built) insecure(generation int64) *metav1.Condition {
	t := b.in.Gateway.Spec.TLS
	if t == nil || t.Frontend == nil {
		return nil
	}
	lax := func(c gatewayv1.TLSConfig) bool {
		return c.Validation != nil && c.Validation.Mode == gatewayv1.AllowInsecureFallback
	}
	if !lax(t.Frontend.Default) && !slices.ContainsFunc(t.Frontend.PerPort, func(p gatewayv1.TLSPortConfig) bool { return lax(p.TLS) }) {
		return nil
	}
	c := condition(gatewayv1.GatewayConditionInsecureFrontendValidationMode, generation, nil, string(gatewayv1.GatewayReasonConfigurationChanged),
		"Clients without a valid certificate are let in (validation mode AllowInsecureFallback).")
	return &c
}

// conditions of a listener.
func (l *listener) conditions(generation int64, p Progress) []metav1.Condition {
	rejected := l.rejected
	if l.conflict != nil {
		rejected = l.conflict
	}
	out := []metav1.Condition{
		condition(gatewayv1.ListenerConditionAccepted, generation, rejected, string(gatewayv1.ListenerReasonAccepted), "The listener is valid."),
		l.programmed(generation, rejected, p),
		condition(gatewayv1.ListenerConditionResolvedRefs, generation, l.unresolved, string(gatewayv1.ListenerReasonResolvedRefs), "Everything referred to was found."),
	}
	conflicted := metav1.Condition{
		Type: string(gatewayv1.ListenerConditionConflicted), Status: metav1.ConditionFalse, ObservedGeneration: generation,
		Reason: string(gatewayv1.ListenerReasonNoConflicts), Message: "No other listener claims the same traffic.",
	}
	if l.conflict != nil {
		conflicted.Status, conflicted.Reason, conflicted.Message = metav1.ConditionTrue, l.conflict.reason, l.conflict.message
	}
	out = append(out, conflicted)
	if l.overlap != nil {
		out = append(out, metav1.Condition{
			Type: string(gatewayv1.ListenerConditionOverlappingTLSConfig), Status: metav1.ConditionTrue, ObservedGeneration: generation,
			Reason: l.overlap.reason, Message: l.overlap.message,
		})
	}
	return append(out, rejection(p.concerned.listeners[l], generation)...)
}

func (l *listener) programmed(generation int64, rejected *verdict, p Progress) metav1.Condition {
	var why *verdict
	switch {
	case l.conflict != nil:
		why = l.conflict
	case rejected != nil:
		why = because(gatewayv1.ListenerReasonInvalid, "%s", rejected.message)
	case l.owner.refused != nil:
		why = l.owner.refused
	case p.Refused != nil:
		why = because(gatewayv1.ListenerReasonInvalid, "The Gateway is not accepted: %s", p.Refused.Message)
	case !l.served() || l.unresolved != nil:
		why = because(gatewayv1.ListenerReasonInvalid, "%s", unresolvedMessage(l))
	case p.Waiting != nil:
		why = because(gatewayv1.ListenerReasonPending, "The Gateway waits: %s", p.Waiting.Message)
	}
	return condition(gatewayv1.ListenerConditionProgrammed, generation, why, string(gatewayv1.ListenerReasonProgrammed), "Envoy serves the listener.")
}

func unresolvedMessage(l *listener) string {
	if l.unresolved != nil {
		return l.unresolved.message
	}
	return "The listener cannot be served."
}

func (b *Built) setStatus(o *owner, p Progress) gatewayv1.ListenerSetStatus {
	generation := o.meta.Generation
	s := gatewayv1.ListenerSetStatus{}
	accepted, programmed := b.setVerdicts(o, p)
	words, reason := "All listeners are valid.", gatewayv1.ListenerSetReasonAccepted
	if bad, _ := invalidOf(o); len(bad) > 0 {
		reason, words = gatewayv1.ListenerSetReasonListenersNotValid, fmt.Sprintf("Not valid, and left out: listener %s. See status.listeners.", strings.Join(bad, ", "))
	}
	s.Conditions = []metav1.Condition{
		condition(gatewayv1.ListenerSetConditionAccepted, generation, accepted, string(reason), words),
		condition(gatewayv1.ListenerSetConditionProgrammed, generation, programmed, string(gatewayv1.ListenerSetReasonProgrammed), "Envoy serves the listeners."),
	}
	for _, l := range o.listeners {
		s.Listeners = append(s.Listeners, gatewayv1.ListenerEntryStatus{
			Name: l.spec.Name, SupportedKinds: l.kindsSaid(), AttachedRoutes: int32(len(b.on[l])), Conditions: l.conditions(generation, p),
		})
	}
	return s
}

// setVerdicts say why a ListenerSet is not accepted and not programmed.
func (b *Built) setVerdicts(o *owner, p Progress) (accepted, programmed *verdict) {
	switch {
	case o.refused != nil:
		return o.refused, o.refused
	case p.Refused != nil:
		why := because(gatewayv1.ListenerSetReasonParentNotAccepted, "The Gateway is not accepted: %s", p.Refused.Message)
		return why, why
	case !o.serves():
		why := because(gatewayv1.ListenerSetReasonListenersNotValid, "No listener can be served. See status.listeners.")
		return why, why
	case p.Waiting != nil:
		return nil, because("ParentNotProgrammed", "The Gateway waits: %s", p.Waiting.Message)
	}
	return nil, nil
}

// status of a route: one entry for each parentRef.
func (r *route) status() *RouteSaid {
	out := &RouteSaid{Kind: r.kind, Name: r.name, Edition: EditionOf(r.meta)}
	for _, a := range r.answers {
		e := gatewayv1.RouteParentStatus{ParentRef: a.ref, ControllerName: ControllerName}
		e.Conditions = []metav1.Condition{
			condition(gatewayv1.RouteConditionAccepted, out.Generation, a.rejected, string(gatewayv1.RouteReasonAccepted), "The route is attached."),
			condition(gatewayv1.RouteConditionResolvedRefs, out.Generation, r.unresolved, string(gatewayv1.RouteReasonResolvedRefs), "Everything referred to was found."),
		}
		if len(r.dropped) > 0 && !r.nothing {
			e.Conditions = append(e.Conditions, metav1.Condition{
				Type: string(gatewayv1.RouteConditionPartiallyInvalid), Status: metav1.ConditionTrue, ObservedGeneration: out.Generation,
				Reason: string(gatewayv1.RouteReasonUnsupportedValue), Message: "Dropped Rule: " + joined(r.dropped) + ". The other rules are followed.",
			})
		}
		out.Parents = append(out.Parents, e)
	}
	return out
}

func compareNames(a, b Name) int {
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// policyStatus is one entry for each BackendTLSPolicy of a Service that a route
// of the Gateway leads to.
func (b *Built) policyStatus() []PolicySaid {
	by := map[Name][]*policy{}
	for _, service := range slices.SortedFunc(maps.Keys(b.policies), compareNames) {
		for _, p := range b.policies[service] {
			n := Name{p.object.Namespace, p.object.Name}
			by[n] = append(by[n], p)
		}
	}
	gw := b.frame.owners[0].name
	group, kind, namespace := gatewayv1.Group(gatewayv1.GroupName), gatewayv1.Kind("Gateway"), gatewayv1.Namespace(gw.Namespace)
	var out []PolicySaid
	for name, list := range by {
		s := PolicySaid{Name: name, Edition: EditionOf(list[0].object)}
		var rejected, unresolved *verdict
		for _, p := range list {
			if rejected == nil || p.rejected != nil && p.rejected.message < rejected.message {
				rejected = p.rejected
			}
			if unresolved == nil {
				unresolved = p.unresolved
			}
		}
		s.Ancestor = gatewayv1.PolicyAncestorStatus{
			AncestorRef:    gatewayv1.ParentReference{Group: &group, Kind: &kind, Namespace: &namespace, Name: gatewayv1.ObjectName(gw.Name)},
			ControllerName: ControllerName,
			Conditions: []metav1.Condition{
				condition(gatewayv1.PolicyConditionAccepted, s.Generation, rejected, string(gatewayv1.PolicyReasonAccepted), "Connections to the backend use TLS."),
				condition(gatewayv1.BackendTLSPolicyConditionResolvedRefs, s.Generation, unresolved, string(gatewayv1.BackendTLSPolicyReasonResolvedRefs), "Everything referred to was found."),
			},
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, c PolicySaid) int { return compareNames(a.Name, c.Name) })
	return out
}
