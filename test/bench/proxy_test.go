package main

import (
	"bytes"
	"io"
	"strings"
	"testing"
	"time"
)

func TestWithin(t *testing.T) {
	for figure, want := range map[float64]string{-3: "within ±3", 3: "within ±3", 3.1: "within ±3: **missed**", -3.1: "within ±3: **missed**"} {
		if got := (row{figure: figure, aim: within(3)}).comparison(); got != want {
			t.Errorf("%v: %q, want %q", figure, got, want)
		}
	}
}

// Rounds are compared one by one, so that a slow one does not count as a difference.
func TestProxyRows(t *testing.T) {
	rows := proxyRows([][2]runOf{
		{{100, 1, 2, 50}, {100, 1, 2, 40}},
		{{50, 2, 4, 50}, {50, 2, 4, 40}},
		{{98, 1, 2, 50}, {100, 1, 2, 40}},
	})
	if len(rows) != 12 {
		t.Fatalf("there are %d rows", len(rows))
	}
	if r := rows[2]; r.figure != 0 || !strings.Contains(r.what, "-2 to 0") || r.comparison() != "within ±3" {
		t.Errorf("requests differ by %+v", r)
	}
	if r := rows[11]; r.figure != 25 || !strings.Contains(r.comparison(), "missed") {
		t.Errorf("CPU differs by %+v", r)
	}
}

func TestExchange(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	for text, want := range map[string]string{
		ok + ok: "EOF", // and no answer is taken for two
		ok + "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n": "503",
	} {
		var asked bytes.Buffer
		conn := struct {
			io.Reader
			io.Writer
		}{strings.NewReader(text), &asked}
		took, err := exchange(t.Context(), conn, "a.example", time.Now().Add(time.Minute))
		if err == nil || !strings.Contains(err.Error(), want) || len(took) != strings.Count(text, "200 OK") {
			t.Errorf("%d answers and %v, want %s", len(took), err, want)
		}
		if !strings.HasPrefix(asked.String(), "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n") {
			t.Errorf("asked %q", asked.String())
		}
	}
}

func TestConcurrencyOf(t *testing.T) {
	if got := concurrencyOf([]string{"--log-level", "warning", "--concurrency", "2"}); len(got) != 2 || got[1] != "2" {
		t.Errorf("got %v", got)
	}
	if got := concurrencyOf([]string{"--log-level", "warning"}); got != nil {
		t.Errorf("got %v", got)
	}
}
