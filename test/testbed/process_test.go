package testbed

import (
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestStartTime(t *testing.T) {
	tail := " 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10\n"
	cases := []struct {
		name, stat string
		ticks      uint64
		alive, bad bool
	}{
		{name: "plain", stat: "42 (sleep) S" + tail, ticks: 98765, alive: true},
		{name: "blanks and parentheses in the name", stat: "42 (a) S 1 (b) R" + tail, ticks: 98765, alive: true},
		{name: "zombie", stat: "42 (sleep) Z" + tail, ticks: 98765},
		{name: "first thread of a process that is ending", stat: "42 (sleep) Z" + strings.Replace(tail, " 20 0 1 0 ", " 20 0 3 0 ", 1), ticks: 98765, alive: true},
		{name: "dead", stat: "42 (sleep) X" + tail, ticks: 98765},
		{name: "empty", stat: "", bad: true},
		{name: "cut short", stat: "42 (sleep) S 1 42", bad: true},
		{name: "no number", stat: "42 (sleep) S" + strings.Replace(tail, "98765", "x", 1), bad: true},
	}
	for _, c := range cases {
		ticks, alive, err := startTime(c.stat)
		if (err != nil) != c.bad || ticks != c.ticks || alive != c.alive {
			t.Errorf("%s: %d, %v, %v", c.name, ticks, alive, err)
		}
	}
}

func FuzzStartTime(f *testing.F) {
	f.Add("42 (sleep) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 98765 1000 10\n")
	f.Add(")")
	f.Fuzz(func(t *testing.T, stat string) {
		if _, alive, err := startTime(stat); err != nil && alive {
			t.Error("alive by a text that cannot be read")
		}
	})
}

// sleeper starts a process that lives until the test ends and returns its record.
func sleeper(t *testing.T) record {
	t.Helper()
	cmd := exec.Command("sleep", "600")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); _ = cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill(); <-done })
	ticks, alive, err := statOf(cmd.Process.Pid)
	if err != nil || !alive {
		t.Fatal(alive, err)
	}
	return record{PID: cmd.Process.Pid, Start: ticks}
}

func TestSignalSparesAnotherProcessWithTheSameID(t *testing.T) {
	r := sleeper(t)
	reused := r
	reused.Start--
	if reused.alive() {
		t.Error("a process with another start time counts as the recorded one")
	}
	if err := reused.kill(); err != nil {
		t.Errorf("kill what is gone already: %v", err)
	}
	if !r.alive() {
		t.Fatal("the process that has the id now was killed")
	}
	if err := r.stop(time.Minute); err != nil {
		t.Error(err)
	}
	if r.alive() {
		t.Error("still alive after stop")
	}
	if err := r.signal(syscall.SIGTERM); err != nil {
		t.Errorf("signal what is gone: %v", err)
	}
}

func TestRecordsOutliveABrokenOne(t *testing.T) {
	l := newLayout(t.TempDir(), "a")
	good := record{processSpec: processSpec{Name: Kubelet, Host: "node1", Args: []string{"/bin/kubelet"}}, PID: 4242, Start: 7}
	if err := writeJSON(l.recordPath("node1", Kubelet), good); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"broken": "{", "init": `{"pid":1,"start":1}`, "none": `{}`} {
		if err := writeFile(l.recordPath("node2", name), []byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	all, err := records(l)
	if err == nil {
		t.Error("three broken records and no error")
	}
	if len(all) != 1 || all[0].PID != 4242 || all[0].Start != 7 || all[0].Host != "node1" {
		t.Errorf("got %+v", all)
	}
}
