package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
)

// machines are the architectures as programs name their own.
var machines = map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64}

// The program is the smallest that there is; all are built the same way.
func TestAnArchiveHasTheProgramsOfEachArchitecture(t *testing.T) {
	dir := t.TempDir()
	drain := program{name: "fairlead-drain", folder: "../cmd/fairlead-drain", user: "65532:65532"}
	images := map[string]v1.Image{}
	for arch := range machines {
		file, err := compile(t.Context(), drain, arch, "v1.2.3", dir)
		if err != nil {
			t.Fatal(err)
		}
		if images[arch], err = image(drain, arch, "v1.2.3", file); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "drain.oci.tar")
	if err := writeArchive(archive, "example.com/fairlead-drain:v1.2.3", images); err != nil {
		t.Fatal(err)
	}
	got := readArchive(t, archive)
	if len(got) != len(machines) {
		t.Errorf("%d images, want %d", len(got), len(machines))
	}
	for arch, img := range got {
		config, err := img.ConfigFile()
		if err != nil || config.Architecture != arch || config.OS != "linux" {
			t.Errorf("the image for %s says %+v, %v", arch, config, err)
		}
		f, err := elf.NewFile(bytes.NewReader(fileIn(t, img, drain.name)))
		if err != nil {
			t.Errorf("%s: %v", arch, err)
			continue
		}
		if f.Machine != machines[arch] {
			t.Errorf("the program for %s is for %s", arch, f.Machine)
		}
	}
}

// readArchive gives the images of an OCI archive by the architectures in its index.
func readArchive(t *testing.T, archive string) map[string]v1.Image {
	t.Helper()
	index, err := layout.ImageIndexFromPath(unpackTar(t, archive))
	if err != nil {
		t.Fatal(err)
	}
	names, err := index.IndexManifest()
	if err != nil || len(names.Manifests) != 1 {
		t.Fatalf("names %+v, %v", names, err)
	}
	platforms, err := index.ImageIndex(names.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := platforms.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	images := map[string]v1.Image{}
	for _, m := range manifest.Manifests {
		if images[m.Platform.Architecture], err = platforms.Image(m.Digest); err != nil {
			t.Fatal(err)
		}
	}
	return images
}

func unpackTar(t *testing.T, archive string) string {
	t.Helper()
	content, err := os.ReadFile(archive)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for r := tar.NewReader(bytes.NewReader(content)); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return dir
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag != tar.TypeReg {
			continue
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, filepath.FromSlash(h.Name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func fileIn(t *testing.T, img v1.Image, name string) []byte {
	t.Helper()
	files := mutate.Extract(img)
	defer files.Close()
	for r := tar.NewReader(files); ; {
		h, err := r.Next()
		if err != nil {
			t.Fatalf("looking for %s: %v", name, err)
		}
		if h.Name == name {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			return content
		}
	}
}
