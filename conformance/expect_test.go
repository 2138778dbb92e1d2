package conformance_test

import (
	"slices"
	"sort"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/gateway-api/conformance/tests"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/fairlead/fairlead/conformance"
)

// What a complete report has is what the suite has.
func TestCompleteIsTheSuite(t *testing.T) {
	profiles := []suite.ConformanceProfile{
		suite.GatewayHTTPConformanceProfile, suite.GatewayTLSConformanceProfile, suite.GatewayTCPConformanceProfile,
		suite.GatewayUDPConformanceProfile, suite.GatewayGRPCConformanceProfile,
	}
	for _, channel := range []string{conformance.Standard, conformance.Experimental} {
		complete, err := conformance.NewComplete(channel, "")
		if err != nil {
			t.Fatal(err)
		}
		var want []conformance.Profile
		for _, p := range profiles {
			want = append(want, count(p, func(f features.FeatureName) bool { return !slices.Contains(complete.Impossible, string(f)) }))
		}
		if diff := cmp.Diff(want, complete.Profiles); diff != "" {
			t.Errorf("%s: profiles (-suite +ours):\n%s", channel, diff)
		}
		if diff := cmp.Diff(provisional(), complete.Provisional); diff != "" {
			t.Errorf("%s: provisional tests (-suite +ours):\n%s", channel, diff)
		}
	}
}

// count counts the tests of a profile as the suite's report does.
func count(p suite.ConformanceProfile, possible func(features.FeatureName) bool) conformance.Profile {
	out := conformance.Profile{Name: string(p.Name)}
	for _, test := range tests.ConformanceTests {
		within, extended := true, false
		for _, f := range test.Features {
			core := p.CoreFeatures.Has(f)
			within = within && possible(f) && (core || p.ExtendedFeatures.Has(f))
			extended = extended || !core
		}
		switch {
		case within && extended:
			out.Extended++
		case within:
			out.Core++
		}
	}
	return out
}

func provisional() []string {
	var names []string
	for _, test := range tests.ConformanceTests {
		if test.Provisional {
			names = append(names, test.ShortName)
		}
	}
	sort.Strings(names)
	return names
}

func TestUnknownChannel(t *testing.T) {
	if _, err := conformance.NewComplete("beta", ""); err == nil {
		t.Error("a channel that does not exist was taken")
	}
}
