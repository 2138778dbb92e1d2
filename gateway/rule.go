package gateway

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"k8s.io/utils/ptr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// ranked is a rule with what decides its place among others (HTTPRouteRule and
// GRPCRouteRule, matches).
type ranked struct {
	*Rule
	// redirect is to be finished for each listener: where it leads depends on
	// the listener's port.
	redirect *gatewayv1.HTTPRequestRedirectFilter
	route    *route

	path          int // 0: exact, 1: regular expression, 2: prefix
	length, extra int // characters of the path; of the method of gRPC
}

// before orders rules by precedence. Ties within a route go by its own order.
func before(a, b ranked) int {
	methods := func(r ranked) int {
		if r.Match.Method != "" {
			return 0
		}
		return 1
	}
	return cmp.Or(
		cmp.Compare(a.path, b.path),
		cmp.Compare(b.length, a.length),
		cmp.Compare(b.extra, a.extra),
		cmp.Compare(methods(a), methods(b)),
		cmp.Compare(len(b.Match.Headers), len(a.Match.Headers)),
		cmp.Compare(len(b.Match.Query), len(a.Match.Query)),
		older(a.route.meta, b.route.meta),
		cmp.Compare(a.route.kind, b.route.kind),
		cmp.Compare(a.Origin.Rule, b.Origin.Rule),
		cmp.Compare(a.Origin.Match, b.Origin.Match),
	)
}

// readHTTP reads the rules of an HTTPRoute. One that cannot be followed is left
// out, and told.
func (b *builder) readHTTP(r *route, o *gatewayv1.HTTPRoute) {
	for i := range o.Spec.Rules {
		spec := &o.Spec.Rules[i]
		f := b.readFilters(r, spec.Filters)
		base, problem := b.httpRule(r, spec, &f)
		base.Origin = Origin{Kind: r.kind, Name: r.name, Rule: i, RuleName: sectionOf(spec.Name)}
		addRule(r, base, &f, problem, spec.Matches, httpMatch)
	}
	r.finish(len(o.Spec.Rules))
}

// addRule adds a rule to a route, once for each of its matches; without any it
// matches everything. With a problem it is left out, and told.
func addRule[M any](r *route, base Rule, f *filters, problem string, matches []M, read func(*route, *M) (ranked, string)) {
	problem = cmp.Or(problem, f.unusable)
	if len(matches) == 0 {
		matches = make([]M, 1)
	}
	var got []ranked
	for j := range matches {
		ranked, why := read(r, &matches[j])
		problem = cmp.Or(problem, why)
		rule := base
		rule.Origin.Match, rule.Match = j, ranked.Match
		ranked.Rule, ranked.redirect = &rule, f.redirect
		got = append(got, ranked)
	}
	if problem != "" {
		r.drop(base.Origin.Rule, problem)
		return
	}
	r.rules = append(r.rules, got...)
}

// finish sorts the rules, and notes when none is left of those there were.
func (r *route) finish(rules int) {
	slices.SortFunc(r.rules, before)
	r.nothing = rules > 0 && len(r.rules) == 0
}

// httpRule reads all of a rule but its matches.
func (b *builder) httpRule(r *route, spec *gatewayv1.HTTPRouteRule, f *filters) (Rule, string) {
	rule := Rule{
		RequestHeaders: f.requestHeaders, ResponseHeaders: f.responseHeaders, CORS: f.cors, Auth: f.auth,
		Mirrors: f.mirrors, Rewrite: f.rewrite,
	}
	problem := ""
	if t := spec.Timeouts; t != nil {
		rule.Timeout, problem = duration(t.Request, "timeouts.request", problem)
		rule.BackendTimeout, problem = duration(t.BackendRequest, "timeouts.backendRequest", problem)
	}
	if spec.Retry != nil {
		rule.Retry, problem = retry(spec.Retry, problem)
	}
	//nolint:staticcheck // deprecated for a kind that is not served yet, and in use
	rule.Session, problem = session(r, spec.SessionPersistence, problem)
	if f.redirect != nil {
		return rule, problem
	}
	for _, ref := range spec.BackendRefs {
		problem = b.addDestination(r, &rule, ref.BackendRef, ref.Filters, problem)
	}
	if f.failing {
		rule.Backends = nil
	}
	return rule, problem
}

// addDestination adds a backendRef with its own filters to a rule.
func (b *builder) addDestination(r *route, rule *Rule, ref gatewayv1.BackendRef, list []gatewayv1.HTTPRouteFilter, problem string) string {
	d := b.destination(r, ref, rule.OwnRetries())
	if len(list) > 0 {
		own := b.readFilters(r, list)
		if own.unusable != "" {
			problem = cmp.Or(problem, "a backendRef's filters: "+own.unusable)
		}
		d.take(&own)
	}
	rule.Backends = append(rule.Backends, d)
	return problem
}

// take applies the filters of a backendRef.
func (d *Destination) take(f *filters) {
	d.RequestHeaders, d.ResponseHeaders, d.Rewrite = f.requestHeaders, f.responseHeaders, f.rewrite
	d.CORS, d.Auth, d.Mirrors = f.cors, f.auth, f.mirrors
	if f.redirect != nil {
		d.Redirect = &Redirect{Scheme: ptr.Deref(f.redirect.Scheme, ""), Hostname: string(ptr.Deref(f.redirect.Hostname, "")), Path: pathChange(f.redirect.Path), Status: statusOf(f.redirect)}
	}
	if f.failing {
		d.Backend = ""
	}
}

