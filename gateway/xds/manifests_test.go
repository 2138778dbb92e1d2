package xds_test

import (
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway"
)

// manifests draws what the CRDs of the Gateway API admit: what people write, and
// what else gets through their patterns and rules.
type manifests struct {
	*source
	cluster *cluster
	name    gatewayv1.ObjectName // the Gateway's
	count   int
}

// usually draws a value of the first list, sometimes one of the second.
func usually[T any](m *manifests, what string, plain, hostile []T) T {
	if rapid.IntRange(0, 11).Draw(m.T, "plain "+what) > 0 {
		return one(m.source, what, plain...)
	}
	return one(m.source, what, hostile...)
}

// apartBy leaves out values of a name that is there before: the CRDs want names to
// differ, if only in case.
func apartBy[T any, N comparable](list []T, name func(T) N) []T {
	seen := map[N]bool{}
	return slices.DeleteFunc(list, func(v T) bool {
		had := seen[name(v)]
		seen[name(v)] = true
		return had
	})
}

// input draws a Gateway with all that belongs to it.
func input(t *rapid.T, c *cluster) gateway.Input {
	m := &manifests{source: &source{T: t}, cluster: c}
	in := gateway.Input{Gateway: m.gateway()}
	m.name = gatewayv1.ObjectName(in.Gateway.Name)
	in.ListenerSets = several(m.source, "sets", 2, m.listenerSet)
	in.Routes = gateway.Routes{
		HTTP: several(m.source, "HTTPRoutes", 3, m.httpRoute),
		GRPC: several(m.source, "GRPCRoutes", 2, m.grpcRoute),
		TLS:  several(m.source, "TLSRoutes", 2, m.tlsRoute),
		TCP: several(m.source, "TCPRoutes", 1, func() *gatewayv1.TCPRoute {
			return &gatewayv1.TCPRoute{ObjectMeta: m.meta("tcp"), Spec: gatewayv1.TCPRouteSpec{CommonRouteSpec: m.common(), Rules: []gatewayv1.TCPRouteRule{{BackendRefs: m.refs()}}}}
		}),
		UDP: several(m.source, "UDPRoutes", 1, func() *gatewayv1.UDPRoute {
			return &gatewayv1.UDPRoute{ObjectMeta: m.meta("udp"), Spec: gatewayv1.UDPRouteSpec{CommonRouteSpec: m.common(), Rules: []gatewayv1.UDPRouteRule{{BackendRefs: m.refs()}}}}
		}),
	}
	in.Objects = c.with(several(m.source, "grants", 2, m.grant), several(m.source, "policies", 2, m.policy))
	return in
}

var longName = strings.Repeat("long-name.", 25) + "l23"

func (m *manifests) meta(name string) metav1.ObjectMeta {
	m.count++
	name = fmt.Sprintf("%s-%d", name, m.count)
	if rapid.IntRange(0, 9).Draw(m.T, "long") == 9 {
		name = fmt.Sprint(m.count) + longName[len(fmt.Sprint(m.count)):]
	}
	return metav1.ObjectMeta{
		Namespace: usually(m, "namespace", []string{"infra"}, namespaces), Name: name, Generation: 1, UID: types.UID(name),
		CreationTimestamp: metav1.NewTime(time.Unix(int64(rapid.IntRange(0, 1).Draw(m.T, "age")), 0)),
	}
}

func (m *manifests) hostname() gatewayv1.Hostname {
	long := strings.Repeat(strings.Repeat("a", 62)+".", 4)[:251] + "z"
	return usually(m, "hostname",
		[]gatewayv1.Hostname{"*.example.com", "a.example.com", "b.a.example.com", "*.a.example.com", "example.org"},
		[]gatewayv1.Hostname{"*.com", "*.a", "a", "1.2.3.4", "0", "xn--a-b.example", "a--b.c", gatewayv1.Hostname(long), gatewayv1.Hostname("*." + long[2:])})
}

func (m *manifests) precise() gatewayv1.PreciseHostname {
	return gatewayv1.PreciseHostname(strings.TrimPrefix(string(m.hostname()), "*."))
}

func (m *manifests) gateway() *gatewayv1.Gateway {
	g := &gatewayv1.Gateway{ObjectMeta: m.meta("gw")}
	g.Namespace, g.Spec.GatewayClassName = "infra", "fairlead"
	g.Spec.Listeners = m.listeners()
	g.Spec.AllowedListeners = &gatewayv1.AllowedListeners{Namespaces: &gatewayv1.ListenerNamespaces{
		From: new(usually(m, "sets from", []gatewayv1.FromNamespaces{gatewayv1.NamespacesFromAll}, []gatewayv1.FromNamespaces{gatewayv1.NamespacesFromNone, gatewayv1.NamespacesFromSelector})),
	}}
	g.Spec.TLS = maybe(m.source, "tls", m.gatewayTLS)
	return g
}

