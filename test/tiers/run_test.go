package main

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	in := `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:5: wrong thing\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB/of it","Elapsed":1}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":2.4}
{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN TestC\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: needs root: run as root\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q"}
`
	var out strings.Builder
	r := read(strings.NewReader(in), &out, true)
	if r.passed != 2 || r.failed != 2 || r.skipped != 1 {
		t.Errorf("got %d passed, %d failed, %d skipped; want 2, 2 (the test and its package), 1", r.passed, r.failed, r.skipped)
	}
	if got := r.skips["needs root: run as root"]; len(got) != 1 || got[0] != "TestC" {
		t.Errorf("skips: %v", r.skips)
	}
	if s := out.String(); !strings.Contains(s, "  ok TestB (2s)\n") || strings.Contains(s, "of it") {
		t.Errorf("there must be a line for each test that passes, and none for its parts:\n%s", s)
	}
	out.Reset()
	if read(strings.NewReader(in), &out, false); strings.Contains(out.String(), "TestB") {
		t.Errorf("lines for tests that nobody asked for:\n%s", out.String())
	}
	out.Reset()
	read(strings.NewReader(in), &out, true)
	if s := out.String(); !strings.Contains(s, "wrong thing") || !strings.Contains(s, "ok   q") {
		t.Errorf("output lacks the failure or the package that passed:\n%s", s)
	}
}
