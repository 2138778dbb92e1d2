package program

import (
	"context"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel/trace"

	"github.com/fairlead/fairlead/version"
)

// ferry is the command line of a program with one flag.
type ferry struct{ level string }

func (f *ferry) LogLevel() string { return f.level }

func parser(level string) Parse[*ferry] {
	return func(args []string, out io.Writer) (*ferry, error) {
		set := flag.NewFlagSet("ferry", flag.ContinueOnError)
		set.Int("boats", 1, "how many boats")
		if done, err := ParseFlags(set, "carries people", args, out); done || err != nil {
			return nil, err
		}
		return &ferry{level: level}, nil
	}
}

func ends(with error) Serve[*ferry] {
	return func(context.Context, *ferry, logr.Logger, trace.TracerProvider) error { return with }
}

func TestRun(t *testing.T) {
	sinks := ends(errors.New("it sinks"))
	for _, tt := range []struct {
		name, args, level string
		code              int
		out, errs         string
	}{
		{"help", "--help", "error", 0, "ferry carries people.", ""},
		{"help on flags", "--help", "error", 0, "-boats", ""},
		{"version", "--version", "error", 0, version.Version, ""},
		{"unknown flag", "--sails", "error", 2, "", "-sails"},
		{"where help is", "--sails", "error", 2, "", "See ferry --help."},
		{"stray argument", "now", "error", 2, "", `"now": settings are given as flags`},
		{"it fails", "--boats=2", "error", 1, "", "ferry: it sinks"},
		{"no such level", "", "loud", 1, "", "loud"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var out, errs strings.Builder
			code := run(t.Context(), "ferry", parser(tt.level), sinks, strings.Fields(tt.args), &out, &errs)
			if code != tt.code || !strings.Contains(out.String(), tt.out) || !strings.Contains(errs.String(), tt.errs) {
				t.Errorf("code %d, output %q, errors %q", code, out.String(), errs.String())
			}
		})
	}
	var out, errs strings.Builder
	if code := run(t.Context(), "ferry", parser("error"), ends(nil), nil, &out, &errs); code != 0 || out.Len()+errs.Len() > 0 {
		t.Errorf("a program that ends well: code %d, output %q, errors %q", code, out.String(), errs.String())
	}
}

func TestCheckAddress(t *testing.T) {
	for address, good := range map[string]bool{"": true, "0": true, ":80": true, "127.0.0.1:80": true, "80": false, "[::1]": false} {
		if err := CheckAddress("metrics-bind-address", address, ":7951"); (err == nil) != good {
			t.Errorf("%q: %v", address, err)
		}
	}
}
