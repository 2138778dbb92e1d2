package controllers

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fairlead/fairlead/test/gatewayapi"
)

// apiServer is the real API server that the tests of this package share; nil
// where there is none.
var apiServer *rest.Config

const noAssets = "KUBEBUILDER_ASSETS is not set: it names the directory with kube-apiserver and etcd that this test runs against"

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	if os.Getenv("KUBEBUILDER_ASSETS") == "" {
		return m.Run()
	}
	gatewayAPI, err := gatewayapi.CRDs("experimental")
	if err != nil {
		fmt.Fprintln(os.Stderr, "finding the CRDs of the Gateway API:", err)
		return 1
	}
	env := &envtest.Environment{
		CRDDirectoryPaths:     append(gatewayAPI, filepath.Join("..", "charts", "fairlead", "files", "crds")),
		ErrorIfCRDPathMissing: true,
	}
	env.ControlPlane.GetAPIServer().Configure().
		Append("service-cluster-ip-range", "10.96.0.0/12,fd00:96::/112").
		Append("max-requests-inflight", "3000").Append("max-mutating-requests-inflight", "3000")
	cfg, err := env.Start()
	if err != nil {
		fmt.Fprintln(os.Stderr, "starting the API server:", err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the API server:", err)
		}
	}()
	apiServer = cfg
	return m.Run()
}
