package conformance_test

import (
	"flag"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	conformanceconfig "sigs.k8s.io/gateway-api/conformance/utils/config"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"
	"sigs.k8s.io/gateway-api/pkg/features"

	"github.com/fairlead/fairlead/conformance"
	"github.com/fairlead/fairlead/version"
)

// complete fills in what was not given: all profiles of Gateways, and who we are.
func complete(o *suite.ConfigurableOptions) {
	if len(o.ConformanceProfiles) == 0 {
		for _, p := range must(conformance.NewComplete(conformance.Experimental, "")).Profiles {
			o.ConformanceProfiles = append(o.ConformanceProfiles, suite.ConformanceProfileName(p.Name))
		}
	}
	unless := func(field *string, value string) {
		if *field == "" {
			*field = value
		}
	}
	unless(&o.Implementation.Organization, "fairlead")
	unless(&o.Implementation.Project, "fairlead")
	unless(&o.Implementation.URL, "https://github.com/fairlead/fairlead")
	unless(&o.Implementation.Version, version.Version)
	if len(o.Implementation.Contact) == 0 {
		o.Implementation.Contact = []string{"https://github.com/fairlead/fairlead/issues/new/choose"}
	}
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// leastTime is what a run has to have before go test ends it, which leaves no
// report. Go's default, ten minutes, is too little.
const leastTime = 30 * time.Minute

// mustBeWorthReporting ends the test if its report would say less than it seems
// to, or would never be written.
func mustBeWorthReporting(t *testing.T, o suite.ConfigurableOptions) {
	t.Helper()
	if weak := append(weakening(o), picking(flag.CommandLine)...); len(weak) > 0 {
		t.Fatalf("a report of this run would say less than it seems to, because of %v: leave them out, or leave out --report-output", weak)
	}
	if deadline, ok := t.Deadline(); ok && time.Until(deadline) < leastTime {
		t.Fatalf("go test would end this run after %s, without a report: add -timeout 90m", time.Until(deadline).Round(time.Minute))
	}
}

// picking are go test's own flags that leave out tests of the suite, which a
// report does not tell.
func picking(flags *flag.FlagSet) []string {
	var names []string
	flags.Visit(func(f *flag.Flag) {
		value := f.Value.String()
		if f.Name == "test.run" && strings.Contains(value, "/") || f.Name == "test.skip" && value != "" {
			names = append(names, "-"+strings.TrimPrefix(f.Name, "test."))
		}
	})
	return names
}

// weakening are the flags in effect that make a run easier to pass.
func weakening(o suite.ConfigurableOptions) []string {
	usual := conformanceconfig.DefaultTimeoutConfig()
	conformanceconfig.SetupTimeoutConfig(&o.TimeoutConfig)
	conformanceconfig.SetupTimeoutConfig(&usual)
	all := []struct {
		flag string
		set  bool
	}{
		{"--all-features", o.EnableAllSupportedFeatures},
		{"--allow-crds-mismatch", o.AllowCRDsMismatch},
		{"--disable-parallel-tests", o.DisableParallelTests},
		{"--exempt-features", len(o.ExemptFeatures) > 0},
		{"--fail-fast", o.FailFast},
		{"--run-test", o.RunTest != ""},
		{"--skip-provisional-tests", o.SkipProvisionalTests},
		{"--skip-tests", len(o.SkipTests) > 0},
		{"--supported-features", len(o.SupportedFeatures) > 0},
		{"--timeout-config-overrides", !reflect.DeepEqual(o.TimeoutConfig, usual)},
	}
	var names []string
	for _, a := range all {
		if a.set {
			names = append(names, a.flag)
		}
	}
	return names
}

func TestWeakening(t *testing.T) {
	usual := suite.ConfigurableOptions{TimeoutConfig: conformanceconfig.DefaultTimeoutConfig()}
	if got := weakening(usual); len(got) > 0 {
		t.Errorf("the suite's defaults are said to weaken it: %v", got)
	}
	for want, change := range map[string]func(*suite.ConfigurableOptions){
		"--all-features":             func(o *suite.ConfigurableOptions) { o.EnableAllSupportedFeatures = true },
		"--allow-crds-mismatch":      func(o *suite.ConfigurableOptions) { o.AllowCRDsMismatch = true },
		"--disable-parallel-tests":   func(o *suite.ConfigurableOptions) { o.DisableParallelTests = true },
		"--exempt-features":          func(o *suite.ConfigurableOptions) { o.ExemptFeatures = []features.FeatureName{"Gateway"} },
		"--fail-fast":                func(o *suite.ConfigurableOptions) { o.FailFast = true },
		"--run-test":                 func(o *suite.ConfigurableOptions) { o.RunTest = "HTTPRouteWeight" },
		"--skip-provisional-tests":   func(o *suite.ConfigurableOptions) { o.SkipProvisionalTests = true },
		"--skip-tests":               func(o *suite.ConfigurableOptions) { o.SkipTests = []string{"HTTPRouteWeight"} },
		"--supported-features":       func(o *suite.ConfigurableOptions) { o.SupportedFeatures = []features.FeatureName{"Gateway"} },
		"--timeout-config-overrides": func(o *suite.ConfigurableOptions) { o.TimeoutConfig.RequestTimeout = time.Minute },
	} {
		o := usual
		change(&o)
		if got := weakening(o); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %v", want, got)
		}
	}
}

func TestPicking(t *testing.T) {
	for _, c := range []struct {
		args, want []string
	}{
		{[]string{"-test.run=^TestConformance$", "-test.skip="}, nil},
		{[]string{"-test.run=TestConformance/HTTPRoute"}, []string{"-run"}},
		{[]string{"-test.skip=TestConformance/HTTPRouteWeight"}, []string{"-skip"}},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.String("test.run", "", "")
		flags.String("test.skip", "", "")
		if err := flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if got := picking(flags); !slices.Equal(got, c.want) {
			t.Errorf("%v: got %v, want %v", c.args, got, c.want)
		}
	}
}

func TestComplete(t *testing.T) {
	var o suite.ConfigurableOptions
	complete(&o)
	if len(o.ConformanceProfiles) != 5 {
		t.Errorf("profiles %v, want the five of Gateways", o.ConformanceProfiles)
	}
	if err := o.Implementation.Validate(); err != nil {
		t.Errorf("what the report says of Fairlead: %v", err)
	}
	given := suite.ConfigurableOptions{ConformanceProfiles: []suite.ConformanceProfileName{"GATEWAY-HTTP"}}
	given.Implementation.Version = "v1.2.3"
	complete(&given)
	if len(given.ConformanceProfiles) != 1 || given.Implementation.Version != "v1.2.3" {
		t.Errorf("what was given was replaced: %+v", given)
	}
}

// The suite runs when one of its flags is given, not when go test has any.
func TestAnyOwnFlag(t *testing.T) {
	for _, c := range []struct {
		args []string
		want bool
	}{
		{nil, false},
		{[]string{"-test.v", "-update"}, false},
		{[]string{"-test.v", "-gateway-class=fairlead"}, true},
	} {
		flags := flag.NewFlagSet("", flag.ContinueOnError)
		flags.Bool("test.v", false, "")
		flags.Bool(updateFlag, false, "")
		flags.String("gateway-class", "", "")
		if err := flags.Parse(c.args); err != nil {
			t.Fatal(err)
		}
		if got := anyOwnFlag(flags); got != c.want {
			t.Errorf("%v: got %t, want %t", c.args, got, c.want)
		}
	}
}
