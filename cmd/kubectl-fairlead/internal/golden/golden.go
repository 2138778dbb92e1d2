// Package golden compares what commands show with files in testdata.
package golden

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
	"github.com/fairlead/fairlead/test/golden"
)

// Text compares a text with testdata/NAME.
func Text(t *testing.T, name, got string) {
	t.Helper()
	golden.Compare(t, filepath.Join("testdata", name), got)
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
