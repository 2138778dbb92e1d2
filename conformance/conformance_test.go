package conformance_test

import (
	"flag"
	"os"
	"strings"
	"testing"
	"time"

	upstream "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/tests"
)

// kubeconfigVariable names the kubeconfig of the cluster to test.
const kubeconfigVariable = "FAIRLEAD_CONFORMANCE"

// TestConformance runs the Gateway API's own suite as it is. Its flags stand
// after -args; without a cluster it is skipped.
func TestConformance(t *testing.T) {
	if !asked(t) {
		t.Skipf("no cluster to test was given: set %s to the path of a kubeconfig, or pass the suite's flags, such as: "+
			"go test ./conformance -run TestConformance -timeout 90m -args --kubeconfig=PATH --gateway-class=fairlead", kubeconfigVariable)
	}
	opts := upstream.DefaultOptions(t)
	complete(&opts.ConfigurableOptions)
	if opts.ReportOutputPath != "" {
		mustBeWorthReporting(t, opts.ConfigurableOptions)
	}
	w, err := newWatcher(opts.RestConfig, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	opts.Hook = w.hook
	// The suite's hook comes when the objects of the test are gone already. So
	// each test is also looked at from inside; what it does stays as it is.
	for i := range tests.ConformanceTests {
		tests.ConformanceTests[i].Test = w.around(tests.ConformanceTests[i].Test)
	}
	defer w.setup(t)
	upstream.RunConformanceWithOptions(t, opts)
}

// asked says whether somebody wants the suite to run: never because KUBECONFIG
// happens to be set, since the suite makes and removes objects.
func asked(t *testing.T) bool {
	if path := os.Getenv(kubeconfigVariable); path != "" {
		if err := flag.Set("kubeconfig", path); err != nil {
			t.Fatalf("taking the kubeconfig of %s: %v", kubeconfigVariable, err)
		}
		return true
	}
	return anyOwnFlag(flag.CommandLine)
}

// anyOwnFlag says whether a flag was given that is none of go test's and none of
// this package's other tests.
func anyOwnFlag(flags *flag.FlagSet) bool {
	given := false
	flags.Visit(func(f *flag.Flag) {
		given = given || !strings.HasPrefix(f.Name, "test.") && f.Name != updateFlag
	})
	return given
}
