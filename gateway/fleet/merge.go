package fleet

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Source says whose GatewayConfig has a problem.
type Source string

// The sources of a problem.
const (
	FromClass   Source = "GatewayClass"
	FromGateway Source = "Gateway"
)

// Problem is something in a GatewayConfig that does not count.
type Problem struct {
	Source Source
	// Field is the path of the field, such as spec.sourceRanges[1].
	Field string
	// Message says what is wrong and what to do.
	Message string
}

func (p Problem) String() string { return p.Field + ": " + p.Message }

// Words lists problems, each once, without an end to the sentence.
func Words(problems []Problem) string {
	var words []string
	for _, p := range problems {
		if w := p.String(); !slices.Contains(words, w) {
			words = append(words, w)
		}
	}
	return strings.Join(words, "; ")
}

// Merge is what holds for a Gateway: what its own GatewayConfig says, as far as
// the class allows, then what the class's says, then the defaults. Either may be
// nil. What has a problem does not count, and what then holds may be wider than
// what was meant (sourceRanges), so nothing new is built on it: a class or Gateway
// with problems is not accepted (InvalidParameters), and its Envoys stay on the
// last Config without problems.
func Merge(class, gw *v1alpha1.GatewayConfig) (Config, []Problem) {
	m := merger{config: Default()}
	if class != nil {
		m.source = FromClass
		m.workload(class.Spec.Fleet)
		m.settings(&class.Spec)
	}
	if gw != nil {
		m.source, m.allowed, m.ranges = FromGateway, allowed(class), slices.Clone(m.config.SourceRanges)
		if gw.Spec.Fleet != nil {
			m.problem("spec.fleet", "only the GatewayConfig of a GatewayClass may say how Envoys run: remove it, or use a class of your own")
		}
		m.settings(&gw.Spec)
	}
	return m.config, m.problems
}

// DefaultAllow is what Gateways may set where their class does not say.
func DefaultAllow() []v1alpha1.GatewaySetting {
	return []v1alpha1.GatewaySetting{
		v1alpha1.SettingFamilies, v1alpha1.SettingPools, v1alpha1.SettingExternalTrafficPolicy, v1alpha1.SettingSourceRanges,
	}
}

func allowed(class *v1alpha1.GatewayConfig) []v1alpha1.GatewaySetting {
	if class == nil || class.Spec.Allow == nil {
		return DefaultAllow()
	}
	return class.Spec.Allow
}

type merger struct {
	config   Config
	problems []Problem
	source   Source
	allowed  []v1alpha1.GatewaySetting
	ranges   []netip.Prefix // the class's, which a Gateway's must lie in
}

func (m *merger) problem(field, format string, args ...any) {
	m.problems = append(m.problems, Problem{Source: m.source, Field: field, Message: fmt.Sprintf(format, args...)})
}

// may says whether a setting that is set counts.
func (m *merger) may(setting v1alpha1.GatewaySetting, set bool) bool {
	if !set {
		return false
	}
	if m.source == FromClass || slices.Contains(m.allowed, setting) {
		return true
	}
	m.problem("spec."+string(setting), "the GatewayClass does not let its Gateways set this: remove it, or have spec.allow of the class's GatewayConfig name it")
	return false
}

func (m *merger) settings(s *v1alpha1.GatewayConfigSpec) {
	c := &m.config
	if m.may(v1alpha1.SettingFamilies, len(s.Families) > 0) {
		c.Families = slices.Clone(s.Families)
	}
	if m.may(v1alpha1.SettingPools, len(s.Pools) > 0) {
		c.Pools = slices.Clone(s.Pools)
	}
	if m.may(v1alpha1.SettingExternalTrafficPolicy, s.ExternalTrafficPolicy != "") {
		c.TrafficPolicy = s.ExternalTrafficPolicy
	}
	if m.may(v1alpha1.SettingSourceRanges, len(s.SourceRanges) > 0) {
		m.sourceRanges(s.SourceRanges)
	}
	if m.may(v1alpha1.SettingServiceAnnotations, len(s.ServiceAnnotations) > 0) {
		m.annotations(s.ServiceAnnotations)
	}
	if m.may(v1alpha1.SettingAccessLog, s.AccessLog != nil) {
		m.accessLog(s.AccessLog)
	}
	if m.may(v1alpha1.SettingTracing, s.Tracing != nil) {
		m.tracing(s.Tracing)
	}
	if m.may(v1alpha1.SettingMetrics, s.Metrics != nil) {
		c.RouteMetrics = s.Metrics.PerRoute
	}
	if m.may(v1alpha1.SettingClientAddress, s.ClientAddress != nil) {
		c.Client = Client{TrustedHops: uint32(max(0, s.ClientAddress.TrustedHops)), ProxyProtocol: s.ClientAddress.ProxyProtocol}
	}
	if m.may(v1alpha1.SettingLimits, s.Limits != nil) {
		m.limits(s.Limits)
	}
	if m.may(v1alpha1.SettingTimeouts, s.Timeouts != nil) {
		m.timeouts(s.Timeouts)
	}
}

