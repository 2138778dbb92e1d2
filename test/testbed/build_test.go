package testbed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

func TestKeysDependOnWhatIsBuilt(t *testing.T) {
	base := component{Name: "x", Module: "m", Version: "v1", LDFlags: "-s", Programs: []program{{"p", "m/p"}}}
	seen := map[string]string{}
	for what, c := range map[string]component{
		"base":    base,
		"version": {Name: "x", Module: "m", Version: "v2", LDFlags: "-s", Programs: base.Programs},
		"flags":   {Name: "x", Module: "m", Version: "v1", LDFlags: "-w", Programs: base.Programs},
		"tags":    {Name: "x", Module: "m", Version: "v1", LDFlags: "-s", Tags: "t", Programs: base.Programs},
		"source":  {Name: "x", Module: "m", Version: "v1", LDFlags: "-s", Source: "_src/pause/main.go", Programs: base.Programs},
		"source2": {Name: "x", Module: "m", Version: "v1", LDFlags: "-s", Source: "_src/coredns/main.go", Programs: base.Programs},
	} {
		key, err := c.key()
		if err != nil {
			t.Fatal(err)
		}
		if other, taken := seen[key]; taken {
			t.Errorf("%s and %s share the key %s", what, other, key)
		}
		seen[key] = what
	}
}

func TestVersionsArePinned(t *testing.T) {
	exact := regexp.MustCompile(`^v\d+\.\d+\.\d+$`)
	names := map[string]bool{}
	for _, c := range append(slices.Clone(components), metallb, envoyGateway, contour) {
		if (c.Module == "") != (c.Version == "") || (c.Module != "" && !exact.MatchString(c.Version)) {
			t.Errorf("%s: module %q at version %q", c.Name, c.Module, c.Version)
		}
		for _, p := range c.Programs {
			if names[p.Name] {
				t.Errorf("two components build %s", p.Name)
			}
			names[p.Name] = true
		}
	}
	for _, name := range append(programNames(), apiProxy, "ctr", "kubectl", "containerd-shim-runc-v2") {
		if !names[name] {
			t.Errorf("nothing builds %s", name)
		}
	}
	for _, i := range append(slices.Clone(builtIn), metallbImages...) {
		if !names[i.Program] {
			t.Errorf("nothing builds %s for the image %s", i.Program, i.Reference)
		}
	}
	flags := components[0].LDFlags
	if !strings.Contains(flags, "gitVersion="+kubernetesVersion+" ") {
		t.Errorf("kubernetes would call itself another version than %s: %s", kubernetesVersion, flags)
	}
}

func TestRenderReplaces(t *testing.T) {
	mod := `{"Replace":[
		{"Old":{"Path":"k8s.io/api"},"New":{"Path":"./staging/src/k8s.io/api"}},
		{"Old":{"Path":"example.com/x"},"New":{"Path":"example.com/y","Version":"v1.0.0"}}]}`
	got, err := renderReplaces([]byte(mod), "v1.37.2")
	if err != nil {
		t.Fatal(err)
	}
	if want := "\nreplace (\n\tk8s.io/api => k8s.io/api v0.37.2\n)\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if _, err := renderReplaces([]byte(mod), "v2.0.0"); err == nil {
		t.Error("v2 accepted")
	}
	if _, err := renderReplaces([]byte("{"), "v1.0.0"); err == nil {
		t.Error("broken JSON accepted")
	}
}

func TestCacheDir(t *testing.T) {
	env := func(vars map[string]string) func(string) string { return func(k string) string { return vars[k] } }
	for want, vars := range map[string]map[string]string{
		"/c/testbed":                 {"FAIRLEAD_CACHE": "/c", "XDG_CACHE_HOME": "/x", "HOME": "/h"},
		"/x/fairlead/testbed":        {"XDG_CACHE_HOME": "/x", "HOME": "/h"},
		"/h/.cache/fairlead/testbed": {"HOME": "/h"},
	} {
		if got, err := cacheDir(env(vars)); got != want || err != nil {
			t.Errorf("%v: %s, %v", vars, got, err)
		}
	}
	if _, err := cacheDir(env(nil)); err == nil {
		t.Error("no folder and no error")
	}
}

// fakeGo puts a go command on the PATH that "builds" by writing to the file after -o and notes what it built. It fails
// half-way through the program that the file named "fail" in its folder names.
func fakeGo(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	script := `#!/bin/bash
case "$1 $2" in
"mod download") echo '{"GoMod":"x"}'; exit;;
"mod edit") echo '{"Replace":[]}'; exit;;
esac
[ "$1" = build ] || exit 0
while [ $# -gt 0 ]; do [ "$1" = -o ] && out=$2; shift; done
name=${out##*/out-}
echo "$name" >>` + dir + `/built
echo half >"$out"
if grep -qx "$name" ` + dir + `/fail 2>/dev/null; then echo "no space left" >&2; exit 1; fi
echo whole >"$out"
`
	if err := os.WriteFile(filepath.Join(dir, "go"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("FAIRLEAD_CACHE", filepath.Join(dir, "cache"))
	return dir
}

func TestBuildLeavesNothingHalfMade(t *testing.T) {
	dir := fakeGo(t)
	fail := filepath.Join(dir, "fail")
	if err := os.WriteFile(fail, []byte("kubelet\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err := Build(context.Background(), Progress{})
	if err == nil || !strings.Contains(err.Error(), "kubelet") || !strings.Contains(err.Error(), "no space left") {
		t.Fatalf("the error must name the program and the reason: %v", err)
	}
	bins, err := binaries(filepath.Join(dir, "cache", "testbed"), components...)
	if err != nil {
		t.Fatal(err)
	}
	if !exists(bins[APIServer]) || exists(bins[Kubelet]) {
		t.Error("want the program built before the failure to be kept, and the failed one to be absent")
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "cache", "testbed", ".build-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	// What a killed build leaves goes with the next one.
	killed := filepath.Join(dir, "cache", "testbed", ".build-killed")
	if err := errors.Join(os.Mkdir(killed, 0o755), os.Remove(fail)); err != nil {
		t.Fatal(err)
	}
	if _, err := Build(context.Background(), Progress{}); err != nil {
		t.Fatal(err)
	}
	if exists(killed) {
		t.Error("the killed build's folder is still there")
	}
	for name, path := range bins {
		if text, err := os.ReadFile(path); err != nil || string(text) != "whole\n" {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
}

func TestConcurrentBuildsBuildOnce(t *testing.T) {
	dir := fakeGo(t)
	var wg sync.WaitGroup
	errs := make([]error, 3)
	for i := range errs {
		wg.Go(func() { _, errs[i] = Build(context.Background(), Progress{}) })
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "built"))
	if err != nil {
		t.Fatal(err)
	}
	times := map[string]int{}
	for name := range strings.FieldsSeq(string(text)) {
		times[name]++
	}
	for name, n := range times {
		if n != 1 {
			t.Errorf("%s was built %d times", name, n)
		}
	}
	if len(times) == 0 {
		t.Error("nothing was built")
	}
}

func TestLockIsGivenUpWithTheContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := lockFile(context.Background(), path, func() { t.Error("waited for a free lock") })
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	_, err = lockFile(ctx, path, cancel)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	unlock()
	again, err := lockFile(context.Background(), path, func() { t.Error("waited for a lock that was given back") })
	if err != nil {
		t.Fatal(err)
	}
	again()
}
