package main

import (
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	in := `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:5: wrong thing\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB"}
{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN TestC\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: needs root: run as root\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q"}
`
	var out strings.Builder
	r := read(strings.NewReader(in), &out)
	if r.passed != 1 || r.failed != 2 || r.skipped != 1 {
		t.Errorf("got %d passed, %d failed, %d skipped; want 1, 2 (the test and its package), 1", r.passed, r.failed, r.skipped)
	}
	if got := r.skips["needs root: run as root"]; len(got) != 1 || got[0] != "TestC" {
		t.Errorf("skips: %v", r.skips)
	}
	if s := out.String(); !strings.Contains(s, "wrong thing") || !strings.Contains(s, "ok   q") {
		t.Errorf("output lacks the failure or the package that passed:\n%s", s)
	}
}
