package plan

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/plural"
)

// target is the Gateway that is planned for.
type target struct {
	// live is the Gateway as it is; nil: there is none. will is what it is to be.
	live, will *gatewayv1.Gateway
	class      *gatewayv1.GatewayClass
	// added are listeners that live lacks.
	added []gatewayv1.Listener
}

// toGateway is the state while a Service's way to a Gateway is planned. Those who
// share an address have one target.
type toGateway struct {
	*target
	in   *Input
	p    *Plan
	svc  *corev1.Service
	ways []way
	// sections are the listeners of each way.
	sections []gatewayv1.SectionName
}

func planServiceToGateway(in *Input, p *Plan) {
	all := givers(in, p)
	if len(all) == 0 {
		return
	}
	checkWays(in, p, all)
	if slices.ContainsFunc(all, func(t *toGateway) bool { return len(t.ways) == 0 }) || !all[0].frame() {
		return
	}
	all.each((*toGateway).listeners)
	all.each(func(t *toGateway) { grantTakeover(t.in, t.p) })
	all.config()
	all.gateway()
	all.each((*toGateway).routes)
	all.each((*toGateway).check)
	all.each(func(t *toGateway) { checkSockets(t.in, p, socketsOf(t.svc), listening(t.will)) })
	all[0].checkWishes()
	all.each((*toGateway).notes)
	all.joinNotes(p)
	all.summary(p)
}

// frame finds the Gateway, or what a new one is to be.
func (t *toGateway) frame() bool {
	in, p := t.in, t.p
	if t.live = in.Cluster.gateway(in.To.Name); t.live != nil {
		t.will = t.live.DeepCopy()
		name := string(t.live.Spec.GatewayClassName)
		if in.Options.Class != "" && in.Options.Class != name {
			p.note(Blocked, in.To.String()+" spec.gatewayClassName", fmt.Sprintf("It is of class %s, and --class asks for %s.", name, in.Options.Class),
				"Leave --class out, or name a Gateway that does not exist yet.")
			return false
		}
		t.class = in.Cluster.class(name)
		return checkClass(in, p, name, in.To.String())
	}
	if !in.Options.Create {
		p.note(Blocked, in.To.String(), "It does not exist.", "Add --create to have it made, or name one that exists (NAMESPACE/NAME in another namespace).")
		return false
	}
	if t.class = chooseClass(in, p); t.class == nil {
		return false
	}
	t.will = &gatewayv1.Gateway{ObjectMeta: metaOf(in.To.Name)}
	t.will.APIVersion, t.will.Kind = gatewayv1.GroupVersion.String(), "Gateway"
	t.will.Spec.GatewayClassName = gatewayv1.ObjectName(t.class.Name)
	for _, a := range p.Addresses {
		t.will.Spec.Addresses = append(t.will.Spec.Addresses, gatewayv1.GatewaySpecAddress{Type: new(gatewayv1.IPAddressType), Value: a.String()})
	}
	return true
}

// maxListeners is what the Gateway API admits.
const maxListeners = 64

// listeners finds the listener of each way, or adds one.
func (t *toGateway) listeners() {
	for _, w := range t.ways {
		t.sections = append(t.sections, t.listener(w))
	}
	known := func(l gatewayv1.Listener) bool {
		return slices.ContainsFunc(t.will.Spec.Listeners, func(has gatewayv1.Listener) bool { return has.Name == l.Name })
	}
	t.will.Spec.Listeners = append(t.will.Spec.Listeners, slices.DeleteFunc(slices.Clone(t.added), known)...)
	if n := len(t.will.Spec.Listeners); n > maxListeners {
		t.p.note(Blocked, t.in.To.String()+" spec.listeners", fmt.Sprintf("It would have %d listeners, and the Gateway API admits %d.", n, maxListeners),
			"Split the Service in two that share the address, and migrate each to a Gateway of its own.")
	}
}

func (t *toGateway) listener(w way) gatewayv1.SectionName {
	for _, l := range t.will.Spec.Listeners {
		if l.Port != w.port.Port || (l.Protocol == gatewayv1.UDPProtocolType) != w.udp() {
			continue
		}
		whole := l.Hostname == nil || *l.Hostname == ""
		switch {
		case l.Protocol == w.protocol && whole && passes(&l) == (w.kind == "TLSRoute"):
			t.occupants(w, &l)
			return l.Name
		case l.Protocol != w.protocol || !w.requests():
			t.p.note(Blocked, portName(&w.port), fmt.Sprintf("Listener %s of %s uses the port with protocol %s%s, and the Service needs it with %s.",
				l.Name, t.in.To, l.Protocol, hostWords(&l), w.protocol), "Use another Gateway (--create makes one), or change the listener.")
			return l.Name
		}
	}
	l := gatewayv1.Listener{Name: t.name(w), Port: w.port.Port, Protocol: w.protocol}
	if w.kind == "TLSRoute" {
		l.TLS = &gatewayv1.ListenerTLSConfig{Mode: new(gatewayv1.TLSModePassthrough)}
	}
	if t.in.To.Namespace != t.svc.Namespace {
		from := gatewayv1.NamespacesFromSelector
		l.AllowedRoutes = &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{
			From: &from, Selector: selectorOf(t.svc.Namespace),
		}}
	}
	t.added = append(t.added, l)
	return l.Name
}

