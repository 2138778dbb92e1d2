package controllers

import (
	"os/exec"
	"strings"
	"testing"
)

// The arrows between the rooms of the house: what a package must never need,
// directly or through others.
func TestDependencies(t *testing.T) {
	const module = "github.com/fairlead/fairlead/"
	clients := []string{"k8s.io/client-go/kubernetes", "k8s.io/client-go/rest", "k8s.io/client-go/tools/cache", "sigs.k8s.io/controller-runtime/pkg/client", "sigs.k8s.io/controller-runtime/pkg/manager"}
	for _, tt := range []struct {
		pkg    string
		never  []string
		prefix bool // of import paths
	}{
		{"allocator", []string{"k8s.io/", "sigs.k8s.io/", "net/http", module}, true},
		{"plural", []string{"k8s.io/", "sigs.k8s.io/", "net/http", module}, true},
		{"arguments", []string{"k8s.io/", "sigs.k8s.io/", "net/http", module}, true},
		{"migrate/imports", append(clients, module+"controllers", module+"service"), false},
		{"migrate/forecast", append(clients, module+"controllers", module+"announcer", module+"migrate/imports"), false},
		{"migrate/annotations", append(clients, module+"controllers", module+"announcer", module+"migrate/imports"), false},
		{"migrate/audit", append(clients, module+"controllers", module+"announcer"), false},
		{"migrate/adopt", append(clients, module+"controllers", module+"announcer/l2", module+"announcer/agent", module+"announcer/bgp", module+"migrate/drive"), false},
		{"pools", append(clients, module+"controllers", module+"service", module+"announcer"), false},
		{"service", append(clients, module+"controllers", module+"announcer"), false},
		{"migrate/takeover/tell", append(clients, module+"controllers", module+"announcer", module+"service", module+"gateway", module+"allocator", module+"api/v1alpha1"), false},
		{"migrate/takeover", append(clients, module+"controllers", module+"announcer", module+"service", module+"gateway"), false},
		{"gateway", append(clients, module+"controllers", module+"service", module+"announcer", "github.com/envoyproxy/go-control-plane/envoy"), false},
		{"gateway/xds", append(clients, module+"controllers", module+"service", module+"announcer", module+"api/v1alpha1"), false},
		{"gateway/fleet", append(clients, module+"controllers", module+"service", module+"announcer", module+"gateway/xds"), false},
		{"gateway/feed", append(clients, module+"controllers", module+"service", module+"announcer", module+"gateway/xds", module+"gateway/fleet"), false},
		{"announcer", append(clients, module+"controllers", module+"service", module+"allocator"), false},
		{"announcer/l2", append(clients, module+"controllers", module+"service", module+"allocator", module+"api/v1alpha1"), false},
		{"announcer/bfd/limits", []string{"k8s.io/", "sigs.k8s.io/", module}, true},
		{"announcer/bgp/defaults", []string{"k8s.io/", "sigs.k8s.io/", module}, true},
		{"announcer/community", []string{"k8s.io/", "sigs.k8s.io/", module}, true},
		{"announcer/bgp", []string{
			"k8s.io/", "sigs.k8s.io/", module + "api/", module + "allocator", module + "controllers", module + "service", module + "gateway", module + "migrate",
			module + "announcer/agent", module + "announcer/bfd", module + "announcer/l2", module + "announcer/members", "github.com/osrg/gobgp/v3/pkg/server",
		}, true},
		{"announcer/agent", []string{module + "controllers", module + "service", module + "allocator"}, false},
		{"cmd/fairlead-speaker", []string{module + "controllers", module + "service", module + "allocator"}, false},
		{"migrate/plan", append(clients, module+"controllers", module+"announcer", module+"gateway/xds", module+"gateway/feed", module+"migrate/drive"), false},
		{"migrate/drive", []string{module + "controllers", module + "announcer", module + "gateway/xds", module + "gateway/feed", module + "cmd/kubectl-fairlead"}, false},
		{"api/v1alpha1", append(clients, module+"controllers", module+"service", module+"allocator", module+"announcer"), false},
		{"cmd/kubectl-fairlead", []string{module + "controllers", module + "announcer/l2", module + "announcer/agent", module + "announcer/members", module + "announcer/bgp"}, false},
		{"cmd/kubectl-fairlead/internal/chain", append(clients, module+"cmd/kubectl-fairlead/internal/kube"), false},
		{"cmd/kubectl-fairlead/internal/findings", append(clients, module+"cmd/kubectl-fairlead/internal/kube"), false},
		{"cmd/kubectl-fairlead/internal/words", append(clients, module+"cmd/kubectl-fairlead/internal/kube"), false},
		{"cmd/kubectl-fairlead/internal/fields", append(clients, module+"cmd/kubectl-fairlead/internal/kube"), false},
		{"controllers", []string{module + "announcer/l2", module + "announcer/agent", module + "announcer/members"}, false},
	} {
		t.Run(tt.pkg, func(t *testing.T) {
			out, err := exec.Command("go", "list", "-deps", module+tt.pkg).Output()
			if err != nil {
				t.Fatalf("listing what %s needs: %v", tt.pkg, err)
			}
			for dep := range strings.Lines(string(out)) {
				dep = strings.TrimSpace(dep)
				for _, never := range tt.never {
					if dep != module+tt.pkg && (dep == never || tt.prefix && strings.HasPrefix(dep, never)) {
						t.Errorf("%s needs %s", tt.pkg, dep)
					}
				}
			}
		})
	}
}
