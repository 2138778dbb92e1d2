package xds

import (
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/fairlead/fairlead/gateway"
)

// match encodes what a request must be like.
func match(m gateway.Match) *routev3.RouteMatch {
	out := &routev3.RouteMatch{}
	path(out, m)
	if m.Method != "" {
		out.Headers = append(out.Headers, header(":method", exactly(m.Method)))
	}
	for _, h := range m.Headers {
		name := h.Name
		if strings.EqualFold(name, "host") {
			name = ":authority" // what Envoy calls it in every version of HTTP
		}
		out.Headers = append(out.Headers, header(name, compare(h)))
	}
	for _, q := range m.Query {
		out.QueryParameters = append(out.QueryParameters, &routev3.QueryParameterMatcher{
			Name:                         q.Name,
			QueryParameterMatchSpecifier: &routev3.QueryParameterMatcher_StringMatch{StringMatch: compare(q)},
		})
	}
	if m.GRPC {
		out.Grpc = &routev3.RouteMatch_GrpcRouteMatchOptions{}
	}
	return out
}

func path(out *routev3.RouteMatch, m gateway.Match) {
	switch m.Path {
	case gateway.PathExact:
		out.PathSpecifier = &routev3.RouteMatch_Path{Path: m.Value}
	case gateway.PathRegex:
		out.PathSpecifier = &routev3.RouteMatch_SafeRegex{SafeRegex: re2(m.Value)}
	case gateway.PathPrefix:
		if prefix := strings.TrimRight(m.Value, "/"); prefix != "" {
			out.PathSpecifier = &routev3.RouteMatch_PathSeparatedPrefix{PathSeparatedPrefix: prefix}
			return
		}
		fallthrough
	default:
		out.PathSpecifier = &routev3.RouteMatch_Prefix{Prefix: "/"}
	}
}

func compare(v gateway.ValueMatch) *matcherv3.StringMatcher {
	if v.Regex {
		return fully(v.Value)
	}
	return exactly(v.Value)
}

func header(name string, m *matcherv3.StringMatcher) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_StringMatch{StringMatch: m},
	}
}

// present is a header with any value.
func present(name string) *routev3.HeaderMatcher {
	return &routev3.HeaderMatcher{
		Name:                 name,
		HeaderMatchSpecifier: &routev3.HeaderMatcher_PresentMatch{PresentMatch: true},
	}
}
