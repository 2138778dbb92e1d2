package conformance

import (
	"fmt"
	"sort"

	"k8s.io/apimachinery/pkg/util/sets"
	"sigs.k8s.io/gateway-api/pkg/features"
)

// Release channels of the Gateway API's CRDs.
const (
	Standard     = "standard"
	Experimental = "experimental"
)

// Complete is what the report of a run without a gap shows.
type Complete struct {
	// Channel is the release channel of the installed CRDs.
	Channel string
	// Mode is how Fairlead's Envoys are run, as the report names it.
	Mode string
	// Version is the version of Fairlead in the report; any if empty.
	Version string
	// Profiles are all that must be reported.
	Profiles []Profile
	// Provisional are the short names of the tests that must have succeeded
	// though no profile requires them yet.
	Provisional []string
	// Impossible are the features that these CRDs have no fields for, so that
	// nobody can claim them.
	Impossible []string
}

// Profile is how many tests of a conformance profile there are. A test that asks
// for any feature that is not core to the profile counts as extended.
type Profile struct {
	Name           string
	Core, Extended uint32
}

// NewComplete is what v1.7.0 of the suite reports when nothing is missing. The
// counts do not come from the suite, so that a suite that ran too little is
// noticed; a test holds them against it.
func NewComplete(channel, mode string) (Complete, error) {
	if channel != Standard && channel != Experimental {
		return Complete{}, fmt.Errorf("channel %q: use %s or %s", channel, Standard, Experimental)
	}
	c := Complete{
		Channel: channel,
		Mode:    mode,
		Profiles: []Profile{
			{"GATEWAY-HTTP", 40, 64},
			{"GATEWAY-TLS", 21, 18},
			{"GATEWAY-TCP", 20, 11},
			{"GATEWAY-UDP", 21, 11},
			{"GATEWAY-GRPC", 17, 13},
		},
		Provisional: []string{
			"BackendTLSPolicyPreserveForeignStatus",
			"GatewayPreserveForeignConditions",
			"HTTPRouteBackendURLRewrite",
			"HTTPRoutePreserveForeignStatus",
			"HTTPRouteRetryWithBackendTimeout",
			"HTTPRouteRetryWithRequestTimeout",
		},
	}
	if channel == Standard {
		// HTTPRouteDestinationPortMatching is experimental and has one test.
		c.Profiles[0].Extended--
		c.Impossible = experimentalFeatures()
	}
	return c, nil
}

func experimentalFeatures() []string {
	var names []string
	for f := range features.AllFeatures {
		if f.Channel == features.FeatureChannelExperimental {
			names = append(names, string(f.Name))
		}
	}
	sort.Strings(names)
	return names
}

// missingFeatures are those of the unsupported features that could be supported.
func (c Complete) missingFeatures(unsupported []string) []string {
	return sets.List(sets.New(unsupported...).Difference(sets.New(c.Impossible...)))
}
