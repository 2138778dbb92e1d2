package plan

import (
	"fmt"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// attached is a route of any kind, as far as it concerns its parents.
type attached struct {
	kind    string
	name    gateway.Name
	labels  map[string]string
	parents []gatewayv1.ParentReference
}

func routesOf(r *gateway.Routes) []attached {
	var out []attached
	add := func(kind string, m *metav1.ObjectMeta, c *gatewayv1.CommonRouteSpec) {
		out = append(out, attached{kind, gateway.Name{Namespace: m.Namespace, Name: m.Name}, m.Labels, c.ParentRefs})
	}
	for _, o := range r.HTTP {
		add("HTTPRoute", &o.ObjectMeta, &o.Spec.CommonRouteSpec)
	}
	for _, o := range r.GRPC {
		add("GRPCRoute", &o.ObjectMeta, &o.Spec.CommonRouteSpec)
	}
	for _, o := range r.TLS {
		add("TLSRoute", &o.ObjectMeta, &o.Spec.CommonRouteSpec)
	}
	for _, o := range r.TCP {
		add("TCPRoute", &o.ObjectMeta, &o.Spec.CommonRouteSpec)
	}
	for _, o := range r.UDP {
		add("UDPRoute", &o.ObjectMeta, &o.Spec.CommonRouteSpec)
	}
	return out
}

// names tells whether the route has a Gateway among its parents.
func (a attached) names(gw gateway.Name) bool {
	for _, p := range a.parents {
		if a.isParent(gw, &p) {
			return true
		}
	}
	return false
}

func (a attached) isParent(gw gateway.Name, p *gatewayv1.ParentReference) bool {
	n := gateway.Name{Namespace: a.name.Namespace, Name: string(p.Name)}
	if p.Namespace != nil {
		n.Namespace = string(*p.Namespace)
	}
	return n == gw && (p.Kind == nil || *p.Kind == "Gateway") && (p.Group == nil || *p.Group == gatewayv1.GroupName)
}

// meets tells whether the route wants to be on a listener.
func (a attached) meets(gw gateway.Name, l *gatewayv1.Listener) bool {
	if !carries(l.Protocol, a.kind) {
		return false
	}
	for _, p := range a.parents {
		if a.isParent(gw, &p) && (p.SectionName == nil || *p.SectionName == l.Name) && (p.Port == nil || *p.Port == l.Port) {
			return true
		}
	}
	return false
}

// carries tells whether a listener takes routes of a kind.
func carries(p gatewayv1.ProtocolType, kind string) bool {
	switch p {
	case gatewayv1.HTTPProtocolType, gatewayv1.HTTPSProtocolType:
		return kind == "HTTPRoute" || kind == "GRPCRoute"
	}
	return kind == string(p)+"Route"
}

// routeName is the Service's own where it has one route, so that people find it.
func (t *toGateway) routeName(w way, section gatewayv1.SectionName) string {
	if len(t.ways) == 1 {
		return t.svc.Name
	}
	if w.port.Name != "" {
		return t.svc.Name + "-" + w.port.Name
	}
	return fmt.Sprintf("%s-%s", t.svc.Name, section)
}

// routes takes a route for each port into the plan.
func (t *toGateway) routes() {
	for i, w := range t.ways {
		name := gateway.Name{Namespace: t.svc.Namespace, Name: t.routeName(w, t.sections[i])}
		isNew := true
		for _, r := range routesOf(&t.in.Cluster.Routes) {
			if r.kind != w.kind || r.name != name {
				continue
			}
			isNew = false
			if r.labels[labelManagedBy] != FieldManager {
				t.p.note(Blocked, w.kind+" "+name.String(), "It exists, and was not made by kubectl fairlead.", "Rename or delete it, and plan again.")
			}
		}
		if slices.ContainsFunc(t.p.Objects, func(o Object) bool { return o.Kind() == w.kind && o.Name() == name }) {
			t.p.note(Blocked, w.kind+" "+name.String(), "It would be the route of two ports.", "Give one of the ports another name.")
		}
		t.p.object(t.route(w, name, t.sections[i]), isNew)
	}
}

// route makes the route of a port.
func (t *toGateway) route(w way, name gateway.Name, section gatewayv1.SectionName) metav1.Object {
	m := metaOf(name)
	kind := metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: w.kind}
	common := gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{t.parent(section)}}
	backend := gatewayv1.BackendRef{BackendObjectReference: gatewayv1.BackendObjectReference{
		Name: gatewayv1.ObjectName(t.svc.Name), Port: new(w.port.Port),
	}}
	backends := []gatewayv1.BackendRef{backend}
	switch w.kind {
	case "HTTPRoute":
		return &gatewayv1.HTTPRoute{TypeMeta: kind, ObjectMeta: m, Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: common, Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: backend}}}},
		}}
	case "GRPCRoute":
		return &gatewayv1.GRPCRoute{TypeMeta: kind, ObjectMeta: m, Spec: gatewayv1.GRPCRouteSpec{
			CommonRouteSpec: common, Rules: []gatewayv1.GRPCRouteRule{{BackendRefs: []gatewayv1.GRPCBackendRef{{BackendRef: backend}}}},
		}}
	case "TLSRoute":
		spec := gatewayv1.TLSRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.TLSRouteRule{{BackendRefs: backends}}}
		for _, h := range w.hosts {
			spec.Hostnames = append(spec.Hostnames, gatewayv1.Hostname(h))
		}
		return &gatewayv1.TLSRoute{TypeMeta: kind, ObjectMeta: m, Spec: spec}
	case "UDPRoute":
		return &gatewayv1.UDPRoute{TypeMeta: kind, ObjectMeta: m, Spec: gatewayv1.UDPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.UDPRouteRule{{BackendRefs: backends}}}}
	}
	return &gatewayv1.TCPRoute{TypeMeta: kind, ObjectMeta: m, Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: common, Rules: []gatewayv1.TCPRouteRule{{BackendRefs: backends}}}}
}

func (t *toGateway) parent(section gatewayv1.SectionName) gatewayv1.ParentReference {
	out := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(t.in.To.Name.Name), SectionName: &section}
	if t.in.To.Namespace != t.svc.Namespace {
		out.Namespace = new(gatewayv1.Namespace(t.in.To.Namespace))
	}
	return out
}
