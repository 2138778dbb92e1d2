package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/fairlead/fairlead/test/testbed"
)

// assetsVariable tells tests where kube-apiserver and etcd are.
const assetsVariable = "KUBEBUILDER_ASSETS"

// envoyVariable tells tests where the program Envoy is.
const envoyVariable = "FAIRLEAD_ENVOY"

type tier struct {
	name string
	// program prints what go test -json does; the Go command if empty.
	program string
	args    []string
	env     []string
	// depth of the tests that get a line when they pass, since one takes long:
	// 1 is tests, 2 also their parts.
	depth int
}

func unitTier(run, assets string) tier {
	t := tier{name: "unit", args: []string{"test", "-json", "-race", "-p", "2", "-timeout", "20m"}}
	if run != "" {
		t.args = append(t.args, "-run", run)
	}
	t.args = append(t.args, "./...")
	if assets != "" {
		t.env = []string{assetsVariable + "=" + assets}
	}
	return t
}

// endToEndLimit ends a half of the end-to-end tests that hangs. With all caches cold, other projects' programs that are built from
// source take as long as the tests.
const endToEndLimit = 75 * time.Minute

// busyFor is how long sessions of BFD are watched while all cores are busy.
const busyFor = 10 * time.Minute

// busyTier takes what the unit tests leave of the cores, as long as the file beside is there, and competes with nobody
// but itself for the rest of its time.
func busyTier(beside string) tier {
	return tier{name: "busy", args: []string{
		"test", "-json", "-count", "1", "-timeout", (2 * busyFor).String(), "-run", "^TestNoFalseAlarmsWhileBusy$", "./announcer/bfd/apart",
		"-args", "-busy-for=" + busyFor.String(), "-busy-beside=" + beside,
	}}
}

// runBeside runs the unit tests, and beside them the tier of busy cores, which needs them to be busy and costs little of
// their time. It returns when both have ended: what comes next may need a quiet machine.
func runBeside(ctx context.Context, unit tier) []result {
	busy := make(chan result, 1)
	file, err := os.CreateTemp("", "fairlead-unit-tests-run-")
	if err != nil {
		busy <- result{tier: "busy", broken: fmt.Errorf("making a file that says that unit tests run: %w", err)}
	} else {
		defer os.Remove(file.Name())
		_ = file.Close()
		go func() { busy <- runTier(ctx, busyTier(file.Name())) }()
	}
	done := []result{runTier(ctx, unit)}
	if file != nil {
		_ = os.Remove(file.Name())
	}
	return append(done, <-busy)
}

// The packages with tests on a real cluster.
const (
	testbedPackages = "./test/testbed/..."
	e2ePackages     = "./test/e2e/..."
)

func e2eTier(run string, packages ...string) tier {
	t := tier{name: "e2e", depth: 1, args: []string{"test", "-json", "-tags", "e2e", "-count", "1", "-p", "1", "-timeout", endToEndLimit.String()}}
	if run != "" {
		t.args = append(t.args, "-run", run)
	}
	t.args = append(t.args, packages...)
	return t
}

// buildKubernetes builds the cluster's programs and returns a folder with those
// that tests without a cluster use, under the names they expect.
func buildKubernetes(ctx context.Context) (string, error) {
	programs, err := testbed.Build(ctx, testbed.NewProgress(os.Stdout))
	if err != nil {
		return "", fmt.Errorf("building the cluster's programs: %w", err)
	}
	dir, err := os.MkdirTemp("", "fairlead-assets-")
	if err != nil {
		return "", fmt.Errorf("making a folder for the API server: %w", err)
	}
	for _, name := range []string{"kube-apiserver", "etcd", "kubectl"} {
		if err := os.Symlink(programs[name], filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("linking %s: %w", name, err)
		}
	}
	return dir, nil
}

// result is what came of a tier.
type result struct {
	tier                    string
	passed, failed, skipped int
	skips                   map[string][]string // reason to tests
	measured                []string            // what tests have measured
	failures                []string            // test, and the first error that it gave
	broken                  error
	took                    time.Duration
	notRun                  string
}

// event is a line of `go test -json` (go doc test2json).
type event struct {
	Action, Package, Test, Output string
	OutputType                    string  // "error" for what Error and Fatal give, "error-continue" for its further lines
	Key, Value                    string  // of an attribute
	Elapsed                       float64 // seconds
}

