package lab

import (
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"sync"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	commonv1 "go.opentelemetry.io/proto/otlp/common/v1"
	"google.golang.org/protobuf/proto"

	"github.com/fairlead/fairlead/test/testbed"
)

// Span is a span as it arrived at Traces.
type Span struct {
	// Service is the service.name of the process that made it.
	Service, Name string
	// Trace, ID and Parent are in hexadecimal; the first span of a trace has
	// no Parent.
	Trace, ID, Parent string
	Attributes        map[string]string
	// Start and End are in nanoseconds since 1970.
	Start, End uint64
}

// Traces is a collector of traces on a host of the lab, by OTLP over HTTP.
type Traces struct {
	// Endpoint is where pods reach it.
	Endpoint string
	server   *http.Server
	mu       sync.Mutex
	spans    []Span
}

// CollectTraces starts a collector on the control host, which pods reach as they
// reach the API server. Stop ends it.
func (l *Lab) CollectTraces() (*Traces, error) {
	v4, _, err := l.Cluster.HostAddresses(testbed.Control)
	if err != nil {
		return nil, err
	}
	host, err := netip.ParseAddr(v4)
	if err != nil {
		return nil, err
	}
	var listener net.Listener
	err = l.Cluster.InNamespace(testbed.Control, func() error {
		var err error
		listener, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(host, 0)))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listening for traces: %w", err)
	}
	t := &Traces{Endpoint: "http://" + listener.Addr().String()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/traces", t.receive)
	t.server = &http.Server{Handler: mux}
	go func() { _ = t.server.Serve(listener) }() // until Stop
	return t, nil
}

// Stop ends the collector.
func (t *Traces) Stop() error { return t.server.Close() }

// Spans are all that have arrived.
func (t *Traces) Spans() []Span {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Span(nil), t.spans...)
}

func (t *Traces) receive(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	var request collector.ExportTraceServiceRequest
	if err := proto.Unmarshal(body, &request); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	answer, err := proto.Marshal(&collector.ExportTraceServiceResponse{})
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	t.add(&request)
	w.Header().Set("Content-Type", "application/x-protobuf")
	_, _ = w.Write(answer) // a sender that is gone sends again
}

func (t *Traces) add(request *collector.ExportTraceServiceRequest) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, resource := range request.ResourceSpans {
		service := attributesOf(resource.Resource.GetAttributes())["service.name"]
		for _, scope := range resource.ScopeSpans {
			for _, s := range scope.Spans {
				t.spans = append(t.spans, Span{
					Service: service, Name: s.Name,
					Trace: hex.EncodeToString(s.TraceId), ID: hex.EncodeToString(s.SpanId), Parent: hex.EncodeToString(s.ParentSpanId),
					Attributes: attributesOf(s.Attributes), Start: s.StartTimeUnixNano, End: s.EndTimeUnixNano,
				})
			}
		}
	}
}

// attributesOf are the attributes that are strings or whole numbers, as text.
func attributesOf(list []*commonv1.KeyValue) map[string]string {
	all := map[string]string{}
	for _, kv := range list {
		switch v := kv.GetValue().GetValue().(type) {
		case *commonv1.AnyValue_StringValue:
			all[kv.Key] = v.StringValue
		case *commonv1.AnyValue_IntValue:
			all[kv.Key] = strconv.FormatInt(v.IntValue, 10)
		}
	}
	return all
}
