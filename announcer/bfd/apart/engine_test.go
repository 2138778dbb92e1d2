package apart

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/test/namespaces"
)

// node is a host with an Engine.
type node struct {
	*namespaces.Host
	e    *Engine
	stop func()

	mu     sync.Mutex
	events []bfd.Event
	more   chan struct{}
}

func (n *node) told(e bfd.Event) {
	n.mu.Lock()
	n.events = append(n.events, e)
	n.mu.Unlock()
	select {
	case n.more <- struct{}{}:
	default:
	}
}

func startNode(h *namespaces.Host) *node { return startNodeBy(h, self) }

// self is this program.
const self = "/proc/self/exe"

func startNodeBy(h *namespaces.Host, program string) *node {
	h.Helper()
	n := &node{Host: h, more: make(chan struct{}, 1)}
	n.e = New(Config{Log: testr.NewWithInterface(h, testr.Options{}), Program: program, Args: []string{childName}, OnEvent: n.told})
	n.stop = h.Start(n.e.Run)
	return n
}

func (n *node) sync(want ...bfd.Session) {
	n.Helper()
	if err := n.e.Sync(want); err != nil {
		n.Fatal(err)
	}
}

// await waits for an event of a session, and forgets all of that session up to it.
func (n *node) await(session string, s bfd.State) (found bfd.Event) {
	n.Helper()
	n.until(fmt.Sprintf("%s is not %s", session, s), func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		i := slices.IndexFunc(n.events, func(e bfd.Event) bool { return e.Session == session && e.State == s })
		if i < 0 {
			return false
		}
		found = n.events[i]
		before := slices.DeleteFunc(n.events[:i+1:i+1], func(e bfd.Event) bool { return e.Session == session })
		n.events = append(before, n.events[i+1:]...)
		return true
	})
	return found
}

// until waits for a condition, which is looked at whenever there is an event, and now and then.
func (n *node) until(failure string, holds func() bool) {
	n.Helper()
	deadline, tick := time.After(15*time.Second), time.NewTicker(5*time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-n.more:
		case <-tick.C:
		case <-deadline:
			n.Fatalf("%s: %+v", failure, n.e.Sessions())
		}
	}
}

// wired are two nodes on one wire.
func wired(t testing.TB) (a, b *node) {
	t.Helper()
	ha, hb := hosts(t)
	return startNode(ha), startNode(hb)
}

