package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

const module = "github.com/fairlead/fairlead"

// programs are the commands that have an image. The controller needs no
// privileges, so its image has a user without any; the speaker opens raw sockets.
// The controller's image also has what Envoy's pods need beside Envoy.
var programs = []program{
	{name: "fairlead-controller", folder: "./cmd/fairlead-controller", user: "65532:65532", beside: []program{
		{name: "fairlead-drain", folder: "./cmd/fairlead-drain"},
	}},
	{name: "fairlead-speaker", folder: "./cmd/fairlead-speaker", user: "0:0"},
}

type program struct {
	name, folder, user string
	beside             []program
}

// compileAll builds a program and those beside it, and returns the files by their
// paths in the image.
func compileAll(ctx context.Context, p program, arch, version, dir string) (map[string]string, error) {
	files := map[string]string{}
	for _, each := range append([]program{p}, p.beside...) {
		file, err := compile(ctx, each, arch, version, dir)
		if err != nil {
			return nil, err
		}
		files["/"+each.name] = file
	}
	return files, nil
}

// compile builds a program for a platform and returns the file's path.
func compile(ctx context.Context, p program, arch, version, dir string) (string, error) {
	out := filepath.Join(dir, arch, p.name)
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", fmt.Errorf("making the folder for %s: %w", out, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath",
		"-ldflags", "-s -w -X "+module+"/version.Version="+version, "-o", out, p.folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building %s for %s: %w", p.name, arch, err)
	}
	return out, nil
}
