package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	coordinationv1 "k8s.io/api/coordination/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/lab"
)

// processes are those of a component (controller or speaker), one in each of its
// pods.
func (b *bench) processes(ctx context.Context, component string) ([]lab.Process, error) {
	pods, err := b.lab.Pods(ctx, component)
	if err != nil {
		return nil, err
	}
	program := "fairlead-" + component
	out, err := lab.Processes(b.name, program, pods)
	if err != nil {
		return nil, err
	}
	if len(out) != len(pods) {
		return nil, fmt.Errorf("found %d processes %s of %d pods: %v", len(out), program, len(pods), out)
	}
	return out, nil
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

// age is how long ago a process was started.
func age(pid int) (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the start of process %d: %w", pid, err)
	}
	began, err := readStart(string(text))
	if err != nil {
		return 0, err
	}
	var up unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &up); err != nil {
		return 0, fmt.Errorf("reading the time since boot: %w", err)
	}
	return time.Duration(up.Nano()) - began, nil
}

// readCPUTime reads utime and stime of /proc/PID/stat, readStart starttime, which is
// the time since boot.
func readCPUTime(stat string) (time.Duration, error) { return ticksIn(stat, 14, 15) }
func readStart(stat string) (time.Duration, error)   { return ticksIn(stat, 22, 22) }

// ticksPerSecond is USER_HZ, which is 100 on every Linux that Go runs on.
const ticksPerSecond = 100

// ticksIn adds up fields of /proc/PID/stat that are times, by their numbers in
// proc(5).
func ticksIn(stat string, first, last int) (time.Duration, error) {
	// The second field is a name in parentheses that may hold anything.
	const behind = 3
	end := strings.LastIndexByte(stat, ')')
	fields := strings.Fields(stat[end+1:])
	if end < 0 || len(fields) <= last-behind {
		return 0, fmt.Errorf("%q is not the text of /proc/PID/stat", stat)
	}
	var ticks uint64
	for _, f := range fields[first-behind : last-behind+1] {
		n, err := strconv.ParseUint(f, 10, 63)
		if err != nil {
			return 0, fmt.Errorf("a time in %q: %w", stat, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * (time.Second / ticksPerSecond), nil
}

// leader is the pod of the controller that works.
func (b *bench) leader(ctx context.Context) (string, error) {
	holder, err := b.holder(ctx)
	return podOf(holder), err
}

// holder is who holds the controllers' Lease: a process in a pod.
func (b *bench) holder(ctx context.Context) (string, error) {
	var lease coordinationv1.Lease
	if err := b.lab.Client.Get(ctx, client.ObjectKey{Namespace: lab.Namespace, Name: controllerDeployment}, &lease); err != nil {
		return "", fmt.Errorf("reading the controllers' Lease: %w", err)
	}
	if lease.Spec.HolderIdentity == nil {
		return "", errors.New("nobody holds the controllers' Lease")
	}
	return *lease.Spec.HolderIdentity, nil
}

func podOf(holder string) string {
	pod, _, _ := strings.Cut(holder, "_")
	return pod
}
