package xds

import (
	"fmt"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// million is the finest denominator that Envoy has.
const million = 1_000_000

// answers are the routes to what a rule leads to, all with its match. The host
// is given only if the answer depends on it.
func (e *encoder) answers(r *gateway.Rule, host string) []*routev3.Route {
	some := active(r.Backends)
	switch {
	case !e.reachable(r.Auth):
		return []*routev3.Route{e.failed(r, http.StatusInternalServerError)}
	case r.Redirect != nil:
		route := e.route(r)
		headers(route, r.RequestHeaders, r.ResponseHeaders)
		route.TypedPerFilterConfig = e.filters(r, nil)
		route.Action = redirect(r.Redirect, r.Match, host)
		return []*routev3.Route{route}
	case total(some) == 0:
		return []*routev3.Route{e.failed(r, failure(r))}
	case len(some) == 1:
		return []*routev3.Route{e.single(r, some[0], host)}
	case mustSplit(some):
		return e.split(r, some, host)
	default:
		return []*routev3.Route{e.weighted(r, some)}
	}
}

// failure is the status of what leads nowhere. Envoy tells gRPC clients
// UNAVAILABLE for a 503 and UNKNOWN for a 500.
func failure(r *gateway.Rule) uint32 {
	if r.Match.GRPC {
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}

// route is one with a name and a match.
func (e *encoder) route(r *gateway.Rule) *routev3.Route {
	o := r.Origin
	route := &routev3.Route{
		Name:  fmt.Sprintf("%s/%s/%s/%d/%d", o.Kind, o.Namespace, o.Name.Name, o.Rule, o.Match),
		Match: match(r.Match),
	}
	if e.settings.RouteMetrics {
		route.StatPrefix = statName(fmt.Sprintf("%s/%s/%s", o.Kind, o.Namespace, o.Name.Name))
	}
	return route
}

func (e *encoder) failed(r *gateway.Rule, status uint32) *routev3.Route {
	route := e.route(r)
	headers(route, nil, r.ResponseHeaders)
	if r.Auth != nil && e.reachable(r.Auth) {
		// It is asked even where the answer is a failure.
		route.TypedPerFilterConfig = e.filters(&gateway.Rule{Auth: r.Auth}, nil)
	}
	route.Action = respond(status)
	return route
}

// single sends everything to one destination, so its filters are the route's.
func (e *encoder) single(r *gateway.Rule, d *gateway.Destination, host string) *routev3.Route {
	if !e.reachable(d.Auth) {
		return e.failed(r, http.StatusInternalServerError)
	}
	route := e.route(r)
	headers(route, then(r.RequestHeaders, d.RequestHeaders), then(r.ResponseHeaders, d.ResponseHeaders))
	once(route, r)
	route.TypedPerFilterConfig = e.filters(r, d)
	if d.Redirect != nil {
		route.Action = redirect(d.Redirect, r.Match, host)
		return route
	}
	if e.backends[d.Backend] == nil {
		return e.failed(r, failure(r))
	}
	action := e.action(r, append(r.Mirrors[:len(r.Mirrors):len(r.Mirrors)], d.Mirrors...))
	action.ClusterSpecifier = &routev3.RouteAction_Cluster{Cluster: e.cluster(d)}
	rewrite(action, d.Rewrite, r.Match)
	route.Action = &routev3.Route_Route{Route: action}
	return route
}

// mustSplit is whether a destination has what weighted clusters cannot say.
func mustSplit(some []*gateway.Destination) bool {
	for _, d := range some {
		if d.Redirect != nil || len(d.Mirrors) > 0 || (d.Rewrite != nil && d.Rewrite.Path != nil) {
			return true
		}
	}
	return false
}

// split gives every destination a route of its own. Envoy draws one number per
// request for all of them, so each route takes what lies between the sum of the
// weights before it and that with its own.
func (e *encoder) split(r *gateway.Rule, some []*gateway.Destination, host string) []*routev3.Route {
	var sum, upTo uint64
	for _, d := range some {
		sum += uint64(d.Weight)
	}
	var routes []*routev3.Route
	for i, d := range some {
		own := *r
		if s := apart(r.Session, d); s != nil {
			own.Session = s
		}
		route := e.single(&own, d, host)
		upTo += uint64(d.Weight)
		if i < len(some)-1 {
			route.Match.RuntimeFraction = fraction(upTo, sum)
		}
		routes = append(routes, route)
	}
	return routes
}

// fraction rounds to millionths.
func fraction(part, whole uint64) *corev3.RuntimeFractionalPercent {
	return &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{
		Numerator:   uint32((part*million + whole/2) / whole),
		Denominator: typev3.FractionalPercent_MILLION,
	}}
}

// weighted shares requests among clusters.
func (e *encoder) weighted(r *gateway.Rule, some []*gateway.Destination) *routev3.Route {
	route := e.route(r)
	route.TypedPerFilterConfig = e.filters(r, nil)
	clusters := &routev3.WeightedCluster{}
	action := e.action(r, r.Mirrors)
	request, response := changed(some)
	for _, d := range some {
		c := e.share(r, d, request, response)
		if c.Name == Nowhere && !r.Match.GRPC {
			action.ClusterNotFoundResponseCode = routev3.RouteAction_INTERNAL_SERVER_ERROR
		}
		clusters.Clusters = append(clusters.Clusters, c)
	}
	// Where a destination changes headers, each changes all of them: Envoy
	// would apply the route's changes last, and they come first.
	var routeRequest, routeResponse *gateway.HeaderChange
	if !request {
		routeRequest = r.RequestHeaders
	}
	if !response {
		routeResponse = r.ResponseHeaders
	}
	headers(route, routeRequest, routeResponse)
	once(route, r)
	action.ClusterSpecifier = &routev3.RouteAction_WeightedClusters{WeightedClusters: clusters}
	route.Action = &routev3.Route_Route{Route: action}
	return route
}

// changed is whether destinations change headers of requests and responses.
func changed(some []*gateway.Destination) (request, response bool) {
	for _, d := range some {
		request = request || d.RequestHeaders != nil
		response = response || d.ResponseHeaders != nil
	}
	return request, response
}

func (e *encoder) share(r *gateway.Rule, d *gateway.Destination, request, response bool) *routev3.WeightedCluster_ClusterWeight {
	c := &routev3.WeightedCluster_ClusterWeight{Name: e.cluster(d), Weight: wrapperspb.UInt32(d.Weight)}
	if !e.reachable(d.Auth) {
		c.Name = Nowhere
	}
	if c.Name == Nowhere {
		return c
	}
	if request {
		all := then(r.RequestHeaders, d.RequestHeaders)
		c.RequestHeadersToAdd, c.RequestHeadersToRemove = added(all), removed(all)
	}
	if response {
		all := then(r.ResponseHeaders, d.ResponseHeaders)
		c.ResponseHeadersToAdd, c.ResponseHeadersToRemove = added(all), removed(all)
	}
	if d.Rewrite != nil && d.Rewrite.Hostname != "" {
		c.HostRewriteSpecifier = &routev3.WeightedCluster_ClusterWeight_HostRewriteLiteral{HostRewriteLiteral: d.Rewrite.Hostname}
	}
	// The rule's are the route's, but for its session.
	c.TypedPerFilterConfig = e.filters(&gateway.Rule{Session: apart(r.Session, d)}, d)
	return c
}

// action is what all ways to forward have in common.
func (e *encoder) action(r *gateway.Rule, mirrors []gateway.Mirror) *routev3.RouteAction {
	action := &routev3.RouteAction{RetryPolicy: retry(r)}
	e.timeouts(action, r)
	for _, m := range mirrors {
		if policy := e.mirror(m); policy != nil {
			action.RequestMirrorPolicies = append(action.RequestMirrorPolicies, policy)
		}
	}
	rewrite(action, r.Rewrite, r.Match)
	return action
}

// mirror encodes a copy, or nil if there is never one.
func (e *encoder) mirror(m gateway.Mirror) *routev3.RouteAction_RequestMirrorPolicy {
	if m.Numerator == 0 || m.Denominator == 0 || e.backends[m.Backend] == nil {
		return nil
	}
	policy := &routev3.RouteAction_RequestMirrorPolicy{
		Cluster:                       e.clusterName(m.Backend),
		DisableShadowHostSuffixAppend: true,
	}
	if m.Numerator < m.Denominator {
		policy.RuntimeFraction = fraction(uint64(m.Numerator), uint64(m.Denominator))
	}
	return policy
}

// filters are the settings of filters for a rule, or for one destination of it.
func (e *encoder) filters(r *gateway.Rule, d *gateway.Destination) map[string]*anypb.Any {
	set := map[string]*anypb.Any{}
	if r.CORS != nil {
		set[filterCORS] = pack(cors(r.CORS))
	}
	if r.Auth != nil {
		set[filterRuleAuth] = e.ask(r.Auth, false)
	}
	if r.Session != nil {
		set[filterSession] = pack(session(r.Session))
	}
	if d != nil && d.CORS != nil {
		set[filterCORS] = pack(cors(d.CORS))
	}
	if d != nil && d.Auth != nil {
		set[filterBackendAuth] = e.ask(d.Auth, false)
	}
	if len(set) == 0 {
		return nil
	}
	return set
}
