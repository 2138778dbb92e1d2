package testbed

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// metallbImages are MetalLB's images, under the names that its manifests have.
var metallbImages = []programOf{
	{"quay.io/metallb/controller:" + metallbVersion, "controller"},
	{"quay.io/metallb/speaker:" + metallbVersion, "speaker"},
}

// MetalLBVersion is the version of MetalLB that LoadMetalLB brings.
const MetalLBVersion = metallbVersion

// LoadMetalLB brings the images of MetalLB to all nodes and returns its own manifest that installs it, with BGP that it
// speaks itself. The first time it builds MetalLB, which takes about three minutes on two cores.
func (c *Cluster) LoadMetalLB(ctx context.Context) (manifest string, err error) {
	bins, err := build(ctx, c.say, metallb)
	if err != nil {
		return "", fmt.Errorf("build MetalLB: %w", err)
	}
	dir, err := moduleDir(ctx, metallb.Module, metallb.Version)
	if err != nil {
		return "", fmt.Errorf("find the manifest of MetalLB: %w", err)
	}
	archive := filepath.Join(c.layout.images(), "metallb.tar")
	if err := writeImages(bins, metallbImages, archive); err != nil {
		return "", err
	}
	defer os.Remove(archive)
	return filepath.Join(dir, "config", "manifests", "metallb-native.yaml"), c.Load(ctx, archive)
}
