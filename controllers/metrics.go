package controllers

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

const namespaceOfMetrics, subsystemOfMetrics = "fairlead", "controller"

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return register(prometheus.NewCounterVec(prometheus.CounterOpts{
		Namespace: namespaceOfMetrics, Subsystem: subsystemOfMetrics, Name: name, Help: help,
	}, labels))
}

func gauge(name, help string, labels ...string) *prometheus.GaugeVec {
	return register(prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Namespace: namespaceOfMetrics, Subsystem: subsystemOfMetrics, Name: name, Help: help,
	}, labels))
}

func histogram(name, help string, buckets []float64) prometheus.Histogram {
	return register(prometheus.NewHistogram(prometheus.HistogramOpts{
		Namespace: namespaceOfMetrics, Subsystem: subsystemOfMetrics, Name: name, Help: help, Buckets: buckets,
	}))
}

func histogramBy(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return register(prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Namespace: namespaceOfMetrics, Subsystem: subsystemOfMetrics, Name: name, Help: help, Buckets: buckets,
	}, labels))
}

func register[C prometheus.Collector](c C) C {
	metrics.Registry.MustRegister(c)
	return c
}

// latencies are the buckets of what takes from some milliseconds to a minute.
var latencies = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}

var (
	poolCapacity  = gauge("pool_capacity_addresses", "Addresses that a pool can hand out, in use or not.", "pool", "family")
	poolAssigned  = gauge("pool_assigned_addresses", "Addresses of a pool that have a holder.", "pool", "family")
	poolAvailable = gauge("pool_available_addresses", "Addresses of a pool that can be given.", "pool", "family")
	waitingClaims = gauge("waiting_claims", "Holders that wait for an address.")

	allocationLatency = histogram("allocation_seconds",
		"Time from the first event of a Service that asks for an address to the write of the status that shows it.",
		latencies)

	decisions     = counter("decisions_total", "Decisions on claims, by result: given, kept, refused.", "result")
	refusals      = counter("refusals_total", "Claims that were refused, by reason; counted when the reason changes.", "reason")
	contestsOpen  = gauge("contests", "Services whose status or wishes another writer keeps changing.")
	corrections   = counter("contest_corrections_total", "Status writes that put right what another writer had changed.")
	ledgerWrites  = counter("ledger_writes_total", "Writes of Address objects, by verb and result.", "verb", "result")
	statusWrites  = counter("status_writes_total", "Writes of status, by kind and result.", "kind", "result")
	eventsWritten = counter("events_total", "Events, by result: written, failed, dropped.", "result")
)

func init() {
	// A counter without labels shows only once it was used; these say "none" from the start.
	corrections.WithLabelValues()
	waitingClaims.WithLabelValues()
	contestsOpen.WithLabelValues()
}

// resultOf names the outcome of a write for a metric.
func resultOf(err error) string {
	switch {
	case err == nil:
		return "ok"
	case apierrors.IsConflict(err):
		return "conflict"
	case apierrors.IsAlreadyExists(err):
		return "exists"
	case apierrors.IsNotFound(err):
		return "gone"
	}
	return "error"
}