func (m *manifests) gatewayTLS() gatewayv1.GatewayTLSConfig {
	return gatewayv1.GatewayTLSConfig{
		Backend: maybe(m.source, "client certificate", func() gatewayv1.GatewayBackendTLS {
			return gatewayv1.GatewayBackendTLS{ClientCertificateRef: new(m.secret())}
		}),
		Frontend: maybe(m.source, "frontend", func() gatewayv1.FrontendTLSConfig {
			return gatewayv1.FrontendTLSConfig{
				Default: m.clients(),
				PerPort: several(m.source, "per port", 1, func() gatewayv1.TLSPortConfig { return gatewayv1.TLSPortConfig{Port: 443, TLS: m.clients()} }),
			}
		}),
	}
}

func (m *manifests) clients() gatewayv1.TLSConfig {
	return gatewayv1.TLSConfig{Validation: maybe(m.source, "clients", func() gatewayv1.FrontendTLSValidation {
		refs := several(m.source, "authorities", 2, func() gatewayv1.ObjectReference {
			local := m.bundle()
			ref := gatewayv1.ObjectReference{Group: local.Group, Kind: local.Kind, Name: local.Name}
			if ref.Group == "" {
				ref.Namespace = m.namespace()
			}
			return ref
		})
		return gatewayv1.FrontendTLSValidation{
			CACertificateRefs: append(refs, gatewayv1.ObjectReference{Kind: "ConfigMap", Name: gatewayv1.ObjectName(one(m.source, "authority", names(m.cluster.bundles)...))}),
			Mode:              one(m.source, "mode", gatewayv1.AllowValidOnly, gatewayv1.AllowInsecureFallback),
		}
	})}
}

// namespace is that of a reference; nil: its own.
func (m *manifests) namespace() *gatewayv1.Namespace {
	return usually(m, "other namespace", []*gatewayv1.Namespace{nil}, []*gatewayv1.Namespace{new(gatewayv1.Namespace("infra")), new(gatewayv1.Namespace("app")), new(gatewayv1.Namespace("none"))})
}

func (m *manifests) bundle() gatewayv1.LocalObjectReference {
	return usually(m, "bundle",
		[]gatewayv1.LocalObjectReference{{Kind: "ConfigMap", Name: gatewayv1.ObjectName(one(m.source, "authority", names(m.cluster.bundles)...))}},
		[]gatewayv1.LocalObjectReference{{Kind: "ConfigMap", Name: "none"}, {Group: "certificates.k8s.io", Kind: "ClusterTrustBundle", Name: "good"}, {Group: "example.com", Kind: "What", Name: "good"}})
}

func (m *manifests) secret() gatewayv1.SecretObjectReference {
	ref := gatewayv1.SecretObjectReference{Namespace: m.namespace(), Name: gatewayv1.ObjectName(one(m.source, "secret", append(names(m.cluster.secrets), "none")...))}
	ref.Kind = usually(m, "secret's kind", []*gatewayv1.Kind{nil}, []*gatewayv1.Kind{new(gatewayv1.Kind("Secret")), new(gatewayv1.Kind("ConfigMap"))})
	return ref
}

// listeners are all different in port, protocol and hostname, as a rule of the CRD
// asks for.
func (m *manifests) listeners() []gatewayv1.Listener {
	var out []gatewayv1.Listener
	seen := map[string]bool{}
	for i := range rapid.IntRange(1, 6).Draw(m.T, "listeners") {
		l := m.listener()
		l.Name = gatewayv1.SectionName(fmt.Sprintf("l%d", i))
		key := fmt.Sprint(l.Port, l.Protocol)
		if l.Hostname != nil {
			key += string(*l.Hostname)
		}
		if !seen[key] {
			seen[key] = true
			out = append(out, l)
		}
	}
	return out
}

