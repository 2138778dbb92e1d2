package main

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/version"
)

func TestFlags(t *testing.T) {
	t.Setenv("NODE_NAME", "node7")
	t.Setenv("POD_NAMESPACE", "lb")
	f, err := parse([]string{"--settle=3s", "--exclude-interfaces=^wg", "--answer=false"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if f.node != "node7" || f.namespace != "lb" || f.settle != 3*time.Second || f.answer || !f.exclude.MatchString("wg0") || f.exclude.MatchString("eth0") {
		t.Errorf("got %+v", f)
	}
}

// What is wrong is said with the flag's name and what to write instead.
func TestBadFlags(t *testing.T) {
	t.Setenv("NODE_NAME", "")
	t.Setenv("POD_NAMESPACE", "lb")
	for _, c := range []struct {
		args string
		want []string
	}{
		{"", []string{"--node-name", "NODE_NAME"}},
		{"--node-name=a --gossip-port=0", []string{"--gossip-port is 0", "1 to 65535"}},
		{"--node-name=a --exclude-interfaces=(", []string{"--exclude-interfaces", "regular expression"}},
		{"--node-name=a --settle=0s", []string{"--settle is 0s", "10s"}},
		{"--node-name=a --metrics-bind-address=7952", []string{"--metrics-bind-address", ":7952"}},
		{"--node-name=a --log-level=loud", []string{"--log-level", "debug"}},
		{"--node-name=a --nonsense", []string{"nonsense"}},
		{"--node-name=a stray", []string{"stray", "flags"}},
	} {
		_, err := parse(strings.Fields(c.args), io.Discard)
		if err == nil {
			t.Errorf("%q is accepted", c.args)
			continue
		}
		for _, w := range c.want {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%q: the error %q does not say %q", c.args, err, w)
			}
		}
	}
}

func TestVersionAndHelp(t *testing.T) {
	for args, want := range map[string]string{"--version": version.Version, "--help": "-seat-grace"} {
		var out strings.Builder
		f, err := parse([]string{args}, &out)
		if err != nil || f != nil || !strings.Contains(out.String(), want) {
			t.Errorf("%s: got flags %v, error %v, output %q", args, f, err, out.String())
		}
	}
}
