// Package routers runs FRR and BIRD for tests, on a host of the test's own, and asks them what they know.
package routers

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Host starts programs that end with the test.
type Host interface {
	testing.TB
	Exec(c *exec.Cmd)
}

// Start starts a program on the host of a router. Who gives it ends the program.
type Start func(c *exec.Cmd) error

func startOn(h Host) Start {
	return func(c *exec.Cmd) error {
		h.Helper()
		h.Exec(c)
		return nil
	}
}

// undisturbed is a program that goes before others. A router is a machine of its own: what else runs on ours must not make it
// miss what comes every few milliseconds.
func undisturbed(program string, args ...string) *exec.Cmd {
	return exec.Command("nice", append([]string{"-n", "-15", program}, args...)...)
}

// frrDaemons is where the package frr has its daemons.
const frrDaemons = "/usr/lib/frr/"

// frrPrograms are the daemons in the order in which they are started.
var frrPrograms = []string{"zebra", "bfdd", "bgpd"}

// FRR is a router with FRR's zebra, bgpd and bfdd.
type FRR struct {
	start Start
	dir   string
}

// StartFRR runs FRR with a configuration. The test is skipped where FRR is not installed.
func StartFRR(h Host, config string) *FRR {
	h.Helper()
	needs(h, frrDaemons+"bgpd", "frr")
	dir, err := Directory("frr")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { os.RemoveAll(dir) })
	f, err := RunFRR(startOn(h), dir, config)
	if err != nil {
		h.Fatal(err)
	}
	return f
}

// RunFRR runs FRR with a configuration, with its files in a directory that [Directory] made for frr.
func RunFRR(start Start, dir, config string) (*FRR, error) {
	f := &FRR{start: start, dir: dir}
	if err := os.WriteFile(f.config(), []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("writing FRR's configuration: %w", err)
	}
	return f, f.Start()
}

func (f *FRR) config() string               { return filepath.Join(f.dir, "frr.conf") }
func (f *FRR) pidFile(daemon string) string { return filepath.Join(f.dir, daemon+".pid") }
func (f *FRR) vty(daemon string) string     { return filepath.Join(f.dir, daemon+".vty") }

