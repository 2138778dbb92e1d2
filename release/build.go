package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/fairlead/fairlead/gateway/fleet/drain"
)

const module = "github.com/fairlead/fairlead"

// programs are the commands that have an image. The controller needs no
// privileges, so its image has a user without any; the speaker opens raw sockets.
// What pods of Envoys need beside Envoy has a version of its own, so that an upgrade
// replaces no Envoy for it.
var programs = []program{
	{name: "fairlead-controller", folder: "./cmd/fairlead-controller", user: "65532:65532"},
	{name: "fairlead-speaker", folder: "./cmd/fairlead-speaker", user: "0:0"},
	{name: "fairlead-drain", folder: "./cmd/fairlead-drain", user: "65532:65532", version: drain.Version},
}

type program struct {
	name, folder, user string
	version            string // empty: that of the release
}

// compile builds a program for Linux and returns the file's path.
func compile(ctx context.Context, p program, arch, version, dir string) (string, error) {
	return compileFor(ctx, p, "linux", arch, version, dir)
}

// compileFor builds a program for a platform and returns the file's path.
func compileFor(ctx context.Context, p program, system, arch, version, dir string) (string, error) {
	out := filepath.Join(dir, system, arch, p.name)
	if system == "windows" {
		out += ".exe"
	}
	if err := os.MkdirAll(filepath.Dir(out), 0o755); err != nil {
		return "", fmt.Errorf("making the folder for %s: %w", out, err)
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath",
		"-ldflags", "-s -w -X "+module+"/version.Version="+version, "-o", out, p.folder)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS="+system, "GOARCH="+arch)
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building %s for %s/%s: %w", p.name, system, arch, err)
	}
	return out, nil
}
