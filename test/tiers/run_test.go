package main

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	in := `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:4: what was done\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:5: wrong thing\n","OutputType":"error"}
{"Action":"output","Package":"p","Test":"TestA","Output":"        and why\n","OutputType":"error-continue"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: a long dump\n"}
{"Action":"fail","Package":"p","Test":"TestA"}
{"Action":"pass","Package":"p","Test":"TestB/of it","Elapsed":1}
{"Action":"attr","Package":"p","Test":"TestB","Key":"measured","Value":"none lost"}
{"Action":"attr","Package":"p","Test":"TestB","Key":"other","Value":"x"}
{"Action":"pass","Package":"p","Test":"TestB","Elapsed":2.4}
{"Action":"output","Package":"p","Test":"TestC","Output":"=== RUN TestC\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: needs root: run as root\n"}
{"Action":"output","Package":"p","Test":"TestC","Output":"--- SKIP: TestC (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p"}
{"Action":"pass","Package":"q"}
`
	var out strings.Builder
	r := read(strings.NewReader(in), &out, 1)
	if r.passed != 2 || r.failed != 2 || r.skipped != 1 {
		t.Errorf("got %d passed, %d failed, %d skipped; want 2, 2 (the test and its package), 1", r.passed, r.failed, r.skipped)
	}
	if got := r.skips["needs root: run as root"]; len(got) != 1 || got[0] != "TestC" {
		t.Errorf("skips: %v", r.skips)
	}
	if got := strings.Join(r.measured, "; "); got != "TestB: none lost" {
		t.Errorf("measured: %s", got)
	}
	if got := strings.Join(r.failures, "; "); got != "TestA: a_test.go:5: wrong thing\n        and why" {
		t.Errorf("failures: %s", got)
	}
	if s := out.String(); !strings.Contains(s, "  ok TestB (2s)\n") || strings.Contains(s, "of it") {
		t.Errorf("there must be a line for each test that passes, and none for its parts:\n%s", s)
	}
	out.Reset()
	if read(strings.NewReader(in), &out, 0); strings.Contains(out.String(), "TestB") {
		t.Errorf("lines for tests that nobody asked for:\n%s", out.String())
	}
	out.Reset()
	read(strings.NewReader(in), &out, 1)
	if s := out.String(); !strings.Contains(s, "wrong thing") || !strings.Contains(s, "ok   q") {
		t.Errorf("output lacks the failure or the package that passed:\n%s", s)
	}
	out.Reset()
	read(strings.NewReader(in), &out, 2)
	if s := out.String(); !strings.Contains(s, "  ok TestB/of it (1s)\n") {
		t.Errorf("there must be a line for parts of tests where they are asked for:\n%s", s)
	}
}

// The suite of the Gateway API has one reason for many tests.
func TestSkipReason(t *testing.T) {
	for line, want := range map[string]string{
		"    c_test.go:9: needs root: run as root\n":                               "needs root: run as root",
		"    conformance.go:57: Skipping MeshBasic: suite does not support Mesh\n": "suite does not support Mesh",
		"--- SKIP: TestC (0.00s)\n":                                                "no reason given",
	} {
		if got := skipReason([]string{line}); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

func TestConformanceTier(t *testing.T) {
	all := conformanceTier("/run", conformanceOptions{}, "build")
	if got, want := strings.Join(all.args, " "), "--json --reports build"; got != want || all.program != "/run" {
		t.Errorf("%s %s, want /run %s", all.program, got, want)
	}
	some := conformanceTier("/run", conformanceOptions{channel: "standard", mode: "dedicated", run: "UDP", keep: true}, "")
	if got, want := strings.Join(some.args, " "), "--json --channel standard --mode dedicated --run UDP --keep"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestBusyTier(t *testing.T) {
	const want = "test -json -count 1 -timeout 20m0s -run ^TestNoFalseAlarmsWhileBusy$ ./announcer/bfd/apart -args -busy-for=10m0s -busy-beside=/f"
	if got := strings.Join(busyTier("/f").args, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Each test on a real cluster is in one share.
func TestShares(t *testing.T) {
	tests, err := testsIn("../e2e")
	if err != nil || !slices.Contains(tests, "TestAdoptMetalLB") || slices.Contains(tests, "TestMain") {
		t.Fatalf("the tests are %v (%v)", tests, err)
	}
	var all []string
	for _, share := range deal(tests, 2) {
		args := strings.Join(shareTier(share, 1).args, " ")
		if !strings.Contains(args, "^("+share[0]+"|") || !strings.HasSuffix(args, "./test/e2e/...") || strings.Contains(args, "testbed") {
			t.Errorf("a share runs by %s", args)
		}
		all = append(all, share...)
	}
	slices.Sort(all)
	slices.Sort(tests)
	if !slices.Equal(all, tests) {
		t.Errorf("shared are %v of %v", all, tests)
	}
	if _, err := testsIn(t.TempDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder without tests: %v", err)
	}
}

func TestNoClusters(t *testing.T) {
	if r := runE2E(t.Context(), "", 0); r.broken == nil || !strings.Contains(r.broken.Error(), "--clusters is 0") {
		t.Errorf("no clusters: %v", r.broken)
	}
}

func TestTogether(t *testing.T) {
	one := result{tier: "e2e", passed: 3, skipped: 1, skips: map[string][]string{"why": {"TestA"}}, took: 5, measured: []string{"a"}}
	other := result{tier: "e2e", passed: 2, failed: 1, skipped: 1, skips: map[string][]string{"why": {"TestB"}}, took: 7, failures: []string{"b"}}
	r := together([]result{one, other})
	if r.passed != 5 || r.failed != 1 || r.skipped != 2 || r.took != 7 || len(r.skips["why"]) != 2 || len(r.measured) != 1 || len(r.failures) != 1 {
		t.Errorf("got %+v", r)
	}
	if r := together([]result{{took: 1}, {broken: errors.New("it broke")}}); r.broken == nil {
		t.Error("what broke is not told")
	}
}
