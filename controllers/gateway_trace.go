package controllers

import (
	"context"
	"slices"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/gateway/feed"
)

const (
	// tracedFor is how long what a Gateway writes belongs to the change that it was
	// built for last.
	tracedFor = time.Minute
	// namedChanges is how many objects that have changed a span names.
	namedChanges = 8
)

// change is on its way from the first event that it consists of to the last Envoy
// that acknowledges what follows from it.
type change struct {
	gateway types.NamespacedName
	// since is zero where nobody knows when it began.
	since time.Time
	span  trace.Span
}

// beginChange takes what a Gateway is built anew for.
func (g *gateways) beginChange(ctx context.Context, gw *gatewayv1.Gateway, of references) (context.Context, *change) {
	c := &change{gateway: client.ObjectKeyFromObject(gw)}
	c.since = g.changing.take(c.gateway)
	options := []trace.SpanStartOption{trace.WithAttributes(
		attribute.String("k8s.namespace.name", gw.Namespace), attribute.String("fairlead.gateway", gw.Name),
		attribute.String("fairlead.class", string(gw.Spec.GatewayClassName)))}
	if !c.since.IsZero() {
		options = append(options, trace.WithTimestamp(c.since))
	}
	ctx, c.span = g.tracer.Start(ctx, "gateway.change", options...)
	if c.span.IsRecording() {
		c.span.SetAttributes(attribute.StringSlice("fairlead.changed", of.some(namedChanges)))
	}
	return ctx, c
}

// some are at most n of the references in words, in order.
func (r references) some(n int) []string {
	out := make([]string, 0, len(r))
	for ref := range r {
		out = append(out, ref.Kind+" "+ref.String())
	}
	slices.Sort(out)
	return out[:min(n, len(out))]
}

// fail ends a change that came to nothing: the next try is for what has changed
// since the same time.
func (g *gateways) fail(c *change, err error) {
	if !c.since.IsZero() {
		g.changing.see(c.gateway, c.since)
	}
	ended(c.span, err)
}

// deliver gives a Gateway's resources to the feed, and ends the change when they
// have arrived.
func (g *gateways) deliver(ctx context.Context, s *serving, c *change) error {
	_, span := g.tracer.Start(ctx, "xds.deliver")
	return g.feed.Deliver(s.fleet.Name(), gatewayName(s.name), s.sent, func(d feed.Delivery) {
		observeChange(c.since, g.Clock.Now(), d)
		for _, span := range []trace.Span{span, c.span} {
			span.SetAttributes(attribute.Int("fairlead.envoys", d.Envoys), attribute.Int("fairlead.rejections", d.Rejections), attribute.Bool("fairlead.abandoned", d.Abandoned))
			span.End()
		}
	})
}

// within continues the trace of the change that a Gateway was built for last, if
// that was not long ago.
func (g *gateways) within(ctx context.Context, s *serving) context.Context {
	if !s.trace.IsValid() || g.Clock.Since(s.builtAt) > tracedFor {
		return ctx
	}
	return trace.ContextWithSpanContext(ctx, s.trace)
}

// ended ends a span with its error, if there is one.
func ended(span trace.Span, err error) {
	if err != nil {
		span.RecordError(err)
		span.SetStatus(codes.Error, err.Error())
	}
	span.End()
}
