package gateway

import (
	"fmt"
	"slices"
	"strings"

	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// examineFilters reads the filters that a listener puts before its routes
// (GEP-5224).
func (b *builder) examineFilters(l *listener) {
	if l.spec.Filters == nil || len(l.spec.Filters.Requests) == 0 {
		return
	}
	if p := l.spec.Protocol; p != gatewayv1.HTTPProtocolType && p != gatewayv1.HTTPSProtocolType {
		l.rejected = because(gatewayv1.ListenerReasonUnsupportedValue, "A listener of protocol %s cannot have filters.", p)
		return
	}
	for i, f := range l.spec.Filters.Requests {
		if f.Type != gatewayv1.ListenerFilterExternalAuth || f.ExternalAuth == nil {
			l.rejected = because(gatewayv1.ListenerReasonUnsupportedValue,
				"filters.requests[%d] is of type %s, which is not supported. Use ExternalAuth.", i, f.Type)
			return
		}
		auth, problem := b.externalAuth(l.owner.kind, l.owner.name.Namespace, f.ExternalAuth)
		if problem != nil {
			l.fail(because("InvalidListenerFilterRef", "filters.requests[%d]: %s", i, problem.message))
		}
		l.auth = append(l.auth, *auth)
	}
}

// filters is what the filters of a rule or a backendRef come to.
type filters struct {
	requestHeaders, responseHeaders *HeaderChange
	redirect                        *gatewayv1.HTTPRequestRedirectFilter
	rewrite                         *Rewrite
	mirrors                         []Mirror
	cors                            *CORS
	auth                            *ExternalAuth
	// unusable says why the rule cannot be followed at all.
	unusable string
	// failing says that requests are answered with 500 for want of something
	// that is referred to.
	failing bool
}

// readFilters reads the filters of an HTTPRoute. Problems of references are
// noted on the route.
func (b *builder) readFilters(r *route, list []gatewayv1.HTTPRouteFilter) filters {
	var out filters
	for _, f := range list {
		switch {
		case f.Type == gatewayv1.HTTPRouteFilterRequestHeaderModifier && f.RequestHeaderModifier != nil:
			out.changeRequest(f.RequestHeaderModifier)
		case f.Type == gatewayv1.HTTPRouteFilterResponseHeaderModifier && f.ResponseHeaderModifier != nil:
			out.responseHeaders, out.unusable = headerChange(f.ResponseHeaderModifier, out.unusable)
		case f.Type == gatewayv1.HTTPRouteFilterRequestRedirect && f.RequestRedirect != nil:
			out.redirect = f.RequestRedirect
		case f.Type == gatewayv1.HTTPRouteFilterURLRewrite && f.URLRewrite != nil:
			out.addRewrite(f.URLRewrite)
		case f.Type == gatewayv1.HTTPRouteFilterRequestMirror && f.RequestMirror != nil:
			b.addMirror(r, &out, f.RequestMirror)
		case f.Type == gatewayv1.HTTPRouteFilterCORS && f.CORS != nil:
			out.addCORS(f.CORS)
		case f.Type == gatewayv1.HTTPRouteFilterExternalAuth && f.ExternalAuth != nil:
			auth, problem := b.externalAuth(r.groupKind(), r.name.Namespace, f.ExternalAuth)
			if problem != nil {
				r.fail(problem)
			}
			out.auth = auth
		default:
			out.failing = true
			r.fail(because(gatewayv1.RouteReasonInvalidKind, "A filter of type %s is not supported; requests that match its rule are answered with 500. Remove it.", f.Type))
		}
	}
	if out.redirect != nil && out.rewrite != nil {
		out.unusable = "it has a RequestRedirect and a URLRewrite filter, which exclude each other"
	}
	return out
}

// changeRequest takes a change of request headers; one of Host is a rewrite.
func (f *filters) changeRequest(h *gatewayv1.HTTPHeaderFilter) {
	kept := *h
	host := ""
	take := func(list []gatewayv1.HTTPHeader) []gatewayv1.HTTPHeader {
		return slices.DeleteFunc(slices.Clone(list), func(h gatewayv1.HTTPHeader) bool {
			is := strings.EqualFold(string(h.Name), "host")
			if is {
				host = h.Value
			}
			return is
		})
	}
	kept.Set, kept.Add = take(h.Set), take(h.Add)
	kept.Remove = slices.DeleteFunc(slices.Clone(h.Remove), func(n string) bool { return strings.EqualFold(n, "host") })
	if host != "" {
		if f.rewrite == nil {
			f.rewrite = &Rewrite{}
		}
		if f.rewrite.Hostname == "" {
			f.rewrite.Hostname = host
		}
	}
	f.requestHeaders, f.unusable = headerChange(&kept, f.unusable)
}

// headerChange reads a change of headers. Envoy takes no control characters.
func headerChange(h *gatewayv1.HTTPHeaderFilter, unusable string) (*HeaderChange, string) {
	out := &HeaderChange{Remove: slices.Clone(h.Remove)}
	read := func(list []gatewayv1.HTTPHeader) []Header {
		var got []Header
		for _, e := range list {
			if strings.ContainsFunc(e.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
				unusable = fmt.Sprintf("the value for header %s has control characters", e.Name)
			}
			got = append(got, Header{Name: string(e.Name), Value: e.Value})
		}
		return got
	}
	out.Set, out.Add = read(h.Set), read(h.Add)
	if len(out.Set)+len(out.Add)+len(out.Remove) == 0 {
		return nil, unusable
	}
	return out, unusable
}

func (f *filters) addRewrite(u *gatewayv1.HTTPURLRewriteFilter) {
	if f.rewrite == nil {
		f.rewrite = &Rewrite{}
	}
	if u.Hostname != nil {
		f.rewrite.Hostname = string(*u.Hostname)
	}
	f.rewrite.Path = pathChange(u.Path)
}

func pathChange(p *gatewayv1.HTTPPathModifier) *PathChange {
	switch {
	case p == nil:
		return nil
	case p.Type == gatewayv1.FullPathHTTPPathModifier && p.ReplaceFullPath != nil:
		return &PathChange{Full: p.ReplaceFullPath}
	case p.Type == gatewayv1.PrefixMatchHTTPPathModifier && p.ReplacePrefixMatch != nil:
		return &PathChange{Prefix: p.ReplacePrefixMatch}
	}
	return nil
}

// addMirror adds a copy of requests. One whose backend cannot be found is left
// out, and told.
func (b *builder) addMirror(r *route, out *filters, m *gatewayv1.HTTPRequestMirrorFilter) {
	id, problem := b.backend(r.groupKind(), r.name.Namespace, m.BackendRef, r.speaks())
	if problem != nil {
		r.fail(problem)
		return
	}
	mirror := Mirror{Backend: id, Numerator: 100, Denominator: 100}
	switch {
	case m.Percent != nil:
		mirror.Numerator = uint32(max(*m.Percent, 0))
	case m.Fraction != nil:
		mirror.Numerator = uint32(max(m.Fraction.Numerator, 0))
		if d := m.Fraction.Denominator; d != nil {
			mirror.Denominator = uint32(max(*d, 1))
		}
	}
	if mirror.Numerator > 0 {
		out.mirrors = append(out.mirrors, mirror)
	}
}

func (f *filters) addCORS(c *gatewayv1.HTTPCORSFilter) {
	out := &CORS{Credentials: c.AllowCredentials != nil && *c.AllowCredentials, MaxAge: c.MaxAge}
	for _, o := range c.AllowOrigins {
		out.Origins = append(out.Origins, string(o))
	}
	for _, m := range c.AllowMethods {
		out.Methods = append(out.Methods, string(m))
	}
	for _, h := range c.AllowHeaders {
		out.Headers = append(out.Headers, string(h))
	}
	for _, h := range c.ExposeHeaders {
		out.Expose = append(out.Expose, string(h))
	}
	f.cors = out
}

// externalAuth reads whom to ask. Where that cannot be found every request is
// denied.
func (b *builder) externalAuth(from groupKind, namespace string, f *gatewayv1.HTTPExternalAuthFilter) (*ExternalAuth, *verdict) {
	out := &ExternalAuth{GRPC: f.ExternalAuthProtocol == gatewayv1.HTTPRouteExternalAuthGRPCProtocol}
	speaks := ProtocolHTTP
	if out.GRPC {
		speaks = ProtocolH2C
	}
	lower := func(list []string) []string {
		var names []string
		for _, n := range list {
			names = appendNew(names, strings.ToLower(n))
		}
		slices.Sort(names)
		return names
	}
	if c := f.GRPCAuthConfig; out.GRPC && c != nil {
		out.RequestHeaders = lower(c.AllowedRequestHeaders)
	}
	if c := f.HTTPAuthConfig; !out.GRPC && c != nil {
		out.Path, out.RequestHeaders, out.ResponseHeaders = c.Path, lower(c.AllowedRequestHeaders), lower(c.AllowedResponseHeaders)
	}
	if f.ForwardBody != nil && f.ForwardBody.MaxSize > 0 {
		out.Body = uint32(f.ForwardBody.MaxSize)
	}
	id, problem := b.backend(from, namespace, f.BackendRef, speaks)
	out.Backend = id
	return out, problem
}
