package xds_test

import (
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"

	logsv1 "go.opentelemetry.io/proto/otlp/collector/logs/v1"
	tracesv1 "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	logrecordv1 "go.opentelemetry.io/proto/otlp/logs/v1"
	spanv1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/grpc"

	"github.com/fairlead/fairlead/gateway"
	"github.com/fairlead/fairlead/gateway/xds"
)

// collector keeps what comes by OTLP over gRPC.
type collector struct {
	logsv1.UnimplementedLogsServiceServer
	tracesv1.UnimplementedTraceServiceServer

	port string

	mu    sync.Mutex
	spans []reported
	logs  []reported
}

// reported is a span or a record.
type reported struct {
	name, trace, span, parent string
	from                      map[string]string // the resource
	fields                    map[string]string
}

func newCollector(t *testing.T) *collector {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c := &collector{}
	_, c.port, _ = net.SplitHostPort(l.Addr().String())
	server := grpc.NewServer()
	logsv1.RegisterLogsServiceServer(server, c)
	tracesv1.RegisterTraceServiceServer(server, traces{c})
	var served sync.WaitGroup
	served.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		server.Stop()
		served.Wait()
	})
	return c
}

func (c *collector) at(host string) xds.Collector {
	return xds.Collector(net.JoinHostPort(host, c.port))
}

// Export takes records of the access log.
func (c *collector) Export(_ context.Context, r *logsv1.ExportLogsServiceRequest) (*logsv1.ExportLogsServiceResponse, error) {
	for _, of := range r.ResourceLogs {
		for _, scope := range of.ScopeLogs {
			for _, l := range scope.LogRecords {
				c.log(of.Resource.GetAttributes(), l)
			}
		}
	}
	return &logsv1.ExportLogsServiceResponse{}, nil
}

func (c *collector) log(from []*commonv1.KeyValue, l *logrecordv1.LogRecord) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.logs = append(c.logs, reported{trace: hex.EncodeToString(l.TraceId), from: valuesOf(from), fields: valuesOf(l.Attributes)})
}

// traces are the same collector: both of its services have a method Export.
type traces struct{ *collector }

// Export takes spans.
func (c traces) Export(_ context.Context, r *tracesv1.ExportTraceServiceRequest) (*tracesv1.ExportTraceServiceResponse, error) {
	for _, of := range r.ResourceSpans {
		for _, scope := range of.ScopeSpans {
			for _, s := range scope.Spans {
				c.span(of.Resource.GetAttributes(), s)
			}
		}
	}
	return &tracesv1.ExportTraceServiceResponse{}, nil
}

func (c *collector) span(from []*commonv1.KeyValue, s *spanv1.Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.spans = append(c.spans, reported{
		name: s.Name, trace: hex.EncodeToString(s.TraceId), span: hex.EncodeToString(s.SpanId), parent: hex.EncodeToString(s.ParentSpanId),
		from: valuesOf(from), fields: valuesOf(s.Attributes),
	})
}

func valuesOf(list []*commonv1.KeyValue) map[string]string {
	out := map[string]string{}
	for _, kv := range list {
		out[kv.Key] = kv.Value.GetStringValue()
	}
	return out
}

// find waits for what is reported of a path.
func (w *world) find(what string, in func() []reported, path string) reported {
	w.t.Helper()
	var out reported
	w.envoy.Await(fmt.Sprintf("a %s of %s", what, path), func() error {
		for _, r := range in() {
			if strings.HasSuffix(r.fields["http.url"], path) || r.fields["path"] == path {
				out = r
				return nil
			}
		}
		return fmt.Errorf("there are %+v", in())
	})
	return out
}

func (c *collector) allLogs() []reported {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]reported(nil), c.logs...)
}

func (c *collector) allSpans() []reported {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]reported(nil), c.spans...)
}

const (
	traceID = "4bf92f3577b34da6a3ce929d0e0e4736"
	spanID  = "00f067aa0ba902b7"
)

