package fleet

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// envoyBinary is the real Envoy, or the test is skipped.
func envoyBinary(t *testing.T) string {
	t.Helper()
	path := os.Getenv("FAIRLEAD_ENVOY")
	if path == "" {
		t.Skip("FAIRLEAD_ENVOY is not set: it names the Envoy 1.40 binary that this test runs")
	}
	return path
}

// inTestDir has the paths of the pod in a folder of the test.
func inTestDir(t *testing.T, text string) (file string) {
	t.Helper()
	dir := t.TempDir()
	for _, d := range []string{configDir, tlsDir, runDir} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	moved := func(s string) string {
		for _, d := range []string{configDir, tlsDir, runDir} {
			s = strings.ReplaceAll(s, d, filepath.Join(dir, d))
		}
		return s
	}
	for name, content := range map[string]string{bootstrapFile: text, certificateFile: certificateSecret, authorityFile: authoritySecret} {
		if err := os.WriteFile(filepath.Join(dir, configDir, name), []byte(moved(content)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, configDir, bootstrapFile)
}

func TestEnvoyAcceptsTheBootstrap(t *testing.T) {
	envoy := envoyBinary(t)
	v6 := settings()
	v6.Families = []corev1.IPFamily{corev1.IPv6Protocol}
	unlimited := v1alpha1.GatewayConfigSpec{Fleet: &v1alpha1.FleetConfig{Resources: &corev1.ResourceRequirements{}}}
	for name, tt := range map[string]struct {
		config   Config
		settings Settings
	}{
		"defaults":   {Default(), settings()},
		"everything": {config(t, everything()), settings()},
		"no limit":   {config(t, unlimited), v6},
	} {
		t.Run(name, func(t *testing.T) {
			text, err := Bootstrap(ID{Class: "fairlead"}, tt.config, tt.settings)
			if err != nil {
				t.Fatal(err)
			}
			out, err := exec.CommandContext(t.Context(), envoy, "--mode", "validate", "--config-path", inTestDir(t, text),
				"--service-node", "n/p", "--service-cluster", "c", "--disable-hot-restart", "--log-level", "warning").CombinedOutput()
			if err != nil {
				t.Fatalf("Envoy says: %v\n%s", err, out)
			}
			// What is deprecated is warned about, and gone in the next version.
			if strings.Contains(string(out), "deprecated") {
				t.Errorf("Envoy warns:\n%s", out)
			}
		})
	}
}

func TestNoVariableIsLeftInTheBootstrap(t *testing.T) {
	text, err := Bootstrap(ID{Class: "fairlead"}, Default(), settings())
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(text, "$(") {
		t.Errorf("Envoy expands no variables:\n%s", text)
	}
}
