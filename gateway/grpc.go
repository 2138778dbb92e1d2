package gateway

import (
	"regexp"

	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// readGRPC reads the rules of a GRPCRoute.
func (b *builder) readGRPC(r *route, o *gatewayv1.GRPCRoute) {
	for i := range o.Spec.Rules {
		spec := &o.Spec.Rules[i]
		f := b.readFilters(r, httpFilters(spec.Filters))
		base, problem := b.grpcRule(r, spec, &f)
		base.Origin = Origin{Kind: r.kind, Name: r.name, Rule: i, RuleName: sectionOf(spec.Name)}
		addRule(r, base, &f, problem, spec.Matches, grpcMatch)
	}
	r.finish(len(o.Spec.Rules))
}

func (b *builder) grpcRule(r *route, spec *gatewayv1.GRPCRouteRule, f *filters) (Rule, string) {
	rule := Rule{RequestHeaders: f.requestHeaders, ResponseHeaders: f.responseHeaders, Mirrors: f.mirrors, Rewrite: f.rewrite}
	problem := ""
	//nolint:staticcheck // deprecated for a kind that is not served yet, and in use
	rule.Session, problem = session(r, spec.SessionPersistence, problem)
	for _, ref := range spec.BackendRefs {
		problem = b.addDestination(r, &rule, ref.BackendRef, httpFilters(ref.Filters), problem)
	}
	if f.failing {
		rule.Backends = nil
	}
	return rule, problem
}

// httpFilters are the filters of a GRPCRoute, which an HTTPRoute has too.
func httpFilters(list []gatewayv1.GRPCRouteFilter) []gatewayv1.HTTPRouteFilter {
	out := make([]gatewayv1.HTTPRouteFilter, 0, len(list))
	for _, f := range list {
		out = append(out, gatewayv1.HTTPRouteFilter{
			Type: gatewayv1.HTTPRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
			ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		})
	}
	return out
}

// anyName matches one element of a gRPC path.
const anyName = "[^/]+"

// grpcMatch reads one match. The path of a gRPC request is /service/method.
func grpcMatch(r *route, m *gatewayv1.GRPCRouteMatch) (ranked, string) {
	out := ranked{route: r, path: 2, Rule: &Rule{}}
	out.Match.GRPC = true
	problem := ""
	if s := m.Method; s != nil && (ptr.Deref(s.Service, "") != "" || ptr.Deref(s.Method, "") != "") {
		service, method := ptr.Deref(s.Service, ""), ptr.Deref(s.Method, "")
		out.length, out.extra = len(service), len(method)
		exact := s.Type == nil || *s.Type == gatewayv1.GRPCMethodMatchExact
		switch {
		case exact && service != "" && method != "":
			out.Match.Path, out.Match.Value, out.path = PathExact, "/"+service+"/"+method, 0
		case exact && method == "":
			out.Match.Path, out.Match.Value = PathPrefix, "/"+service
		case exact:
			out.Match.Path, out.Match.Value, out.path = PathRegex, "/"+anyName+"/"+regexp.QuoteMeta(method), 1
		default:
			problem = out.grpcExpressions(service, method)
		}
	}
	for _, h := range m.Headers {
		regex := h.Type != nil && *h.Type == gatewayv1.GRPCHeaderMatchRegularExpression
		problem = out.Match.addHeader(string(h.Name), h.Value, regex, problem)
	}
	return out, problem
}

// grpcExpressions joins the expressions for service and method into one for the
// path.
func (r *ranked) grpcExpressions(service, method string) string {
	problem := ""
	part := func(where, text string) string {
		if text == "" {
			return anyName
		}
		problem = expression(where, text, problem)
		return "(?:" + text + ")"
	}
	r.Match.Path, r.path = PathRegex, 1
	r.Match.Value = "/" + part("service", service) + "/" + part("method", method)
	if problem == "" {
		// A \Q without an end reaches into what is put behind it.
		_, problem = parsed("path that service and method make", r.Match.Value)
	}
	return problem
}
