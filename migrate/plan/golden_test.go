package plan

import (
	"flag"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden plans what each file in testdata asks for, in the order of the file
// and in others.
func TestGolden(t *testing.T) {
	for _, name := range worlds(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join("testdata", name+".in.yaml")
			got := marshal(t, Make(readInput(t, file, inOrder)))
			compare(t, filepath.Join("testdata", name+".plan.yaml"), got)
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

func compare(t *testing.T, path string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatalf("%v (write it with -update, and read it)", err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}
