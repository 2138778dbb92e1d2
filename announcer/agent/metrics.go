package agent

import (
	"context"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

const metricsPrefix = "fairlead_speaker_"

// metrics are what a speaker counts itself; the packet engine and membership
// count too and are asked when the metrics are read.
type metrics struct {
	announced    *prometheus.GaugeVec
	deputized    prometheus.Gauge
	takeovers    prometheus.Counter
	conflicts    prometheus.Counter
	latency      prometheus.Histogram
	statusWrites prometheus.Counter
	statusErrors prometheus.Counter
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: metricsPrefix + name, Help: help})
	}
	return &metrics{
		announced: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: metricsPrefix + "announced_addresses", Help: "Addresses that this node announces, by protocol (arp, ndp).",
		}, []string{"protocol"}),
		deputized: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: metricsPrefix + "deputized_addresses", Help: "Addresses that this node answers for on behalf of nodes whose speaker is away.",
		}),
		takeovers: counter("takeovers_total", "Addresses that this node took over from another."),
		conflicts: counter("conflicts_total", "Times that another host was seen to have an address of ours."),
		latency: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    metricsPrefix + "announce_seconds",
			Help:    "Time from when this speaker saw an address in the ledger to its first announcement on the wire, with the wait for endpoints, for addresses that it announces.",
			Buckets: []float64{.001, .005, .01, .05, .1, .25, .5, .75, 1, 2.5, 5, 10, 30},
		}),
		statusWrites: counter("status_writes_total", "Writes of address statuses."),
		statusErrors: counter("status_errors_total", "Writes of address statuses that failed and are repeated."),
	}
}

// The metrics that are asked for when they are read.
var (
	packetsDesc = prometheus.NewDesc(metricsPrefix+"packets_total",
		"ARP and NDP packets by interface, family (ipv4, ipv6) and kind: received (requests and advertisements that passed the kernel's filter), "+
			"malformed, answered, gratuitous (sent unasked to announce or defend), probe, conflict, error (could not be sent).",
		[]string{"interface", "family", "kind"}, nil)
	speakersDesc = prometheus.NewDesc(metricsPrefix+"members",
		"Speakers as this one sees them, by state: alive (with this one), held (away, while their node lives), expected (one for each node).",
		[]string{"state"}, nil)
	deathsDesc = prometheus.NewDesc(metricsPrefix+"member_deaths_total",
		"Speakers that gossip declared dead, by what came of it: suspected (all of them), lost (the node was silent too), false_alarm (the speaker lived).",
		[]string{"outcome"}, nil)
)

// Describe makes the agent a prometheus.Collector.
func (a *Agent) Describe(out chan<- *prometheus.Desc) { prometheus.DescribeByCollect(a, out) }

// Collect makes the agent a prometheus.Collector.
func (a *Agent) Collect(out chan<- prometheus.Metric) {
	m := a.metrics
	for _, c := range []prometheus.Collector{m.announced, m.deputized, m.takeovers, m.conflicts, m.latency, m.statusWrites, m.statusErrors} {
		c.Collect(out)
	}
	if !a.ready.Load() {
		return // the engine and the members may not be there yet
	}
	for _, c := range a.engine.Snapshot() {
		for kind, n := range map[string]uint64{
			"received": c.Received, "malformed": c.Malformed, "answered": c.Answered, "gratuitous": c.Gratuitous,
			"probe": c.Probes, "conflict": c.Conflicts, "error": c.Errors,
		} {
			out <- prometheus.MustNewConstMetric(packetsDesc, prometheus.CounterValue, float64(n), c.Interface, c.Family, kind)
		}
	}
	if a.router != nil {
		collectBGP(out, a.router.Sessions())
	}
	if a.watchdog != nil {
		collectBFD(out, a.watchdog.Sessions())
	}
	s := a.members.Stats()
	for state, n := range map[string]int{"alive": s.Alive, "held": s.Held, "expected": s.Expected} {
		out <- prometheus.MustNewConstMetric(speakersDesc, prometheus.GaugeValue, float64(n), state)
	}
	for outcome, n := range map[string]uint64{"suspected": s.Deaths, "lost": s.Lost, "false_alarm": s.FalseAlarms} {
		out <- prometheus.MustNewConstMetric(deathsDesc, prometheus.CounterValue, float64(n), outcome)
	}
}

// report brings gauges and the SpeakerStatus up to date.
func (a *Agent) report() {
	arp, ndp := a.loop.standings[byARP], a.loop.standings[byNDP]
	a.metrics.announced.WithLabelValues("arp").Set(float64(arp))
	a.metrics.announced.WithLabelValues("ndp").Set(float64(ndp))
	a.metrics.deputized.Set(float64(a.loop.standings[asDeputy]))
	if a.ready.Load() {
		a.self.setWork(arp+ndp, a.members.Stats())
		a.reportSessions()
	}
}

// span continues the trace of the controller's decision up to the announcement.
func (a *Agent) span(ip netip.Addr, e *entry, now time.Time) {
	if e.traceparent == "" {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": e.traceparent})
	_, span := a.cfg.Tracer.Tracer("github.com/fairlead/fairlead/announcer/agent").Start(ctx, "announce",
		trace.WithTimestamp(e.fresh), trace.WithSpanKind(trace.SpanKindConsumer),
		trace.WithAttributes(attribute.String("fairlead.address", ip.String()), attribute.String("k8s.node.name", a.cfg.Node)))
	span.End(trace.WithTimestamp(now))
}
