package telemetry

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/trace/noop"
)

func TestOffUnlessAsked(t *testing.T) {
	for _, env := range []map[string]string{
		{},
		{envEndpoint: "http://127.0.0.1:4318", envDisabled: "true"},
		{envTracesEndpoint: "http://127.0.0.1:4318", envExporter: "none"},
	} {
		for _, k := range []string{envDisabled, envExporter, envEndpoint, envTracesEndpoint} {
			t.Setenv(k, env[k])
		}
		p, stop, err := New(t.Context(), "fairlead-test")
		if err != nil {
			t.Fatal(err)
		}
		if _, off := p.(noop.TracerProvider); !off {
			t.Errorf("with %v the provider is %T", env, p)
		}
		if err := stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

func TestUnknownProtocolIsNamed(t *testing.T) {
	t.Setenv(envEndpoint, "http://127.0.0.1:4318")
	t.Setenv(envProtocol, "http/json")
	_, _, err := New(t.Context(), "fairlead-test")
	if err == nil || !strings.Contains(err.Error(), envProtocol) || !strings.Contains(err.Error(), "http/json") {
		t.Errorf("error is %v", err)
	}
}

func TestSpansArrive(t *testing.T) {
	got := make(chan string, 8)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		select {
		case got <- r.URL.Path + " " + string(body):
		default:
		}
	}))
	defer srv.Close()
	t.Setenv(envEndpoint, srv.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	p, stop, err := New(t.Context(), "fairlead-test")
	if err != nil {
		t.Fatal(err)
	}
	_, span := p.Tracer("test").Start(t.Context(), "service.reconcile")
	span.End()
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case s := <-got:
		for _, want := range []string{"/v1/traces", "service.reconcile", "fairlead-test"} {
			if !strings.Contains(s, want) {
				t.Errorf("%q is missing in what was sent", want)
			}
		}
	case <-time.After(time.Minute):
		t.Fatal("no span was sent")
	}
}
