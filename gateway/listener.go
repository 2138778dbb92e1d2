package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// maxListeners is how many listeners a Gateway may have with those of its
// ListenerSets: as many as a holder of an address may have ports.
const maxListeners = 1000

// owner is a Gateway or a ListenerSet: what listeners belong to.
type owner struct {
	kind groupKind
	name Name
	meta *metav1.ObjectMeta
	set  *gatewayv1.ListenerSet // nil: the Gateway
	// refused says why no listener of a ListenerSet counts.
	refused *verdict
	// listeners in the order of the spec.
	listeners []*listener
}

// verdict is a reason with its words; for a condition.
type verdict struct{ reason, message string }

func because[R ~string](reason R, format string, args ...any) *verdict {
	return &verdict{reason: string(reason), message: fmt.Sprintf(format, args...)}
}

// listener is one listener of a Gateway or ListenerSet, and what is found out
// about it, whatever routes there are.
type listener struct {
	owner *owner
	spec  gatewayv1.Listener
	host  string
	// kinds are those of the routes it takes.
	kinds []gatewayv1.RouteGroupKind

	// rejected says why it is not accepted, conflict why it is not distinct,
	// unresolved which reference cannot be followed. Nil: nothing.
	rejected, conflict, unresolved *verdict
	overlap                        *verdict

	certificates []string
	client       *ClientValidation
	auth         []ExternalAuth
}

// attachment is a route on a listener.
type attachment struct {
	route *route
	// hosts are the route's own hostnames that meet the listener's.
	hosts []string
}

func (l *listener) protocol() gatewayv1.ProtocolType { return l.spec.Protocol }

func (l *listener) port() uint16 { return uint16(l.spec.Port) }

func (l *listener) transport() Transport {
	if l.spec.Protocol == gatewayv1.UDPProtocolType {
		return UDP
	}
	return TCP
}

// terminates tells whether the listener ends TLS itself.
func (l *listener) terminates() bool {
	switch l.spec.Protocol {
	case gatewayv1.HTTPSProtocolType:
		return true
	case gatewayv1.TLSProtocolType:
		return l.spec.TLS == nil || l.spec.TLS.Mode == nil || *l.spec.TLS.Mode == gatewayv1.TLSModeTerminate
	}
	return false
}

// served tells whether the listener gets a place in the data plane.
func (l *listener) served() bool {
	return l.owner.refused == nil && l.rejected == nil && l.conflict == nil &&
		(!l.terminates() || len(l.certificates) > 0)
}

// name is stable and unique in the Gateway.
func (l *listener) name() string {
	if l.owner.set == nil {
		return string(l.spec.Name)
	}
	return "set/" + l.owner.name.String() + "/" + string(l.spec.Name)
}

// takes tells whether routes of a kind may attach.
func (l *listener) takes(kind string) bool {
	return slices.ContainsFunc(l.kinds, func(k gatewayv1.RouteGroupKind) bool { return string(k.Kind) == kind })
}

// collect makes the owners and listeners of an input, the Gateway first, then
// its ListenerSets by precedence: the older first, then by name (GEP-1713).
func (b *builder) collect() {
	gw := b.in.Gateway
	own := &owner{kind: kindGateway, name: Name{gw.Namespace, gw.Name}, meta: &gw.ObjectMeta}
	for _, spec := range gw.Spec.Listeners {
		own.listeners = append(own.listeners, &listener{owner: own, spec: spec})
	}
	b.owners = []*owner{own}
	sets := slices.Clone(b.in.ListenerSets)
	slices.SortFunc(sets, func(a, c *gatewayv1.ListenerSet) int { return older(&a.ObjectMeta, &c.ObjectMeta) })
	count := len(own.listeners)
	for _, s := range sets {
		o := &owner{kind: kindListenerSet, name: Name{s.Namespace, s.Name}, meta: &s.ObjectMeta, set: s, refused: b.admit(s)}
		for _, e := range s.Spec.Listeners {
			l := &listener{owner: o, spec: gatewayv1.Listener(e)}
			if o.refused == nil {
				if count++; count > maxListeners {
					l.rejected = because(gatewayv1.ListenerEntryReasonTooManyListeners,
						"The Gateway has %d listeners already, with those of ListenerSets of higher precedence, and can have no more. Use another Gateway.", maxListeners)
				}
			}
			o.listeners = append(o.listeners, l)
		}
		b.owners = append(b.owners, o)
	}
}

