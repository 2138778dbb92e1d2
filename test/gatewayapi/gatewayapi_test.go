package gatewayapi

import (
	"os"
	"path/filepath"
	"testing"
)

func TestManifests(t *testing.T) {
	source := t.TempDir()
	dir := filepath.Join(source, "config", "crd", "standard")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"gateway.networking.k8s.io_gateways.yaml", "gateway.networking.x-k8s.io_xmeshes.yaml",
		"gateway.networking.k8s.io_vap_safeupgrades.yaml", "kustomization.yaml",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, crds, err := Manifests(source, "standard")
	if err != nil || len(all) != 3 || len(crds) != 2 {
		t.Errorf("%v, %v, %v; want the manifests without the kustomization, and the CRDs without the policy", all, crds, err)
	}
	if _, _, err := Manifests(t.TempDir(), "standard"); err == nil {
		t.Error("an empty folder has CRDs")
	}
}
