package envoyimage

import (
	"archive/tar"
	"bytes"
	"fmt"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// entrypoint is where the official image has Envoy.
const entrypoint = "/usr/local/bin/envoy"

// authorities is what Envoy takes for the system's.
const authorities = "/etc/ssl/certs/ca-certificates.crt"

// writeImage writes an image with the binary, the libraries that it links to, and
// the system's certificate authorities. Layers are not compressed: they go to this
// machine only.
func writeImage(binary, arch string, libraries library, to string) error {
	files, err := libraries.neededBy(binary)
	if err != nil {
		return err
	}
	if exists(authorities) {
		files[authorities] = authorities
	}
	base, err := Layer(files)
	if err != nil {
		return err
	}
	program, err := Layer(map[string]string{entrypoint: binary})
	if err != nil {
		return err
	}
	img, err := mutate.AppendLayers(empty.Image, base, program)
	if err != nil {
		return fmt.Errorf("adding layers: %w", err)
	}
	if img, err = configured(img, arch); err != nil {
		return err
	}
	ref, err := name.NewTag(Reference)
	if err != nil {
		return err
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	if err := tarball.Write(ref, img, f); err != nil {
		f.Close()
		return fmt.Errorf("writing %s: %w", to, err)
	}
	return f.Close()
}

func configured(img v1.Image, arch string) (v1.Image, error) {
	config, err := img.ConfigFile()
	if err != nil {
		return nil, err
	}
	config = config.DeepCopy()
	config.OS, config.Architecture = "linux", arch
	config.Config.Entrypoint = []string{entrypoint}
	config.Config.Cmd = []string{"-c", "/etc/envoy/envoy.yaml"}
	config.Config.User = "65532:65532"
	config.Config.Env = []string{"PATH=/usr/local/bin"}
	config.Config.Labels = map[string]string{"org.opencontainers.image.title": "envoy, a test image of Fairlead"}
	return mutate.ConfigFile(img, config)
}

// Layer has files, each of which may be run: path in the image to path on this
// machine. It is not compressed.
func Layer(files map[string]string) (v1.Layer, error) {
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, path := range sortedKeys(files) {
		content, err := os.ReadFile(files[path])
		if err != nil {
			return nil, err
		}
		header := &tar.Header{Name: path[1:], Mode: 0o755, Size: int64(len(content)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if err := w.WriteHeader(header); err != nil {
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
		if _, err := w.Write(content); err != nil {
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return static.NewLayer(b.Bytes(), types.DockerUncompressedLayer), nil
}