func runTier(ctx context.Context, t tier) result {
	if t.program == "" {
		t.program = "go"
	}
	fmt.Printf("=== %s: %s %s\n", t.name, filepath.Base(t.program), strings.Join(t.args, " "))
	start := time.Now()
	cmd := exec.CommandContext(ctx, t.program, t.args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 2 * time.Minute
	cmd.Env = append(os.Environ(), t.env...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return result{tier: t.name, broken: err}
	}
	if err := cmd.Start(); err != nil {
		return result{tier: t.name, broken: err}
	}
	r := read(out, os.Stdout, t.depth)
	r.tier, r.took = t.name, time.Since(start)
	if err := cmd.Wait(); err != nil && r.failed == 0 {
		r.broken = fmt.Errorf("%s ended with %w though no test failed", filepath.Base(t.program), err)
	}
	return r
}

// read counts tests, prints the output of those that fail and a line for each
// package and for each test down to the depth asked for, and remembers why tests
// were skipped.
func read(in io.Reader, out io.Writer, depth int) result {
	r := result{skips: map[string][]string{}}
	output, errors := map[string][]string{}, map[string][]string{}
	lines := bufio.NewScanner(in)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintln(out, lines.Text()) // a build error, say
			continue
		}
		key := e.Package + " " + e.Test
		switch e.Action {
		case "output", "build-output":
			output[key] = append(output[key], e.Output)
			if strings.HasPrefix(e.OutputType, "error") {
				errors[key] = append(errors[key], e.Output)
			}
		case "attr":
			if e.Key == "measured" {
				r.measured = append(r.measured, e.Test+": "+e.Value)
			}
		case "pass", "skip", "fail", "build-fail":
			r.count(e, output[key], out)
			if first := errors[key]; e.Action == "fail" && len(first) > 0 {
				r.failures = append(r.failures, e.Test+": "+shortened(first))
			}
			if e.Action == "pass" && e.Test != "" && strings.Count(e.Test, "/") < depth {
				fmt.Fprintf(out, "  ok %s (%.0fs)\n", e.Test, e.Elapsed)
			}
			delete(output, key)
			delete(errors, key)
		}
	}
	return r
}

// shownOfFailure is how many lines of a failed test's errors stand below its tier: the
// whole of it, with what was dumped to understand it, stands far above.
const shownOfFailure = 12

// shortened is the beginning of what a test gave as its errors.
func shortened(lines []string) string {
	more := ""
	if len(lines) > shownOfFailure {
		lines, more = lines[:shownOfFailure], "\n..."
	}
	return strings.TrimSpace(strings.Join(lines, "")) + more
}

func (r *result) count(e event, output []string, out io.Writer) {
	isTest := e.Test != ""
	switch {
	case e.Action == "pass" && isTest:
		r.passed++
	case e.Action == "skip" && isTest:
		r.skipped++
		reason := skipReason(output)
		r.skips[reason] = append(r.skips[reason], e.Test)
	case e.Action == "fail" || e.Action == "build-fail":
		r.failed++
		fmt.Fprintf(out, "--- FAIL %s %s\n%s", e.Package, e.Test, strings.Join(output, ""))
	case e.Action == "pass":
		fmt.Fprintf(out, "ok   %s\n", e.Package)
	}
}

// skipReason is the text given to t.Skip: the line "file.go:12: reason".
func skipReason(output []string) string {
	for i := len(output) - 1; i >= 0; i-- {
		line := strings.TrimSpace(output[i])
		if _, reason, ok := strings.Cut(line, ".go:"); ok {
			if _, reason, ok = strings.Cut(reason, ": "); ok {
				return withoutName(reason)
			}
		}
	}
	return "no reason given"
}

// withoutName takes off what the Gateway API's suite begins its reasons with, for
// many tests are skipped for the same.
func withoutName(reason string) string {
	if rest, ok := strings.CutPrefix(reason, "Skipping "); ok {
		if _, why, ok := strings.Cut(rest, ": "); ok {
			return why
		}
	}
	return reason
}

// report prints a line for each tier, then the sum, and says whether all is well.
func report(results ...result) error {
	var total result
	bad := false
	fmt.Println()
	for _, r := range results {
		total.passed, total.failed, total.skipped = total.passed+r.passed, total.failed+r.failed, total.skipped+r.skipped
		switch {
		case r.notRun != "":
			fmt.Printf("%-12s not run: %s\n", r.tier, r.notRun)
			continue
		case r.broken != nil:
			fmt.Printf("%-12s BROKEN after %s: %v\n", r.tier, r.took.Round(time.Second), r.broken)
			bad = true
			continue
		}
		word := "ok"
		if r.failed > 0 {
			word, bad = "FAILED", true
		}
		fmt.Printf("%-12s %-6s %4d passed, %d failed, %d skipped  %s\n", r.tier, word, r.passed, r.failed, r.skipped, r.took.Round(time.Second))
		for _, m := range r.measured {
			fmt.Printf("%-12s   %s\n", "", m)
		}
		for _, f := range r.failures {
			fmt.Printf("%-12s   failed %s\n", "", f)
		}
		reasons := make([]string, 0, len(r.skips))
		for reason := range r.skips {
			reasons = append(reasons, reason)
		}
		sort.Strings(reasons)
		for _, reason := range reasons {
			fmt.Printf("%-12s   skipped %s: %s\n", "", strings.Join(r.skips[reason], ", "), reason)
		}
	}
	fmt.Printf("\n%d passed, %d failed, %d skipped\n", total.passed, total.failed, total.skipped)
	if bad {
		return fmt.Errorf("tests failed")
	}
	return nil
}
