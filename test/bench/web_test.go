package main

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"
)

// askerOf asks a server of this process.
func askerOf(t *testing.T, h http.HandlerFunc) *asker {
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	client := server.Client()
	at := strings.TrimPrefix(server.URL, "http://")
	client.Transport = rewritten{client.Transport, at}
	return &asker{netip.MustParseAddr("192.0.2.1"), client}
}

// rewritten sends all requests to one server.
type rewritten struct {
	http.RoundTripper
	to string
}

func (r rewritten) RoundTrip(q *http.Request) (*http.Response, error) {
	q = q.Clone(q.Context())
	q.URL.Host = r.to
	return r.RoundTripper.RoundTrip(q)
}

// Whoever waits for a route is not surprised that it is unknown; other answers are
// failures and end nothing.
func TestUntilCountsWrongAnswers(t *testing.T) {
	var n atomic.Int32
	a := askerOf(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Host != "a.example" {
			t.Errorf("asked for %q", r.Host)
		}
		switch n.Add(1) {
		case 1:
			w.WriteHeader(http.StatusNotFound)
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
		case 3:
			_, _ = io.WriteString(w, `{"pod":"echo-node1-x"}`)
		default:
			_, _ = io.WriteString(w, `{"pod":"echo-node2-x"}`)
		}
	})
	got, err := a.until(t.Context(), "a.example", func(a answer) bool { return a.pod == "echo-node2-x" })
	if err != nil || got.failed != 1 || n.Load() != 4 {
		t.Errorf("%d failed of %d, %v", got.failed, n.Load(), err)
	}
}

func TestLoadCountsWhatIsNotServed(t *testing.T) {
	var n atomic.Int32
	enough := make(chan struct{})
	a := askerOf(t, func(w http.ResponseWriter, _ *http.Request) {
		switch n.Add(1) {
		case 2:
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		case 5:
			close(enough)
		}
		_, _ = io.WriteString(w, `{"pod":"p"}`)
	})
	l := a.startLoad(t.Context(), time.Millisecond, "a.example", "b.example")
	<-enough
	l.stop()
	if l.failed != 1 || len(l.took) != int(n.Load()) || !strings.Contains(l.why, "503") {
		t.Errorf("%d of %d failed, the server answered %d; %s", l.failed, len(l.took), n.Load(), l.why)
	}
	var sum load
	sum.add(l)
	sum.add(&load{took: []time.Duration{time.Hour}, failed: 2, why: "else"})
	rows := sum.rows("x")
	if rows[0].figure != 3 || !strings.Contains(rows[0].comparison(), "missed") || !strings.Contains(rows[0].what, "503") || rows[2].figure != 3600_000 {
		t.Errorf("got %+v", rows)
	}
}

func TestPaced(t *testing.T) {
	var n atomic.Int32
	err := paced(t.Context(), time.Millisecond, 7, func(context.Context, int) error {
		n.Add(1)
		return nil
	})
	if err != nil || n.Load() != 7 {
		t.Errorf("%d calls, %v", n.Load(), err)
	}
	wrong := errors.New("wrong")
	err = paced(t.Context(), time.Millisecond, 1<<20, func(context.Context, int) error { return wrong })
	if !errors.Is(err, wrong) {
		t.Errorf("the error was lost: %v", err)
	}
}

// What is used without changes is not the changes'.
func TestPerChange(t *testing.T) {
	at := func(cpu time.Duration) usage { return usage{1: {role: working, cpu: cpu}} }
	rest := &changes{took: 10 * time.Second, before: at(0), after: at(time.Second)}
	c := &changes{took: 5 * time.Second, before: at(time.Second), after: at(2 * time.Second), lags: make([]time.Duration, 10)}
	if got := c.perChange(rest, working); got != 50 {
		t.Errorf("a change costs %v ms, want (1000 - 5 s of 100 ms/s) / 10", got)
	}
}

func TestLagRows(t *testing.T) {
	rows := lagRows("x", []time.Duration{time.Millisecond, 2 * time.Millisecond, 9 * time.Millisecond}, atMost(3))
	want := []float64{4, 2, 9, 9}
	for i, r := range rows {
		if r.figure != want[i] || r.unit != "ms" || r.runs != 3 {
			t.Errorf("row %d is %+v, want %v", i, r, want[i])
		}
	}
	if !strings.Contains(rows[0].comparison(), "missed") || rows[1].aim.sign != 0 {
		t.Errorf("the aim is not the mean's alone: %+v", rows)
	}
}

func TestProgrammed(t *testing.T) {
	gw := &gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Generation: 2}}
	says := func(status metav1.ConditionStatus, generation int64) {
		gw.Status.Conditions = []metav1.Condition{{Type: string(gatewayv1.GatewayConditionProgrammed), Status: status, ObservedGeneration: generation}}
	}
	is := func(want bool) {
		t.Helper()
		if a, got := programmed(gw); got != want || got && a.String() != "192.0.2.7" {
			t.Errorf("programmed says %v, %v of %+v", a, got, gw.Status)
		}
	}
	is(false)
	says(metav1.ConditionTrue, 2)
	is(false) // without an address
	gw.Status.Addresses = []gatewayv1.GatewayStatusAddress{{Value: "192.0.2.7"}}
	is(true)
	says(metav1.ConditionTrue, 1)
	is(false) // as it was before
	says(metav1.ConditionFalse, 2)
	is(false)
}
