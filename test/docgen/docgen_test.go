package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestSourceMetrics(t *testing.T) {
	dir := t.TempDir()
	code := `package p
const pre = "x_"
func f() {
	c := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: pre + name, Help: help})
	}
	c("one_total", "First.")
	prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: pre + "two", Help: "Sec" + "ond."}, []string{"a", "b"})
}
var d = prometheus.NewDesc(pre+"three_total", "Third.", []string{"c"}, nil)
`
	write := func(text string) {
		if err := os.WriteFile(filepath.Join(dir, "p.go"), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(code)
	got, err := sourceMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []metric{
		{"x_one_total", "counter", "First.", ""},
		{"x_two", "gauge", "Second.", "`a`, `b`"},
		{"x_three_total", "counter", "Third.", "`c`"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	write(code + "func g(n string) { prometheus.NewGauge(prometheus.GaugeOpts{Name: n, Help: \"\"}) }\n")
	if _, err := sourceMetrics(dir); err == nil || !strings.Contains(err.Error(), "p.go:11") {
		t.Errorf("a metric whose name is not constant: got %v, want an error that says where", err)
	}
}

// The page has every metric of both programs, and the same again.
func TestMetricsPage(t *testing.T) {
	t.Chdir(filepath.Join("..", ".."))
	before, err := os.ReadFile(filepath.Join("docs", "metrics.md"))
	if err != nil {
		t.Fatal(err)
	}
	page, err := metricsPage(string(before))
	if err != nil {
		t.Fatal(err)
	}
	again, err := metricsPage(page)
	if err != nil || again != page {
		t.Errorf("a second run changes the page (%v)", err)
	}
	for _, m := range []string{"fairlead_controller_decisions_total", "fairlead_speaker_takeovers_total", "fairlead_speaker_packets_total"} {
		if !strings.Contains(page, "`"+m+"`") {
			t.Errorf("the page lacks %s", m)
		}
	}
	if _, err := metricsPage("# no markers\n"); err == nil {
		t.Error("a page without the lines that enclose the table is no error")
	}
}
