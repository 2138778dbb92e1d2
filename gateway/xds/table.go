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
	old, config := e.lastTable(t)
	if old == nil || !identical(old.Hosts, t.Hosts) {
		config = &routev3.RouteConfiguration{
			Name:                     e.tableName(t),
			IgnorePortInHostMatching: true,
			VirtualHosts:             e.hosts(t.Hosts, old, config.GetVirtualHosts()),
		}
	}
	e.out.Routes[config.Name] = config
}

// guard is what every request for a host passes before it is routed.
type guard struct {
	// deny is whether it cannot be passed.
	deny    bool
	filters map[string]*anypb.Any
}

// guardOf has the listener's authorization stand at a host. The hosts of a
// listener share it.
func (e *encoder) guardOf(auth []gateway.ExternalAuth) guard {
	if len(auth) == 0 {
		return guard{}
	}
	if known, ok := e.guards[&auth[0]]; ok {
		return known
	}
	g := guard{filters: idle()}
	for i := range auth {
		if !e.reachable(&auth[i]) {
			g = guard{deny: true}
			break
		}
		g.filters[listenerAuth(i)] = e.ask(&auth[i], true)
	}
	e.guards[&auth[0]] = g
	return g
}

// host encodes a virtual host. Envoy looks for the listener's authorization
// through the route of a request, so where there is one every request must have
// a route: a path that nobody serves is asked about too, and then answered with
// 404 by a route.
func (e *encoder) host(h *gateway.Host) *routev3.VirtualHost {
	v := &routev3.VirtualHost{Name: e.hostName(h), Domains: []string{h.Hostname}}
	g := e.guardOf(h.Auth)
	switch {
	case h.Misdirected:
		v.Routes = []*routev3.Route{always(http.StatusMisdirectedRequest)}
	case g.deny:
		v.Routes = []*routev3.Route{always(http.StatusInternalServerError)}
	default:
		v.TypedPerFilterConfig = g.filters
		for _, r := range h.Rules {
			v.Routes = append(v.Routes, e.rule(r, h.Hostname)...)
		}
		if g.filters != nil {
			v.Routes = append(v.Routes, always(http.StatusNotFound))
		}
	}
	return v
}

// hostName is where a host's requests are counted, if they are counted by route: all
// of a Gateway in one place, or each route would be counted once per hostname.
func (e *encoder) hostName(h *gateway.Host) string {
	if e.settings.RouteMetrics {
		return statName(e.model.Gateway.String())
	}
	return h.Hostname
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
	answers := e.answers(r, hostname)
	routes := followed(policyOf(r), answers)
	if first := e.preflight(r, answers); first != nil {
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
