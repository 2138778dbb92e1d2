package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

const (
	// ContourVersion is the version of Contour that LoadContour brings.
	ContourVersion = contourVersion
	// ContourImage is its image, under the name that its own manifests have.
	ContourImage = "ghcr.io/projectcontour/contour:" + contourVersion
)

// contourImages has the program where what its provisioner starts asks for it: as /bin/contour, and by its name alone.
var contourImages = []programOf{{Reference: ContourImage, Program: "contour", Folder: "bin"}}

// BuildContour builds Contour for LoadContour, where it is not built: that takes 200 seconds of CPU, two minutes on two cores
// that have nothing else to do.
func (c *Cluster) BuildContour(ctx context.Context) error {
	if _, err := build(ctx, c.say, contour); err != nil {
		return fmt.Errorf("build Contour: %w", err)
	}
	return nil
}

// LoadContour brings the image of Contour to all nodes, and returns the manifest of its own CRDs. It builds what
// BuildContour has not.
func (c *Cluster) LoadContour(ctx context.Context) (crds []byte, err error) {
	bins, err := build(ctx, c.say, contour)
	if err != nil {
		return nil, fmt.Errorf("build Contour: %w", err)
	}
	dir, err := moduleDir(ctx, contour.Module, contour.Version)
	if err == nil {
		crds, err = os.ReadFile(filepath.Join(dir, "examples", "contour", "01-crds.yaml"))
	}
	if err != nil {
		return nil, fmt.Errorf("find the CRDs of Contour: %w", err)
	}
	archive := filepath.Join(c.layout.images(), "contour.tar")
	if err := writeImages(bins, contourImages, archive); err != nil {
		return nil, err
	}
	defer os.Remove(archive)
	return crds, c.Load(ctx, archive)
}
