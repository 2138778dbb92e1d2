package xds

import (
	"strings"
	"time"

	xdscorev3 "github.com/cncf/xds/go/xds/core/v3"
	xdsmatcherv3 "github.com/cncf/xds/go/xds/type/matcher/v3"
	mutationv3 "github.com/envoyproxy/go-control-plane/envoy/config/common/mutation_rules/v3"
	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/ext_authz/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/fairlead/fairlead/gateway"
)

// messageHeaders describe one message and its connection. An authorization
// service's own must not replace those of the request.
const messageHeaders = `connection|content-(encoding|language|length|type)|date|expect|host|keep-alive|proxy-.*|` +
	`server|te|trailer|transfer-encoding|upgrade|vary|x-envoy-.*`

// ask has an instance of the composite filter be an authorization filter, made
// by the route: ext_authz alone lets a route choose the service but not the
// headers that go with the question, so one instance for each set of headers
// would be needed in the list of filters, and a new one would drain connections.
//
// Each filter has an instance of its own. A composite filter takes a chain too,
// but goes on after the first that had to wait for an answer, and so passes by
// all others.
func (e *encoder) ask(a *gateway.ExternalAuth, reroute bool) *anypb.Any {
	action := &compositev3.ExecuteFilterAction{TypedConfig: e.question(a, reroute)}
	return pack(&compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{
		OnNoMatch: &xdsmatcherv3.Matcher_OnMatch{OnMatch: &xdsmatcherv3.Matcher_OnMatch_Action{
			Action: &xdscorev3.TypedExtensionConfig{Name: "ask", TypedConfig: pack(action)},
		}},
	}})
}

// idle has the filters of rules be there, and do nothing, for every request of a
// host. Envoy chooses a request's filters by the route that it has at first, and a
// listener's authorization may lead to another one, whose filters must not be missed.
func idle() map[string]*anypb.Any {
	silent := pack(&compositev3.CompositePerRoute{Matcher: &xdsmatcherv3.Matcher{}})
	return map[string]*anypb.Any{
		filterCORS:        pack(&corsv3.CorsPolicy{FilterEnabled: &corev3.RuntimeFractionalPercent{DefaultValue: &typev3.FractionalPercent{}}}),
		filterRuleAuth:    silent,
		filterBackendAuth: silent,
		filterSession:     pack(&sessionv3.StatefulSessionPerRoute{Override: &sessionv3.StatefulSessionPerRoute_Disabled{Disabled: true}}),
	}
}

// question encodes one filter. With reroute, headers that the service adds count
// when the request is routed.
func (e *encoder) question(a *gateway.ExternalAuth, reroute bool) *corev3.TypedExtensionConfig {
	filter := &authv3.ExtAuthz{
		TransportApiVersion: corev3.ApiVersion_V3,
		ClearRouteCache:     reroute,
		ValidateMutations:   true,
		DecoderHeaderMutationRules: &mutationv3.HeaderMutationRules{
			DisallowExpression: re2(messageHeaders),
		},
	}
	if len(a.RequestHeaders) > 0 {
		filter.AllowedHeaders = oneOf(a.RequestHeaders)
	}
	if a.Body > 0 {
		// A bigger body is refused (413) rather than judged by its beginning.
		filter.WithRequestBody = &authv3.BufferSettings{MaxRequestBytes: a.Body, PackAsBytes: a.GRPC}
	}
	if a.GRPC {
		filter.Services = &authv3.ExtAuthz_GrpcService{GrpcService: e.grpcService(a)}
	} else {
		filter.Services = &authv3.ExtAuthz_HttpService{HttpService: e.httpService(a)}
	}
	return extension("envoy.filters.http.ext_authz", filter)
}

func (e *encoder) grpcService(a *gateway.ExternalAuth) *corev3.GrpcService {
	return &corev3.GrpcService{
		Timeout: or(e.settings.AuthTimeout, 5*time.Second),
		TargetSpecifier: &corev3.GrpcService_EnvoyGrpc_{
			EnvoyGrpc: &corev3.GrpcService_EnvoyGrpc{ClusterName: e.clusterName(a.Backend), Authority: e.authority(a)},
		},
	}
}

func (e *encoder) httpService(a *gateway.ExternalAuth) *authv3.HttpService {
	// Empty: all that the service answers goes into the request.
	taken := &matcherv3.ListStringMatcher{Patterns: []*matcherv3.StringMatcher{fully(`[^:].*`)}}
	if len(a.ResponseHeaders) > 0 {
		taken = oneOf(a.ResponseHeaders)
	}
	service := &authv3.HttpService{
		ServerUri: &corev3.HttpUri{
			Uri:              "http://" + e.authority(a),
			HttpUpstreamType: &corev3.HttpUri_Cluster{Cluster: e.clusterName(a.Backend)},
			Timeout:          or(e.settings.AuthTimeout, 5*time.Second),
		},
		AuthorizationResponse: &authv3.AuthorizationResponse{AllowedUpstreamHeaders: taken},
	}
	if prefix := strings.Trim(a.Path, "/"); prefix != "" {
		service.PathPrefix = "/" + prefix
	}
	return service
}

// authority is what the service is called; for HTTP it is asked by the name that
// the client used.
func (e *encoder) authority(a *gateway.ExternalAuth) string {
	b := e.backends[a.Backend]
	if b == nil {
		return Nowhere
	}
	return b.Service.Name + "." + b.Service.Namespace
}

// reachable is whether the service can be asked at all; else all is denied.
func (e *encoder) reachable(a *gateway.ExternalAuth) bool {
	return a == nil || e.backends[a.Backend] != nil
}

func oneOf(names []string) *matcherv3.ListStringMatcher {
	list := &matcherv3.ListStringMatcher{}
	for _, name := range names {
		m := exactly(name)
		m.IgnoreCase = true
		list.Patterns = append(list.Patterns, m)
	}
	return list
}
