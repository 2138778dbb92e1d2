package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

// What is said of clients depends on whether they are told to go, and can be.
func TestRolloutRows(t *testing.T) {
	s := newRolledOut()
	if rows := s.rows("nothing", rollout{}); len(rows) > 0 {
		t.Errorf("without a run there are %+v", rows)
	}
	f := &flood{lasted: time.Second}
	f.note(time.Millisecond, answer{status: 200}, nil)
	f.note(3*time.Millisecond, answer{status: 503}, nil)
	s.count(f, nil)
	for i := range s.guests {
		s.guests[i].Add(lab.Stay{Connections: 10, Told: 7, Broken: 2, Asked: 100, Failed: 1, Why: "reset"})
	}
	says := func(rows []row, what string) *row {
		i := slices.IndexFunc(rows, func(r row) bool { return strings.Contains(r.what, what) })
		if i < 0 {
			return nil
		}
		return &rows[i]
	}
	rows := s.rows("an update", rollout{failed: atMost(0), tells: true})
	for what, want := range map[string]float64{
		"an update: new connections opened":                                 2,
		"an update: of 2 new connections, failed (the first: status 503":    1,
		"new connection, max":                                               3,
		"HTTP/1.1, of 10 long connections, told to go by Connection: close": 7,
		"gRPC stream, of 10 long connections, told to go by GOAWAY":         7,
		"WebSocket, of 10 long connections, broken":                         2,
		"WebSocket, of 100 messages on them, failed (the first: reset)":     1,
	} {
		if r := says(rows, what); r == nil || r.figure != want {
			t.Errorf("%q: %+v, want %v", what, r, want)
		}
	}
	if r := says(rows, "WebSocket, of 10 long connections, told"); r != nil {
		t.Errorf("of WebSocket is said %q", r.what)
	}
	if r := says(s.rows("a crash", rollout{}), "told to go"); r != nil {
		t.Errorf("of a crash is said %q", r.what)
	}
}

func TestSimulatedRows(t *testing.T) {
	rows := simulatedRows([]result{{name: "FleetRollout/nodes=150/gateways=200", values: map[string][]float64{
		"writes": {300}, "changes": {1200}, "simulated-s": {62.4},
	}}})
	if len(rows) != 1 || rows[0].figure != 300 || !strings.Contains(rows[0].what, "150 nodes with 200 Gateways") || !strings.Contains(rows[0].beside, "1200 if no change waited for another; it takes 1m2s") {
		t.Errorf("got %+v", rows)
	}
}
