package testbed

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRequirementIsFoundWhereItIs(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for path, mode := range map[string]os.FileMode{"runs": 0o755, "does-not": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, path), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	for program, want := range map[string]bool{"runs": true, "does-not": false, "folder": false, "absent": false} {
		path, found := requirement{Program: program, Dirs: []string{other, dir}}.find()
		if found != want || (found && path != filepath.Join(dir, program)) {
			t.Errorf("%s: %q, %v", program, path, found)
		}
	}
	if text := describe([]requirement{{Program: "bridge", Package: "containernetworking-plugins"}}); !strings.Contains(text, "containernetworking-plugins") {
		t.Errorf("does not name the package: %s", text)
	}
}

func TestInotifyLimit(t *testing.T) {
	path := filepath.Join(t.TempDir(), "max")
	if err := os.WriteFile(path, []byte("128\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkInotify(path, 3); err != nil {
		t.Error(err)
	}
	if err := checkInotify(path, 20); err == nil || !strings.Contains(err.Error(), "sysctl -w fs.inotify.max_user_instances=") {
		t.Errorf("must say how to raise the limit: %v", err)
	}
	if err := os.WriteFile(path, []byte("many\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := checkInotify(path, 1); err == nil {
		t.Error("no number and no error")
	}
}

func TestFailedChecks(t *testing.T) {
	answer := "[+]ping ok\n[-]poststarthook/rbac/bootstrap-roles failed: reason withheld\n[-]etcd failed: reason withheld\nreadyz check failed\n"
	if got, want := failedChecks(answer), "poststarthook/rbac/bootstrap-roles, etcd"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
