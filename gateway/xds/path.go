package xds

import (
	"net/http"
	"regexp"
	"strings"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	matcherv3 "github.com/envoyproxy/go-control-plane/envoy/type/matcher/v3"

	"github.com/fairlead/fairlead/gateway"
)

// rewrite changes the request on its way to the backend.
func rewrite(action *routev3.RouteAction, w *gateway.Rewrite, m gateway.Match) {
	if w == nil {
		return
	}
	if w.Hostname != "" {
		action.HostRewriteSpecifier = &routev3.RouteAction_HostRewriteLiteral{HostRewriteLiteral: w.Hostname}
	}
	if w.Path != nil {
		action.PrefixRewrite, action.RegexRewrite = pathChange(w.Path, m)
	}
}

// redirect sends the client elsewhere. Envoy keeps the port that the client wrote
// in the host, so where none must stand, the host is written anew if it is known.
func redirect(r *gateway.Redirect, m gateway.Match, host string) *routev3.Route_Redirect {
	action := &routev3.RedirectAction{
		HostRedirect: r.Hostname,
		PortRedirect: uint32(r.Port),
		ResponseCode: redirectCode(r.Status),
	}
	if r.Hostname == "" && r.Port == 0 {
		action.HostRedirect = host
	}
	if r.Scheme != "" {
		action.SchemeRewriteSpecifier = &routev3.RedirectAction_SchemeRedirect{SchemeRedirect: r.Scheme}
	}
	switch {
	case r.Path == nil:
	case r.Path.Full != nil:
		action.PathRewriteSpecifier = &routev3.RedirectAction_PathRedirect{PathRedirect: rooted(*r.Path.Full)}
	default:
		prefix, regex := pathChange(r.Path, m)
		if regex != nil {
			action.PathRewriteSpecifier = &routev3.RedirectAction_RegexRewrite{RegexRewrite: regex}
		} else if prefix != "" {
			action.PathRewriteSpecifier = &routev3.RedirectAction_PrefixRewrite{PrefixRewrite: prefix}
		}
	}
	return &routev3.Route_Redirect{Redirect: action}
}

// keepsHost is whether a redirect of the rule answers with the host that the
// client wrote, and without a port.
func keepsHost(r *gateway.Rule) bool {
	keeps := func(r *gateway.Redirect) bool { return r != nil && r.Hostname == "" && r.Port == 0 }
	if keeps(r.Redirect) {
		return true
	}
	for i := range r.Backends {
		if keeps(r.Backends[i].Redirect) {
			return true
		}
	}
	return false
}

func redirectCode(status int) routev3.RedirectAction_RedirectResponseCode {
	switch status {
	case http.StatusMovedPermanently:
		return routev3.RedirectAction_MOVED_PERMANENTLY
	case http.StatusSeeOther:
		return routev3.RedirectAction_SEE_OTHER
	case http.StatusTemporaryRedirect:
		return routev3.RedirectAction_TEMPORARY_REDIRECT
	case http.StatusPermanentRedirect:
		return routev3.RedirectAction_PERMANENT_REDIRECT
	default:
		return routev3.RedirectAction_FOUND
	}
}

// pathChange gives one of two ways to change a path; the query stays in both.
func pathChange(c *gateway.PathChange, m gateway.Match) (prefix string, regex *matcherv3.RegexMatchAndSubstitute) {
	if c.Full != nil {
		return "", substitute(`^/.*$`, rooted(*c.Full))
	}
	if c.Prefix == nil || m.Path == gateway.PathRegex {
		return "", nil // a regular expression has no prefix to change
	}
	from, to := strings.TrimRight(m.Value, "/"), strings.TrimRight(*c.Prefix, "/")
	if to != "" {
		to = rooted(to)
	}
	switch {
	case from == to:
		return "", nil
	case from == "":
		return to + "/", nil // "/" matched, and is replaced
	case to == "":
		// A mere prefix would leave two slashes of "/from/rest", or none of
		// "/from".
		return "", substitute("^"+regexp.QuoteMeta(from)+"/*", "/")
	default:
		return to, nil
	}
}

// substitute replaces what the pattern matches by a literal.
func substitute(pattern, literal string) *matcherv3.RegexMatchAndSubstitute {
	return &matcherv3.RegexMatchAndSubstitute{
		Pattern:      re2(pattern),
		Substitution: strings.ReplaceAll(literal, `\`, `\\`),
	}
}

func rooted(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}
