package xds

import (
	"crypto/sha256"
	"encoding/hex"
	"net/http"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	sessionv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/stateful_session/v3"
	cookiev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/cookie/v3"
	headerv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/http/stateful_session/header/v3"
	httpv3 "github.com/envoyproxy/go-control-plane/envoy/type/http/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/fairlead/fairlead/gateway"
)

// session keeps a client at the endpoint that served it first, which stands in a
// cookie or a header. If that is gone, another takes over.
func session(s *gateway.Session) *sessionv3.StatefulSessionPerRoute {
	state := extension("envoy.http.stateful_session.header", &headerv3.HeaderBasedSessionState{Name: s.Header})
	if s.Cookie != "" {
		cookie := &httpv3.Cookie{Name: s.Cookie, Path: cookiePath(s)}
		if s.Lifetime > 0 {
			cookie.Ttl = durationpb.New(s.Lifetime)
		}
		state = extension("envoy.http.stateful_session.cookie", &cookiev3.CookieBasedSessionState{Cookie: cookie})
	}
	return &sessionv3.StatefulSessionPerRoute{
		Override: &sessionv3.StatefulSessionPerRoute_StatefulSession{
			StatefulSession: &sessionv3.StatefulSession{SessionState: state},
		},
	}
}

func cookiePath(s *gateway.Session) string {
	if s.Path == "" {
		return "/"
	}
	return s.Path
}

// splitCookie tells which of several destinations a client is kept at. Envoy's
// own cookie tells the endpoint, but not of which cluster.
func splitCookie(s *gateway.Session) string { return s.Cookie + "-split" }

// seat is a destination in a cookie. It says nothing about the Service.
func seat(d *gateway.Destination) string {
	sum := sha256.Sum256([]byte(d.Backend))
	return hex.EncodeToString(sum[:8])
}

// pin has the client come back to the destination that answers first.
func pin(route *routev3.Route, s *gateway.Session, d *gateway.Destination) {
	if s == nil || s.Cookie == "" || route.GetRoute() == nil {
		return
	}
	cookie := http.Cookie{
		Name: splitCookie(s), Value: seat(d), Path: cookiePath(s), MaxAge: int(s.Lifetime.Seconds()), HttpOnly: true,
	}
	route.ResponseHeadersToAdd = append(route.ResponseHeadersToAdd,
		option(gateway.Header{Name: "set-cookie", Value: cookie.String()}, corev3.HeaderValueOption_APPEND_IF_EXISTS_OR_ADD))
}

// pinned are the routes of those who come back. Their session goes before the
// weights.
func (e *encoder) pinned(r *gateway.Rule, some []*gateway.Destination, host string) []*routev3.Route {
	var routes []*routev3.Route
	for _, d := range some {
		route := e.single(r, d, host)
		if route.GetRoute() == nil {
			continue // nobody is kept at a failure
		}
		route.Match.Cookies = []*routev3.CookieMatcher{{Name: splitCookie(r.Session), StringMatch: exactly(seat(d))}}
		routes = append(routes, route)
	}
	return routes
}
