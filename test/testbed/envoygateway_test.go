package testbed

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"
)

func TestProgramsOfOthersArePinned(t *testing.T) {
	for _, other := range []component{metallb, envoyGateway, contour} {
		if !regexp.MustCompile(`^v\d+\.\d+\.\d+$`).MatchString(other.Version) {
			t.Errorf("the version of %s is %q", other.Name, other.Version)
		}
		for _, c := range components {
			if c.Name == other.Name {
				t.Errorf("every cluster would build %s", other.Name)
			}
		}
	}
}

func TestEnvoyGatewayCRDsAreFreedOfTheirTemplate(t *testing.T) {
	dir := t.TempDir()
	if _, err := envoyGatewayCRDs(dir); err == nil {
		t.Error("a module without CRDs is no error")
	}
	generated := filepath.Join(dir, "charts", "gateway-crds-helm", "templates", "generated")
	if err := os.MkdirAll(generated, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"a", "b"} {
		text := "{{- if .Values.crds }}\n---\nname: " + name + "\n{{- end }}\n"
		if err := os.WriteFile(filepath.Join(generated, "gateway.envoyproxy.io_"+name+".yaml"), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := envoyGatewayCRDs(dir)
	if want := "---\nname: a\n---\nname: b\n"; err != nil || string(got) != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}
