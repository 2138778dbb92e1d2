package gateway

import (
	"bufio"
	"bytes"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/test/golden"
)

func newReader(raw []byte) *bufio.Reader { return bufio.NewReader(bytes.NewReader(raw)) }

// TestGolden builds each world in testdata and compares the Model and the
// statuses, in the order of the file and in others.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.in.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".in.yaml")
		t.Run(name, func(t *testing.T) {
			built := Build(readWorld(t, file, inOrder).in)
			model := marshal(t, built.Model)
			status := marshal(t, built.Status(Progress{}))
			golden.Compare(t, "testdata/"+name+".model.yaml", string(model))
			golden.Compare(t, "testdata/"+name+".status.yaml", string(status))
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 1))
				again := Build(readWorld(t, file, r.Shuffle).in)
				if diff := cmp.Diff(string(model), string(marshal(t, again.Model))); diff != "" {
					t.Fatalf("another order gives another Model (-in order +shuffled):\n%s", diff)
				}
				if diff := cmp.Diff(string(status), string(marshal(t, again.Status(Progress{})))); diff != "" {
					t.Fatalf("another order gives another status (-in order +shuffled):\n%s", diff)
				}
			}
		})
	}
}

func marshal(t *testing.T, v any) []byte {
	t.Helper()
	out, err := yaml.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return out
}
