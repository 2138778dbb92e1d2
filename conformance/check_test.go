package conformance_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/conformance"
)

const updateFlag = "update"

var update = flag.Bool(updateFlag, false, "write what is expected anew")

// Reports that the suite could have written, and what is said of each.
func TestCheck(t *testing.T) {
	paths, err := filepath.Glob("testdata/*.report.yaml")
	if err != nil || len(paths) == 0 {
		t.Fatalf("no reports to check: %v", err)
	}
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".report.yaml")
		t.Run(name, func(t *testing.T) {
			channel, _, _ := strings.Cut(name, "-")
			complete, err := conformance.NewComplete(channel, "shared")
			if err != nil {
				t.Fatal(err)
			}
			complete.Version = "v0.1.0"
			report, err := conformance.ReadReport(path)
			if err != nil {
				t.Fatal(err)
			}
			gaps := complete.Check(report)
			if strings.HasSuffix(name, "-complete") != (len(gaps) == 0) {
				t.Errorf("the gaps are %v", gaps)
			}
			var got bytes.Buffer
			if err := complete.PrintReport(&got, report); err != nil {
				t.Fatal(err)
			}
			if err := conformance.PrintGaps(&got, gaps); err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", name+".check.txt"), got.Bytes())
		})
	}
}

func golden(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; rewrite it with -update):\n%s", path, diff)
	}
}

func TestReadReport(t *testing.T) {
	if _, err := conformance.ReadReport("testdata/none.yaml"); err == nil {
		t.Error("a report that is not there was read")
	}
	edited := filepath.Join(t.TempDir(), "report.yaml")
	if err := os.WriteFile(edited, []byte("kind: ConformanceReport\nverdict: splendid\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := conformance.ReadReport(edited); err == nil || !strings.Contains(err.Error(), "verdict") {
		t.Errorf("a field that no report has was taken: %v", err)
	}
}
