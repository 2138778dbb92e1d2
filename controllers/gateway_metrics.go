package controllers

import (
	"cmp"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/feed"
)

var (
	gatewayStates = gauge("gateways", "Gateways, by class and state: programmed, pending, refused.", "class", "state")
	gatewayRoutes = gauge("gateway_routes",
		"Routes that name a Gateway, by kind and state: attached, unresolved (attached, but a reference of theirs cannot be followed), refused (by one of the parents that they name).",
		"kind", "state")
	gatewayEnvoys = gauge("gateway_envoys", "Envoys that are connected to the controller, by fleet.", "fleet")

	gatewayCertificates = gauge("gateway_certificate_expiry_timestamp_seconds",
		"When the first of the certificates that a Gateway uses ends, in seconds since 1970. One that has ended is served on.", "namespace", "gateway")

	gatewayBuild = histogramBy("gateway_build_seconds",
		"Time to work out what a Gateway's Envoys should have, by scope: whole (from nothing), partial (what has changed).",
		[]float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5}, "scope")
	gatewayChange = histogram("gateway_change_seconds",
		"Time from the first event of a change of a Gateway, of its routes, or of what they refer to, until the last connected Envoy has acknowledged it; without changes of endpoints.",
		latencies)

	gatewaySlices = counter("gateway_slice_writes_total", "Writes of the EndpointSlices by which Gateways list their Envoys, by result.", "result")

	xdsSent       = counter("xds_resources_sent_total", "Resources that were sent to Envoys, by type.", "type")
	xdsRejections = counter("xds_rejections_total", "Resources that Envoys rejected, by type.", "type")
)

// The scopes of a build.
const scopeWhole, scopePartial = "whole", "partial"

func init() {
	for _, s := range []string{scopeWhole, scopePartial} {
		gatewayBuild.WithLabelValues(s)
	}
	for _, kind := range feed.Types() {
		xdsSent.WithLabelValues(kind)
		xdsRejections.WithLabelValues(kind)
	}
}

// scope says how much of a Gateway was built.
func (s *serving) scope() string {
	if s.anew {
		return scopeWhole
	}
	return scopePartial
}

// observeChange measures a change that has come to all Envoys. Since is zero where
// nobody knows when it began: what is built first after a start has waited for
// other things.
func observeChange(since, now time.Time, d feed.Delivery) {
	if !since.IsZero() && d.Changed && !d.Abandoned && d.Envoys > 0 {
		gatewayChange.Observe(now.Sub(since).Seconds())
	}
}

// labelled is the values of up to two labels.
type labelled [2]string

// level keeps a gauge at what there is, and has it forget what is no more.
type level struct {
	gauge *prometheus.GaugeVec
	names int
	had   map[labelled]int
}

func (l *level) set(now map[labelled]int) {
	for values, n := range now {
		l.gauge.WithLabelValues(values[:l.names]...).Set(float64(n))
	}
	for values := range l.had {
		if _, ok := now[values]; !ok {
			l.gauge.DeleteLabelValues(values[:l.names]...)
		}
	}
	l.had = now
}

// gatewayMeter keeps the gauges of Gateways.
type gatewayMeter struct{ states, routes, envoys, certificates level }

func newGatewayMeter() *gatewayMeter {
	return &gatewayMeter{
		states: level{gauge: gatewayStates, names: 2}, routes: level{gauge: gatewayRoutes, names: 2}, envoys: level{gauge: gatewayEnvoys, names: 1},
		certificates: level{gauge: gatewayCertificates, names: 2},
	}
}

// read brings the gauges up to date.
func (m *gatewayMeter) read(g *gateways) {
	m.states.set(g.countStates())
	m.routes.set(g.countRoutes())
	m.certificates.set(g.certificateEnds())
	connected := map[labelled]int{}
	for fleet, n := range g.feed.Connected() {
		connected[labelled{fleet}] = n
	}
	m.envoys.set(connected)
}

func (g *gateways) countStates() map[labelled]int {
	out := map[labelled]int{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, s := range g.known {
		out[labelled{s.fleet.Class, cmp.Or(g.states[name], statePending)}]++
	}
	return out
}

// certificateEnds says when the first certificate of each Gateway ends.
func (g *gateways) certificateEnds() map[labelled]int {
	out := map[labelled]int{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for name, s := range g.known {
		if s.built == nil {
			continue
		}
		for i := range s.built.Model.Certificates {
			of, end := labelled{name.Namespace, name.Name}, int(s.built.Model.Certificates[i].NotAfter.Unix())
			if first, some := out[of]; !some || end < first {
				out[of] = end
			}
		}
	}
	return out
}

// The states of Gateways and routes.
const (
	statePending    = "pending"
	stateProgrammed = "programmed"
	stateRefused    = "refused"
	stateAttached   = "attached"
	stateUnresolved = "unresolved"
)

// stateOf is the state of a Gateway by what it says.
func stateOf(conditions []metav1.Condition) string {
	switch {
	case meta.IsStatusConditionFalse(conditions, string(gatewayv1.GatewayConditionAccepted)):
		return stateRefused
	case meta.IsStatusConditionTrue(conditions, string(gatewayv1.GatewayConditionProgrammed)):
		return stateProgrammed
	}
	return statePending
}

// noteState keeps the state of a Gateway for the metrics.
func (g *gateways) noteState(name types.NamespacedName, conditions []metav1.Condition) {
	state := stateOf(conditions)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.known[name] != nil {
		g.states[name] = state
	}
}

func (g *gateways) countRoutes() map[labelled]int {
	out := map[labelled]int{}
	g.mu.Lock()
	defer g.mu.Unlock()
	for s, by := range g.said {
		if s.kind != policyKind {
			out[labelled{s.kind, stateOfRoute(maps.Values(by))}]++
		}
	}
	return out
}

// stateOfRoute is the state of a route by what its Gateways say: the worst.
func stateOfRoute(said func(yield func(answer) bool)) string {
	state := stateAttached
	for a := range said {
		for i := range a.parents {
			switch conditions := a.parents[i].Conditions; {
			case meta.IsStatusConditionFalse(conditions, string(gatewayv1.RouteConditionAccepted)):
				return stateRefused
			case meta.IsStatusConditionFalse(conditions, string(gatewayv1.RouteConditionResolvedRefs)):
				state = stateUnresolved
			}
		}
	}
	return state
}
