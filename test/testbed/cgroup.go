package testbed

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const cgroupMount = "/sys/fs/cgroup"

// threadsWorth is the share of the cores that the pods of all clusters have together when there are too few: as much as so many
// busy threads outside of them. Without it they have what one has, since every program of a cluster is a group of its own to the
// kernel (by autogroup, or as a task of the root group), and when a second cluster starts beside one, its pods stand still for
// seconds.
const threadsWorth = 16

// cgroups are the hierarchies of this machine: one per controller (version 1) or a single one (version 2).
type cgroups struct {
	roots   []string // mount points that the kubelet needs its cgroup in
	others  []string // mount points that runc makes groups in all the same: version 2 beside version 1
	tracker string   // the one by which the cluster's processes are found
	unified bool
}

func findCgroups() (cgroups, error) {
	if exists(filepath.Join(cgroupMount, "cgroup.controllers")) {
		return cgroups{roots: []string{cgroupMount}, tracker: cgroupMount, unified: true}, nil
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return cgroups{}, err
	}
	return cgroupsFrom(string(mounts))
}

// cgroupsFrom reads the version 1 hierarchies from the text of /proc/self/mounts.
func cgroupsFrom(mounts string) (cgroups, error) {
	var cg cgroups
	for line := range strings.Lines(mounts) {
		f := strings.Fields(line)
		if len(f) < 3 {
			continue
		}
		switch f[2] {
		case "cgroup":
			cg.roots = append(cg.roots, f[1])
		case "cgroup2":
			cg.others = append(cg.others, f[1])
		}
	}
	for _, controller := range []string{"pids", "freezer", "memory"} {
		for _, root := range cg.roots {
			if slices.Contains(strings.Split(filepath.Base(root), ","), controller) {
				cg.tracker = root
				return cg, nil
			}
		}
	}
	return cg, fmt.Errorf("no cgroup hierarchy with pids, freezer or memory is mounted at %s: the kubelet and containerd need them", cgroupMount)
}

func (cg cgroups) procsFile(group string) string {
	return filepath.Join(cg.tracker, group, "cgroup.procs")
}

// make creates the groups of all hosts.
func (cg cgroups) make(l layout, hosts []host) error {
	for _, h := range hosts {
		if err := os.MkdirAll(filepath.Join(cg.tracker, l.hostCgroup(h.Name)), 0o755); err != nil {
			return fmt.Errorf("make a cgroup for the programs of %s: %w", h.Name, err)
		}
		if h.node() == 0 {
			continue
		}
		for _, root := range cg.roots {
			if err := cg.makeDelegated(root, l.podCgroup(h.Name)); err != nil {
				return fmt.Errorf("make a cgroup for the pods of %s: %w", h.Name, err)
			}
		}
	}
	return nil
}

// makeDelegated creates a group and readies each level for the kubelet, which only does so below its own root.
func (cg cgroups) makeDelegated(root, group string) error {
	dir := root
	for _, part := range strings.Split(strings.Trim(group, "/"), "/") {
		parent := dir
		dir = filepath.Join(dir, part)
		if cg.unified {
			if err := delegateAll(parent); err != nil {
				return err
			}
		}
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		if parent == root {
			if err := prefer(dir); err != nil {
				return fmt.Errorf("give the pods their share of the cores: %w", err)
			}
		}
		// A new cpuset of version 1 has no processors and no memory, and takes no process until it has.
		for _, name := range []string{"cpuset.cpus", "cpuset.mems"} {
			if cg.unified || !exists(filepath.Join(dir, name)) {
				continue
			}
			value, err := os.ReadFile(filepath.Join(parent, name))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, name), value, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// prefer gives a group its share of the cores, where the hierarchy is the one that shares them out. The kernel's defaults are
// what one thread has.
func prefer(dir string) error {
	for name, one := range map[string]int{"cpu.shares": 1024, "cpu.weight": 100} {
		path := filepath.Join(dir, name)
		if !exists(path) {
			continue
		}
		if err := os.WriteFile(path, []byte(strconv.Itoa(threadsWorth*one)), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func delegateAll(dir string) error {
	controllers, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	if err != nil {
		return err
	}
	for _, c := range strings.Fields(string(controllers)) {
		if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+c), 0o644); err != nil {
			return fmt.Errorf("enable the cgroup controller %s in %s: %w", c, dir, err)
		}
	}
	return nil
}

// members are the processes in the group and in all groups below it.
func (cg cgroups) members(group string) []int {
	var pids []int
	_ = filepath.WalkDir(filepath.Join(cg.tracker, group), func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() {
			return nil // groups come and go meanwhile
		}
		text, err := os.ReadFile(filepath.Join(path, "cgroup.procs"))
		if err != nil {
			return nil
		}
		for _, field := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(field); err == nil && pid > 1 {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids
}

// killAll ends every process of the groups, also those that are started meanwhile.
func (cg cgroups) killAll(groups ...string) error {
	list := func() (pids []int) {
		for _, g := range groups {
			pids = append(pids, cg.members(g)...)
		}
		return pids
	}
	ended := await(killWait, func() bool {
		pids := list()
		for _, pid := range pids {
			cg.kill(pid, groups)
		}
		return len(pids) == 0
	})
	if !ended {
		return fmt.Errorf("processes %v do not end after SIGKILL", list())
	}
	return nil
}

// kill ends the process if it is in one of the groups: between the listing and now its id may have gone to another.
func (cg cgroups) kill(pid int, groups []string) {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err == nil && inGroups(string(text), groups) {
		_ = unix.PidfdSendSignal(fd, syscall.SIGKILL, nil, 0)
	}
}

// inGroups tells from the text of /proc/PID/cgroup whether the process is in one of the groups or below.
func inGroups(text string, groups []string) bool {
	for line := range strings.Lines(text) {
		parts := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3)
		if len(parts) != 3 {
			continue
		}
		for _, g := range groups {
			if parts[2] == g || strings.HasPrefix(parts[2], g+"/") {
				return true
			}
		}
	}
	return false
}

// remove deletes the cluster's groups in all hierarchies, and the folder above them if no other cluster has one.
func (cg cgroups) remove(l layout) error {
	var errs []error
	for _, root := range slices.Concat(cg.roots, cg.others) {
		top := filepath.Join(root, l.cgroup())
		// The kernel frees a group a moment after its last process is gone.
		gone := await(5*time.Second, func() bool { return removeGroups(top) })
		if !gone {
			errs = append(errs, fmt.Errorf("the cgroup %s cannot be removed: it still has processes", top))
		}
		_ = os.Remove(filepath.Dir(top))
	}
	return errors.Join(errs...)
}

func removeGroups(top string) bool {
	var dirs []string
	_ = filepath.WalkDir(top, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			dirs = append(dirs, path)
		}
		return nil
	})
	for _, dir := range slices.Backward(dirs) {
		_ = os.Remove(dir)
	}
	return !exists(top)
}
