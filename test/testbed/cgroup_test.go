package testbed

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"
)

func TestCgroupsFrom(t *testing.T) {
	cg, err := cgroupsFrom(`tmpfs /sys/fs/cgroup tmpfs rw 0 0
cgroup /sys/fs/cgroup/cpu,cpuacct cgroup rw,cpu,cpuacct 0 0
cgroup /sys/fs/cgroup/freezer cgroup rw,freezer 0 0
cgroup /sys/fs/cgroup/pids cgroup rw,pids 0 0
cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0
short
`)
	if err != nil {
		t.Fatal(err)
	}
	want := cgroups{
		roots:  []string{"/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup/freezer", "/sys/fs/cgroup/pids"},
		others: []string{"/sys/fs/cgroup/unified"}, tracker: "/sys/fs/cgroup/pids",
	}
	if !reflect.DeepEqual(cg, want) {
		t.Errorf("got %+v, want %+v", cg, want)
	}
	if _, err := cgroupsFrom("tmpfs / tmpfs rw 0 0\n"); err == nil {
		t.Error("no hierarchy and no error")
	}
}

func TestPrefer(t *testing.T) {
	for name, want := range map[string]string{"cpu.shares": "16384", "cpu.weight": "1600"} {
		dir := t.TempDir()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte("1"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := prefer(dir); err != nil {
			t.Fatal(err)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != want || len(entries) != 1 {
			t.Errorf("%s is %q of %d files, want %q of one; %v", name, got, len(entries), want, err)
		}
	}
}

func TestInGroups(t *testing.T) {
	text := "8:pids:/fairlead-testbed/a/hosts/node1\n4:memory:/user\n0::/\n"
	for group, want := range map[string]bool{
		"/fairlead-testbed/a": true, "/fairlead-testbed/a/hosts/node1": true,
		"/fairlead-testbed/a/hosts/node": false, "/fairlead-testbed": true, "/fairlead-testbed/b": false, "/use": false,
	} {
		if got := inGroups(text, []string{"/none", group}); got != want {
			t.Errorf("%s: %v", group, got)
		}
	}
}
