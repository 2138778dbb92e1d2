package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// metallbImages are MetalLB's images, under the names that its manifests have.
var metallbImages = []programOf{
	{Reference: "quay.io/metallb/controller:" + metallbVersion, Program: "controller"},
	{Reference: "quay.io/metallb/speaker:" + metallbVersion, Program: "speaker"},
}

// MetalLBVersion is the version of MetalLB that LoadMetalLB brings.
const MetalLBVersion = metallbVersion

// BuildMetalLB builds MetalLB for LoadMetalLB, where it is not built: that takes two minutes on two cores that have nothing else
// to do.
func (c *Cluster) BuildMetalLB(ctx context.Context) error {
	if _, err := build(ctx, c.say, metallb); err != nil {
		return fmt.Errorf("build MetalLB: %w", err)
	}
	return nil
}

// LoadMetalLB brings the images of MetalLB to all nodes. It builds what BuildMetalLB has not.
func (c *Cluster) LoadMetalLB(ctx context.Context) error {
	bins, err := build(ctx, c.say, metallb)
	if err != nil {
		return fmt.Errorf("build MetalLB: %w", err)
	}
	archive := filepath.Join(c.layout.images(), "metallb.tar")
	if err := writeImages(bins, metallbImages, archive); err != nil {
		return err
	}
	defer os.Remove(archive)
	return c.Load(ctx, archive)
}

// MetalLBManifest is the file in MetalLB's own sources that installs it, with BGP that it speaks itself.
func MetalLBManifest(ctx context.Context) (string, error) {
	dir, err := moduleDir(ctx, metallb.Module, metallb.Version)
	if err != nil {
		return "", fmt.Errorf("find the manifest of MetalLB: %w", err)
	}
	return filepath.Join(dir, "config", "manifests", "metallb-native.yaml"), nil
}
