// Package gatewayapi finds the manifests of the Gateway API, for tests.
package gatewayapi

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// CRDs are the paths of the CRDs of a release channel (standard or experimental)
// in the module that this repository is built with.
func CRDs(channel string) ([]string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module of the Gateway API: %w", err)
	}
	_, crds, err := Manifests(strings.TrimSpace(string(dir)), channel)
	return crds, err
}

// Manifests are the paths of the manifests of a release channel in the Gateway
// API's source, and of those among them that are CRDs: one is a policy that guards
// upgrades.
func Manifests(source, channel string) (all, crds []string, err error) {
	where := filepath.Join(source, "config", "crd", channel)
	if all, err = filepath.Glob(filepath.Join(where, "gateway.networking.*.yaml")); err != nil {
		return nil, nil, err
	}
	for _, file := range all {
		if !strings.Contains(filepath.Base(file), "_vap_") {
			crds = append(crds, file)
		}
	}
	if len(crds) == 0 {
		return nil, nil, fmt.Errorf("there are no CRDs of the Gateway API in %s", where)
	}
	return all, crds, nil
}
