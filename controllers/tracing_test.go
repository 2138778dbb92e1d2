package controllers

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestTraceFromTheServiceToTheLedger(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	spans := tracetest.NewInMemoryExporter()
	r := w.start(func(o *Options, _ *manager.Options) {
		o.Tracer = sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans))
	})
	w.service("a")
	w.has("a", "192.0.2.10")
	parent := w.addressIs("192.0.2.10", v1alpha1.AddressBound, "a").Annotations[AnnotationTraceparent]
	w.eventually("the spans of one trace are there", func() error {
		var names []string
		for _, s := range spans.GetSpans() {
			if strings.Contains(parent, s.SpanContext.TraceID().String()) {
				names = append(names, s.Name)
			}
		}
		slices.Sort(names)
		if got := strings.Join(names, " "); got != "allocate ledger.write service.reconcile status.write" {
			return fmt.Errorf("%s (traceparent %q)", got, parent)
		}
		return nil
	})
	w.settled(r)
	r.stop()
	// Without tracing the annotation is neither written nor taken away.
	second := w.start()
	w.recovered(second)
	if writes := w.settled(second); len(writes) > 0 {
		t.Errorf("a restart without tracing writes %v", writes)
	}
}
