package xds

import (
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// cors encodes a policy. Envoy answers with the origin that asked, never with
// "*", and to a "*" in methods and headers with those that were asked for.
func cors(c *gateway.CORS) *corsv3.CorsPolicy {
	policy := &corsv3.CorsPolicy{
		AllowMethods:                 list(c.Methods),
		AllowHeaders:                 list(c.Headers),
		ExposeHeaders:                strings.Join(c.Expose, ", "),
		AllowCredentials:             wrapperspb.Bool(c.Credentials),
		ForwardNotMatchingPreflights: wrapperspb.Bool(false),
	}
	if c.MaxAge > 0 {
		policy.MaxAge = strconv.Itoa(int(c.MaxAge))
	}
	for _, o := range c.Origins {
		policy.AllowOriginStringMatch = append(policy.AllowOriginStringMatch, origin(o))
	}
	return policy
}

// list joins, but "*" must stand alone for Envoy to know it.
func list(values []string) string {
	if slices.Contains(values, "*") {
		return "*"
	}
	return strings.Join(values, ", ")
}

// origin matches exactly, or any host of at least one character for a "*" in it,
// which never reaches into scheme or port.
func origin(o string) *matcherv3.StringMatcher {
	before, after, wild := strings.Cut(o, "*")
	if o == "*" || !wild {
		return exactly(o) // Envoy takes "*" for all
	}
	return fully(regexp.QuoteMeta(before) + `[^/:]+` + regexp.QuoteMeta(after))
}

// policyOf is a rule's policy, or the first of its destinations.
func policyOf(r *gateway.Rule) *gateway.CORS {
	policy := r.CORS
	for i := range r.Backends {
		if policy == nil && r.Backends[i].Weight > 0 {
			policy = r.Backends[i].CORS
		}
	}
	return policy
}

// followed lets browsers follow redirects across origins. Envoy's filter passes
// these by, so before each comes one for every origin that may: it says so itself.
func followed(policy *gateway.CORS, routes []*routev3.Route) []*routev3.Route {
	if policy == nil {
		return routes
	}
	var out []*routev3.Route
	for _, route := range routes {
		if route.GetRedirect() != nil {
			for i := range policy.Origins {
				out = append(out, followedFrom(policy, i, route))
			}
		}
		out = append(out, route)
	}
	return out
}

func followedFrom(policy *gateway.CORS, i int, route *routev3.Route) *routev3.Route {
	route = proto.CloneOf(route)
	route.Name += "/origin-" + strconv.Itoa(i)
	asks := present("origin")
	if o := policy.Origins[i]; o != "*" {
		asks = header("origin", origin(o))
	}
	route.Match.Headers = append(route.Match.Headers, asks)
	say := func(name, value string) {
		route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd, &corev3.HeaderValueOption{
			Header:       &corev3.HeaderValue{Key: name, Value: value},
			AppendAction: corev3.HeaderValueOption_OVERWRITE_IF_EXISTS_OR_ADD,
		})
	}
	say("access-control-allow-origin", "%REQ(origin)%")
	if policy.Credentials {
		say("access-control-allow-credentials", "true")
	}
	if len(policy.Expose) > 0 {
		say("access-control-expose-headers", strings.Join(policy.Expose, ", "))
	}
	return route
}

// preflight is a route for the OPTIONS request that asks for what the rule
// answers, where the rule's own routes do not answer it: its method is another,
// or its answer is not a backend's and so passes Envoy's filter by. The filter
// answers instead of the cluster.
func (e *encoder) preflight(r *gateway.Rule, routes []*routev3.Route) *routev3.Route {
	policy := policyOf(r)
	method := r.Match.Method != "" && r.Match.Method != http.MethodOptions
	forwards := !slices.ContainsFunc(routes, func(route *routev3.Route) bool { return route.GetRoute() == nil })
	if policy == nil || (!method && forwards) {
		return nil
	}
	asked := r.Match
	asked.Method, asked.GRPC = http.MethodOptions, false
	route := e.route(r)
	route.Name += "/preflight"
	route.Match = match(asked)
	route.Match.Headers = append(route.Match.Headers, present("origin"))
	if method {
		route.Match.Headers = append(route.Match.Headers, header("access-control-request-method", exactly(r.Match.Method)))
	} else {
		route.Match.Headers = append(route.Match.Headers, present("access-control-request-method"))
	}
	route.TypedPerFilterConfig = map[string]*anypb.Any{filterCORS: pack(cors(policy))}
	route.Action = &routev3.Route_Route{Route: &routev3.RouteAction{
		ClusterSpecifier: &routev3.RouteAction_Cluster{Cluster: Nowhere},
	}}
	return route
}
