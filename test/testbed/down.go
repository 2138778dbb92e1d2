package testbed

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Down ends the cluster's processes, by the ids and cgroups that are its own, and removes its mounts, namespaces,
// cgroups and files. Calling it again is harmless.
func (c *Cluster) Down() error { return Down(context.Background(), c.Name(), c.say) }

// Down removes the cluster of that name, whoever made it and whatever is left of it. It is harmless if there is none.
func Down(ctx context.Context, name string, say Progress) error {
	if err := checkName(name); err != nil {
		return err
	}
	if err := checkRoot(); err != nil {
		return err
	}
	l := newLayout(runBase(os.Getenv), name)
	unlock, err := lockCluster(ctx, l, say)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.RemoveAll(l.failedLogs()); err != nil {
		return err
	}
	began := time.Now()
	there, err := leftovers(l)
	if err != nil {
		return err
	}
	if !there {
		say.printf("no cluster %s is up", name)
		return nil
	}
	if err := remove(l); err != nil {
		return fmt.Errorf("remove cluster %s: %w", name, err)
	}
	say.printf("cluster %s removed in %s", name, round(time.Since(began)))
	return nil
}

// leftovers tells whether anything of the cluster exists.
func leftovers(l layout) (bool, error) {
	namespaces, err := namespacesOf(l)
	if err != nil {
		return false, err
	}
	cg, err := findCgroups()
	if err != nil {
		return false, err
	}
	return exists(l.Run) || len(namespaces) > 0 || exists(filepath.Join(cg.tracker, l.cgroup())), nil
}

// remove takes the cluster apart. It goes on after an error, so that as little as possible is left, but keeps the
// cluster's folder as long as something in it is in use. The caller holds the cluster's lock.
func remove(l layout) error {
	cg, err := findCgroups()
	if err != nil {
		return err
	}
	if err := endProcesses(l, cg); err != nil {
		return err
	}
	errs := []error{unmountBelow(l.Run), removeNamespaces(l), cg.remove(l)}
	removeTraces(l)
	if err := errors.Join(errs...); err != nil {
		return err
	}
	return os.RemoveAll(l.Run)
}

func endProcesses(l layout, cg cgroups) error {
	// A record that cannot be read names nothing: its process is found by its cgroup.
	recorded, _ := records(l)
	for _, r := range recorded {
		if err := r.signal(unix.SIGKILL); err != nil {
			return err
		}
	}
	return cg.killAll(l.cgroup())
}

// unmountBelow detaches all mounts in the folder, the innermost first.
func unmountBelow(dir string) error {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	var errs []error
	for _, point := range slices.Backward(mountsBelow(string(text), dir)) {
		if err := unix.Unmount(point, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
			errs = append(errs, fmt.Errorf("unmount %s: %w", point, err))
		}
	}
	return errors.Join(errs...)
}

// mountsBelow reads the mount points in the folder from the text of /proc/self/mountinfo, in their order.
func mountsBelow(mountinfo, dir string) []string {
	var points []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescapeMount(fields[4]); strings.HasPrefix(point, dir+"/") {
			points = append(points, point)
		}
	}
	return points
}

// unescapeMount turns the octal escapes of mountinfo (blank, tab, newline, backslash) back into characters.
func unescapeMount(s string) string {
	var out strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+3 < len(s) {
			if b, err := strconv.ParseUint(s[i+1:i+4], 8, 8); err == nil {
				out.WriteByte(byte(b))
				i += 3
				continue
			}
		}
		out.WriteByte(s[i])
	}
	return out.String()
}

// removeTraces deletes what the cluster's programs keep in fixed places of the machine: sockets of containerd's shims,
// CNI's results and the kubelet's links to container logs.
func removeTraces(l layout) {
	removeShimSockets(l, "*")
	results, _ := filepath.Glob("/var/lib/cni/results/*")
	for _, path := range results {
		// A result names the pod's namespace, which is in the cluster's folder.
		if text, err := os.ReadFile(path); err == nil && strings.Contains(string(text), `"`+l.Run+"/") {
			os.Remove(path)
		}
	}
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, path := range links {
		if to, err := os.Readlink(path); err == nil && strings.HasPrefix(to, l.Run+"/") {
			os.Remove(path)
		}
	}
}

// removeShimSockets deletes the sockets of shims that were killed; a new containerd would forget them.
func removeShimSockets(l layout, nodes string) {
	for _, socket := range shimSockets(l, nodes) {
		os.Remove(socket)
	}
}

// shimSockets are the sockets, in a folder that all containerds share, of the shims on the nodes (a pattern).
func shimSockets(l layout, nodes string) []string {
	var sockets []string
	paths, _ := filepath.Glob(l.path(nodes, "state", "io.containerd.runtime.v2.task", "*", "*", "bootstrap.json"))
	for _, path := range paths {
		var params struct{ Address string }
		text, err := os.ReadFile(path)
		if err != nil || json.Unmarshal(text, &params) != nil {
			continue
		}
		if socket, ok := strings.CutPrefix(params.Address, "unix://"); ok && strings.HasPrefix(socket, "/run/containerd/s/") {
			sockets = append(sockets, filepath.Clean(socket))
		}
	}
	return sockets
}

// Info is what List tells of a cluster.
type Info struct {
	Name      string
	Nodes     int
	ProxyMode string
	Phase     string // "up", "starting", or "left behind" when the process that owned it is gone
	Created   time.Time
	APIURL    string // for the root network namespace
}

// List tells which clusters are on this machine, also those that were left behind.
func List() ([]Info, error) {
	base := runBase(os.Getenv)
	entries, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("list the clusters: %w", err)
	}
	var out []Info
	for _, e := range entries {
		if !e.IsDir() || checkName(e.Name()) != nil {
			continue
		}
		s, err := readState(newLayout(base, e.Name()))
		info := Info{
			Name: e.Name(), Nodes: s.Config.Nodes, ProxyMode: s.Config.ProxyMode, Phase: s.Phase, Created: s.Created, APIURL: s.APIURL,
		}
		if err != nil || (s.Owner.PID != 0 && !s.Owner.alive()) {
			info.Phase = "left behind"
		}
		out = append(out, info)
	}
	return out, nil
}
