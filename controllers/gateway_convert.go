package controllers

import (
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/endpoints"
	"github.com/fairlead/fairlead/gateway/feed"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/gateway/xds"
)

// settingsOf is what of a configuration the encoder needs.
func settingsOf(c fleet.Config, families []corev1.IPFamily) xds.Settings {
	s := xds.Settings{
		NoIPv6:                !slices.Contains(families, corev1.IPv6Protocol),
		RouteMetrics:          c.RouteMetrics,
		TrustedHops:           c.Client.TrustedHops,
		ProxyProtocol:         c.Client.ProxyProtocol,
		RequestHeadersKiB:     c.Limits.RequestHeadersKiB,
		ConcurrentStreams:     c.Limits.ConcurrentStreams,
		RequestsPerConnection: c.Limits.RequestsPerConnection,
		HeaderTimeout:         unlimited(c.Timeouts.RequestHeaders),
		StreamIdleTimeout:     unlimited(c.Timeouts.StreamIdle),
		ConnectionIdleTimeout: unlimited(c.Timeouts.Idle),
		TCPIdleTimeout:        unlimited(c.Timeouts.TCPIdle),
		SessionIdleTimeout:    unlimited(c.Timeouts.UDPIdle),
		ConnectTimeout:        unlimited(c.Timeouts.Connect),
	}
	if l := c.AccessLog; l != nil {
		switch {
		case l.Sink == v1alpha1.LogOTLP:
			s.AccessLogCollector = xds.Collector(l.Endpoint)
		case l.Format == v1alpha1.LogText:
			s.AccessLog = xds.AccessLogText
		default:
			s.AccessLog = xds.AccessLogJSON
		}
	}
	if t := c.Tracing; t != nil {
		s.TraceCollector, s.TraceRatio = xds.Collector(t.Endpoint), t.Ratio
	}
	return s
}

// unlimited is a time of a fleet's configuration, where zero is no limit, as the
// encoder takes it, for which zero is the default.
func unlimited(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}

// resourcesOf hands what was encoded to the feed. What was before, and was sent, is
// taken from there where it is the same.
func resourcesOf(r, before xds.Resources, sent feed.Resources) feed.Resources {
	out := feed.Resources{
		Listeners: r.Listeners, Routes: r.Routes, Clusters: r.Clusters, Secrets: r.Secrets, Assignments: sent.Assignments,
	}
	if sent.Assignments != nil && reflect.ValueOf(r.Assignments).UnsafePointer() == reflect.ValueOf(before.Assignments).UnsafePointer() {
		return out // the same map
	}
	out.Assignments = make(map[string]endpoints.Assignment, len(r.Assignments))
	for name, a := range r.Assignments {
		was, had := before.Assignments[name]
		if had && len(a.Parts) > 0 && len(was.Parts) == len(a.Parts) && &was.Parts[0] == &a.Parts[0] {
			out.Assignments[name] = sent.Assignments[name]
			continue
		}
		parts := make([]endpoints.Part, len(a.Parts))
		for i, p := range a.Parts {
			parts[i] = endpoints.Part{Service: p.Service, Port: p.Port, PortName: p.PortName, Weight: p.Weight}
		}
		out.Assignments[name] = endpoints.Assignment{Parts: parts}
	}
	return out
}
