package testbed

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/validate"
)

func TestImagesAreReadBack(t *testing.T) {
	dir := t.TempDir()
	bins := Binaries{}
	for _, i := range builtIn {
		bins[i.Program] = filepath.Join(dir, i.Program)
		if err := os.WriteFile(bins[i.Program], []byte("program "+i.Program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	archive := filepath.Join(dir, "images", "all.tar")
	if err := writeImages(bins, builtIn, archive); err != nil {
		t.Fatal(err)
	}
	for _, i := range builtIn {
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
		if got := config.Config.Entrypoint; len(got) != 1 || got[0] != "/"+i.Program {
			t.Errorf("%s starts %v", i.Reference, got)
		}
	}
}
