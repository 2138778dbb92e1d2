package testbed

import (
	"fmt"
	"os"
	"path"
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
type programOf struct {
	Reference, Program string
	// Folder of the image that the program is in: / where none is named.
	Folder string
}

// entry is the program's path in the image.
func (p programOf) entry() string { return path.Join("/", p.Folder, p.Program) }

// builtIn are the images that every node gets.
var builtIn = []programOf{
	{Reference: PauseImage, Program: "pause"},
	{Reference: CoreDNSImage, Program: "coredns"},
	{Reference: EchoImage, Program: "echo-basic"},
	{Reference: echoNextImage, Program: "echo-basic"},
}

// writeImages puts images into one archive, so that one import brings them all to a node.
func writeImages(bins Binaries, list []programOf, archive string) error {
	images := map[name.Reference]v1.Image{}
	for _, b := range list {
		ref, err := name.NewTag(b.Reference)
		if err != nil {
			return fmt.Errorf("image reference %s: %w", b.Reference, err)
		}
		if images[ref], err = programImage(bins[b.Program], b.entry()); err != nil {
			return fmt.Errorf("make the image %s: %w", b.Reference, err)
		}
	}
	if err := os.MkdirAll(filepath.Dir(archive), 0o755); err != nil {
		return err
	}
	f, err := os.Create(archive)
	if err != nil {
		return err
	}
	if err := tarball.MultiRefWrite(images, f); err != nil {
		f.Close()
		return fmt.Errorf("write the images to %s: %w", archive, err)
	}
	return f.Close()
}

// programImage is an image with one static program, at entry, as its entry point. Its layer is not compressed: it goes to this
// machine only, where packing and unpacking would be all its cost.
func programImage(program, entry string) (v1.Image, error) {
	layer, err := envoyimage.Layer(map[string]string{entry: program})
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
	config.Config.Env = []string{"PATH=" + path.Dir(entry)}
	return mutate.ConfigFile(image, config)
}
