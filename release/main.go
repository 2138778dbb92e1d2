// Command release builds what users download: images as OCI archives, without a
// container engine, the chart, and the kubectl plugin.
package main

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"

	"github.com/fairlead/fairlead/release/envoyimage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command().ExecuteContext(ctx)
	stop()
	if err != nil {
		os.Exit(1)
	}
}

type options struct {
	version, out, repository string
	archs                    []string
	envoy                    bool
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{Use: "release", Short: "Build images, chart and plugin", SilenceUsage: true}
	root.PersistentFlags().StringVar(&o.version, "version", "", "version to stamp in, such as v0.1.0 (required)")
	root.PersistentFlags().StringVar(&o.out, "out", "dist", "folder to write to")
	root.PersistentFlags().StringVar(&o.repository, "repository", "ghcr.io/fairlead", "registry and folder in the images' names")
	root.PersistentFlags().StringSliceVar(&o.archs, "arch", []string{"amd64", "arm64"}, "architectures to build for")
	if err := root.MarkPersistentFlagRequired("version"); err != nil {
		panic(err) // the flag is defined three lines above
	}
	images := &cobra.Command{Use: "images", Short: "Write an OCI archive per program, and an image of Envoy for tests", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
		if err := o.images(c.Context()); err != nil || !o.envoy {
			return err
		}
		return o.testEnvoy(c.Context())
	}}
	images.Flags().BoolVar(&o.envoy, "envoy", true, "write the test image of Envoy too")
	root.AddCommand(
		images,
		&cobra.Command{Use: "plugin", Short: "Write the kubectl plugin for each platform", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			return o.plugins(c.Context())
		}},
		&cobra.Command{Use: "all", Short: "Write images, chart, the kubectl plugin and checksums", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			if err := o.images(c.Context()); err != nil {
				return err
			}
			if err := packageChart(filepath.Join("charts", "fairlead"), o.version, o.out); err != nil {
				return err
			}
			if err := o.plugins(c.Context()); err != nil {
				return err
			}
			return writeChecksums(o.out)
		}},
	)
	return root
}

// images writes fairlead-NAME-VERSION.oci.tar for each program.
func (o options) images(ctx context.Context) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making the folder to write to: %w", err)
	}
	build, err := os.MkdirTemp("", "fairlead-release-")
	if err != nil {
		return fmt.Errorf("making a folder to build in: %w", err)
	}
	defer os.RemoveAll(build)
	for _, p := range programs {
		if err := o.write(ctx, p, build); err != nil {
			return err
		}
	}
	return nil
}

// write writes the archive of a program, which is built in a folder.
func (o options) write(ctx context.Context, p program, build string) error {
	version := cmp.Or(p.version, o.version)
	images := map[string]v1.Image{}
	for _, arch := range o.archs {
		file, err := compile(ctx, p, arch, version, build)
		if err != nil {
			return err
		}
		if images[arch], err = image(p, arch, version, file); err != nil {
			return err
		}
	}
	out := filepath.Join(o.out, fmt.Sprintf("%s-%s.oci.tar", p.name, version))
	if err := writeArchive(out, fmt.Sprintf("%s/%s:%s", o.repository, p.name, version), images); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}

// testEnvoy writes an image of the real Envoy under the official one's name. It is
// no part of a release: users take the official image. An architecture whose
// libraries are not to be had here is left out, and told, unless it is this
// machine's.
func (o options) testEnvoy(ctx context.Context) error {
	cache, err := envoyimage.CacheDir(os.Getenv)
	if err != nil {
		return err
	}
	images := map[string]v1.Image{}
	for _, arch := range o.archs {
		files, err := envoyimage.Get(ctx, cache, arch)
		if err != nil && arch != runtime.GOARCH && ctx.Err() == nil {
			fmt.Fprintf(os.Stderr, "The test image of Envoy is written without %s: %v\n", arch, err)
			continue
		}
		if err != nil {
			return err
		}
		if images[arch], err = files.Image(); err != nil {
			return err
		}
	}
	out := filepath.Join(o.out, fmt.Sprintf("envoy-%s-test.oci.tar", envoyimage.Version))
	if err := writeArchive(out, envoyimage.Reference, images); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}
