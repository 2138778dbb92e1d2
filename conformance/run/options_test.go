package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/fairlead/fairlead/test/lab"
)

func TestComplete(t *testing.T) {
	reports := filepath.Join(lab.Root(), "conformance", "reports")
	build := filepath.Join(lab.Root(), "build", "conformance")
	for name, c := range map[string]struct {
		in     options
		report string
		fails  string
	}{
		"a version": {
			in:     options{channel: "standard", mode: "Shared", version: "v0.1.0"},
			report: filepath.Join(reports, "standard-v0.1.0-shared-report.yaml"),
		},
		"what is not committed": {
			in:     options{channel: "experimental", mode: "dedicated", version: "v0.1.0-3-gabc-dirty"},
			report: filepath.Join(build, "experimental-v0.1.0-3-gabc-dirty-dedicated-report.yaml"),
		},
		"a folder": {
			in:     options{channel: "standard", mode: "shared", version: "v0.1.0", reports: "/elsewhere"},
			report: "/elsewhere/standard-v0.1.0-shared-report.yaml",
		},
		"some tests":         {in: options{channel: "standard", mode: "shared", version: "v0.1.0", tests: "HTTPRoute"}},
		"no channel":         {in: options{channel: "beta", mode: "shared", version: "v0.1.0"}, fails: "beta"},
		"no mode":            {in: options{channel: "standard", mode: "default", version: "v0.1.0"}, fails: "default"},
		"no tag of an image": {in: options{channel: "standard", mode: "shared", version: "my version"}, fails: "my version"},
		"nothing to test":    {in: options{channel: "standard", mode: "shared", version: "v0.1.0", skipInstall: true}, fails: "--keep"},
	} {
		t.Run(name, func(t *testing.T) {
			err := c.in.complete(t.Context())
			if c.fails != "" {
				if err == nil || !strings.Contains(err.Error(), c.fails) {
					t.Errorf("got error %v, want one about %s", err, c.fails)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got := c.in.report(); got != c.report {
				t.Errorf("report %q, want %q", got, c.report)
			}
		})
	}
}

// The suite is given nothing that makes it easier to pass.
func TestArgs(t *testing.T) {
	o := options{channel: "standard", mode: modeShared, version: "v0.1.0", artefacts: "/artefacts", reports: "/reports"}
	all := o.args("/kubeconfig", "/cluster")
	for _, a := range all {
		name, _, _ := strings.Cut(strings.TrimLeft(a, "-"), "=")
		allowed := []string{"kubeconfig", "gateway-class", "mode", "version", "usable-address", "unusable-address", "report-output", "fairlead-namespace", "envoy-sockets"}
		if !strings.HasPrefix(name, "test.") && !slices.Contains(allowed, name) {
			t.Errorf("the suite is given %s", a)
		}
	}
	if !slices.Contains(all, "--report-output=/reports/standard-v0.1.0-shared-report.yaml") || !slices.Contains(all, "-test.run=^(TestConformance|TestOwnCases)$") {
		t.Errorf("a full run has no report or not all tests: %v", all)
	}
	o.tests, o.json = "HTTPRouteWeight", true
	some := o.args("/kubeconfig", "/cluster")
	if slices.ContainsFunc(some, func(a string) bool { return strings.HasPrefix(a, "--report-output") }) {
		t.Errorf("a run of some tests has a report: %v", some)
	}
	if !slices.Contains(some, "-test.run=^(TestConformance|TestOwnCases)$/HTTPRouteWeight") || !slices.Contains(some, "-test.v=test2json") {
		t.Errorf("arguments for some tests as events: %v", some)
	}
}

// The constants say the same as the manifests.
func TestManifests(t *testing.T) {
	for file, want := range map[string][]string{
		"addresses.yaml": {usableAddress + "/32"},
		"shared.yaml":    {"name: " + gatewayClass + "\n"},
		"dedicated.yaml": {"name: " + gatewayClass + "\n", "mode: Dedicated"},
	} {
		text, err := os.ReadFile(filepath.Join(lab.Root(), "conformance", "manifests", file))
		if err != nil {
			t.Fatal(err)
		}
		for _, w := range want {
			if !strings.Contains(string(text), w) {
				t.Errorf("%s lacks %q", file, w)
			}
		}
		for _, document := range strings.Split(string(text), "\n---\n") {
			var object map[string]any
			if err := yaml.UnmarshalStrict([]byte(document), &object); err != nil {
				t.Errorf("%s: %v", file, err)
			}
		}
	}
}
