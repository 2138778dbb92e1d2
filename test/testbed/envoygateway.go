package testbed

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/fairlead/fairlead/release/envoyimage"
)

const (
	// EnvoyGatewayVersion is the version of Envoy Gateway that LoadEnvoyGateway brings.
	EnvoyGatewayVersion = envoyGatewayVersion
	// EnvoyGatewayImage is its image, under the name that its chart has.
	EnvoyGatewayImage = "docker.io/envoyproxy/gateway:" + envoyGatewayVersion
	// EnvoyImage is the Envoy that every node has.
	EnvoyImage = envoyimage.Reference
)

// BuildEnvoyGateway builds Envoy Gateway for LoadEnvoyGateway, where it is not built: that takes three minutes on two cores that
// have nothing else to do.
func (c *Cluster) BuildEnvoyGateway(ctx context.Context) error {
	if _, err := build(ctx, c.say, envoyGateway); err != nil {
		return fmt.Errorf("build Envoy Gateway: %w", err)
	}
	return nil
}

// LoadEnvoyGateway brings the image of Envoy Gateway to all nodes, and returns the program and the manifest of its own
// CRDs. It builds what BuildEnvoyGateway has not.
func (c *Cluster) LoadEnvoyGateway(ctx context.Context) (program string, crds []byte, err error) {
	bins, err := build(ctx, c.say, envoyGateway)
	if err != nil {
		return "", nil, fmt.Errorf("build Envoy Gateway: %w", err)
	}
	dir, err := moduleDir(ctx, envoyGateway.Module, envoyGateway.Version)
	if err == nil {
		crds, err = envoyGatewayCRDs(dir)
	}
	if err != nil {
		return "", nil, fmt.Errorf("find the CRDs of Envoy Gateway: %w", err)
	}
	archive := filepath.Join(c.layout.images(), "envoy-gateway.tar")
	if err := writeImages(bins, []programOf{{Reference: EnvoyGatewayImage, Program: "envoy-gateway"}}, archive); err != nil {
		return "", nil, err
	}
	defer os.Remove(archive)
	return bins["envoy-gateway"], crds, c.Load(ctx, archive)
}

// envoyGatewayCRDs reads the CRDs in the module's folder. They are templates of a chart, in which nothing is to be
// filled in: each file stands between a condition and its end.
func envoyGatewayCRDs(dir string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(dir, "charts", "gateway-crds-helm", "templates", "generated", "gateway.envoyproxy.io_*.yaml"))
	if err != nil {
		return nil, err
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("there are none in %s", dir)
	}
	var all []byte
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			if !bytes.HasPrefix(line, []byte("{{-")) {
				all = append(all, line...)
			}
		}
	}
	return all, nil
}

// LoadAs brings an image to all nodes that does nothing, under a name that is not ours to build: for workloads of others
// that only have to be seen.
func (c *Cluster) LoadAs(ctx context.Context, reference string) error {
	archive := filepath.Join(c.layout.images(), "idle.tar")
	if err := writeImages(c.state.Bins, []programOf{{Reference: reference, Program: "pause"}}, archive); err != nil {
		return err
	}
	defer os.Remove(archive)
	return c.Load(ctx, archive)
}
