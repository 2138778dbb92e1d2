package testbed

import (
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

//go:embed _src
var sources embed.FS

// component is one Go module (or one embedded source file) and the programs that are built from it.
type component struct {
	Name    string
	Module  string // empty for an embedded program that needs the standard library only
	Version string
	Staging bool   // the module keeps its siblings under ./staging and needs replaces to their published versions
	Source  string // embedded main.go; empty when the module has the main packages
	LDFlags string
	Tags    string

	Programs []program
}

// program is one executable: its file name and the package that it is built from.
type program struct {
	Name    string
	Package string
}

// key names the component's folder in the cache: it changes with everything that goes into the programs.
func (c component) key() (string, error) {
	h := sha256.New()
	spec, err := json.Marshal(c)
	if err != nil {
		return "", fmt.Errorf("describe component %s: %w", c.Name, err)
	}
	fmt.Fprintf(h, "%s\n%s\n%s\n", goToolchain, runtime.GOARCH, spec)
	if c.Source != "" {
		source, err := sources.ReadFile(c.Source)
		if err != nil {
			return "", fmt.Errorf("read the embedded source of %s: %w", c.Name, err)
		}
		h.Write(source)
	}
	name := c.Name
	if c.Version != "" {
		name += "-" + c.Version
	}
	return name + "-" + hex.EncodeToString(h.Sum(nil))[:12], nil
}

// Binaries maps the name of each program that the testbed built to its path.
type Binaries map[string]string

// binaries lists where each program of these components belongs in the cache, built or not.
func binaries(cache string, list ...component) (Binaries, error) {
	out := Binaries{}
	for _, c := range list {
		key, err := c.key()
		if err != nil {
			return nil, err
		}
		for _, p := range c.Programs {
			out[p.Name] = filepath.Join(cache, key, "bin", p.Name)
		}
	}
	return out, nil
}

// cacheDir is where built programs and images are kept: $FAIRLEAD_CACHE, else $XDG_CACHE_HOME/fairlead, else
// ~/.cache/fairlead, and in it the folder testbed.
func cacheDir(getenv func(string) string) (string, error) {
	if dir := getenv("FAIRLEAD_CACHE"); dir != "" {
		return filepath.Join(dir, "testbed"), nil
	}
	if dir := getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "fairlead", "testbed"), nil
	}
	if home := getenv("HOME"); home != "" {
		return filepath.Join(home, ".cache", "fairlead", "testbed"), nil
	}
	return "", errors.New("no folder for the cache of built programs: set FAIRLEAD_CACHE, XDG_CACHE_HOME or HOME")
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
