package xds

import (
	"strconv"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	listenerv3 "github.com/envoyproxy/go-control-plane/envoy/config/listener/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	corsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/cors/v3"
	routerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/router/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/fairlead/fairlead/gateway"
)

// The filters of every HTTP connection, in this order. But for the last two, none is
// made for a request until its host or route says so, by these names.
const (
	filterListenerAuth = "fairlead.listener_auth." // and an index
	filterCORS         = "envoy.filters.http.cors"
	filterRuleAuth     = "fairlead.rule_auth"
	filterBackendAuth  = "fairlead.backend_auth"
	filterSession      = "envoy.filters.http.stateful_session"
	filterReads        = "fairlead.reads"
	filterRouter       = "envoy.filters.http.router"
)

// listenerAuths is for how many filters of a listener there is room in every
// table. One with more is given room by doubling, which drains its connections.
const listenerAuths = 2

func listenerAuth(i int) string { return filterListenerAuth + strconv.Itoa(i) }

// The defaults of Settings.ConcurrentStreams and Settings.RequestHeadersKiB.
const (
	maxStreams = 100
	headersKiB = 60
)

// streamIdle is the default of Settings.StreamIdleTimeout.
const streamIdle = 5 * time.Minute

// flushWait is how long the last answer on a connection may stand still before
// Envoy closes the connection and drops the rest. Its own second is less than what
// a client does not hear while its radio is away, and less than what an Envoy may
// wait for a core on a busy node.
const flushWait = 10 * time.Second

// http serves requests by a table, which comes over RDS.
func (e *encoder) http(p *gateway.Port, t *gateway.Table) *listenerv3.Filter {
	e.table(t)
	return networkFilter("envoy.filters.network.http_connection_manager", &hcmv3.HttpConnectionManager{
		StatPrefix: e.statPrefix(p),
		CodecType:  hcmv3.HttpConnectionManager_AUTO,
		RouteSpecifier: &hcmv3.HttpConnectionManager_Rds{
			Rds: &hcmv3.Rds{RouteConfigName: e.tableName(t), ConfigSource: overADS()},
		},
		HttpFilters: httpFilters(mostAuths(t)),
		AccessLog:   e.accessLog(requestLog),
		Tracing:     e.tracing(),

		UseRemoteAddress:  wrapperspb.Bool(true),
		XffNumTrustedHops: e.settings.TrustedHops,
		// Nobody is internal, also not a client in a private network: who is may set
		// X-Envoy headers, which change retries and timeouts. That is so while
		// InternalAddressConfig is not set; one without ranges means all private
		// networks.

		NormalizePath:                wrapperspb.Bool(true),
		MergeSlashes:                 true,
		PathWithEscapedSlashesAction: hcmv3.HttpConnectionManager_KEEP_UNCHANGED,
		StripTrailingHostDot:         true,
		ServerHeaderTransformation:   hcmv3.HttpConnectionManager_PASS_THROUGH,
		GenerateRequestId:            wrapperspb.Bool(true),
		UpgradeConfigs:               []*hcmv3.HttpConnectionManager_UpgradeConfig{{UpgradeType: "websocket"}},

		RequestHeadersTimeout: or(e.settings.HeaderTimeout, 10*time.Second),
		StreamIdleTimeout:     or(e.settings.StreamIdleTimeout, streamIdle),
		DelayedCloseTimeout:   durationpb.New(flushWait),
		MaxRequestHeadersKb:   orNumber(e.settings.RequestHeadersKiB, headersKiB),
		CommonHttpProtocolOptions: &corev3.HttpProtocolOptions{
			IdleTimeout:              or(e.settings.ConnectionIdleTimeout, time.Hour),
			MaxRequestsPerConnection: limit(e.settings.RequestsPerConnection),
		},
		Http2ProtocolOptions: &corev3.Http2ProtocolOptions{
			MaxConcurrentStreams: orNumber(e.settings.ConcurrentStreams, maxStreams),
			// WebSockets over HTTP/2 (RFC 8441).
			AllowConnect: true,
		},
	})
}

// httpFilters is the same for every table with no more than listenerAuths: a
// change of it would drain the connections of its filter chain.
//
// A filter that a request does not need costs it nothing: all of them are off, and
// settings under their name, at a host, a route or a destination, turn them on.
func httpFilters(auths int) []*hcmv3.HttpFilter {
	room := listenerAuths
	for room < auths {
		room *= 2
	}
	var filters []*hcmv3.HttpFilter
	for i := range room {
		filters = append(filters, httpFilter(listenerAuth(i), &compositev3.Composite{}))
	}
	filters = append(
		filters,
		httpFilter(filterCORS, &corsv3.Cors{}),
		httpFilter(filterRuleAuth, &compositev3.Composite{}),
		httpFilter(filterBackendAuth, &compositev3.Composite{}),
		httpFilter(filterSession, &sessionv3.StatefulSession{}),
	)
	for _, filter := range filters {
		filter.Disabled = true
	}
	return append(filters, httpFilter(filterReads, retryReads()), httpFilter(filterRouter, &routerv3.Router{SuppressEnvoyHeaders: true}))
}

// mostAuths is how many filters a listener of a table has at most.
func mostAuths(t *gateway.Table) int {
	most := 0
	for i := range t.Hosts {
		most = max(most, len(t.Hosts[i].Auth))
	}
	return most
}

func httpFilter(name string, config proto.Message) *hcmv3.HttpFilter {
	return &hcmv3.HttpFilter{Name: name, ConfigType: &hcmv3.HttpFilter_TypedConfig{TypedConfig: pack(config)}}
}
