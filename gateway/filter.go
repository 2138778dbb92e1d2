package gateway

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"k8s.io/utils/ptr"
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
			l.fail(because(listenerFilterReason(problem), "filters.requests[%d]: %s", i, problem.message))
		}
		l.auth = append(l.auth, *auth)
	}
}

// listenerFilterReason is why a reference of a listener's filter cannot be followed,
// in GEP-5224's words: it has one for all that is not a matter of grants.
func listenerFilterReason(v *verdict) gatewayv1.ListenerConditionReason {
	if v.reason == string(gatewayv1.ListenerReasonRefNotPermitted) {
		return gatewayv1.ListenerReasonRefNotPermitted
	}
	return "InvalidListenerFilterRef"
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
			out.changeResponse(f.ResponseHeaderModifier)
		case f.Type == gatewayv1.HTTPRouteFilterRequestRedirect && f.RequestRedirect != nil:
			out.addRedirect(f.RequestRedirect)
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
			is := isHost(string(h.Name))
			if is {
				host = h.Value
			}
			return is
		})
	}
	kept.Set, kept.Add = take(h.Set), take(h.Add)
	kept.Remove = withoutHost(h.Remove)
	if host != "" {
		f.renameHost(host)
	}
	f.requestHeaders, f.unusable = headerChange(&kept, f.unusable)
}

// renameHost is a change of the header Host. A URLRewrite goes before it.
func (f *filters) renameHost(host string) {
	if !authority(host) {
		f.refuse("the value for header Host, %q, is no host", host)
	}
	if f.rewrite == nil {
		f.rewrite = &Rewrite{}
	}
	if f.rewrite.Hostname == "" {
		f.rewrite.Hostname = host
	}
}

// refuse notes why the rule cannot be followed.
func (f *filters) refuse(format string, args ...any) {
	f.unusable = cmp.Or(f.unusable, fmt.Sprintf(format, args...))
}

// changeResponse takes a change of response headers, of which Host is none.
func (f *filters) changeResponse(h *gatewayv1.HTTPHeaderFilter) {
	kept := *h
	kept.Remove = withoutHost(h.Remove)
	if slices.ContainsFunc(slices.Concat(h.Set, h.Add), func(h gatewayv1.HTTPHeader) bool { return isHost(string(h.Name)) }) {
		f.refuse("a response has no header Host that could be changed")
	}
	f.responseHeaders, f.unusable = headerChange(&kept, f.unusable)
}

func isHost(name string) bool { return strings.EqualFold(name, "host") }

func withoutHost(names []string) []string { return slices.DeleteFunc(slices.Clone(names), isHost) }

// headerChange reads a change of headers. Envoy takes no control characters, and
// no names that are none: ":path" is not a header.
func headerChange(h *gatewayv1.HTTPHeaderFilter, unusable string) (*HeaderChange, string) {
	out := &HeaderChange{Remove: slices.Clone(h.Remove)}
	for _, name := range h.Remove {
		if !token(name) {
			unusable = fmt.Sprintf("%.80q is no header that could be removed", name)
		}
	}
	read := func(list []gatewayv1.HTTPHeader) []Header {
		var got []Header
		for _, e := range list {
			if controlled(e.Value) {
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
	f.checkPath(u.Path)
	if f.rewrite == nil {
		f.rewrite = &Rewrite{}
	}
	if u.Hostname != nil {
		f.rewrite.Hostname = string(*u.Hostname)
	}
	f.rewrite.Path = pathChange(u.Path)
}

func (f *filters) addRedirect(r *gatewayv1.HTTPRequestRedirectFilter) {
	f.checkPath(r.Path)
	f.redirect = r
}

// checkPath says what is wrong with a path that takes the place of another. It
// has no query: that of the request stays.
func (f *filters) checkPath(p *gatewayv1.HTTPPathModifier) {
	if p == nil {
		return
	}
	for _, path := range []string{ptr.Deref(p.ReplaceFullPath, ""), ptr.Deref(p.ReplacePrefixMatch, "")} {
		if !plainPath(path) {
			f.refuse("the new path %.80q has control characters, a \"?\" or a \"#\", which no path has", path)
		}
	}
}

func pathChange(p *gatewayv1.HTTPPathModifier) *PathChange {
	switch {
	case p == nil:
		return nil
	case p.Type == gatewayv1.FullPathHTTPPathModifier && p.ReplaceFullPath != nil:
		return &PathChange{Full: new(encoded(*p.ReplaceFullPath))}
	case p.Type == gatewayv1.PrefixMatchHTTPPathModifier && p.ReplacePrefixMatch != nil:
		return &PathChange{Prefix: new(encoded(*p.ReplacePrefixMatch))}
	}
	return nil
}

// addMirror adds a copy of requests. One whose backend cannot be found is left
// out, and told.
func (b *builder) addMirror(r *route, out *filters, m *gatewayv1.HTTPRequestMirrorFilter) {
	// Who sends the copy keeps none to send again, and nobody reads the answer.
	id, problem := b.backend(r.groupKind(), r.name.Namespace, m.BackendRef, manner{speaks: r.speaks(), ownRetries: true})
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
	// Who asks has no copy of the question to ask again with.
	how := manner{speaks: ProtocolHTTP, ownRetries: true}
	if out.GRPC {
		how.speaks = ProtocolH2C
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
	id, problem := b.backend(from, namespace, f.BackendRef, how)
	out.Backend = id
	return out, problem
}