// sourceRanges counts all or nothing: to leave out a range that is wrong could
// shut somebody out, to count none would let everybody in.
func (m *merger) sourceRanges(ranges []v1alpha1.SourceRange) {
	var out []netip.Prefix
	bad := false
	for i, r := range ranges {
		p, err := netip.ParsePrefix(strings.TrimSpace(string(r)))
		switch {
		case err != nil:
			m.problem(fmt.Sprintf("spec.sourceRanges[%d]", i), "%q is not a prefix: write 192.0.2.0/24 or 2001:db8::/32", r)
			bad = true
		case len(m.ranges) > 0 && !within(p, m.ranges):
			m.problem(fmt.Sprintf("spec.sourceRanges[%d]", i), "%s lies outside the ranges that the GatewayClass admits: name a part of them", p)
			bad = true
		default:
			out = append(out, p.Masked())
		}
	}
	if !bad {
		m.config.SourceRanges = out
	}
}

func within(p netip.Prefix, ranges []netip.Prefix) bool {
	return slices.ContainsFunc(ranges, func(r netip.Prefix) bool { return r.Bits() <= p.Bits() && r.Contains(p.Addr()) })
}

func (m *merger) accessLog(l *v1alpha1.AccessLog) {
	out := &AccessLog{Format: l.Format, Sink: l.Sink, Endpoint: string(l.Endpoint)}
	if out.Format == "" {
		out.Format = v1alpha1.LogJSON
	}
	if out.Sink == "" {
		out.Sink = v1alpha1.LogStdout
	}
	if out.Sink == v1alpha1.LogOTLP && !m.endpoint("spec.accessLog.endpoint", out.Endpoint) {
		return
	}
	m.config.AccessLog = out
}

func (m *merger) tracing(t *v1alpha1.GatewayTracing) {
	out := &Tracing{Endpoint: string(t.Endpoint), Ratio: 0.1}
	if t.Ratio != "" {
		ratio, err := strconv.ParseFloat(t.Ratio, 64)
		if err != nil || !(ratio >= 0 && ratio <= 1) {
			m.problem("spec.tracing.ratio", "%q is not a number from 0 to 1", t.Ratio)
			return
		}
		out.Ratio = ratio
	}
	if m.endpoint("spec.tracing.endpoint", out.Endpoint) {
		m.config.Tracing = out
	}
}

// endpoint checks what a pattern cannot tell.
func (m *merger) endpoint(field, endpoint string) bool {
	host, port, err := splitHostPort(endpoint)
	if err != nil || host == "" || port == 0 {
		m.problem(field, "%q is not HOST:PORT: write collector.example.com:4317, 192.0.2.7:4317 or [2001:db8::7]:4317", endpoint)
		return false
	}
	return true
}

func (m *merger) limits(l *v1alpha1.GatewayLimits) {
	set(&m.config.Limits.RequestHeadersKiB, l.RequestHeadersKiB)
	set(&m.config.Limits.ConcurrentStreams, l.ConcurrentStreams)
	set(&m.config.Limits.RequestsPerConnection, l.RequestsPerConnection)
}

func set(to *uint32, from *int32) {
	if from != nil && *from > 0 {
		*to = uint32(*from)
	}
}

func (m *merger) timeouts(t *v1alpha1.GatewayTimeouts) {
	to := &m.config.Timeouts
	for _, s := range []struct {
		field string
		from  *metav1.Duration
		to    *time.Duration
	}{
		{"requestHeaders", t.RequestHeaders, &to.RequestHeaders},
		{"idle", t.Idle, &to.Idle},
		{"streamIdle", t.StreamIdle, &to.StreamIdle},
		{"tcpIdle", t.TCPIdle, &to.TCPIdle},
		{"udpIdle", t.UDPIdle, &to.UDPIdle},
		{"connect", t.Connect, &to.Connect},
	} {
		switch {
		case s.from == nil:
		case s.from.Duration < 0:
			m.problem("spec.timeouts."+s.field, "%s is negative: write 0s for no limit", s.from.Duration)
		default:
			*s.to = s.from.Duration
		}
	}
}
