package testbed

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestImagesAreReadBack(t *testing.T) {
	dir := t.TempDir()
	bins := Binaries{}
	all := append(slices.Clone(builtIn), contourImages...)
	for _, i := range all {
		bins[i.Program] = filepath.Join(dir, i.Program)
		if err := os.WriteFile(bins[i.Program], []byte("program "+i.Program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "images", "all.tar")
	if err := writeImages(bins, all, archive); err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		tag, err := name.NewTag(i.Reference)
		if err != nil {
			t.Fatal(err)
		}
		image, err := tarball.ImageFromPath(archive, &tag)
		if err != nil {
			t.Fatalf("%s: %v", i.Reference, err)
		}
		if err := validate.Image(image); err != nil {
			t.Errorf("%s: %v", i.Reference, err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if got, want := config.Config.Entrypoint, "/"+i.Program; i.Folder == "" && !slices.Equal(got, []string{want}) {
			t.Errorf("%s starts %q, and not %s", i.Reference, got, want)
		}
	}
}

// What Contour's provisioner starts asks for the program by its path and by its name.
func TestContourIsFoundInItsImage(t *testing.T) {
	bins := Binaries{"contour": filepath.Join(t.TempDir(), "contour")}
	if err := os.WriteFile(bins["contour"], []byte("program"), 0o755); err != nil {
		t.Fatal(err)
	}
	image, err := programImage(bins["contour"], contourImages[0].entry())
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	files := tar.NewReader(mutate.Extract(image))
	for {
		header, err := files.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, header.Name)
	}
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(names, []string{"bin/contour"}) || !slices.Equal(config.Config.Env, []string{"PATH=/bin"}) {
		t.Errorf("the image has %q and the environment %q", names, config.Config.Env)
	}
}
