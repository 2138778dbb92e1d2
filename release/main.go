// Command release builds what users download: images as OCI archives, without a
// container engine, and the chart.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/spf13/cobra"
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
}

func command() *cobra.Command {
	var o options
	root := &cobra.Command{Use: "release", Short: "Build images and chart", SilenceUsage: true}
	root.PersistentFlags().StringVar(&o.version, "version", "", "version to stamp in, such as v0.1.0 (required)")
	root.PersistentFlags().StringVar(&o.out, "out", "dist", "folder to write to")
	root.PersistentFlags().StringVar(&o.repository, "repository", "ghcr.io/fairlead", "registry and folder in the images' names")
	root.PersistentFlags().StringSliceVar(&o.archs, "arch", []string{"amd64", "arm64"}, "architectures to build for")
	if err := root.MarkPersistentFlagRequired("version"); err != nil {
		panic(err) // the flag is defined three lines above
	}
	root.AddCommand(
		&cobra.Command{Use: "images", Short: "Write an OCI archive per program", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error { return o.images(c.Context()) }},
		&cobra.Command{Use: "all", Short: "Write images, chart and checksums", Args: cobra.NoArgs, RunE: func(c *cobra.Command, _ []string) error {
			if err := o.images(c.Context()); err != nil {
				return err
			}
			if err := packageChart(filepath.Join("charts", "fairlead"), o.version, o.out); err != nil {
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
		images := map[string]v1.Image{}
		for _, arch := range o.archs {
			file, err := compile(ctx, p, arch, o.version, build)
			if err != nil {
				return err
			}
			if images[arch], err = image(p, arch, o.version, file); err != nil {
				return err
			}
		}
		out := filepath.Join(o.out, fmt.Sprintf("%s-%s.oci.tar", p.name, o.version))
		if err := writeArchive(out, fmt.Sprintf("%s/%s:%s", o.repository, p.name, o.version), images); err != nil {
			return err
		}
		fmt.Println(out)
	}
	return nil
}
