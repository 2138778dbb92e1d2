package envoyimage

import (
	"context"
	"debug/elf"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// library is where the shared libraries of an architecture are.
type library struct {
	// dirs are where to look, on this machine.
	dirs []string
	// shown is the folder of the image in which they are found by the dynamic
	// loader; none: where they are on this machine.
	shown string
}

// triplets name architectures as the folders of their libraries do.
var triplets = map[string]string{"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}

// ownLibrary is this machine's: where its dynamic loader looks by itself, on Debian
// and elsewhere.
func ownLibrary(arch string) library {
	multi := triplets[arch]
	return library{dirs: []string{"/lib/" + multi, "/usr/lib/" + multi, "/lib64", "/usr/lib64", "/lib", "/usr/lib"}}
}

// crossLibrary is what Debian's packages for cross compilers have below a folder.
func crossLibrary(arch, root string) library {
	return library{dirs: []string{filepath.Join(root, "usr", triplets[arch], "lib")}, shown: "/lib/" + triplets[arch]}
}

// librariesOf finds the libraries of an architecture. Those of another than this
// machine's are fetched to dir where they are not installed; that takes no root.
func librariesOf(ctx context.Context, arch, dir string) (library, error) {
	if arch == runtime.GOARCH {
		return ownLibrary(arch), nil
	}
	if l := crossLibrary(arch, "/"); exists(filepath.Join(l.dirs[0], "libc.so.6")) {
		return l, nil
	}
	name := "libc6-" + arch + "-cross"
	if err := unpackPackage(ctx, name, dir); err != nil {
		return library{}, fmt.Errorf("there is no C library for %s: the package %s has it on Debian and Ubuntu: %w", arch, name, err)
	}
	return crossLibrary(arch, dir), nil
}

// unpackPackage fetches a package of the distribution, whose signatures apt checks,
// and unpacks it below dir.
func unpackPackage(ctx context.Context, name, dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	get := exec.CommandContext(ctx, "apt-get", "download", "--quiet", name)
	get.Dir = dir
	if out, err := get.CombinedOutput(); err != nil {
		return fmt.Errorf("fetching it with apt-get: %w\n%s", err, out)
	}
	found, err := filepath.Glob(filepath.Join(dir, name+"_*.deb"))
	if err != nil {
		return err
	}
	if len(found) != 1 {
		return fmt.Errorf("apt-get fetched %d files, want one", len(found))
	}
	if out, err := exec.CommandContext(ctx, "dpkg-deb", "--extract", found[0], dir).CombinedOutput(); err != nil {
		return fmt.Errorf("unpacking it: %w\n%s", err, out)
	}
	return nil
}

// neededBy are the dynamic loader and the libraries that a program needs: the path
// where the loader finds it to the path on this machine.
func (l library) neededBy(binary string) (map[string]string, error) {
	out := map[string]string{}
	interpreter, err := interpreterOf(binary)
	if err != nil {
		return nil, err
	}
	if interpreter != "" {
		out[interpreter] = interpreter
		if l.shown != "" {
			if out[interpreter], err = l.find(filepath.Base(interpreter)); err != nil {
				return nil, err
			}
		}
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
			path, err := l.find(name)
			if err != nil {
				return nil, err
			}
			out[l.inImage(path)] = path
			todo = append(todo, path)
		}
	}
	return out, nil
}

func (l library) inImage(path string) string {
	if l.shown == "" {
		return path
	}
	return filepath.Join(l.shown, filepath.Base(path))
}

func (l library) find(name string) (string, error) {
	for _, dir := range l.dirs {
		if path := filepath.Join(dir, name); exists(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("library %s, which Envoy needs, is in none of %s: run this on a machine with the GNU C library", name, strings.Join(l.dirs, ", "))
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
