package main

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/fairlead/fairlead/conformance"
	"github.com/fairlead/fairlead/test/lab"
)

// Modes that Fairlead's Envoys can be run in, as reports name them. The manifest
// of each has its name.
const (
	modeShared    = "shared"
	modeDedicated = "dedicated"
)

type options struct {
	channel, mode, tests, version, name string
	reports, artefacts                  string
	keep, skipInstall, json             bool
}

// complete fills in what depends on the working tree, and refuses what cannot be.
func (o *options) complete(ctx context.Context) error {
	o.mode = strings.ToLower(o.mode)
	if o.mode != modeShared && o.mode != modeDedicated {
		return fmt.Errorf("mode %q: use %s or %s", o.mode, modeShared, modeDedicated)
	}
	if _, err := conformance.NewComplete(o.channel, o.mode); err != nil {
		return err
	}
	if o.skipInstall && !o.keep {
		return fmt.Errorf("--skip-install needs --keep, and a cluster that an earlier run kept")
	}
	if o.version == "" {
		version, err := describe(ctx)
		if err != nil {
			return err
		}
		o.version = version
	}
	if !versionForm.MatchString(o.version) {
		return fmt.Errorf("version %q cannot be the tag of an image: use letters, digits, dots, dashes and underscores", o.version)
	}
	build := filepath.Join(lab.Root(), "build", "conformance")
	if o.artefacts == "" {
		o.artefacts = filepath.Join(build, o.channel+"-"+o.mode)
	}
	if o.reports == "" {
		o.reports = build
		if isSnapshot(o.version) {
			o.reports = filepath.Join(lab.Root(), "conformance", "reports")
		}
	}
	for _, path := range []*string{&o.artefacts, &o.reports} {
		absolute, err := filepath.Abs(*path)
		if err != nil {
			return fmt.Errorf("finding %s: %w", *path, err)
		}
		*path = absolute
	}
	return nil
}

// versionForm is what a tag of an image may be.
var versionForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}$`)

const dirty = "-dirty"

// isSnapshot says whether others can find the source of a version: reports of
// what was never committed prove nothing to them.
func isSnapshot(version string) bool { return !strings.HasSuffix(version, dirty) }

// describe is the version of the working tree.
func describe(ctx context.Context) (string, error) {
	cmd := exec.CommandContext(ctx, "git", "describe", "--tags", "--always", "--dirty="+dirty)
	cmd.Dir = lab.Root()
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("asking git for the version (give --version where there is no git): %w", err)
	}
	return strings.TrimSpace(string(out)), nil
}

// report is the path of the report, named as the Gateway API's repository asks;
// empty where the run is not all of the suite.
func (o options) report() string {
	if o.tests != "" {
		return ""
	}
	return filepath.Join(o.reports, fmt.Sprintf("%s-%s-%s-report.yaml", o.channel, o.version, o.mode))
}
