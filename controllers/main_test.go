package controllers

import (
	"os"
	"testing"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/fairlead/fairlead/test/apiserver"
)

// apiServer is the real API server that the tests of this package share; nil
// where there is none.
var apiServer *rest.Config

func TestMain(m *testing.M) {
	os.Exit(apiserver.Main(m, apiserver.Options{GatewayAPI: "experimental", Flags: [][2]string{
		{"service-cluster-ip-range", "10.96.0.0/12,fd00:96::/112"},
		{"max-requests-inflight", "3000"},
		{"max-mutating-requests-inflight", "3000"},
	}}, func(env *envtest.Environment) { apiServer = env.Config }))
}
