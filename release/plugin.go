package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// plugin is the kubectl plugin, which runs where people sit.
var plugin = program{name: "kubectl-fairlead", folder: "./cmd/kubectl-fairlead"}

// pluginSystems are the operating systems that it is built for.
var pluginSystems = []string{"linux", "darwin", "windows"}

// plugins writes kubectl-fairlead-VERSION-OS-ARCH.tar.gz for each platform, and a
// .zip for Windows: the program, and the licence.
func (o options) plugins(ctx context.Context) error {
	if err := os.MkdirAll(o.out, 0o755); err != nil {
		return fmt.Errorf("making the folder to write to: %w", err)
	}
	build, err := os.MkdirTemp("", "fairlead-plugin-")
	if err != nil {
		return fmt.Errorf("making a folder to build in: %w", err)
	}
	defer os.RemoveAll(build)
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return fmt.Errorf("reading the licence: %w", err)
	}
	for _, system := range pluginSystems {
		for _, arch := range o.archs {
			file, err := compileFor(ctx, plugin, system, arch, o.version, build)
			if err != nil {
				return err
			}
			program, err := os.ReadFile(file)
			if err != nil {
				return fmt.Errorf("reading the plugin for %s/%s: %w", system, arch, err)
			}
			out := filepath.Join(o.out, fmt.Sprintf("%s-%s-%s-%s", plugin.name, o.version, system, arch))
			if err := pack(out, system, []packed{{filepath.Base(file), 0o755, program}, {"LICENSE", 0o644, licence}}); err != nil {
				return err
			}
		}
	}
	return nil
}

// packed is a file in an archive.
type packed struct {
	name    string
	mode    int64
	content []byte
}

// pack writes files into an archive as people of an operating system are used to.
// Times are left out, so that the same files give the same archive.
func pack(out, system string, files []packed) error {
	format, write := ".tar.gz", tarred
	if system == "windows" {
		format, write = ".zip", zipped
	}
	content, err := write(files)
	if err != nil {
		return fmt.Errorf("packing %s: %w", out, err)
	}
	if err := os.WriteFile(out+format, content, 0o644); err != nil {
		return fmt.Errorf("writing the archive: %w", err)
	}
	fmt.Println(out + format)
	return nil
}

func tarred(files []packed) ([]byte, error) {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for _, f := range files {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.content)), Typeflag: tar.TypeReg}); err != nil {
			return nil, err
		}
		if _, err := w.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func zipped(files []packed) ([]byte, error) {
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, f := range files {
		h := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		h.SetMode(os.FileMode(f.mode))
		out, err := w.CreateHeader(h)
		if err != nil {
			return nil, err
		}
		if _, err := out.Write(f.content); err != nil {
			return nil, err
		}
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}