func (m *manifests) listener() gatewayv1.Listener {
	l := gatewayv1.Listener{
		Port: usually(m, "port", []gatewayv1.PortNumber{80, 443, 8080}, []gatewayv1.PortNumber{1, 65535}),
		Protocol: usually(m, "protocol", []gatewayv1.ProtocolType{"HTTP", "HTTPS", "TLS"},
			[]gatewayv1.ProtocolType{"TCP", "UDP", "example.com/what"}),
		AllowedRoutes: &gatewayv1.AllowedRoutes{Namespaces: &gatewayv1.RouteNamespaces{From: new(gatewayv1.NamespacesFromAll)}},
	}
	if l.Protocol != "TCP" && l.Protocol != "UDP" {
		l.Hostname = maybe(m.source, "listener's hostname", m.hostname)
	}
	switch l.Protocol {
	case "HTTPS":
		l.TLS = new(m.listenerTLS(gatewayv1.TLSModeTerminate))
	case "TLS":
		l.TLS = new(m.listenerTLS(one(m.source, "TLS mode", gatewayv1.TLSModeTerminate, gatewayv1.TLSModePassthrough)))
	}
	l.AllowedRoutes.Kinds = usually(m, "kinds", [][]gatewayv1.RouteGroupKind{nil}, [][]gatewayv1.RouteGroupKind{{{Kind: "GRPCRoute"}}, {{Kind: "What"}}})
	if l.Protocol != "HTTP" && l.Protocol != "HTTPS" {
		return l
	}
	l.Filters = maybe(m.source, "listener filters", func() gatewayv1.ListenerFilters {
		return gatewayv1.ListenerFilters{Requests: several(m.source, "requests", 2, func() gatewayv1.ListenerFilter {
			return gatewayv1.ListenerFilter{Type: gatewayv1.ListenerFilterExternalAuth, ExternalAuth: m.externalAuth()}
		})}
	})
	return l
}

func (m *manifests) listenerTLS(mode gatewayv1.TLSModeType) gatewayv1.ListenerTLSConfig {
	return gatewayv1.ListenerTLSConfig{Mode: &mode, CertificateRefs: append(several(m.source, "certificates", 2, m.secret), m.secret())}
}

func (m *manifests) listenerSet() *gatewayv1.ListenerSet {
	s := &gatewayv1.ListenerSet{ObjectMeta: m.meta("set")}
	s.Spec.ParentRef = gatewayv1.ParentGatewayReference{Name: m.name, Namespace: new(gatewayv1.Namespace("infra"))}
	for _, l := range m.listeners() {
		s.Spec.Listeners = append(s.Spec.Listeners, gatewayv1.ListenerEntry(l))
	}
	return s
}

// common has the routes attach to the Gateway, and sometimes to one listener of it.
// The CRDs want parents to differ.
func (m *manifests) common() gatewayv1.CommonRouteSpec {
	ref := gatewayv1.ParentReference{Name: m.name, Namespace: new(gatewayv1.Namespace("infra"))}
	ref.SectionName = usually(m, "section", []*gatewayv1.SectionName{nil}, []*gatewayv1.SectionName{new(gatewayv1.SectionName("l0")), new(gatewayv1.SectionName("none"))})
	ref.Port = usually(m, "parent's port", []*gatewayv1.PortNumber{nil}, []*gatewayv1.PortNumber{new(gatewayv1.PortNumber(443))})
	return gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{ref}}
}

func (m *manifests) hostnames() []gatewayv1.Hostname {
	return several(m.source, "hostnames", 3, m.hostname)
}

func (m *manifests) httpRoute() *gatewayv1.HTTPRoute {
	r := &gatewayv1.HTTPRoute{ObjectMeta: m.meta("http")}
	r.Spec.CommonRouteSpec, r.Spec.Hostnames = m.common(), m.hostnames()
	r.Spec.Rules = append(several(m.source, "rules", 3, m.httpRule), m.httpRule())
	return r
}

func (m *manifests) httpRule() gatewayv1.HTTPRouteRule {
	r := gatewayv1.HTTPRouteRule{Matches: several(m.source, "matches", 2, m.httpMatch)}
	prefixed := len(r.Matches) == 1 && r.Matches[0].Path != nil && *r.Matches[0].Path.Type == gatewayv1.PathMatchPathPrefix
	r.Filters = m.filters(prefixed)
	if !slices.ContainsFunc(r.Filters, func(f gatewayv1.HTTPRouteFilter) bool { return f.RequestRedirect != nil }) {
		r.BackendRefs = several(m.source, "backends", 3, func() gatewayv1.HTTPBackendRef {
			return gatewayv1.HTTPBackendRef{BackendRef: m.ref(), Filters: usually(m, "backend's filters", [][]gatewayv1.HTTPRouteFilter{nil}, [][]gatewayv1.HTTPRouteFilter{m.filters(prefixed)})}
		})
	}
	r.Timeouts = maybe(m.source, "timeouts", func() gatewayv1.HTTPRouteTimeouts {
		if rapid.Bool().Draw(m.T, "both") {
			return gatewayv1.HTTPRouteTimeouts{Request: new(gatewayv1.Duration("0s")), BackendRequest: new(m.time())}
		}
		return one(m.source, "one of them", gatewayv1.HTTPRouteTimeouts{Request: new(m.time())}, gatewayv1.HTTPRouteTimeouts{BackendRequest: new(m.time())})
	})
	r.Retry = maybe(m.source, "retry", m.retry)
	r.SessionPersistence = maybe(m.source, "session", m.session) //nolint:staticcheck // deprecated, and in use
	return r
}

