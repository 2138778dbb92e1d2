package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestPack(t *testing.T) {
	files := []packed{{"kubectl-fairlead", 0o755, []byte("program")}, {"LICENSE", 0o644, []byte("licence")}}
	for system, read := range map[string]func(*testing.T, string) []packed{"linux": untarred, "darwin": untarred, "windows": unzipped} {
		t.Run(system, func(t *testing.T) {
			dir := t.TempDir()
			for range 2 { // an archive that is there is written over
				if err := pack(filepath.Join(dir, "plugin"), system, files); err != nil {
					t.Fatal(err)
				}
			}
			found, err := filepath.Glob(filepath.Join(dir, "*"))
			if err != nil || len(found) != 1 {
				t.Fatalf("%v, %v", found, err)
			}
			got := read(t, found[0])
			if !slices.EqualFunc(got, files, func(a, b packed) bool {
				return a.name == b.name && a.mode == b.mode && string(a.content) == string(b.content)
			}) {
				t.Errorf("%s has %+v", found[0], got)
			}
		})
	}
}

func untarred(t *testing.T, path string) []packed {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var out []packed
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packed{h.Name, h.Mode, content})
	}
}

func unzipped(t *testing.T, path string) []packed {
	t.Helper()
	r, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var out []packed
	for _, f := range r.File {
		in, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, packed{f.Name, int64(f.Mode().Perm()), content})
	}
	return out
}

// What people download has a checksum, the plugin too.
func TestChecksumsHaveThePlugin(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"fairlead-0.1.0.tgz", "kubectl-fairlead-v0.1.0-linux-amd64.tar.gz", "envoy-test.oci.tar"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := writeChecksums(dir); err != nil {
		t.Fatal(err)
	}
	sums, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS"))
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"fairlead-0.1.0.tgz": true, "kubectl-fairlead-v0.1.0-linux-amd64.tar.gz": true, "envoy-test.oci.tar": false} {
		if strings.Contains(string(sums), "  "+name+"\n") != want {
			t.Errorf("%s: %s", name, sums)
		}
	}
}
