package main

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"

	"github.com/Masterminds/semver/v3"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
)

// packageChart writes the chart as Helm packages it, with the release's version.
func packageChart(dir, version, out string) error {
	c, err := loader.Load(dir)
	if err != nil {
		return fmt.Errorf("loading chart %s: %w", dir, err)
	}
	c.Metadata.Version, c.Metadata.AppVersion = chartVersion(version), version
	if err := c.Validate(); err != nil {
		return fmt.Errorf("chart %s with version %q: %w", dir, version, err)
	}
	if _, err := chartutil.Save(c, out); err != nil {
		return fmt.Errorf("packaging chart %s: %w", dir, err)
	}
	return nil
}

// chartVersion is the version of the chart for a version of the programs. Helm
// wants a semantic one, which a commit between releases does not have.
func chartVersion(version string) string {
	if v, err := semver.NewVersion(version); err == nil {
		return v.String()
	}
	return "0.0.0-" + version
}

// writeChecksums writes SHA256SUMS for the files of a folder.
func writeChecksums(dir string) error {
	var files []string
	for _, name := range []string{"fairlead*", plugin.name + "*"} {
		found, err := filepath.Glob(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		files = append(files, found...)
	}
	sort.Strings(files)
	var sums strings.Builder
	for _, file := range files {
		sum, err := checksum(file)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, filepath.Base(file))
	}
	return os.WriteFile(filepath.Join(dir, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

func checksum(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, fmt.Errorf("summing %s: %w", file, err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return nil, fmt.Errorf("summing %s: %w", file, err)
	}
	return h.Sum(nil), nil
}
