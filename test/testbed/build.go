package testbed

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// stillBuilding is how often a build that takes long says that it is alive.
const stillBuilding = 15 * time.Second

// Build makes every program of the testbed that the cache does not have and returns where they are. It takes about
// ten minutes on two cores when nothing is built yet and no time when everything is. Programs appear in the cache by
// rename, so an interrupted build leaves nothing that is taken for good; concurrent builds wait for each other.
func Build(ctx context.Context, say Progress) (Binaries, error) {
	return build(ctx, say, components...)
}

func build(ctx context.Context, say Progress, list ...component) (Binaries, error) {
	cache, err := cacheDir(os.Getenv)
	if err != nil {
		return nil, err
	}
	bins, err := binaries(cache, list...)
	if err != nil {
		return nil, err
	}
	if len(missing(bins)) == 0 {
		return bins, nil
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return nil, fmt.Errorf("make the cache: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(cache, "lock"), func() { say.printf("waiting for another build to end") })
	if err != nil {
		return nil, err
	}
	defer unlock()
	dropUnfinished(cache)
	b := builder{cache: cache, say: say, began: time.Now(), total: len(missing(bins))}
	for _, c := range list {
		if err := b.component(ctx, c, bins); err != nil {
			return nil, err
		}
	}
	return bins, nil
}

// dropUnfinished removes what builds left that were killed. The caller holds the cache's lock, so no build is at work.
func dropUnfinished(cache string) {
	left, _ := filepath.Glob(filepath.Join(cache, ".build-*"))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

func missing(bins Binaries) []string {
	var out []string
	for name, path := range bins {
		if !exists(path) {
			out = append(out, name)
		}
	}
	return out
}

type builder struct {
	cache string
	say   Progress
	began time.Time
	done  int
	total int
}

func (b *builder) component(ctx context.Context, c component, bins Binaries) error {
	var todo []program
	for _, p := range c.Programs {
		if !exists(bins[p.Name]) {
			todo = append(todo, p)
		}
	}
	if len(todo) == 0 {
		return nil
	}
	dir, err := os.MkdirTemp(b.cache, ".build-")
	if err != nil {
		return fmt.Errorf("make a folder to build %s in: %w", c.Name, err)
	}
	defer os.RemoveAll(dir)
	b.say.printf("preparing %s %s", c.Name, c.Version)
	if err := writeModule(ctx, dir, c); err != nil {
		return fmt.Errorf("prepare the build of %s: %w", c.Name, err)
	}
	for _, p := range todo {
		b.done++
		if err := b.program(ctx, dir, c, p, bins[p.Name]); err != nil {
			return fmt.Errorf("build %s: %w", p.Name, err)
		}
	}
	return nil
}

func (b *builder) program(ctx context.Context, dir string, c component, p program, path string) error {
	started := time.Now()
	b.say.printf("building %s (%d of %d, %s since the start)", p.Name, b.done, b.total, b.elapsed())
	stop := b.say.every(stillBuilding, func() { b.say.printf("  still building %s: %s", p.Name, round(time.Since(started))) })
	defer stop()
	made := filepath.Join(dir, "out-"+p.Name)
	args := []string{"build", "-trimpath", "-ldflags", c.LDFlags, "-o", made}
	if c.Tags != "" {
		args = append(args, "-tags", c.Tags)
	}
	if _, err := goCommand(ctx, dir, append(args, p.Package)...); err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.Rename(made, path)
}

func (b *builder) elapsed() time.Duration { return round(time.Since(b.began)) }

// writeModule makes the module in dir that requires the component at its version.
func writeModule(ctx context.Context, dir string, c component) error {
	mod := "module testbed.local/" + c.Name + "\n\ngo 1.26.0\n"
	if c.Source == "" {
		mod += fmt.Sprintf("\nrequire %s %s\n", c.Module, c.Version)
	}
	if c.Staging {
		replaces, err := stagingReplaces(ctx, dir, c)
		if err != nil {
			return err
		}
		mod += replaces
	}
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644); err != nil {
		return err
	}
	if c.Source == "" {
		return nil
	}
	source, err := sources.ReadFile(c.Source)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "main.go"), source, 0o644); err != nil {
		return err
	}
	if c.Module == "" {
		return nil
	}
	_, err = goCommand(ctx, dir, "get", c.Module+"@"+c.Version)
	return err
}

// stagingReplaces points each sibling module that k8s.io/kubernetes keeps under ./staging to its published version:
// v1.MINOR.PATCH goes with v0.MINOR.PATCH.
func stagingReplaces(ctx context.Context, dir string, c component) (string, error) {
	out, err := goCommand(ctx, dir, "mod", "download", "-json", c.Module+"@"+c.Version)
	if err != nil {
		return "", err
	}
	var download struct{ GoMod string }
	if err := json.Unmarshal(out, &download); err != nil {
		return "", fmt.Errorf("read where %s was downloaded to: %w", c.Module, err)
	}
	out, err = goCommand(ctx, dir, "mod", "edit", "-json", download.GoMod)
	if err != nil {
		return "", err
	}
	return renderReplaces(out, c.Version)
}

func renderReplaces(modJSON []byte, version string) (string, error) {
	var mod struct {
		Replace []struct{ Old, New struct{ Path string } }
	}
	if err := json.Unmarshal(modJSON, &mod); err != nil {
		return "", fmt.Errorf("read the module's replaces: %w", err)
	}
	rest, ok := strings.CutPrefix(version, "v1.")
	if !ok {
		return "", fmt.Errorf("version %s does not start with v1", version)
	}
	var text strings.Builder
	text.WriteString("\nreplace (\n")
	for _, r := range mod.Replace {
		if strings.HasPrefix(r.New.Path, "./staging/") {
			fmt.Fprintf(&text, "\t%s => %s v0.%s\n", r.Old.Path, r.Old.Path, rest)
		}
	}
	text.WriteString(")\n")
	return text.String(), nil
}

// goCommand runs the Go command in dir, apart from whatever module or workspace the caller is in.
func goCommand(ctx context.Context, dir string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOTOOLCHAIN="+goToolchain, "CGO_ENABLED=0", "GOFLAGS=-mod=mod", "GOWORK=off",
		"GO111MODULE=on", "GOOS=linux", "PWD="+dir)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.WaitDelay = 5 * time.Second
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, exec.ErrNotFound) {
			return nil, errors.New("the go command is not on the PATH: install Go (any version from 1.21 fetches the one needed)")
		}
		return nil, fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, tail(errs.String(), 30))
	}
	return out.Bytes(), nil
}

// tail returns the last lines of a text.
func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if len(all) > lines {
		all = all[len(all)-lines:]
	}
	return strings.Join(all, "\n")
}

// lockFile takes an exclusive lock that the kernel drops when the process ends, however it ends. It calls waiting
// once if another process holds the lock.
func lockFile(ctx context.Context, path string, waiting func()) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("open the lock %s: %w", path, err)
	}
	for told := false; ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { f.Close() }, nil
		}
		if !errors.Is(err, unix.EWOULDBLOCK) && !errors.Is(err, unix.EINTR) {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		if !told {
			told = true
			waiting()
		}
		select {
		case <-ctx.Done():
			f.Close()
			return nil, fmt.Errorf("wait for the lock %s: %w", path, ctx.Err())
		case <-time.After(100 * time.Millisecond):
		}
	}
}
