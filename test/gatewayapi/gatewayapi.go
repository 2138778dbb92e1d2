// Package gatewayapi finds the CRDs of the Gateway API, for tests against an API
// server.
package gatewayapi

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// CRDs are the paths of the CRDs of a release channel (standard or experimental)
// in the module that this repository is built with.
func CRDs(channel string) ([]string, error) {
	dir, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/gateway-api").Output()
	if err != nil {
		return nil, fmt.Errorf("finding the module of the Gateway API: %w", err)
	}
	where := filepath.Join(strings.TrimSpace(string(dir)), "config", "crd", channel)
	all, err := filepath.Glob(filepath.Join(where, "gateway.networking.k8s.io_*.yaml"))
	if err != nil {
		return nil, err
	}
	// The policy that guards upgrades is no CRD.
	all = slices.DeleteFunc(all, func(f string) bool { return strings.Contains(filepath.Base(f), "_vap_") })
	if len(all) == 0 {
		return nil, fmt.Errorf("there are no CRDs of the Gateway API in %s", where)
	}
	return all, nil
}
