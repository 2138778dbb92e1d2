package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/fairlead/fairlead/test/lab"
)

func TestCheck(t *testing.T) {
	for name, c := range map[string]struct {
		report string
		want   expected
		says   string
		fails  string
	}{
		"complete":          {report: "standard-complete", says: "nothing is missing"},
		"of this run":       {report: "standard-complete", want: expected{"standard", "shared", "v0.1.0"}, says: "nothing is missing"},
		"of another run":    {report: "standard-complete", want: expected{version: "v0.2.0"}, says: `"v0.1.0", not "v0.2.0"`, fails: "1 gaps"},
		"with a failure":    {report: "experimental-failure", says: "HTTPRouteCORS", fails: "not complete"},
		"that is not there": {report: "none", fails: "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			var out strings.Builder
			err := c.want.check(&out, filepath.Join(lab.Root(), "conformance", "testdata", c.report+".report.yaml"))
			if c.fails == "" && err != nil || c.fails != "" && (err == nil || !strings.Contains(err.Error(), c.fails)) {
				t.Errorf("got error %v, want %q", err, c.fails)
			}
			if !strings.Contains(out.String(), c.says) {
				t.Errorf("it lacks %q:\n%s", c.says, out.String())
			}
		})
	}
}
