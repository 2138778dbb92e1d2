// Package routers runs FRR and BIRD for tests, on a host of the test's own, and asks them what they know.
package routers

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"testing"
	"time"
)

// Host starts programs that end with the test.
type Host interface {
	testing.TB
	Exec(c *exec.Cmd)
}

// frrDaemons is where the package frr has its daemons.
const frrDaemons = "/usr/lib/frr/"

// FRR is a router with FRR's zebra, bgpd and bfdd.
type FRR struct {
	host Host
	dir  string
}

// StartFRR runs FRR with a configuration. The test is skipped where FRR is not installed.
func StartFRR(h Host, config string) *FRR {
	h.Helper()
	f := &FRR{host: h, dir: directory(h, "frr")}
	file := filepath.Join(f.dir, "frr.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		h.Fatal(err)
	}
	common := []string{"-f", file, "-z", filepath.Join(f.dir, "zserv.api"), "--vty_socket", f.dir, "-P", "0", "--log", "file:" + filepath.Join(f.dir, "log")}
	for _, d := range []struct {
		name string
		args []string
	}{{"zebra", nil}, {"bfdd", []string{"--bfdctl", filepath.Join(f.dir, "bfdd.sock")}}, {"bgpd", []string{"-p", "179"}}} {
		args := append(append([]string{"-i", filepath.Join(f.dir, d.name+".pid")}, common...), d.args...)
		h.Exec(exec.Command(program(h, frrDaemons+d.name, "frr"), args...))
		Await(h, d.name, func() error {
			_, err := os.Stat(filepath.Join(f.dir, d.name+".vty"))
			return err
		})
	}
	return f
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

// BIRD is a router with BIRD 2.
type BIRD struct {
	host Host
	dir  string
}

// StartBIRD runs BIRD with a configuration. The test is skipped where BIRD is not installed.
func StartBIRD(h Host, config string) *BIRD {
	h.Helper()
	b := &BIRD{host: h, dir: h.TempDir()}
	file := filepath.Join(b.dir, "bird.conf")
	if err := os.WriteFile(file, []byte(config), 0o644); err != nil {
		h.Fatal(err)
	}
	c := exec.Command(program(h, "bird", "bird2"), "-f", "-c", file, "-s", b.socket())
	c.Stderr = os.Stderr
	h.Exec(c)
	return b
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

func program(h Host, path, source string) string {
	h.Helper()
	found, err := exec.LookPath(path)
	if err != nil {
		h.Skipf("%s is not installed (the package %s has it)", path, source)
	}
	return found
}

// directory is one that a daemon's own user can write to.
func directory(h Host, name string) string {
	h.Helper()
	u, err := user.Lookup(name)
	if err != nil {
		h.Skipf("there is no user %s (the package %s makes it)", name, name)
	}
	dir, err := os.MkdirTemp("", "router")
	if err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() { os.RemoveAll(dir) })
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	if err := os.Chown(dir, uid, gid); err != nil {
		h.Fatal(err)
	}
	return dir
}

// Await tries again until it succeeds, and ends the test if it does not for long.
func Await(t testing.TB, what string, try func() error) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := try()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
