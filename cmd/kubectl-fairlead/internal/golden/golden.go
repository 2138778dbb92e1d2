// Package golden compares what a test has made with files in testdata; with the
// flag -update it writes them.
package golden

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
)

var update = flag.Bool("update", false, "write the golden files")

// Text compares a text with testdata/NAME.
func Text(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is different (-want +got):\n%s", path, diff)
	}
}

// Result compares a result as people see it, wide, and in YAML.
func Result(t *testing.T, name string, r output.Result) {
	t.Helper()
	var out bytes.Buffer
	for i, f := range []output.Format{output.Plain, output.Wide, output.YAML} {
		if i > 0 {
			out.WriteString("\n--- " + string(f) + "\n")
		}
		if err := output.Print(&out, f, r); err != nil {
			t.Fatal(err)
		}
	}
	Text(t, name, out.String())
}