func (m *manifests) time() gatewayv1.Duration {
	return usually(m, "time", []gatewayv1.Duration{"1s", "10s", "1h"}, []gatewayv1.Duration{"0s", "0h0m0s0ms", "1ms", "99999h", "99999h99999h99999h99999h", "99999ms"})
}

func (m *manifests) retry() gatewayv1.HTTPRouteRetry {
	return gatewayv1.HTTPRouteRetry{
		Codes:    one(m.source, "codes", []gatewayv1.HTTPRouteRetryStatusCode{}, []gatewayv1.HTTPRouteRetryStatusCode{503}, []gatewayv1.HTTPRouteRetryStatusCode{400, 599}),
		Attempts: usually(m, "attempts", []*int{nil, new(1)}, []*int{new(0), new(1 << 31), new(1 << 32), new(1 << 62)}),
		Backoff:  maybe(m.source, "backoff", m.time),
	}
}

func (m *manifests) session() gatewayv1.SessionPersistence {
	if rapid.Bool().Draw(m.T, "header") {
		return gatewayv1.SessionPersistence{Type: new(gatewayv1.HeaderBasedSessionPersistence), Header: &gatewayv1.HeaderConfig{Name: gatewayv1.HeaderName(m.headerName())}}
	}
	return gatewayv1.SessionPersistence{
		Type: new(gatewayv1.CookieBasedSessionPersistence), AbsoluteTimeout: new(m.time()),
		Cookie: &gatewayv1.CookieConfig{
			Name: new(gatewayv1.CookieName(m.headerName())), Path: new(m.text(1024)),
			LifetimeType: new(one(m.source, "lifetime", gatewayv1.SessionCookieLifetimeType, gatewayv1.PermanentCookieLifetimeType)),
		},
	}
}

// text is free text for a path, up to so many characters.
func (m *manifests) text(most int) string {
	return usually(m, "text", []string{"/", "/a", "/a/b/", ""},
		[]string{"//", "/a?b=c", "/a#b", "/%2F", "/100%", `/\1\0`, "no/slash", "/a b", "/ä", "/a\nb", "/a\r\nb: c", "/a\x00b", "/a\tb", "/;,", "?", "#", strings.Repeat("/", most), strings.Repeat("ä", most), strings.Repeat("\U0001f600", most)})
}

func (m *manifests) headerName() string {
	return usually(m, "header's name", []string{"x-a", "X-B", "cookie", "authorization"},
		[]string{"Host", "host", "Content-Length", "Transfer-Encoding", "Connection", "x-envoy-retry-on", "_", "!#$%&'*+-.^_`|~", "%REQ(a)%"[1:4], strings.Repeat("x", 256)})
}

func (m *manifests) headerValue() string {
	return usually(m, "header's value", []string{"v", "a b", "100%", "%REQ(a)%"},
		[]string{"%", "%%", "%DOWNSTREAM_REMOTE_ADDRESS%", "%2F", " ", "\t", "a\nb", "a\x00", "a\r\nb: c", "a\x7f", "ä", "a.example.com:80", "[::1]", "A.example.com", strings.Repeat("%", 4096), strings.Repeat("\U0001f600", 4096)})
}

