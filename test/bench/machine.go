package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/lab"
)

// machine is where the figures come from.
type machine struct {
	cpu, kernel, goVersion, commit string
	cores                          int
	memoryKiB                      uint64
	date                           time.Time
}

func thisMachine(ctx context.Context) (machine, error) {
	m := machine{goVersion: runtime.Version(), cores: runtime.NumCPU(), date: time.Now()}
	cpuinfo, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return m, fmt.Errorf("reading the CPU's model: %w", err)
	}
	m.cpu = keyed(string(cpuinfo), "model name")
	if m.cpu == "" {
		m.cpu = runtime.GOARCH
	}
	meminfo, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return m, fmt.Errorf("reading the size of memory: %w", err)
	}
	if m.memoryKiB, err = kibibytes(keyed(string(meminfo), "MemTotal")); err != nil {
		return m, fmt.Errorf("reading the size of memory: %w", err)
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return m, fmt.Errorf("reading the kernel's version: %w", err)
	}
	m.kernel = string(bytes.TrimRight(u.Release[:], "\x00"))
	m.commit = commit(ctx)
	return m, nil
}

// commit is the tree that is measured; a tree without git has none.
func commit(ctx context.Context) string {
	cmd := exec.CommandContext(ctx, "git", "describe", "--always", "--dirty", "--abbrev=12")
	cmd.Dir = lab.Root()
	out, err := cmd.Output()
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(out))
}

// keyed is the value of the first line "key : value", as in files of /proc.
func keyed(text, key string) string {
	for line := range strings.Lines(text) {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// kibibytes reads "1234 kB", as files of /proc have it.
func kibibytes(value string) (uint64, error) {
	digits, ok := strings.CutSuffix(value, " kB")
	if !ok {
		return 0, fmt.Errorf("%q is no number of kB", value)
	}
	return strconv.ParseUint(strings.TrimSpace(digits), 10, 64)
}

func (m machine) markdown() string {
	return fmt.Sprintf("%s, %d cores, %s GiB, Linux %s, %s; %s, commit %s.",
		m.cpu, m.cores, number(float64(m.memoryKiB)/(1<<20)), m.kernel, m.goVersion, m.date.Format("2006-01-02"), m.commit)
}
