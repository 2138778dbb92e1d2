// Package shares gives programs of a test their share of the cores beside others, as the kubelet gives pods theirs.
package shares

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

const mount = "/sys/fs/cgroup"

// Group is a control group. It ends with the test, and its processes go back to where the test was before.
type Group struct {
	testing.TB
	dir     string
	back    string // the folder of the group that processes go back to
	unified bool   // version 2 of control groups
}

// New makes a group that has a share as of a pod that asks for so many thousandths of a core. The test is skipped where
// that is not possible.
func New(t testing.TB, name string, millicores int) *Group {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: it makes control groups")
	}
	g, err := find()
	if err != nil {
		t.Skipf("cannot make control groups that share the cores: %v", err)
	}
	g.TB = t
	g.dir = filepath.Join(g.dir, fmt.Sprintf("fairlead-test-%d-%s", os.Getpid(), name))
	if err := os.Mkdir(g.dir, 0o755); err != nil {
		t.Skipf("cannot make a control group: %v", err)
	}
	t.Cleanup(g.remove)
	g.Ask(millicores)
	return g
}

// find looks for the hierarchy that shares the cores, and for where this process is in it.
func find() (*Group, error) {
	memberships, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(mount, "cgroup.controllers")); err == nil {
		// Groups beside ours are made at the top, which alone may have both processes and groups that share.
		err := os.WriteFile(filepath.Join(mount, "cgroup.subtree_control"), []byte("+cpu"), 0o644)
		return &Group{dir: mount, back: filepath.Join(mount, membership(string(memberships), "")), unified: true}, err
	}
	for _, name := range []string{"cpu", "cpu,cpuacct"} {
		top := filepath.Join(mount, name)
		if _, err := os.Stat(filepath.Join(top, "cpu.shares")); err == nil {
			return &Group{dir: top, back: filepath.Join(top, membership(string(memberships), "cpu"))}, nil
		}
	}
	return nil, errors.New("no hierarchy with the controller cpu is mounted at " + mount)
}

// membership is the group that /proc/PID/cgroup names for a controller; empty: the one of version 2.
func membership(text, controller string) string {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, c := range strings.Split(parts[1], ",") {
			if c == controller {
				return parts[2]
			}
		}
	}
	return "/"
}

// Ask has the group share as a pod that asks for so many thousandths of a core.
func (g *Group) Ask(millicores int) {
	g.Helper()
	shares := max(2, millicores*1024/1000)
	file, value := "cpu.shares", shares
	if g.unified {
		// As the kubelet turns the one into the other (KEP-2254).
		file, value = "cpu.weight", 1+(shares-2)*9999/262142
	}
	if err := os.WriteFile(filepath.Join(g.dir, file), []byte(strconv.Itoa(value)), 0o644); err != nil {
		g.Fatalf("setting the share of %s: %v", g.dir, err)
	}
}

// Add takes a process in, with all its threads and the children that it will have.
func (g *Group) Add(pid int) {
	g.Helper()
	if err := enter(g.dir, pid); err != nil {
		g.Fatalf("a process enters a control group: %v", err)
	}
}

func enter(dir string, pid int) error {
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
}

// remove ends the group. The kernel takes it away a moment after its last process has gone.
func (g *Group) remove() {
	var err error
	for range 100 {
		text, _ := os.ReadFile(filepath.Join(g.dir, "cgroup.procs"))
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil {
				_ = enter(g.back, pid)
			}
		}
		if err = os.Remove(g.dir); err == nil || errors.Is(err, os.ErrNotExist) {
			return
		}
		<-time.After(20 * time.Millisecond)
	}
	g.Errorf("removing a control group: %v", err)
}