func statusOf(f *gatewayv1.HTTPRequestRedirectFilter) int {
	if f.StatusCode == nil {
		return 302
	}
	return *f.StatusCode
}

// duration reads a GEP-2257 duration, which Go's own reader understands.
func duration(d *gatewayv1.Duration, where, problem string) (*time.Duration, string) {
	if d == nil {
		return nil, problem
	}
	v, err := time.ParseDuration(string(*d))
	if (err != nil || v < 0) && problem == "" {
		problem = fmt.Sprintf("%s %q is no duration", where, *d)
	}
	return &v, problem
}

// defaultAttempts is how often a rule with retry but without attempts tries
// again.
const defaultAttempts = 1

func retry(s *gatewayv1.HTTPRouteRetry, problem string) (*Retry, string) {
	out := &Retry{Attempts: defaultAttempts}
	if s.Attempts != nil {
		out.Attempts = uint32(min(max(*s.Attempts, 0), math.MaxInt32))
	}
	for _, c := range s.Codes {
		out.Codes = appendNew(out.Codes, uint32(c))
	}
	slices.Sort(out.Codes)
	wait, problem := duration(s.Backoff, "retry.backoff", problem)
	if wait != nil {
		out.Backoff = *wait
	}
	return out, problem
}

// session reads session persistence (GEP-1619).
func session(r *route, s *gatewayv1.SessionPersistence, problem string) (*Session, string) {
	if s == nil {
		return nil, problem
	}
	if s.Type != nil && *s.Type == gatewayv1.HeaderBasedSessionPersistence {
		if s.Header == nil || s.Header.Name == "" {
			return nil, cmp.Or(problem, "sessionPersistence.header names no header")
		}
		return &Session{Header: string(s.Header.Name)}, problem
	}
	out := &Session{Cookie: "fairlead-" + r.name.Name, Path: "/"}
	if c := s.Cookie; c != nil {
		out.Cookie = cmp.Or(string(ptr.Deref(c.Name, "")), out.Cookie)
		out.Path = cmp.Or(ptr.Deref(c.Path, ""), out.Path)
		if !strings.HasPrefix(out.Path, "/") || strings.ContainsFunc(out.Path, func(r rune) bool { return control(r) || r == ';' || r > 0x7f }) {
			problem = cmp.Or(problem, fmt.Sprintf("sessionPersistence.cookie.path %.80q is no path of a cookie", out.Path))
		}
		if c.LifetimeType != nil && *c.LifetimeType == gatewayv1.PermanentCookieLifetimeType {
			life, why := duration(s.AbsoluteTimeout, "sessionPersistence.absoluteTimeout", problem)
			problem = why
			if life == nil {
				return nil, cmp.Or(problem, "sessionPersistence has a permanent cookie without absoluteTimeout")
			}
			out.Lifetime = *life
		}
	}
	return out, problem
}

// httpMatch reads one match.
func httpMatch(r *route, m *gatewayv1.HTTPRouteMatch) (ranked, string) {
	out := ranked{route: r, path: 2, length: 1, Rule: &Rule{}}
	problem := ""
	if m.Path != nil && m.Path.Value != nil {
		kind := gatewayv1.PathMatchPathPrefix
		if m.Path.Type != nil {
			kind = *m.Path.Type
		}
		out.Match.Value, out.length = *m.Path.Value, len(*m.Path.Value)
		switch kind {
		case gatewayv1.PathMatchExact:
			out.Match.Path, out.path = PathExact, 0
		case gatewayv1.PathMatchRegularExpression:
			out.Match.Path, out.path = PathRegex, 1
			problem = expression("path", *m.Path.Value, problem)
		default:
			out.prefix(*m.Path.Value)
		}
	}
	out.Match.Method = string(ptr.Deref(m.Method, ""))
	for _, h := range m.Headers {
		regex := h.Type != nil && *h.Type == gatewayv1.HeaderMatchRegularExpression
		problem = out.Match.addHeader(string(h.Name), h.Value, regex, problem)
	}
	for _, q := range m.QueryParams {
		v := ValueMatch{Name: string(q.Name), Value: q.Value, Regex: q.Type != nil && *q.Type == gatewayv1.QueryParamMatchRegularExpression}
		if v.Regex {
			problem = expression("query parameter "+v.Name, v.Value, problem)
		}
		if !slices.ContainsFunc(out.Match.Query, func(have ValueMatch) bool { return have.Name == v.Name }) {
			out.Match.Query = append(out.Match.Query, v)
		}
	}
	return out, problem
}

// prefix sets a match by prefix. "/" matches every path.
func (r *ranked) prefix(value string) {
	trimmed := strings.TrimRight(value, "/")
	r.Match.Path, r.Match.Value, r.length = PathPrefix, trimmed, len(trimmed)
	if trimmed == "" {
		r.Match.Path, r.length = "", 1
	}
}

// addHeader adds a match of a header, of several of one name the first.
func (m *Match) addHeader(name, value string, regex bool, problem string) string {
	v := ValueMatch{Name: strings.ToLower(name), Value: value, Regex: regex}
	if slices.ContainsFunc(m.Headers, func(have ValueMatch) bool { return have.Name == v.Name }) {
		return problem
	}
	m.Headers = append(m.Headers, v)
	if regex {
		return expression("header "+name, value, problem)
	}
	return problem
}
