package testbed

import (
	"os"
	"path/filepath"
	"testing"
)

func TestGatewayAPIFiles(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"gateway.networking.k8s.io_gateways.yaml", "gateway.networking.x-k8s.io_xmeshes.yaml",
		"gateway.networking.k8s.io_vap_safeupgrades.yaml", "kustomization.yaml",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	all, crds, err := gatewayAPIFiles(dir)
	if err != nil || len(all) != 3 || len(crds) != 2 {
		t.Errorf("%v, %v, %v; want the manifests without the kustomization, and the CRDs without the policy", all, crds, err)
	}
	if _, _, err := gatewayAPIFiles(t.TempDir()); err == nil {
		t.Error("an empty folder has CRDs")
	}
}