// regex is what somebody takes for a regular expression.
func (m *manifests) regex(most int) string {
	text := []rune(usually(m, "expression", []string{"/a.*", "a|b", "[a-z]+", "(?i)x", ".{1,100}"}, []string{
		"(", ")", "[", "*", "a**", "a{1001}", "(a{100}){100}", "(?=a)", "(?!a)", `(a)\1`, `\Qa`, `\Qa\E`, `\E`, `a\`, "(?i", "(?<n>a)", "(?P<n>a)", "(?P<n>a)(?P<n>b)",
		`\p{Greek}`, `\pL`, `\p{Letter}`, `\p{greek}`, `\p{Any}`, `\p{ASCII}`, `\p{Assigned}`, `\p{Cn}`, `\p{LC}`, `\p{Kawi}`, `\P{Han}`, `\C`, `\z`, `\Z`, `\A`, `\G`, `\R`, `\X`, `\K`, `\h`, `\cA`, `\x{10FFFF}`, `\x{110000}`, `\777`, `\_`, `[[:word:]]`, `[[:^alpha:]]`, "[z-a]", "[]a]", "[^]", "x*+", "(?s-i:.)", "(?U)a+", "(?x) a", "(?m)^a$", "(?#a)", "a{,2}", "a{2,1}", "\x00", "ä", "\n", "$^",
		"(.{1,100}){1,10}", `\pL{1,1000}`, `(?i)\pL{100}`, `(\pL|\pN){500}`, ".{1000}", `[^a]{1000}`, `[\pL\pN\p{Han}]{300}`, strings.Repeat("(", 500) + strings.Repeat(")", 500), strings.Repeat("(", 1500), strings.Repeat("a|", 400) + "b",
		strings.Repeat("a", most), strings.Repeat("ä", most), strings.Repeat("(?:", 300) + strings.Repeat(")", 300), strings.Repeat(`\pL`, most/3), strings.Repeat("a*", 900/2),
	}))
	return string(text[:min(len(text), most)])
}

func (m *manifests) httpMatch() gatewayv1.HTTPRouteMatch {
	return gatewayv1.HTTPRouteMatch{
		Path: maybe(m.source, "path", m.pathMatch),
		Method: maybe(m.source, "method", func() gatewayv1.HTTPMethod {
			return one(m.source, "which", gatewayv1.HTTPMethodGet, gatewayv1.HTTPMethodConnect, gatewayv1.HTTPMethodOptions)
		}),
		Headers: apartBy(several(m.source, "headers", 2, func() gatewayv1.HTTPHeaderMatch {
			if rapid.Bool().Draw(m.T, "regex") {
				return gatewayv1.HTTPHeaderMatch{Type: new(gatewayv1.HeaderMatchRegularExpression), Name: gatewayv1.HTTPHeaderName(m.headerName()), Value: m.regex(4096)}
			}
			return gatewayv1.HTTPHeaderMatch{Type: new(gatewayv1.HeaderMatchExact), Name: gatewayv1.HTTPHeaderName(m.headerName()), Value: m.headerValue()}
		}), func(v gatewayv1.HTTPHeaderMatch) gatewayv1.HTTPHeaderName { return v.Name }),
		QueryParams: apartBy(several(m.source, "query", 2, func() gatewayv1.HTTPQueryParamMatch {
			if rapid.Bool().Draw(m.T, "regex") {
				return gatewayv1.HTTPQueryParamMatch{Type: new(gatewayv1.QueryParamMatchRegularExpression), Name: gatewayv1.HTTPHeaderName(m.headerName()), Value: m.regex(1024)}
			}
			return gatewayv1.HTTPQueryParamMatch{Type: new(gatewayv1.QueryParamMatchExact), Name: gatewayv1.HTTPHeaderName(m.headerName()), Value: one(m.source, "value", "a", "%", "a&b=c", "\x00")}
		}), func(v gatewayv1.HTTPQueryParamMatch) gatewayv1.HTTPHeaderName { return v.Name }),
	}
}

func (m *manifests) pathMatch() gatewayv1.HTTPPathMatch {
	kind := one(m.source, "type of path", gatewayv1.PathMatchExact, gatewayv1.PathMatchPathPrefix, gatewayv1.PathMatchRegularExpression)
	if kind == gatewayv1.PathMatchRegularExpression {
		return gatewayv1.HTTPPathMatch{Type: &kind, Value: new(m.regex(1024))}
	}
	return gatewayv1.HTTPPathMatch{Type: &kind, Value: new(usually(m, "path", []string{"/", "/a", "/a/b", "/a/"},
		[]string{"/%20", "/a%", "/.a", "/...", "/~!$&'()*+,;=:@", "/%00", "/" + strings.Repeat("a", 1023), strings.Repeat("/a", 512), "/a%41"}))}
}

// filters of a rule or a backend. Where no prefix is matched, none can be replaced.
func (m *manifests) filters(prefixed bool) []gatewayv1.HTTPRouteFilter {
	var out []gatewayv1.HTTPRouteFilter
	add := func(what string, draw func() gatewayv1.HTTPRouteFilter) {
		if rapid.IntRange(0, 3).Draw(m.T, what) == 3 {
			out = append(out, draw())
		}
	}
	add("request", func() gatewayv1.HTTPRouteFilter {
		return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestHeaderModifier, RequestHeaderModifier: m.modifier()}
	})
	add("response", func() gatewayv1.HTTPRouteFilter {
		return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterResponseHeaderModifier, ResponseHeaderModifier: m.modifier()}
	})
	add("mirror", func() gatewayv1.HTTPRouteFilter {
		return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestMirror, RequestMirror: m.mirrored()}
	})
	add("cors", func() gatewayv1.HTTPRouteFilter {
		return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterCORS, CORS: m.corsFilter()}
	})
	add("auth", func() gatewayv1.HTTPRouteFilter {
		return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterExternalAuth, ExternalAuth: m.externalAuth()}
	})
	if rapid.Bool().Draw(m.T, "redirect or rewrite") {
		add("redirect", func() gatewayv1.HTTPRouteFilter {
			return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterRequestRedirect, RequestRedirect: m.redirected(prefixed)}
		})
	} else {
		add("rewrite", func() gatewayv1.HTTPRouteFilter {
			return gatewayv1.HTTPRouteFilter{Type: gatewayv1.HTTPRouteFilterURLRewrite, URLRewrite: &gatewayv1.HTTPURLRewriteFilter{
				Hostname: maybe(m.source, "host", m.precise), Path: m.pathModifier(prefixed),
			}}
		})
	}
	return out
}

func (m *manifests) modifier() *gatewayv1.HTTPHeaderFilter {
	headers := func() []gatewayv1.HTTPHeader {
		return apartBy(several(m.source, "headers", 2, func() gatewayv1.HTTPHeader {
			return gatewayv1.HTTPHeader{Name: gatewayv1.HTTPHeaderName(m.headerName()), Value: m.headerValue()}
		}), func(h gatewayv1.HTTPHeader) gatewayv1.HTTPHeaderName { return h.Name })
	}
	return &gatewayv1.HTTPHeaderFilter{Set: headers(), Add: headers(), Remove: m.words("removed")}
}

// words are names that have no pattern in the CRDs.
func (m *manifests) words(what string) []string {
	list := several(m.source, what, 2, func() string {
		return usually(m, "word", []string{"x-a", "X-A", "x-b"}, []string{"", ":path", ":authority", ":", "Host", "a b", "a\nb", "ä", "a\x00", "*", "authorization", strings.Repeat("x", 10000)})
	})
	slices.Sort(list)
	return slices.Compact(list)
}

func (m *manifests) mirrored() *gatewayv1.HTTPRequestMirrorFilter {
	f := &gatewayv1.HTTPRequestMirrorFilter{BackendRef: m.object()}
	switch one(m.source, "share", "all", "percent", "fraction") {
	case "percent":
		f.Percent = new(one(m.source, "percent", int32(0), 1, 100))
	case "fraction":
		d := one(m.source, "denominator", int32(1), 3, 1<<31-1)
		f.Fraction = &gatewayv1.Fraction{Numerator: rapid.Int32Range(0, d).Draw(m.T, "numerator"), Denominator: &d}
	}
	return f
}

func (m *manifests) corsFilter() *gatewayv1.HTTPCORSFilter {
	return &gatewayv1.HTTPCORSFilter{
		AllowOrigins: one(m.source, "origins", nil, []gatewayv1.CORSOrigin{"*"}, []gatewayv1.CORSOrigin{"https://a.com", "http://*"},
			[]gatewayv1.CORSOrigin{"https://*.b.com:80", "http://-:99999", "https://A.b"}, []gatewayv1.CORSOrigin{gatewayv1.CORSOrigin("https://" + strings.Repeat("a", 245))}),
		AllowCredentials: one(m.source, "credentials", nil, new(true), new(false)),
		AllowMethods:     one(m.source, "methods", nil, []gatewayv1.HTTPMethodWithWildcard{"*"}, []gatewayv1.HTTPMethodWithWildcard{"GET", "TRACE"}),
		AllowHeaders:     one(m.source, "allowed", nil, []gatewayv1.HTTPHeaderName{"*"}, []gatewayv1.HTTPHeaderName{"a", "%"}),
		ExposeHeaders:    one(m.source, "exposed", nil, []gatewayv1.HTTPHeaderName{"*", "a"}, []gatewayv1.HTTPHeaderName{"%REQ"}),
		MaxAge:           one(m.source, "age", int32(1), 1<<31-1),
	}
}

func (m *manifests) externalAuth() *gatewayv1.HTTPExternalAuthFilter {
	f := &gatewayv1.HTTPExternalAuthFilter{BackendRef: m.object(), ForwardBody: maybe(m.source, "body", func() gatewayv1.ForwardBodyConfig {
		return gatewayv1.ForwardBodyConfig{MaxSize: one(m.source, "size", int32(0), 1, 1<<31-1)}
	})}
	if rapid.Bool().Draw(m.T, "gRPC") {
		f.ExternalAuthProtocol, f.GRPCAuthConfig = gatewayv1.HTTPRouteExternalAuthGRPCProtocol, &gatewayv1.GRPCAuthConfig{AllowedRequestHeaders: m.words("sent")}
		return f
	}
	f.ExternalAuthProtocol = gatewayv1.HTTPRouteExternalAuthHTTPProtocol
	f.HTTPAuthConfig = &gatewayv1.HTTPAuthConfig{
		Path: usually(m, "auth path", []string{"", "/auth"}, []string{"auth", "/", "//", "/a/", "%41", "..", ":@", strings.Repeat("a", 1024)}), AllowedRequestHeaders: m.words("sent"), AllowedResponseHeaders: m.words("taken"),
	}
	return f
}

func (m *manifests) redirected(prefixed bool) *gatewayv1.HTTPRequestRedirectFilter {
	return &gatewayv1.HTTPRequestRedirectFilter{
		Scheme: one(m.source, "scheme", nil, new("http"), new("https")), Hostname: maybe(m.source, "host", m.precise), Path: m.pathModifier(prefixed),
		Port: one(m.source, "port", nil, new(gatewayv1.PortNumber(80)), new(gatewayv1.PortNumber(65535))), StatusCode: one(m.source, "status", nil, new(301), new(303), new(308)),
	}
}

func (m *manifests) pathModifier(prefixed bool) *gatewayv1.HTTPPathModifier {
	if rapid.Bool().Draw(m.T, "full") {
		return &gatewayv1.HTTPPathModifier{Type: gatewayv1.FullPathHTTPPathModifier, ReplaceFullPath: new(m.text(1024))}
	}
	if !prefixed {
		return nil
	}
	return &gatewayv1.HTTPPathModifier{Type: gatewayv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: new(m.text(1024))}
}

func (m *manifests) object() gatewayv1.BackendObjectReference {
	return gatewayv1.BackendObjectReference{
		Kind: usually(m, "backend's kind", []*gatewayv1.Kind{nil}, []*gatewayv1.Kind{new(gatewayv1.Kind("Service")), new(gatewayv1.Kind("What"))}),
		Name: usually(m, "service", []gatewayv1.ObjectName{"web", "grpc"}, []gatewayv1.ObjectName{"external", "none"}), Namespace: m.namespace(),
		Port: usually(m, "backend's port", []*gatewayv1.PortNumber{new(gatewayv1.PortNumber(80)), new(gatewayv1.PortNumber(81)), new(gatewayv1.PortNumber(82))},
			[]*gatewayv1.PortNumber{new(gatewayv1.PortNumber(83)), new(gatewayv1.PortNumber(65535)), new(gatewayv1.PortNumber(1))}),
	}
}

func (m *manifests) ref() gatewayv1.BackendRef {
	return gatewayv1.BackendRef{BackendObjectReference: m.object(), Weight: one(m.source, "weight", nil, new(int32(0)), new(int32(1)), new(int32(1_000_000)))}
}

func (m *manifests) refs() []gatewayv1.BackendRef {
	return append(several(m.source, "refs", 2, m.ref), m.ref())
}

func (m *manifests) grpcRoute() *gatewayv1.GRPCRoute {
	r := &gatewayv1.GRPCRoute{ObjectMeta: m.meta("grpc")}
	r.Spec.CommonRouteSpec, r.Spec.Hostnames = m.common(), m.hostnames()
	r.Spec.Rules = several(m.source, "rules", 3, func() gatewayv1.GRPCRouteRule {
		return gatewayv1.GRPCRouteRule{
			Matches: several(m.source, "matches", 2, m.grpcMatch), Filters: m.grpcFilters(),
			BackendRefs: several(m.source, "backends", 2, func() gatewayv1.GRPCBackendRef {
				return gatewayv1.GRPCBackendRef{BackendRef: m.ref(), Filters: m.grpcFilters()}
			}),
			SessionPersistence: maybe(m.source, "session", m.session), //nolint:staticcheck // deprecated, and in use
		}
	})
	return r
}

func (m *manifests) grpcFilters() []gatewayv1.GRPCRouteFilter {
	var out []gatewayv1.GRPCRouteFilter
	for _, f := range m.filters(false) {
		switch f.Type {
		case gatewayv1.HTTPRouteFilterRequestHeaderModifier, gatewayv1.HTTPRouteFilterResponseHeaderModifier, gatewayv1.HTTPRouteFilterRequestMirror:
			out = append(out, gatewayv1.GRPCRouteFilter{
				Type: gatewayv1.GRPCRouteFilterType(f.Type), RequestHeaderModifier: f.RequestHeaderModifier,
				ResponseHeaderModifier: f.ResponseHeaderModifier, RequestMirror: f.RequestMirror,
			})
		}
	}
	return out
}

func (m *manifests) grpcMatch() gatewayv1.GRPCRouteMatch {
	return gatewayv1.GRPCRouteMatch{
		Method: maybe(m.source, "method", func() gatewayv1.GRPCMethodMatch {
			if rapid.Bool().Draw(m.T, "regex") {
				return gatewayv1.GRPCMethodMatch{Type: new(gatewayv1.GRPCMethodMatchRegularExpression), Service: new(m.regex(1024)), Method: maybe(m.source, "too", func() string { return m.regex(1024) })}
			}
			return one(m.source, "exact", gatewayv1.GRPCMethodMatch{Service: new("a.B"), Method: new("C")}, gatewayv1.GRPCMethodMatch{Service: new(".a")}, gatewayv1.GRPCMethodMatch{Method: new(strings.Repeat("a", 1024))}, gatewayv1.GRPCMethodMatch{Service: new("_")})
		}),
		Headers: apartBy(several(m.source, "headers", 2, func() gatewayv1.GRPCHeaderMatch {
			if rapid.Bool().Draw(m.T, "regex") {
				return gatewayv1.GRPCHeaderMatch{Type: new(gatewayv1.GRPCHeaderMatchRegularExpression), Name: gatewayv1.GRPCHeaderName(m.headerName()), Value: m.regex(4096)}
			}
			return gatewayv1.GRPCHeaderMatch{Name: gatewayv1.GRPCHeaderName(m.headerName()), Value: m.headerValue()}
		}), func(v gatewayv1.GRPCHeaderMatch) gatewayv1.GRPCHeaderName { return v.Name }),
	}
}

func (m *manifests) tlsRoute() *gatewayv1.TLSRoute {
	r := &gatewayv1.TLSRoute{ObjectMeta: m.meta("tls")}
	r.Spec.CommonRouteSpec, r.Spec.Hostnames = m.common(), append(m.hostnames(), "a.example.com")
	r.Spec.Hostnames = slices.DeleteFunc(r.Spec.Hostnames, func(h gatewayv1.Hostname) bool { return h == "1.2.3.4" })
	r.Spec.Rules = []gatewayv1.TLSRouteRule{{BackendRefs: m.refs()}}
	return r
}

func (m *manifests) grant() *gatewayv1.ReferenceGrant {
	g := &gatewayv1.ReferenceGrant{ObjectMeta: m.meta("grant")}
	for _, kind := range []gatewayv1.Kind{"Gateway", "HTTPRoute", "GRPCRoute", "TLSRoute", "TCPRoute", "UDPRoute"} {
		g.Spec.From = append(g.Spec.From, gatewayv1.ReferenceGrantFrom{Group: gatewayv1.GroupName, Kind: kind, Namespace: "infra"})
	}
	g.Spec.To = []gatewayv1.ReferenceGrantTo{{Kind: "Service"}, {Kind: "Secret", Name: new(gatewayv1.ObjectName("good"))}}
	return g
}

func (m *manifests) policy() *gatewayv1.BackendTLSPolicy {
	p := &gatewayv1.BackendTLSPolicy{ObjectMeta: m.meta("policy")}
	target := gatewayv1.LocalPolicyTargetReferenceWithSectionName{SectionName: one(m.source, "section", nil, new(gatewayv1.SectionName("http")), new(gatewayv1.SectionName("none")))}
	target.Kind, target.Name = "Service", one(m.source, "target", gatewayv1.ObjectName("web"), "grpc", "none")
	p.Spec.TargetRefs = []gatewayv1.LocalPolicyTargetReferenceWithSectionName{target}
	p.Spec.Validation.Hostname = m.precise()
	if rapid.IntRange(0, 3).Draw(m.T, "known") == 3 {
		p.Spec.Validation.WellKnownCACertificates = new(one(m.source, "well known", gatewayv1.WellKnownCACertificatesSystem, "example.com/what"))
	} else {
		p.Spec.Validation.CACertificateRefs = append(several(m.source, "authorities", 2, m.bundle), m.bundle())
	}
	p.Spec.Validation.SubjectAltNames = several(m.source, "names", 3, func() gatewayv1.SubjectAltName {
		if rapid.Bool().Draw(m.T, "URI") {
			return gatewayv1.SubjectAltName{Type: gatewayv1.URISubjectAltNameType, URI: one(m.source, "URI", gatewayv1.AbsoluteURI("spiffe://a/b"), "a://", "a b://\x00ä%?#\n")}
		}
		return gatewayv1.SubjectAltName{Type: gatewayv1.HostnameSubjectAltNameType, Hostname: m.hostname()}
	})
	return p
}
