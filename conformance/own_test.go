package conformance_test

import (
	"testing"
	"time"

	upstream "sigs.k8s.io/gateway-api/conformance"
	"sigs.k8s.io/gateway-api/conformance/utils/suite"

	"github.com/fairlead/fairlead/conformance/cases"
)

// TestOwnCases runs our own cases by the suite's machinery. The file's name puts
// it behind TestConformance, which has written its report by then.
func TestOwnCases(t *testing.T) {
	if !asked(t) {
		t.Skipf("no cluster to test was given: set %s to the path of a kubeconfig", kubeconfigVariable)
	}
	opts := upstream.DefaultOptions(t)
	complete(&opts.ConfigurableOptions)
	opts.ReportOutputPath = ""
	opts.ManifestFS = append(opts.ManifestFS, cases.Manifests)
	w, err := newWatcher(opts.RestConfig, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	opts.Hook = w.hook
	own := cases.All()
	for i := range own {
		own[i].Test = w.around(own[i].Test)
	}
	defer w.setup(t)
	s, err := suite.NewConformanceTestSuite(opts)
	if err != nil {
		t.Fatal(err)
	}
	s.Setup(t, own)
	if err := s.Run(t, own); err != nil {
		t.Fatal(err)
	}
}