// A collector gets a record and a span of a request, and of those only that bring
// their trace along or are drawn.
func TestCollectorGetsRecordsAndSpans(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	w.table(80, host("*", to("/a", b), to("/b", b)))
	c := newCollector(t)
	w.settings.AccessLogCollector, w.settings.TraceCollector, w.settings.TraceRatio = c.at("localhost"), c.at("127.0.0.1"), 0
	w.start()
	client := w.client(80, http1, nil)
	get(t, client, "http://x.example.com/b")
	got := get(t, client, "http://x.example.com/a", "Traceparent: 00-"+traceID+"-"+spanID+"-01")
	span := w.find("span", c.allSpans, "/a")
	if span.trace != traceID || span.parent != spanID || span.name != "GET "+span.fields["fairlead.route"] || span.fields["fairlead.route"] == "" {
		t.Errorf("the span is %+v", span)
	}
	for name, want := range map[string]string{"service.name": "gw", "service.namespace": "test"} {
		if span.from[name] != want {
			t.Errorf("the span's resource is %v", span.from)
		}
	}
	if at := got.Sent.Get("Traceparent"); at != "00-"+traceID+"-"+span.span+"-01" {
		t.Errorf("the backend is told of the trace %q; the span is %s", at, span.span)
	}
	record := w.find("record", c.allLogs, "/a")
	for name, want := range map[string]string{"method": "GET", "host": "x.example.com", "code": "200", "backend": "test/gw/backend/test/b/HTTP"} {
		if record.fields[name] != want {
			t.Errorf("the record's %s is %q, want %q (%v)", name, record.fields[name], want, record.fields)
		}
	}
	if record.trace != traceID || record.from["service.name"] != "gw" {
		t.Errorf("the record is %+v", record)
	}
	w.find("record", c.allLogs, "/b")
	for _, s := range c.allSpans() {
		if strings.HasSuffix(s.fields["http.url"], "/b") {
			t.Errorf("nobody has asked for the span %+v", s)
		}
	}

	w.settings.TraceRatio = 1
	w.envoy.Update(w.encode(), w.where)
	client.CloseIdleConnections()
	w.envoy.Await("a span of /b", func() error {
		if _, err := try(w.client(80, http1, nil), "GET", "http://x.example.com/b", ""); err != nil {
			return err
		}
		for _, s := range c.allSpans() {
			if strings.HasSuffix(s.fields["http.url"], "/b") {
				return nil
			}
		}
		return fmt.Errorf("there are %d others", len(c.allSpans()))
	})
}

// Connections are recorded too. A collector that is away, or that has no address,
// keeps nothing waiting.
func TestTrafficDoesNotWaitForCollectors(t *testing.T) {
	w := newWorld(t)
	b := w.echo("b")
	w.table(80, host("*", to("/", b)))
	w.model.Ports = append(w.model.Ports, gateway.Port{Number: 81, Transport: gateway.TCP, Stream: &gateway.Stream{Backends: []gateway.Destination{{Backend: b, Weight: 1}}}})
	w.settings.AccessLogCollector, w.settings.TraceCollector, w.settings.TraceRatio = "nowhere.invalid:4317", xds.Collector(refusing(t).String()), 1
	w.start()
	for _, port := range []uint16{80, 81} {
		if got := get(t, w.client(port, http1, nil), "http://x.example.com/"); got.Pod != "b" {
			t.Errorf("port %d: %s", port, got.Status)
		}
	}
	c := newCollector(t)
	w.settings.AccessLogCollector = c.at("127.0.0.1")
	w.envoy.Update(w.encode(), w.where)
	w.envoy.Await("a record of a connection", func() error {
		client := w.client(81, http1, nil)
		if _, err := try(client, "GET", "http://x.example.com/", ""); err != nil {
			return err
		}
		client.CloseIdleConnections()
		for _, l := range c.allLogs() {
			if _, request := l.fields["method"]; !request && l.fields["backend"] != "" {
				return nil
			}
		}
		return fmt.Errorf("there are %+v", c.allLogs())
	})
}
