package conformance

import (
	"fmt"
	"os"

	"k8s.io/apimachinery/pkg/util/sets"
	confv1 "sigs.k8s.io/gateway-api/conformance/apis/v1"
	"sigs.k8s.io/gateway-api/pkg/consts"
	"sigs.k8s.io/yaml"
)

// Gap is something that a complete report has and a given one has not.
type Gap struct {
	// Where is the profile, or "report" for what concerns all of it.
	Where string
	// What is missing.
	What string
	// Names are the tests or features concerned.
	Names []string
}

// ReadReport reads a report that the suite has written. Fields that the suite
// does not know are an error: somebody has edited it.
func ReadReport(path string) (*confv1.ConformanceReport, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the report: %w", err)
	}
	var report confv1.ConformanceReport
	if err := yaml.UnmarshalStrict(text, &report); err != nil {
		return nil, fmt.Errorf("reading the report %s: %w", path, err)
	}
	return &report, nil
}

// Check lists what the report lacks to be complete; nothing if it is.
func (c Complete) Check(report *confv1.ConformanceReport) []Gap {
	gaps := c.checkHead(report)
	byName := map[string]confv1.ProfileReport{}
	for _, p := range report.ProfileReports {
		byName[p.Name] = p
	}
	for _, want := range c.Profiles {
		got, ok := byName[want.Name]
		if !ok {
			gaps = append(gaps, Gap{Where: want.Name, What: "the profile was not run"})
			continue
		}
		gaps = append(gaps, c.checkProfile(want, got)...)
	}
	succeeded := sets.New(report.SucceededProvisionalTests...)
	if missing := sets.List(sets.New(c.Provisional...).Difference(succeeded)); len(missing) > 0 {
		gaps = append(gaps, Gap{"report", "provisional tests that did not succeed", missing})
	}
	return gaps
}

// checkHead looks at what the report says of itself.
func (c Complete) checkHead(report *confv1.ConformanceReport) []Gap {
	var gaps []Gap
	must := func(what, got, want string) {
		if got != want {
			gaps = append(gaps, Gap{Where: "report", What: fmt.Sprintf("%s is %q, not %q", what, got, want)})
		}
	}
	must("gatewayAPIVersion", report.GatewayAPIVersion, consts.BundleVersion)
	must("gatewayAPIChannel", report.GatewayAPIChannel, c.Channel)
	must("mode", report.Mode, c.Mode)
	if c.Version != "" {
		must("implementation.version", report.Version, c.Version)
	}
	if err := report.Validate(); err != nil {
		gaps = append(gaps, Gap{Where: "report", What: err.Error()})
	}
	return gaps
}

func (c Complete) checkProfile(want Profile, got confv1.ProfileReport) []Gap {
	gaps := checkStatus(want.Name, "core", want.Core, got.Core)
	if got.Extended == nil {
		return append(gaps, Gap{Where: want.Name, What: "no extended test was run"})
	}
	gaps = append(gaps, checkStatus(want.Name, "extended", want.Extended, got.Extended.Status)...)
	if missing := c.missingFeatures(got.Extended.UnsupportedFeatures); len(missing) > 0 {
		gaps = append(gaps, Gap{want.Name, "features not supported", missing})
	}
	return gaps
}

// checkStatus does not trust the result alone: a run of too few tests that all
// pass is a success to the suite.
func checkStatus(profile, level string, want uint32, got confv1.Status) []Gap {
	var gaps []Gap
	add := func(format string, names []string, args ...any) {
		gaps = append(gaps, Gap{profile, level + ": " + fmt.Sprintf(format, args...), names})
	}
	if got.Failed > 0 || len(got.FailedTests) > 0 {
		add("%d failed", got.FailedTests, got.Failed)
	}
	if got.Skipped > 0 || len(got.SkippedTests) > 0 {
		add("%d skipped", got.SkippedTests, got.Skipped)
	}
	if got.Passed != want {
		add("%d passed of %d", nil, got.Passed, want)
	}
	if len(gaps) == 0 && got.Result != confv1.Success {
		add("the result is %q", nil, got.Result)
	}
	return gaps
}
