// Package cases holds tests of what Fairlead claims of the Gateway API and the
// API's own suite does not test. They are run by the suite's machinery.
package cases

import (
	"embed"

	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// Manifests are what the cases make; each has its name beside its file.
//
//go:embed *.yaml
var Manifests embed.FS

// All are the cases, in the order in which they run.
func All() []suite.ConformanceTest {
	return []suite.ConformanceTest{
		conflict, overlap, anyAddress, clusterAddress, ipv6Address, externalAuth, grpcAuth, listenerFilters, persistence, trustBundle, unsupportedVersion,
	}
}
