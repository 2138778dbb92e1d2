package xds

import (
	"net/http"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/fairlead/fairlead/gateway"
)

// table encodes a route table.
func (e *encoder) table(t *gateway.Table) {
	config := &routev3.RouteConfiguration{
		Name:                     e.tableName(t),
		IgnorePortInHostMatching: true,
	}
	guard := e.guardOf(t)
	if guard.filters != nil {
		config.TypedPerFilterConfig = guard.filters
	}
	catchAll := false
	for i := range t.Hosts {
		h := &t.Hosts[i]
		catchAll = catchAll || h.Hostname == anyHost
		config.VirtualHosts = append(config.VirtualHosts, e.host(h, guard))
	}
	if guard.on && !catchAll {
		config.VirtualHosts = append(config.VirtualHosts, e.host(&gateway.Host{Hostname: anyHost}, guard))
	}
	e.out.Routes[config.Name] = config
}

// guard is what every request to a table passes before it is routed.
type guard struct {
	// on is whether there is one, deny whether it cannot be passed.
	on, deny bool
	filters  map[string]*anypb.Any
}

// guardOf has the listener's authorization stand in the table. Envoy looks for
// it through the route of a request, so with it every request must have one: a
// host or a path that nobody serves is asked about too, and then answered with
// 404 by a route.
func (e *encoder) guardOf(t *gateway.Table) guard {
	if len(t.Auth) == 0 {
		return guard{}
	}
	filters := map[string]*anypb.Any{}
	for i := range t.Auth {
		if !e.reachable(&t.Auth[i]) {
			return guard{on: true, deny: true}
		}
		filters[listenerAuth(i)] = e.ask(&t.Auth[i], true)
	}
	return guard{on: true, filters: filters}
}

// host encodes a virtual host.
func (e *encoder) host(h *gateway.Host, g guard) *routev3.VirtualHost {
	v := &routev3.VirtualHost{Name: h.Hostname, Domains: []string{h.Hostname}}
	switch {
	case h.Misdirected:
		// Another listener serves this host: its requests are none of the
		// business of this one's authorization.
		v.Routes = []*routev3.Route{always(http.StatusMisdirectedRequest)}
		for name := range g.filters {
			if v.TypedPerFilterConfig == nil {
				v.TypedPerFilterConfig = map[string]*anypb.Any{}
			}
			v.TypedPerFilterConfig[name] = pack(&routev3.FilterConfig{Disabled: true})
		}
	case g.deny:
		v.Routes = []*routev3.Route{always(http.StatusInternalServerError)}
	default:
		for _, r := range h.Rules {
			v.Routes = append(v.Routes, e.rule(r, h.Hostname)...)
		}
		if g.on {
			v.Routes = append(v.Routes, always(http.StatusNotFound))
		}
		if len(h.Rules) > 0 {
			v.RetryPolicy = safeRetries()
		}
	}
	return v
}

// rule gives the routes of a rule, which most hosts share.
func (e *encoder) rule(r *gateway.Rule, hostname string) []*routev3.Route {
	if strings.HasPrefix(hostname, "*") || !keepsHost(r) {
		hostname = ""
	}
	if hostname == "" {
		if known, ok := e.routes[r]; ok {
			return known
		}
	}
	routes := e.answers(r, hostname)
	if first := e.preflight(r, routes); first != nil {
		routes = append([]*routev3.Route{first}, routes...)
	}
	if hostname == "" {
		e.routes[r] = routes
	}
	return routes
}

// always answers every request with a status.
func always(status uint32) *routev3.Route {
	return &routev3.Route{
		Match:  &routev3.RouteMatch{PathSpecifier: &routev3.RouteMatch_Prefix{Prefix: "/"}},
		Action: respond(status),
	}
}

func respond(status uint32) *routev3.Route_DirectResponse {
	return &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{
		Status: status,
		Body:   &corev3.DataSource{Specifier: &corev3.DataSource_InlineString{InlineString: http.StatusText(int(status)) + "\n"}},
	}}
}
