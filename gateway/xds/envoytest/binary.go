package envoytest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// Variable names the environment variable with the path of Envoy's binary.
const Variable = "FAIRLEAD_ENVOY"

// Binary is the path of Envoy. The test is skipped if there is none.
func Binary(t testing.TB) string {
	t.Helper()
	path := os.Getenv(Variable)
	if path == "" {
		t.Skipf("%s is not set: it names the binary of Envoy 1.40 that this test runs", Variable)
	}
	if _, err := exec.LookPath(path); err != nil {
		t.Fatalf("%s: %v", Variable, err)
	}
	return path
}

// write puts a configuration into a file of the test.
func write(t testing.TB, config any) string {
	t.Helper()
	text, err := json.MarshalIndent(config, "", "  ")
	if err != nil {
		t.Fatalf("writing Envoy's bootstrap: %v", err)
	}
	file := filepath.Join(t.TempDir(), "envoy.json")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatalf("writing Envoy's bootstrap: %v", err)
	}
	return file
}
