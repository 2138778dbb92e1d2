package envoyimage

import (
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"slices"
	"strings"
)

// searchDirs are where the dynamic loader looks by itself, on Debian and elsewhere.
func searchDirs(arch string) []string {
	multi := map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}[arch]
	return []string{"/lib/" + multi, "/usr/lib/" + multi, "/lib64", "/usr/lib64", "/lib", "/usr/lib"}
}

// dependencies are the dynamic loader and the libraries that a program needs, each
// by the path where the loader finds it.
func dependencies(binary string, dirs []string) (map[string]string, error) {
	out := map[string]string{}
	interpreter, err := interpreterOf(binary)
	if err != nil {
		return nil, err
	}
	if interpreter != "" {
		out[interpreter] = interpreter
	}
	todo, seen := []string{binary}, map[string]bool{}
	for len(todo) > 0 {
		names, err := imports(todo[0])
		if err != nil {
			return nil, err
		}
		todo = todo[1:]
		for _, name := range names {
			if seen[name] || name == filepath.Base(interpreter) {
				continue
			}
			seen[name] = true
			path, err := find(name, dirs)
			if err != nil {
				return nil, err
			}
			out[path] = path
			todo = append(todo, path)
		}
	}
	return out, nil
}

func find(name string, dirs []string) (string, error) {
	for _, dir := range dirs {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s, which Envoy needs, is in none of %s: run this on a machine with the GNU C library", name, strings.Join(dirs, ", "))
}

func imports(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading what %s links to: %w", path, err)
	}
	defer f.Close()
	names, err := f.ImportedLibraries()
	if err != nil {
		return nil, fmt.Errorf("reading what %s links to: %w", path, err)
	}
	return names, nil
}

// interpreterOf is the dynamic loader that a program names; none for a static one.
func interpreterOf(path string) (string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return "", fmt.Errorf("reading the loader of %s: %w", path, err)
	}
	defer f.Close()
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP {
			text, err := io.ReadAll(p.Open())
			if err != nil {
				return "", fmt.Errorf("reading the loader of %s: %w", path, err)
			}
			return strings.TrimRight(string(text), "\x00"), nil
		}
	}
	return "", nil
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
