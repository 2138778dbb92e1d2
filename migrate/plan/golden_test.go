package plan

import (
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/test/golden"
)

// TestGolden plans what each file in testdata asks for, in the order of the file
// and in others.
func TestGolden(t *testing.T) {
	for _, name := range worlds(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".in.yaml")
			got := marshal(t, Make(readInput(t, file, inOrder)))
			golden.Compare(t, filepath.Join("testdata", name+".plan.yaml"), string(got))
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 1))
				if diff := cmp.Diff(string(got), string(marshal(t, Make(readInput(t, file, r.Shuffle))))); diff != "" {
					t.Fatalf("another order gives another plan (-in order +shuffled):\n%s", diff)
				}
			}
		})
	}
}

func worlds(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	var out []string
	for _, f := range files {
		out = append(out, strings.TrimSuffix(filepath.Base(f), ".in.yaml"))
	}
	return out
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	out, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