// passes tells whether a listener lets TLS through to the backend.
func passes(l *gatewayv1.Listener) bool {
	return l.TLS != nil && l.TLS.Mode != nil && *l.TLS.Mode == gatewayv1.TLSModePassthrough
}

func hostWords(l *gatewayv1.Listener) string {
	if l.Hostname == nil || *l.Hostname == "" {
		return ""
	}
	return " for " + string(*l.Hostname)
}

// name is free among the listeners: the port's own, or one that tells what it is.
func (t *toGateway) name(w way) gatewayv1.SectionName {
	plain := w.port.Name
	if plain == "" {
		plain = fmt.Sprintf("%s-%d", strings.ToLower(string(w.protocol)), w.port.Port)
	}
	taken := func(name string) bool {
		is := func(l gatewayv1.Listener) bool { return string(l.Name) == name }
		return slices.ContainsFunc(t.will.Spec.Listeners, is) || slices.ContainsFunc(t.added, is)
	}
	name := plain
	for n := 1; taken(name); n++ {
		name = t.svc.Name + "-" + plain
		if n > 1 {
			name = fmt.Sprintf("%s-%d", name, n)
		}
	}
	return gatewayv1.SectionName(name)
}

// occupants tells of routes that a listener has already.
func (t *toGateway) occupants(w way, l *gatewayv1.Listener) {
	mine := gateway.Name{Namespace: t.svc.Namespace, Name: t.routeName(w, l.Name)}
	var others []string
	for _, r := range routesOf(&t.in.Cluster.Routes) {
		if r.kind == w.kind && r.name == mine || !r.meets(t.in.To.Name, l) {
			continue
		}
		others = append(others, r.kind+" "+r.name.String())
	}
	if len(others) == 0 {
		return
	}
	slices.Sort(others)
	list := strings.Join(others, ", ")
	if w.requests() || w.kind == "TLSRoute" {
		t.p.note(Changed, portName(&w.port), fmt.Sprintf("Listener %s of %s has routes already (%s). What matches their hosts and paths goes to them, also on the new address.", l.Name, t.in.To, list),
			"Look through them, or use a Gateway of its own (--create).")
		return
	}
	t.p.note(Blocked, portName(&w.port), fmt.Sprintf("Listener %s of %s has a route already (%s), and a port without requests goes to one route only.", l.Name, t.in.To, list),
		"Use another Gateway (--create makes one).")
}

// gateway takes the Gateway into the plan: a new one, or the listeners that it
// lacks.
func (all group) gateway() {
	t := all[0]
	key := sharingKey(t.svc)
	noteSharers(t.in, t.p, key)
	if len(sharers(t.in, t.p)) == 0 && !slices.ContainsFunc(all, (*toGateway).leaves) {
		key = ""
	}
	if t.live == nil {
		if key != "" {
			t.will.Annotations = map[string]string{annotationSharing: key}
		}
		t.p.object(t.will, true)
		return
	}
	has := t.live.Annotations[annotationSharing]
	if key != "" && has != "" && has != key {
		t.p.note(Blocked, t.in.To.String()+" "+annotationSharing, fmt.Sprintf("Its sharing key is %q, that of the Service %q: they cannot be on one address.", has, key), "Use another Gateway (--create makes one).")
		return
	}
	if len(t.added) > 0 || key != has && key != "" {
		t.extend(key)
	}
}

// checkWishes finds addresses that the Gateway asks for and cannot have with those
// that it takes over.
func (t *toGateway) checkWishes() {
	for _, a := range t.will.Spec.Addresses {
		ip, err := netip.ParseAddr(a.Value)
		if err == nil && a.Routability != gatewayv1.GatewayAddressRoutabilityCluster && !slices.Contains(t.p.Addresses, ip.Unmap()) {
			t.p.note(Blocked, t.in.To.String()+" spec.addresses", fmt.Sprintf("It asks for %s, which the Service does not have.", ip),
				"Take that out of spec.addresses, or use a Gateway of its own (--create).")
		}
	}
}

// leaves tells whether a port stays with the Service.
func (t *toGateway) leaves() bool { return len(t.ways) < len(t.svc.Spec.Ports) }

func (all group) summary(p *Plan) {
	t := all[0]
	what := fmt.Sprintf("Gateway %s", p.To.Name.Name)
	if t.live == nil {
		what += " (new)"
	}
	var ports, ways []string
	for _, t := range all {
		var routes []string
		for i, w := range t.ways {
			ports = append(ports, fmt.Sprintf("%s :%d", w.protocol, w.port.Port))
			routes = append(routes, fmt.Sprintf("%s %s", w.kind, t.routeName(w, t.sections[i])))
		}
		ways = append(ways, fmt.Sprintf("%s -> Service %s", strings.Join(routes, ", "), t.svc.Name))
	}
	from := "Service"
	if len(all) > 1 {
		from = plural.Count(len(all), "Service")
	}
	p.Summary = fmt.Sprintf("%s (%s), %s; address %s moves from %s to Gateway", what, strings.Join(ports, ", "), strings.Join(ways, ", "), addressWords(p.Addresses), from)
}
