// Package apiserver runs real API servers for tests.
package apiserver

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fairlead/fairlead/test/gatewayapi"
)

// Missing is why a test that needs the API server is skipped.
const Missing = "KUBEBUILDER_ASSETS is not set: it names the directory with kube-apiserver and etcd that this test runs against"

// Options say what the API server is to be like. It always has Fairlead's CRDs.
type Options struct {
	// GatewayAPI is the release channel whose CRDs it has; empty: none.
	GatewayAPI string
	// CRDs are the paths of more.
	CRDs []string
	// Flags of kube-apiserver, name and value.
	Flags [][2]string
}

// DualStack are the flags of a cluster of both families.
var DualStack = [][2]string{{"service-cluster-ip-range", "10.96.0.0/16,fd00:96::/112"}}

// Main runs the tests of a package, for its TestMain, and gives the exit code. Use is
// told of the API server before; it is not called where there is none.
func Main(m *testing.M, o Options, use func(*envtest.Environment)) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return m.Run()
	}
	env, err := start(o)
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the API server:", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}()
	use(env)
	return m.Run()
}

// Start runs one for a test, which is skipped where there is none.
func Start(t testing.TB, o Options) *rest.Config {
	t.Helper()
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		t.Skip(Missing)
	}
	env, err := start(o)
	if err != nil {
		t.Fatalf("starting the API server: %v", err)
	}
	t.Cleanup(func() {
		if err := env.Stop(); err != nil {
			t.Errorf("stopping the API server: %v", err)
		}
	})
	return env.Config
}

func start(o Options) (*envtest.Environment, error) {
	_, file, _, _ := runtime.Caller(0)
	paths := append([]string{filepath.Join(filepath.Dir(file), "..", "..", "charts", "fairlead", "files", "crds")}, o.CRDs...)
	if o.GatewayAPI != "" {
		more, err := gatewayapi.CRDs(o.GatewayAPI)
		if err != nil {
			return nil, err
		}
		paths = append(paths, more...)
	}
	env := &envtest.Environment{CRDDirectoryPaths: paths, ErrorIfCRDPathMissing: true}
	flags := env.ControlPlane.GetAPIServer().Configure()
	for _, f := range o.Flags {
		flags.Set(f[0], f[1])
	}
	_, err := env.Start()
	return env, err
}
