package gateway

import (
	"fmt"
	"slices"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ConditionRejected is the type of a condition that is True while an Envoy does not
// take a part of a Gateway's configuration, and not there otherwise. It is on the
// Gateway, and on the listeners, routes and policies that the part is made of. None of
// the Gateway API's own says this: the part before goes on to be served, so that
// neither Accepted nor Programmed is False.
const ConditionRejected = "fairlead.dev/Rejected"

// Reasons of ConditionRejected, and of the Events that follow from it.
const (
	// ReasonRejected is why it is True.
	ReasonRejected = "RejectedByEnvoy"
	// ReasonTaken is of an Event only: nothing is rejected any more.
	ReasonTaken = "TakenByEnvoy"
)

// Rejection is a part of the configuration that an Envoy does not take.
type Rejection struct {
	// Resource names it with its type, and Message is the Envoy's.
	Resource, Message string
	// Of is what it is made of.
	Of Part
	// Good is what the Gateway was when Envoys last took all of it; nil: that is not
	// known.
	Good *Built
}

// Part is what a resource for Envoy is made of.
type Part struct {
	// Port and Transport are of the listeners; Port 0: of none.
	Port      uint16
	Transport Transport
	// Table is a name of a Table.
	Table string
	// Backends, Certificates and Authorities are IDs.
	Backends, Certificates, Authorities []string
}

// words tell of a rejection.
func (r *Rejection) words() string {
	return fmt.Sprintf("Envoy does not take %s: %s. It goes on with what it had of it before, and everything else is served.", r.Resource, r.Message)
}

// concerned is what is rejected of each object.
type concerned struct {
	gateway   []string
	listeners map[*listener][]string
	routes    map[*route][]string
	policies  map[Name][]string
}

// concern finds the objects that what is rejected is made of.
func (b *Built) concern(list []Rejection) concerned {
	out := concerned{}
	if len(list) == 0 {
		return out
	}
	out.listeners, out.routes, out.policies = map[*listener][]string{}, map[*route][]string{}, map[Name][]string{}
	for i := range list {
		r, words := &list[i], list[i].words()
		out.gateway = append(out.gateway, words)
		on := b.listenersOf(&r.Of)
		for _, l := range on {
			out.listeners[l] = append(out.listeners[l], words)
		}
		for _, route := range b.routesOf(r, on) {
			out.routes[route] = append(out.routes[route], words)
		}
		for _, name := range b.policiesOf(&r.Of) {
			out.policies[name] = append(out.policies[name], words)
		}
	}
	return out
}

// listenersOf are the listeners that a part is made of.
func (b *Built) listenersOf(of *Part) []*listener {
	var out []*listener
	for _, o := range b.frame.owners {
		for _, l := range o.listeners {
			if l.served() && of.madeOf(l) {
				out = append(out, l)
			}
		}
	}
	return out
}

func (of *Part) madeOf(l *listener) bool {
	return of.Port != 0 && of.Port == l.port() && of.Transport == l.transport() ||
		of.Table != "" && (of.Table == tableName("http", l.port(), "") && !l.terminates() || of.Table == tableName("https", l.port(), l.name())) ||
		slices.ContainsFunc(of.Certificates, func(id string) bool { return slices.Contains(l.certificates, id) }) ||
		l.client != nil && of.trusts(l.client.Authorities)
}

// trusts tells whether the part is these authorities.
func (of *Part) trusts(ids []string) bool { return len(ids) > 0 && slices.Equal(of.Authorities, ids) }

// manySuspects is of how many routes at most each is told that it may be the one
// which Envoy does not take. Beyond that only the Gateway and its listeners tell.
const manySuspects = 16

// routesOf are the routes that a part is made of. Envoy does not say which route of a
// table it means: those have to answer that are not what they were when it took the
// table.
func (b *Built) routesOf(r *Rejection, on []*listener) []*route {
	var out []*route
	if len(r.Of.Backends) > 0 {
		for _, route := range b.routes {
			if slices.ContainsFunc(route.backends, func(k Backend) bool { return slices.Contains(r.Of.Backends, k.ID) }) {
				out = append(out, route)
			}
		}
		return out
	}
	if r.Of.Table == "" && r.Of.Port == 0 {
		return nil
	}
	for _, route := range b.routes {
		if route.routed != (r.Of.Table != "") || !slices.ContainsFunc(route.on, func(p place) bool { return slices.Contains(on, p.listener) }) {
			continue
		}
		if r.Good == nil || !r.Good.has(route) {
			out = append(out, route)
		}
	}
	if len(out) > manySuspects {
		return nil
	}
	return out
}

// has tells whether a route was the same.
func (b *Built) has(r *route) bool {
	i, found := slices.BinarySearchFunc(b.routes, r, compareRoutes)
	if !found {
		return false
	}
	was := b.routes[i]
	return was == r || was.meta.UID == r.meta.UID && was.meta.Generation == r.meta.Generation && slices.EqualFunc(was.rules, r.rules, func(x, y ranked) bool { return x.Rule == y.Rule })
}

// policiesOf are the BackendTLSPolicies that a part is made of.
func (b *Built) policiesOf(of *Part) []Name {
	var out []Name
	for i := range b.Model.Backends {
		k := &b.Model.Backends[i]
		if k.TLS == nil {
			continue
		}
		if slices.Contains(of.Backends, k.ID) || of.trusts(k.TLS.Authorities) {
			out = appendNew(out, k.TLS.Policy)
		}
	}
	return out
}

// rejection is the condition of what is rejected in some words; none: there is none.
func rejection(words []string, generation int64) []metav1.Condition {
	if len(words) == 0 {
		return nil
	}
	return []metav1.Condition{{
		Type: ConditionRejected, Status: metav1.ConditionTrue, Reason: ReasonRejected, ObservedGeneration: generation, Message: joined(words),
	}}
}

// tellRoutes gives what is said of routes, with what is rejected of them.
func (c *concerned) tellRoutes(said []*RouteSaid, routes []*route) []*RouteSaid {
	if len(c.routes) == 0 {
		return said
	}
	out := slices.Clone(said)
	for i, r := range routes {
		words := c.routes[r]
		if len(words) == 0 {
			continue
		}
		told := *out[i]
		told.Parents = slices.Clone(told.Parents)
		for j := range told.Parents {
			p := &told.Parents[j]
			p.Conditions = append(slices.Clip(p.Conditions), rejection(words, told.Generation)...)
		}
		out[i] = &told
	}
	return out
}

// tellPolicies does so for policies.
func (c *concerned) tellPolicies(said []PolicySaid) []PolicySaid {
	if len(c.policies) == 0 {
		return said
	}
	out := slices.Clone(said)
	for i := range out {
		p := &out[i]
		p.Ancestor.Conditions = append(slices.Clip(p.Ancestor.Conditions), rejection(c.policies[p.Name], p.Generation)...)
	}
	return out
}

// rejectionEvents tell that Envoy does not take something, and that it takes all again.
func rejectionEvents(before, after []metav1.Condition) []Event {
	was, is := meta.FindStatusCondition(before, ConditionRejected), meta.FindStatusCondition(after, ConditionRejected)
	switch {
	case is != nil && was == nil:
		return []Event{{Warning: true, Reason: ReasonRejected, Message: is.Message}}
	case is == nil && was != nil:
		return []Event{{Reason: ReasonTaken, Message: "Envoy takes all of the Gateway's configuration again."}}
	}
	return nil
}