// older orders objects by age, then by namespace and name.
func older(a, b *metav1.ObjectMeta) int {
	return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}

// admit says why the Gateway does not let a ListenerSet in; nil: it does.
func (b *builder) admit(s *gatewayv1.ListenerSet) *verdict {
	from, selector := gatewayv1.NamespacesFromNone, (*metav1.LabelSelector)(nil)
	if a := b.in.Gateway.Spec.AllowedListeners; a != nil && a.Namespaces != nil {
		if a.Namespaces.From != nil {
			from = *a.Namespaces.From
		}
		selector = a.Namespaces.Selector
	}
	ok, problem := b.allowsNamespace(from, selector, b.in.Gateway.Namespace, s.Namespace)
	switch {
	case problem != "":
		return because(gatewayv1.ListenerSetReasonNotAllowed, "The Gateway's allowedListeners cannot be read: %s.", problem)
	case !ok:
		return because(gatewayv1.ListenerSetReasonNotAllowed,
			"Gateway %s/%s does not allow ListenerSets of this namespace (spec.allowedListeners.namespaces.from is %s).", b.in.Gateway.Namespace, b.in.Gateway.Name, from)
	}
	return nil
}

// allowsNamespace tells whether a rule on namespaces, of an object in namespace
// home, admits another namespace. A selector that cannot be read admits nobody.
func (b *builder) allowsNamespace(from gatewayv1.FromNamespaces, selector *metav1.LabelSelector, home, other string) (ok bool, problem string) {
	switch from {
	case gatewayv1.NamespacesFromAll:
		return true, ""
	case gatewayv1.NamespacesFromSame:
		return home == other, ""
	case gatewayv1.NamespacesFromSelector:
		s, err := metav1.LabelSelectorAsSelector(selector)
		if err != nil {
			return false, err.Error()
		}
		have, exists := b.objects.Namespace(other)
		return exists && s.Matches(labels.Set(have)), ""
	}
	return false, ""
}

// kindsOf are the kinds of routes that a protocol can carry, the main one first.
func kindsOf(p gatewayv1.ProtocolType) []gatewayv1.Kind {
	switch p {
	case gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType:
		return []gatewayv1.Kind{"HTTPRoute", "GRPCRoute"}
	case gatewayv1.TLSProtocolType:
		return []gatewayv1.Kind{"TLSRoute"}
	case gatewayv1.TCPProtocolType:
		return []gatewayv1.Kind{"TCPRoute"}
	case gatewayv1.UDPProtocolType:
		return []gatewayv1.Kind{"UDPRoute"}
	}
	return nil
}

// examine finds out what is wrong with a listener by itself.
func (b *builder) examine(l *listener) {
	l.host = hostnameOf(l.spec.Hostname)
	possible := kindsOf(l.spec.Protocol)
	if possible == nil {
		if l.rejected == nil {
			l.rejected = because(gatewayv1.ListenerReasonUnsupportedProtocol,
				"Protocol %s is not supported. Use HTTP, HTTPS, TLS, TCP or UDP.", l.spec.Protocol)
		}
		return
	}
	b.chooseKinds(l, possible)
	b.examineFilters(l)
	if l.terminates() {
		b.examineTLS(l)
	}
}

// chooseKinds keeps of the kinds asked for those that the protocol can carry.
func (b *builder) chooseKinds(l *listener, possible []gatewayv1.Kind) {
	group := gatewayv1.Group(gatewayv1.GroupName)
	if l.spec.AllowedRoutes == nil || len(l.spec.AllowedRoutes.Kinds) == 0 {
		for _, k := range possible {
			l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &group, Kind: k})
		}
		return
	}
	var wrong []string
	for _, k := range l.spec.AllowedRoutes.Kinds {
		if (k.Group == nil || *k.Group == group) && slices.Contains(possible, k.Kind) {
			if !l.takes(string(k.Kind)) {
				l.kinds = append(l.kinds, gatewayv1.RouteGroupKind{Group: &group, Kind: k.Kind})
			}
			continue
		}
		wrong = append(wrong, string(k.Kind))
	}
	if len(wrong) > 0 {
		names := make([]string, len(possible))
		for i, k := range possible {
			names[i] = string(k)
		}
		l.unresolved = because(gatewayv1.ListenerReasonInvalidRouteKinds,
			"allowedRoutes.kinds has %s, which a listener of protocol %s cannot carry. It can carry %s.",
			strings.Join(wrong, ", "), l.spec.Protocol, strings.Join(names, ", "))
	}
}
