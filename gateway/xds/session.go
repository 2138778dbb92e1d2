package xds

import (
	"crypto/sha256"
	"encoding/hex"

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

// apart is a session at one of several destinations; nil: it is that of the rule.
// Weights go before sessions (GEP-1619), so a client has one at each destination,
// and each a cookie of its own. There is but one header.
func apart(s *gateway.Session, d *gateway.Destination) *gateway.Session {
	if s == nil || s.Cookie == "" {
		return nil
	}
	own := *s
	own.Cookie += "-" + seat(d)
	return &own
}

// seat is a destination in the name of a cookie. It says nothing about the Service.
func seat(d *gateway.Destination) string {
	sum := sha256.Sum256([]byte(d.Backend))
	return hex.EncodeToString(sum[:8])
}
