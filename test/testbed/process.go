package testbed

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// processSpec is what it takes to start a program of the cluster, again and again.
type processSpec struct {
	Name string   `json:"name"` // the program, as in programNames
	Host string   `json:"host"`
	Args []string `json:"args"` // with the path of the executable first
	Dir  string   `json:"dir"`
	Path string   `json:"path"` // its $PATH
}

// record is a started program. A process id may be used again by the kernel, so the start time stands beside it.
type record struct {
	processSpec
	PID   int    `json:"pid"`
	Start uint64 `json:"start"` // clock ticks after boot, field 22 of /proc/PID/stat
}

func (l layout) recordPath(host, name string) string {
	return filepath.Join(l.procs(), host+"."+name+".json")
}

func (l layout) logPath(host, name string) string { return l.path("logs", host+"."+name+".log") }

// startTime reads when a process started from the text of its /proc/PID/stat. A zombie has ended, unless it is a first
// thread whose others are still ending: they hold the process's files and ports.
func startTime(stat string) (ticks uint64, alive bool, err error) {
	// The second field is the program's name in parentheses, which may have blanks and parentheses itself.
	end := strings.LastIndexByte(stat, ')')
	if end < 0 {
		return 0, false, fmt.Errorf("no program name in %q", stat)
	}
	fields := strings.Fields(stat[end+1:])
	const state, threads, start = 0, 17, 19 // counted from the third field
	if len(fields) <= start {
		return 0, false, fmt.Errorf("%d fields in %q, too few", len(fields)+2, stat)
	}
	ticks, err = strconv.ParseUint(fields[start], 10, 64)
	if err != nil {
		return 0, false, fmt.Errorf("start time in %q: %w", stat, err)
	}
	running, err := strconv.Atoi(fields[threads])
	if err != nil {
		return 0, false, fmt.Errorf("number of threads in %q: %w", stat, err)
	}
	return ticks, running > 1 || fields[state] != "Z" && fields[state] != "X", nil
}

func statOf(pid int) (ticks uint64, alive bool, err error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, false, err
	}
	return startTime(string(text))
}

// alive tells whether the recorded process runs, and not another one that got its id.
func (r record) alive() bool {
	ticks, alive, err := statOf(r.PID)
	return err == nil && alive && ticks == r.Start
}

// signal reaches the recorded process only, never one that got its id later.
func (r record) signal(sig syscall.Signal) error {
	fd, err := unix.PidfdOpen(r.PID, 0)
	if err != nil {
		if errors.Is(err, unix.ESRCH) {
			return nil
		}
		return fmt.Errorf("find process %d (%s on %s): %w", r.PID, r.Name, r.Host, err)
	}
	defer unix.Close(fd)
	// The descriptor holds one process: if that is the recorded one now, it stays so.
	if !r.alive() {
		return nil
	}
	if err := unix.PidfdSendSignal(fd, sig, nil, 0); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("signal process %d (%s on %s): %w", r.PID, r.Name, r.Host, err)
	}
	return nil
}

// stop ends the process: politely first, by SIGKILL after the grace period.
func (r record) stop(grace time.Duration) error {
	if err := r.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if await(grace, func() bool { return !r.alive() }) {
		return nil
	}
	return r.kill()
}

func (r record) kill() error {
	if err := r.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if !await(killWait, func() bool { return !r.alive() }) {
		return fmt.Errorf("process %d (%s on %s) does not end after SIGKILL", r.PID, r.Name, r.Host)
	}
	return nil
}

const killWait = 10 * time.Second

// await polls until the condition holds and tells whether it did in time.
func await(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(20 * time.Millisecond)
	}
	return true
}

const (
	shell = "/bin/bash"
	// enterScript gets a cgroup's file of processes, a namespace's file, and a command. nsenter is used rather than
	// ip netns exec, which mounts another /sys, where a kubelet finds no cgroups.
	enterScript = `{ echo $$ >"$1"; } 2>/dev/null || { echo "testbed: $2 is gone" >&2; exit 125; }
exec nsenter --net="$2" -- "${@:3}"`
)

// enterHost are the shell's arguments for running a command in the host's cgroup and namespace, with the shell's own
// process id.
func enterHost(l layout, cg cgroups, host string, args []string) []string {
	return append([]string{"-c", enterScript, "testbed", cg.procsFile(l.hostCgroup(host)), l.nsPath(host)}, args...)
}

// start runs the program in its host's namespace and in its host's cgroup, and writes its record. The cgroup is
// entered before the program runs, so that whatever it starts can be found even if the record is never written.
func start(l layout, cg cgroups, spec processSpec, extra ...*os.File) error {
	log, err := os.OpenFile(l.logPath(spec.Host, spec.Name), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return fmt.Errorf("open the log of %s on %s: %w", spec.Name, spec.Host, err)
	}
	defer log.Close()
	cmd := exec.Command(shell, enterHost(l, cg, spec.Host, spec.Args)...)
	cmd.Dir = spec.Dir
	cmd.Env = []string{"PATH=" + spec.Path, "HOME=/root"}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = extra
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start %s on %s: %w", spec.Name, spec.Host, err)
	}
	ticks, _, err := statOf(cmd.Process.Pid)
	// Whoever started a process must fetch its exit status, or it stays as a zombie.
	go func() { _ = cmd.Wait() }()
	if err != nil {
		return fmt.Errorf("read when %s on %s started: %w", spec.Name, spec.Host, err)
	}
	r := record{processSpec: spec, PID: cmd.Process.Pid, Start: ticks}
	if err := writeJSON(l.recordPath(spec.Host, spec.Name), r); err != nil {
		return errors.Join(err, r.kill())
	}
	return nil
}

// writeJSON replaces the file at once, so that a reader or a crash never sees half of it.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return writeFile(path, append(text, '\n'))
}

func writeFile(path string, text []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o600); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return os.Rename(path+".new", path)
}

func readRecord(l layout, host, name string) (record, error) {
	return readRecordFile(l.recordPath(host, name))
}

func readRecordFile(path string) (record, error) {
	var r record
	text, err := os.ReadFile(path)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("read the process record %s: %w", path, err)
	}
	if r.PID <= 1 {
		return r, fmt.Errorf("process record %s: %d is no process id of ours", path, r.PID)
	}
	return r, nil
}

// records reads all process records of the cluster; a broken one does not hide the others.
func records(l layout) ([]record, error) {
	paths, err := filepath.Glob(filepath.Join(l.procs(), "*.json"))
	if err != nil {
		return nil, err
	}
	var out []record
	var errs []error
	for _, path := range paths {
		r, err := readRecordFile(path)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		out = append(out, r)
	}
	return out, errors.Join(errs...)
}
