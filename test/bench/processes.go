package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/lab"
)

// process is a program of Fairlead in a pod of the cluster.
type process struct {
	pid  int
	pod  string
	node string
}

// processes are those of a component (controller or speaker), by the cgroups
// that the kubelets gave their pods.
func (b *bench) processes(ctx context.Context, component string) ([]process, error) {
	pods, err := b.pods(ctx, component)
	if err != nil {
		return nil, err
	}
	groups, err := filepath.Glob("/proc/[0-9]*/cgroup")
	if err != nil {
		return nil, err
	}
	program := "fairlead-" + component
	var out []process
	for _, g := range groups {
		text, err := os.ReadFile(g)
		if err != nil || !runs(filepath.Dir(g), program) {
			continue // most processes are others, and some have ended meanwhile
		}
		for i := range pods {
			if inPod(string(text), b.name, &pods[i]) {
				pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(g)))
				out = append(out, process{pid: pid, pod: pods[i].Name, node: pods[i].Spec.NodeName})
			}
		}
	}
	if len(out) != len(pods) {
		return nil, fmt.Errorf("found %d processes %s of %d pods: %v", len(out), program, len(pods), out)
	}
	return out, nil
}

// runs tells from the first argument whether a process runs a program.
func runs(proc, program string) bool {
	cmdline, err := os.ReadFile(filepath.Join(proc, "cmdline"))
	if err != nil {
		return false
	}
	first, _, _ := bytes.Cut(cmdline, []byte{0})
	return filepath.Base(string(first)) == program
}

// inPod tells from the text of /proc/PID/cgroup whether a process is in a pod of
// a testbed cluster.
func inPod(text, cluster string, p *corev1.Pod) bool {
	return strings.Contains(text, "/fairlead-testbed/"+cluster+"/pods/"+p.Spec.NodeName+"/") && strings.Contains(text, "/pod"+string(p.UID)+"/")
}

// residentMiB is the memory of a process that is in RAM, its program included.
func residentMiB(pid int) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	kib, err := kibibytes(keyed(string(text), "VmRSS"))
	if err != nil {
		return 0, fmt.Errorf("reading the memory of process %d: %w", pid, err)
	}
	return float64(kib) / 1024, nil
}

// cpuTime is what a process has used of the CPU, of all its threads.
func cpuTime(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the CPU time of process %d: %w", pid, err)
	}
	return readCPUTime(string(text))
}

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// readCPUTime reads utime and stime, fields 14 and 15 of /proc/PID/stat (proc(5)).
func readCPUTime(stat string) (time.Duration, error) {
	// The second field is a name in parentheses that may hold anything.
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) < 13 {
		return 0, fmt.Errorf("%q is not the text of /proc/PID/stat", stat)
	}
	var ticks uint64
	for _, f := range fields[11:13] {
		n, err := strconv.ParseUint(f, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("CPU time in %q: %w", stat, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// leader is the pod of the controller that works.
func (b *bench) leader(ctx context.Context) (string, error) {
	var lease coordinationv1.Lease
	if err := b.lab.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: controllerDeployment}, &lease); err != nil {
		return "", fmt.Errorf("reading the controllers' Lease: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return "", fmt.Errorf("nobody holds the controllers' Lease")
	}
	pod, _, _ := strings.Cut(*lease.Spec.HolderIdentity, "_")
	return pod, nil
}