// hosts are two on one wire.
func hosts(t testing.TB) (ha, hb *namespaces.Host) {
	t.Helper()
	ha, hb = namespaces.New(t), namespaces.New(t)
	namespaces.Wire(ha, "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 1}, hb, "eth0", net.HardwareAddr{2, 0, 0, 0, 0, 2})
	ha.Up("eth0", "10.9.0.1/24", "fd00:9::1/64")
	hb.Up("eth0", "10.9.0.2/24", "fd00:9::2/64")
	return ha, hb
}

func wantTo(name, peer string) bfd.Session {
	return bfd.Session{Name: name, Peer: netip.MustParseAddr(peer), Settings: bfd.Settings{
		TransmitInterval: 100 * time.Millisecond, ReceiveInterval: 100 * time.Millisecond, DetectMultiplier: 3,
	}}
}

// children are the processes of this one that are the child.
func children(t testing.TB) (pids []int) {
	t.Helper()
	lists, err := filepath.Glob("/proc/self/task/*/children")
	if err != nil || len(lists) == 0 {
		t.Fatalf("the kernel does not list children: %v", err)
	}
	for _, l := range lists {
		text, _ := os.ReadFile(l)
		for _, field := range strings.Fields(string(text)) {
			pid, _ := strconv.Atoi(field)
			command, _ := os.ReadFile("/proc/" + field + "/cmdline")
			if strings.Contains(string(command), childName) {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

func TestSessionsOfTheirOwnProcess(t *testing.T) {
	a, b := wired(t)
	if got := children(t); len(got) != 0 {
		t.Errorf("no session is wanted, and there are processes %v", got)
	}
	signed := wantTo("b6", "fd00:9::2")
	signed.Auth = bfd.Auth{Kind: bfd.MeticulousSHA1, KeyID: 1, Key: "\xff no text \x00"}
	back := wantTo("a6", "fd00:9::1")
	back.Auth = signed.Auth
	a.sync(wantTo("b", "10.9.0.2"), signed)
	b.sync(wantTo("a", "10.9.0.1"), back)
	for _, s := range []string{"b", "b6"} {
		a.await(s, bfd.Up)
	}
	b.await("a", bfd.Up)
	if got := children(t); len(got) != 2 {
		t.Errorf("two engines have the processes %v", got)
	}
	for _, s := range a.e.Sessions() {
		if s.State != bfd.Up || s.Detection != 300*time.Millisecond {
			t.Errorf("after the event, a says %+v", s)
		}
	}
	a.until("no packets are counted", func() bool { return a.e.Sessions()[0].Received > 0 })
	b.Down("eth0")
	if e := a.await("b", bfd.Down); !e.Lost() || e.Cause != bfd.CauseSilence {
		t.Errorf("the wire was cut, and a says %+v", e)
	}
}

// Settings change while sessions stand, one session goes and the others stay.
func TestSessionsThatChange(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"), wantTo("b6", "fd00:9::2"))
	b.sync(wantTo("a", "10.9.0.1"), wantTo("a6", "fd00:9::1"))
	a.await("b", bfd.Up)
	a.await("b6", bfd.Up)
	b.await("a6", bfd.Up)
	slower := wantTo("b", "10.9.0.2")
	slower.DetectMultiplier = 5
	a.sync(slower)
	if e := b.await("a6", bfd.Down); e.Cause != bfd.CausePeerAdminDown {
		t.Errorf("a session was removed, and its peer says %+v", e)
	}
	if e := a.await("b6", bfd.AdminDown); e.Cause != bfd.CauseRemoved || e.Lost() {
		t.Errorf("a session was removed: %+v", e)
	}
	if got := a.e.Sessions(); len(got) != 1 || got[0].State != bfd.Up {
		t.Errorf("after the event, the sessions are %+v", got)
	}
	b.until("b does not wait longer", func() bool { return b.e.Sessions()[0].Detection == 500*time.Millisecond })
}

func TestBadSessionsAreRefused(t *testing.T) {
	e := New(Config{Log: testr.New(t), Program: self, Args: []string{childName}})
	bad := wantTo("b", "10.9.0.2")
	bad.TransmitInterval = time.Millisecond
	err := e.Sync([]bfd.Session{bad, wantTo("c", "10.9.0.3")})
	if err == nil || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("a session every millisecond: %v", err)
	}
	if got := e.wanted(); len(got) != 1 || got[0].Name != "c" {
		t.Errorf("wanted are %+v", got)
	}
}

// The last session takes the process with it, and the peer is told.
func TestNoProcessWithoutSessions(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"))
	b.sync(wantTo("a", "10.9.0.1"))
	b.await("a", bfd.Up)
	a.await("b", bfd.Up)
	a.sync()
	if e := b.await("a", bfd.Down); e.Cause != bfd.CausePeerAdminDown {
		t.Errorf("the session was removed, and its peer says %+v", e)
	}
	a.until("the process stays", func() bool { return len(children(t)) == 1 })
	if got := a.e.Sessions(); len(got) != 0 {
		t.Errorf("sessions are left: %+v", got)
	}
	a.sync(wantTo("b", "10.9.0.2"))
	b.await("a", bfd.Up)
}

func TestPeersAreToldOfTheEnd(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"))
	b.sync(wantTo("a", "10.9.0.1"))
	b.await("a", bfd.Up)
	a.stop()
	if e := b.await("a", bfd.Down); e.Cause != bfd.CausePeerAdminDown {
		t.Errorf("a has ended in order, and b says %+v", e)
	}
}

// A child that is killed is started again. Nothing of that says that a path is lost, on this side.
func TestChildIsStartedAgain(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"))
	a.until("there is no process", func() bool { return len(children(t)) == 1 })
	first := children(t)[0]
	b.sync(wantTo("a", "10.9.0.1"))
	a.await("b", bfd.Up)
	b.await("a", bfd.Up)
	if err := unix.Kill(first, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if e := a.await("b", bfd.AdminDown); e.Lost() || e.Cause != bfd.CauseEnded {
		t.Errorf("the process was killed, and a says %+v", e)
	}
	if e := b.await("a", bfd.Down); e.Cause != bfd.CauseSilence && e.Cause != bfd.CausePeerDown {
		t.Errorf("the process was killed, and b says %+v", e)
	}
	a.await("b", bfd.Up)
	b.await("a", bfd.Up)
}

// Without the program all else goes on, and what is wrong can be read.
func TestProgramThatIsNotThere(t *testing.T) {
	h := namespaces.New(t)
	n := startNodeBy(h, filepath.Join(t.TempDir(), "missing"))
	n.sync(wantTo("b", "10.9.0.2"))
	n.until("the trouble is not told", func() bool {
		s := n.e.Sessions()
		return len(s) == 1 && s[0].State == bfd.Down && strings.Contains(s[0].Trouble, "missing")
	})
}

// A child whose parent ends without a word ends too.
func TestChildEndsWithItsParent(t *testing.T) {
	c, err := start(self, []string{childName})
	if err != nil {
		t.Fatal(err)
	}
	_ = c.conn.Close()
	if err := c.cmd.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

// What is no speaker cannot run the child by accident.
func TestChildNeedsASpeaker(t *testing.T) {
	c := &exec.Cmd{Path: self, Args: []string{childName}}
	out, err := c.CombinedOutput()
	if ended := new(exec.ExitError); !errors.As(err, &ended) || !strings.Contains(string(out), "the speaker runs this") {
		t.Errorf("run by hand, it says %q (%v)", out, err)
	}
}

// All threads of the child go before other programs.
func TestThreadsArePreferred(t *testing.T) {
	a, b := wired(t)
	a.sync(wantTo("b", "10.9.0.2"))
	a.until("there is no process", func() bool { return len(children(t)) == 1 })
	b.sync(wantTo("a", "10.9.0.1"))
	a.await("b", bfd.Up)
	var last string
	a.until("not all threads are preferred", func() bool {
		last = ""
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", children(t)[0]))
		if err != nil || len(threads) < 3 {
			t.Fatalf("the threads are %v: %v", threads, err)
		}
		for _, path := range threads {
			id, _ := strconv.Atoi(filepath.Base(path))
			at, err := unix.SchedGetAttr(id, 0)
			if err == nil && at.Policy == 0 && at.Nice == 0 {
				last = path
			}
		}
		return last == ""
	})
}