// Start runs FRR again after Kill, and waits until it has begun.
func (f *FRR) Start() error {
	common := []string{"-f", f.config(), "-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir, "-P", "0", "--log", "file:" + filepath.Join(f.dir, "log")}
	more := map[string][]string{"bfdd": {"--bfdctl", filepath.Join(f.dir, "bfdd.sock")}, "bgpd": {"-p", "179"}}
	for _, d := range frrPrograms {
		args := append(append([]string{"-i", f.pidFile(d)}, common...), more[d]...)
		if err := f.start(undisturbed(frrDaemons+d, args...)); err != nil {
			return fmt.Errorf("starting %s: %w", d, err)
		}
		err := await(d, func() error {
			_, err := os.Stat(f.vty(d))
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// Kill ends FRR without giving it the time to say so to anybody.
func (f *FRR) Kill() error {
	var errs []error
	for _, d := range slices.Backward(frrPrograms) {
		errs = append(errs, kill(f.pidFile(d)), os.Remove(f.vty(d)))
	}
	return errors.Join(errs...)
}

// Freeze halts FRR in the middle of what it does: its connections stand, and nothing comes from them until Thaw.
func (f *FRR) Freeze() error { return f.signal(syscall.SIGSTOP) }

// Thaw ends Freeze.
func (f *FRR) Thaw() error { return f.signal(syscall.SIGCONT) }

func (f *FRR) signal(s syscall.Signal) error {
	var errs []error
	for _, d := range frrPrograms {
		errs = append(errs, signal(f.pidFile(d), s))
	}
	return errors.Join(errs...)
}

// Log is what FRR has logged. The command "debug bgp updates in" has it log each route that comes.
func (f *FRR) Log() (string, error) {
	text, err := os.ReadFile(filepath.Join(f.dir, "log"))
	if err != nil {
		return "", fmt.Errorf("reading FRR's log: %w", err)
	}
	return string(text), nil
}

// kill ends the process that a file names.
func kill(pidFile string) error { return signal(pidFile, syscall.SIGKILL) }

// signal sends a signal to the process that a file names.
func signal(pidFile string, s syscall.Signal) error {
	text, err := os.ReadFile(pidFile)
	if err != nil {
		return fmt.Errorf("finding the process to send the signal %s: %w", s, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return fmt.Errorf("finding the process to send the signal %s: %s says %q", s, pidFile, text)
	}
	if err := syscall.Kill(pid, s); err != nil {
		return fmt.Errorf("sending process %d the signal %s: %w", pid, s, err)
	}
	return nil
}

// Run gives a command to the vtysh of the router and returns what it says.
func (f *FRR) Run(commands ...string) (string, error) {
	args := []string{"--vty_socket", f.dir}
	for _, c := range commands {
		args = append(args, "-c", c)
	}
	out, err := exec.Command("vtysh", args...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("vtysh %q: %w: %s", commands, err, out)
	}
	return string(out), nil
}

// Show asks the router for JSON.
func (f *FRR) Show(command string, into any) error {
	out, err := f.Run(command + " json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), into); err != nil {
		return fmt.Errorf("%s says %q: %w", command, out, err)
	}
	return nil
}

// Received is how many prefixes of a family (ipv4, ipv6) FRR has from each neighbour with an established session, by address.
func (f *FRR) Received(family string) (map[string]int, error) {
	var summary struct {
		Peers map[string]struct {
			Received int    `json:"pfxRcd"`
			State    string `json:"state"`
		} `json:"peers"`
	}
	if err := f.Show("show bgp "+family+" unicast summary", &summary); err != nil {
		return nil, err
	}
	out := map[string]int{}
	for address, p := range summary.Peers {
		if p.State == "Established" {
			out[address] = p.Received
		}
	}
	return out, nil
}

// Configure changes the running configuration.
func (f *FRR) Configure(commands ...string) error {
	_, err := f.Run(append([]string{"configure terminal"}, commands...)...)
	return err
}

// BIRD is a router with BIRD 2.
type BIRD struct {
	start Start
	dir   string
}

// StartBIRD runs BIRD with a configuration. The test is skipped where BIRD is not installed.
func StartBIRD(h Host, config string) *BIRD {
	h.Helper()
	needs(h, "bird", "bird2")
	b, err := RunBIRD(startOn(h), h.TempDir(), config)
	if err != nil {
		h.Fatal(err)
	}
	return b
}

// RunBIRD runs BIRD with a configuration, with its files in a directory.
func RunBIRD(start Start, dir, config string) (*BIRD, error) {
	b := &BIRD{start: start, dir: dir}
	if err := os.WriteFile(b.config(), []byte(config), 0o644); err != nil {
		return nil, fmt.Errorf("writing BIRD's configuration: %w", err)
	}
	return b, b.Start()
}

func (b *BIRD) config() string  { return filepath.Join(b.dir, "bird.conf") }
func (b *BIRD) pidFile() string { return filepath.Join(b.dir, "pid") }

// Start runs BIRD again after Kill.
func (b *BIRD) Start() error {
	c := undisturbed("bird", "-f", "-c", b.config(), "-s", b.socket(), "-P", b.pidFile())
	c.Stderr = os.Stderr
	if err := b.start(c); err != nil {
		return fmt.Errorf("starting BIRD: %w", err)
	}
	return nil
}

// Kill ends BIRD without giving it the time to say so to anybody.
func (b *BIRD) Kill() error { return kill(b.pidFile()) }

// Freeze halts BIRD in the middle of what it does: its connections stand, and nothing comes from them until Thaw.
func (b *BIRD) Freeze() error { return signal(b.pidFile(), syscall.SIGSTOP) }

// Thaw ends Freeze.
func (b *BIRD) Thaw() error { return signal(b.pidFile(), syscall.SIGCONT) }

// Configure has BIRD take another configuration.
func (b *BIRD) Configure(config string) error {
	if err := os.WriteFile(b.config(), []byte(config), 0o644); err != nil {
		return fmt.Errorf("writing BIRD's configuration: %w", err)
	}
	out, err := b.Run("configure")
	if err == nil && !strings.Contains(out, "Reconfigur") {
		err = fmt.Errorf("BIRD does not take its configuration: %s", out)
	}
	return err
}

func (b *BIRD) socket() string { return filepath.Join(b.dir, "ctl") }

// Run gives a command to birdc and returns what it says.
func (b *BIRD) Run(command string) (string, error) {
	out, err := exec.Command("birdc", "-s", b.socket(), command).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("birdc %s: %w: %s", command, err, out)
	}
	return string(out), nil
}

// needs skips the test where a program is not installed.
func needs(h Host, path, source string) {
	h.Helper()
	if _, err := exec.LookPath(path); err != nil {
		h.Skipf("%s is not installed (the package %s has it)", path, source)
	}
}

// Directory makes a directory that a daemon's own user can write to. Who asks for it removes it.
func Directory(owner string) (string, error) {
	u, err := user.Lookup(owner)
	if err != nil {
		return "", fmt.Errorf("finding the user of a daemon, which its package makes: %w", err)
	}
	dir, err := os.MkdirTemp("", "router")
	if err != nil {
		return "", fmt.Errorf("making a directory for a daemon: %w", err)
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		return "", errors.Join(fmt.Errorf("giving %s a directory: %w", owner, err), os.Remove(dir))
	}
	return dir, nil
}

const (
	patience = 30 * time.Second
	tick     = 20 * time.Millisecond
)

// Await tries again until it succeeds, and ends the test if it does not for long.
func Await(t testing.TB, what string, try func() error) {
	t.Helper()
	if err := await(what, try); err != nil {
		t.Fatal(err)
	}
}

func await(what string, try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(tick) {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}
