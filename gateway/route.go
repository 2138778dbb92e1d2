package gateway

import (
	"cmp"
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// route is a route of any kind, and what is found out about it. It follows from
// the object, from what was looked up for it, and from the frame; it is not
// modified once it is read.
type route struct {
	object  metav1.Object
	kind    string
	name    Name
	meta    *metav1.ObjectMeta
	parents []gatewayv1.ParentReference
	hosts   []string // anyHost where it names none
	routed  bool     // HTTP and gRPC: it has rules of requests

	// rules of a route of requests, in the order of precedence; stream of
	// the others, and passed what stream is for TLS that is passed through.
	rules          []ranked
	stream, passed *Stream

	// unresolved is the first reference that cannot be followed; dropped says
	// which rules are left out, and nothing says that all are.
	unresolved *verdict
	dropped    []string
	nothing    bool

	answers []answer
	// on are the listeners that it is attached to.
	on []place
	findings
	// said is what its status should say of this Gateway.
	said *RouteSaid
}

// place is where a route is attached: the listener, and those of the route's own
// hostnames that meet the listener's.
type place struct {
	listener *listener
	hosts    []string
}

// findings are what reading a part of the input has come to, beside the part.
type findings struct {
	// seen is what was looked up, each once.
	seen []Reference
	// backends that it refers to, and policies of their Services.
	backends []Backend
	policies []governed
}

// governed is a Service with its BackendTLSPolicies.
type governed struct {
	service  Name
	policies []*policy
}

// answer is what is said to one parentRef.
type answer struct {
	ref      gatewayv1.ParentReference
	rejected *verdict // nil: accepted
}

func (r *route) groupKind() groupKind { return groupKind{gatewayv1.GroupName, r.kind} }

// speaks is what a route of this kind speaks to its backends.
func (r *route) speaks() Protocol {
	switch r.kind {
	case "HTTPRoute":
		return ProtocolHTTP
	case "GRPCRoute":
		return ProtocolH2C
	case "UDPRoute":
		return ProtocolUDP
	}
	return ProtocolTCP
}

// fail notes a reference that cannot be followed. What is not permitted is told
// first, as for listeners.
func (r *route) fail(v *verdict) {
	if r.unresolved == nil || v.reason == string(gatewayv1.RouteReasonRefNotPermitted) && r.unresolved.reason != v.reason {
		r.unresolved = v
	}
}

// drop notes a rule that is left out.
func (r *route) drop(rule int, why string) {
	r.dropped = append(r.dropped, fmt.Sprintf("rule %d: %s", rule, why))
}

// compareRoutes orders routes by age, then by namespace and name, then by kind.
func compareRoutes(a, b *route) int {
	return cmp.Or(older(a.meta, b.meta), cmp.Compare(a.kind, b.kind))
}

func (r *route) reference() Reference { return Reference{Kind: r.kind, Name: r.name} }

// readRoutes reads those routes that name one of the owners, the older first.
func (b *builder) readRoutes(objects []metav1.Object) []*route {
	var out []*route
	for _, o := range objects {
		if r := b.readRoute(o); r != nil {
			out = append(out, r)
		}
	}
	slices.SortFunc(out, compareRoutes)
	return out
}

// readRoute reads a route of any kind and attaches it; nil: it names none of the
// owners.
func (b *builder) readRoute(o metav1.Object) *route {
	switch o := o.(type) {
	case *gatewayv1.HTTPRoute:
		r := newRoute(o, "HTTPRoute", &o.ObjectMeta, o.Spec.Hostnames)
		r.routed = true
		return b.finishRoute(r, &o.Spec.CommonRouteSpec, func() { b.readHTTP(r, o) })
	case *gatewayv1.GRPCRoute:
		r := newRoute(o, "GRPCRoute", &o.ObjectMeta, o.Spec.Hostnames)
		r.routed = true
		return b.finishRoute(r, &o.Spec.CommonRouteSpec, func() { b.readGRPC(r, o) })
	case *gatewayv1.TLSRoute:
		r := newRoute(o, "TLSRoute", &o.ObjectMeta, o.Spec.Hostnames)
		return b.finishRoute(r, &o.Spec.CommonRouteSpec, func() {
			if len(o.Spec.Rules) > 0 {
				b.readStream(r, o.Spec.Rules[0].Name, o.Spec.Rules[0].BackendRefs)
				r.passed = b.withoutTLS(r.stream)
			}
		})
	case *gatewayv1.TCPRoute:
		r := newRoute(o, "TCPRoute", &o.ObjectMeta, nil)
		return b.finishRoute(r, &o.Spec.CommonRouteSpec, func() {
			if len(o.Spec.Rules) > 0 {
				b.readStream(r, o.Spec.Rules[0].Name, o.Spec.Rules[0].BackendRefs)
			}
		})
	case *gatewayv1.UDPRoute:
		r := newRoute(o, "UDPRoute", &o.ObjectMeta, nil)
		return b.finishRoute(r, &o.Spec.CommonRouteSpec, func() {
			if len(o.Spec.Rules) > 0 {
				b.readStream(r, o.Spec.Rules[0].Name, o.Spec.Rules[0].BackendRefs)
			}
		})
	}
	return nil
}

func newRoute(o metav1.Object, kind string, meta *metav1.ObjectMeta, hosts []gatewayv1.Hostname) *route {
	return &route{object: o, kind: kind, name: Name{meta.Namespace, meta.Name}, meta: meta, hosts: hostnamesOf(hosts)}
}

// finishRoute reads the rules of a route and attaches it.
func (b *builder) finishRoute(r *route, common *gatewayv1.CommonRouteSpec, rules func()) *route {
	for _, p := range common.ParentRefs {
		if b.ownerOf(r.name.Namespace, &p) != nil {
			r.parents = append(r.parents, p)
		}
	}
	if len(r.parents) == 0 {
		return nil
	}
	b.reading = &r.findings
	r.seen = b.objects.noting(func() {
		rules()
		b.attach(r)
	})
	r.said = r.status()
	return r
}

// attachedAgain is a route whose object and references are as they were, on
// listeners that are not.
func (b *builder) attachedAgain(was *route) *route {
	r := *was
	r.answers, r.on = nil, nil
	r.seen = b.objects.noting(func() {
		b.objects.note(was.seen)
		b.attach(&r)
	})
	r.said = r.status()
	return &r
}

// readStream reads the one rule of a route that forwards bytes or datagrams.
func (b *builder) readStream(r *route, name *gatewayv1.SectionName, refs []gatewayv1.BackendRef) {
	r.stream = &Stream{Origin: Origin{Kind: r.kind, Name: r.name, RuleName: sectionOf(name)}}
	for _, ref := range refs {
		r.stream.Backends = append(r.stream.Backends, b.destination(r, ref, false))
	}
}

// withoutTLS is a stream that no BackendTLSPolicy applies to: what is passed
// through is encrypted already, for the backend itself (GEP-1897).
func (b *builder) withoutTLS(s *Stream) *Stream {
	out := &Stream{Origin: s.Origin}
	for _, d := range s.Backends {
		i := slices.IndexFunc(b.reading.backends, func(k Backend) bool { return k.ID == d.Backend })
		if i >= 0 && b.reading.backends[i].TLS != nil {
			plain := b.reading.backends[i]
			plain.TLS = nil
			d.Backend = b.addBackend(plain)
		}
		out.Backends = append(out.Backends, d)
	}
	return out
}

// streamOn is what a route forwards that comes in on a listener.
func (r *route) streamOn(l *listener) *Stream {
	switch {
	case r.stream == nil:
		return &Stream{}
	case r.passed != nil && !l.terminates():
		return r.passed
	}
	return r.stream
}

// governing are the policies that apply to what the route leads to: none does
// where all TLS is passed through.
func (r *route) governing() []governed {
	if r.passed != nil && !slices.ContainsFunc(r.on, func(p place) bool { return p.listener.terminates() }) {
		return nil
	}
	return r.policies
}

func sectionOf(s *gatewayv1.SectionName) string {
	if s == nil {
		return ""
	}
	return string(*s)
}

// ownerOf is the Gateway or ListenerSet that a parentRef names, if it is one of
// these.
func (b *builder) ownerOf(namespace string, p *gatewayv1.ParentReference) *owner {
	kind := kindGateway
	if p.Group != nil {
		kind.group = string(*p.Group)
	}
	if p.Kind != nil {
		kind.kind = string(*p.Kind)
	}
	name := Name{namespace, string(p.Name)}
	if p.Namespace != nil {
		name.Namespace = string(*p.Namespace)
	}
	for _, o := range b.owners {
		if o.kind == kind && o.name == name {
			return o
		}
	}
	return nil
}

// attach puts a route on the listeners that its parentRefs name and that let it
// in, and keeps what is said to each parentRef.
func (b *builder) attach(r *route) {
	attached := map[*listener]bool{}
	for _, p := range r.parents {
		o := b.ownerOf(r.name.Namespace, &p)
		found, rejected := b.listenersFor(r, o, &p)
		if rejected == nil && r.nothing {
			rejected = because(gatewayv1.RouteReasonUnsupportedValue, "No rule can be followed: %s.", joined(r.dropped))
		}
		r.answers = append(r.answers, answer{ref: p, rejected: rejected})
		if rejected != nil {
			continue
		}
		for _, l := range found {
			if attached[l.listener] {
				continue
			}
			attached[l.listener] = true
			r.on = append(r.on, l)
		}
	}
}

// listenersFor are the listeners that a parentRef comes to.
func (b *builder) listenersFor(r *route, o *owner, p *gatewayv1.ParentReference) ([]place, *verdict) {
	if o.refused != nil {
		return nil, because(gatewayv1.RouteReasonNotAllowedByListeners, "%s %s is not allowed on its Gateway, so nothing can attach to it.", o.kind.kind, o.name)
	}
	var named, allowed []*listener
	for _, l := range o.listeners {
		if p.SectionName != nil && *p.SectionName != "" && *p.SectionName != l.spec.Name || p.Port != nil && *p.Port != l.spec.Port {
			continue
		}
		named = append(named, l)
		if l.takes(r.kind) && b.lets(l, r) {
			allowed = append(allowed, l)
		}
	}
	switch {
	case len(named) == 0:
		return nil, because(gatewayv1.RouteReasonNoMatchingParent, "%s %s has no listener%s.", o.kind.kind, o.name, asked(p))
	case len(allowed) == 0:
		return nil, because(gatewayv1.RouteReasonNotAllowedByListeners,
			"No listener of %s %s%s takes a %s from this namespace (its protocol and allowedRoutes).", o.kind.kind, o.name, asked(p), r.kind)
	}
	var out []place
	for _, l := range allowed {
		if hosts := meeting(l.host, r.hosts); len(hosts) > 0 || !l.hasHosts() {
			out = append(out, place{listener: l, hosts: hosts})
		}
	}
	if len(out) == 0 {
		return nil, because(gatewayv1.RouteReasonNoMatchingListenerHostname,
			"No hostname of the route meets that of a listener of %s %s%s.", o.kind.kind, o.name, asked(p))
	}
	return out, nil
}

// hasHosts tells whether hostnames count on a listener.
func (l *listener) hasHosts() bool {
	p := l.spec.Protocol
	return p != gatewayv1.TCPProtocolType && p != gatewayv1.UDPProtocolType
}

// meeting are the hostnames that have hosts in common with a listener's.
func meeting(listener string, hosts []string) []string {
	var out []string
	for _, h := range hosts {
		if _, ok := intersect(listener, h); ok {
			out = append(out, h)
		}
	}
	return out
}

// asked tells what of a parentRef narrows the listeners, for a sentence.
func asked(p *gatewayv1.ParentReference) string {
	out := ""
	if p.SectionName != nil && *p.SectionName != "" {
		out += " named " + string(*p.SectionName)
	}
	if p.Port != nil {
		out += fmt.Sprintf(" on port %d", *p.Port)
	}
	return out
}

// lets tells whether a listener admits routes of a namespace.
func (b *builder) lets(l *listener, r *route) bool {
	from, selector := gatewayv1.NamespacesFromSame, (*metav1.LabelSelector)(nil)
	if a := l.spec.AllowedRoutes; a != nil && a.Namespaces != nil {
		if a.Namespaces.From != nil {
			from = *a.Namespaces.From
		}
		selector = a.Namespaces.Selector
	}
	ok, _ := b.allowsNamespace(from, selector, l.owner.name.Namespace, r.name.Namespace)
	return ok
}
