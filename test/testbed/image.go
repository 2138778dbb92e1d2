package testbed

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/tarball"

	"github.com/fairlead/fairlead/release/envoyimage"
)

// programOf is an image and the program that is in it.
type programOf struct{ Reference, Program string }

// builtIn are the images that every node gets.
var builtIn = []programOf{
	{PauseImage, "pause"},
	{CoreDNSImage, "coredns"},
	{EchoImage, "echo-basic"},
	{echoNextImage, "echo-basic"},
}

// writeImages puts images into one archive, so that one import brings them all to a node.
func writeImages(bins Binaries, list []programOf, path string) error {
	images := map[name.Reference]v1.Image{}
	for _, b := range list {
		ref, err := name.NewTag(b.Reference)
		if err != nil {
			return fmt.Errorf("image reference %s: %w", b.Reference, err)
		}
		if images[ref], err = programImage(bins[b.Program]); err != nil {
			return fmt.Errorf("make the image %s: %w", b.Reference, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := tarball.MultiRefWrite(images, f); err != nil {
		f.Close()
		return fmt.Errorf("write the images to %s: %w", path, err)
	}
	return f.Close()
}

// programImage is an image with one static program as its entry point. Its layer is not compressed: it goes to this
// machine only, where packing and unpacking would be all its cost.
func programImage(path string) (v1.Image, error) {
	entry := "/" + filepath.Base(path)
	layer, err := envoyimage.Layer(map[string]string{entry: path})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	config, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", runtime.GOARCH
	config.Config.Entrypoint = []string{entry}
	config.Config.Env = []string{"PATH=/"}
	return mutate.ConfigFile(image, config)
}
