package bfd

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/cpu"
)

var (
	busyFor    = flag.Duration("busy-for", 0, "how long TestNoFalseAlarmsWhileBusy keeps all cores busy; 0: it is skipped")
	busyBeside = flag.String("busy-beside", "", "a file: as long as it is there, other programs keep the cores busy, and TestNoFalseAlarmsWhileBusy takes only what they leave")
)

// many are sessions between addresses 10.9.1.N of a and 10.9.2.N of b.
func many(n int, set Settings) (ofA, ofB []Session, addrsA, addrsB []string) {
	for i := range n {
		a, b := fmt.Sprintf("10.9.1.%d", i+1), fmt.Sprintf("10.9.2.%d", i+1)
		ofA = append(ofA, Session{Name: b, Peer: netip.MustParseAddr(b), Local: netip.MustParseAddr(a), Settings: set})
		ofB = append(ofB, Session{Name: a, Peer: netip.MustParseAddr(a), Local: netip.MustParseAddr(b), Settings: set})
		addrsA, addrsB = append(addrsA, a+"/16"), append(addrsB, b+"/16")
	}
	return ofA, ofB, addrsA, addrsB
}

// load keeps all cores busy: with other processes, and in this one with goroutines that make garbage.
type load struct {
	testing.TB
	processes []*exec.Cmd
	cancel    context.CancelFunc
	busy      sync.WaitGroup
}

// occupy has this process make as much garbage as it can, or no more than a speaker would (modest): it goes before other
// programs, and would leave them nothing.
func occupy(t testing.TB, modest bool) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{TB: t, cancel: cancel}
	for range 2 * runtime.NumCPU() {
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		l.processes = append(l.processes, c)
		l.busy.Go(func() { _ = c.Wait() })
		l.busy.Go(func() { litter(ctx, modest) })
	}
	t.Cleanup(func() { l.end() })
	return l
}

// litter makes garbage until the context ends.
func litter(ctx context.Context, modest bool) {
	var keep [][]byte
	for ctx.Err() == nil {
		if keep = append(keep, make([]byte, 16<<10)); len(keep) > 1000 {
			keep = nil
		}
		if modest && len(keep)%10 == 0 {
			<-time.After(50 * time.Millisecond)
		}
	}
}

// yield has the other processes take only what programs of the machine leave, or compete with them as equals. They
// have inherited that this process is preferred.
func (l *load) yield(all bool) {
	l.Helper()
	attributes := unix.SchedAttr{Size: unix.SizeofSchedAttr}
	if all {
		attributes.Policy = unix.SCHED_IDLE
	}
	for _, c := range l.processes {
		if err := unix.SchedSetAttr(c.Process.Pid, &attributes, 0); err != nil {
			l.Fatalf("setting the priority of what keeps the cores busy: %v", err)
		}
	}
}

// end ends the load, and says what its processes have had of the CPU.
func (l *load) end() (used time.Duration) {
	l.cancel()
	l.busy.Wait()
	for _, c := range l.processes {
		used += c.ProcessState.UserTime() + c.ProcessState.SystemTime()
	}
	return used
}

// ordeal is what became of sessions while the cores were busy.
type ordeal struct {
	sessions, alarms int
	longest          time.Duration // between two packets
	took             time.Duration
	fewest           uint64 // packets that a session got
	// Shares of all cores: of what kept them busy, of this process, and of nothing.
	load, own, idle float64
}

func (o ordeal) String() string {
	return fmt.Sprintf("%d sessions of 3 x 100 ms for %s: %d false alarms; the longest time between two packets was %s; of the cores %.0f %% went to what keeps them busy, %.0f %% to this process, %.0f %% to other programs, and %.1f %% were idle",
		o.sessions, o.took.Round(time.Second), o.alarms, o.longest.Round(100*time.Microsecond), o.load, o.own, max(0, 100-o.load-o.own-o.idle), o.idle)
}

// endure has sessions of 3 x 100 ms between two nodes, both in this process, while all cores are busy until wait returns.
func endure(t testing.TB, modest bool, wait func(*load)) (o ordeal) {
	t.Helper()
	if err := PreferProcess(); err != nil {
		t.Skip(err)
	}
	a, b := wired(t)
	ofA, ofB, addrsA, addrsB := many(20, quick())
	a.Up("eth0", addrsA...)
	b.Up("eth0", addrsB...)
	a.sync(ofA...)
	b.sync(ofB...)
	meet(a, b)
	began, own, idle := time.Now(), cpu.Used(t), cpu.Idle(t)
	l := occupy(t, modest)
	wait(l)
	own, idle = cpu.Used(t)-own, cpu.Idle(t)-idle
	o.took = time.Since(began)
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / o.took.Seconds() / float64(runtime.NumCPU()) }
	o.load, o.own, o.idle = share(l.end()), share(own), share(idle)
	o.alarms = a.alarms() + b.alarms()
	for i, s := range append(a.e.Sessions(), b.e.Sessions()...) {
		o.sessions++
		o.longest = max(o.longest, s.LongestGap)
		if o.fewest = min(o.fewest, s.Received); i == 0 {
			o.fewest = s.Received
		}
	}
	return o
}

// All cores are busy, with this process and with others, and no session of 3 x 100 ms takes its peer for dead.
func TestNoFalseAlarmsWhileBusy(t *testing.T) {
	if *busyFor == 0 {
		// With the race detector, and beside other tests that keep the cores busy too, it would tell of them.
		t.Skip("runs by itself, in the tier busy of `make test`, or with -args -busy-for=15s")
	}
	beside := *busyBeside != ""
	o := endure(t, beside, func(l *load) {
		for end := time.Now().Add(*busyFor); time.Now().Before(end); {
			l.yield(beside && exists(*busyBeside))
			<-time.After(min(time.Second, time.Until(end)))
		}
	})
	t.Attr("measured", o.String())
	if o.alarms > 0 {
		t.Errorf("sessions were taken for lost: %s", o)
	}
	if want := uint64(o.took / (110 * time.Millisecond)); o.fewest < want {
		t.Errorf("a session got %d packets, which is less than one in 110 ms: %s", o.fewest, o)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// BenchmarkBusy is the same for as many seconds as it is run times (-benchtime=60x), with little garbage and with as much
// as this process can make.
func BenchmarkBusy(b *testing.B) {
	for _, garbage := range []string{"little", "much"} {
		b.Run("garbage="+garbage, func(b *testing.B) {
			o := endure(b, garbage == "little", func(l *load) {
				l.yield(false)
				for b.Loop() {
					<-time.After(time.Second)
				}
			})
			b.ReportMetric(float64(o.sessions), "sessions")
			b.ReportMetric(float64(o.alarms), "alarms")
			b.ReportMetric(float64(o.longest.Microseconds())/1e3, "longest-gap-ms")
			b.ReportMetric(100-o.idle, "%busy")
		})
	}
}

// BenchmarkSessions is the cost of 200 sessions of 3 x 100 ms on each of two nodes, both in this process, for a second.
func BenchmarkSessions(b *testing.B) {
	for _, n := range []int{50, 200} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			a, z := wired(b)
			ofA, ofZ, addrsA, addrsZ := many(n, quick())
			a.Up("eth0", addrsA...)
			z.Up("eth0", addrsZ...)
			a.sync(ofA...)
			z.sync(ofZ...)
			for i := range ofA {
				a.await(ofA[i].Name, Up)
				z.await(ofZ[i].Name, Up)
			}
			start, received := cpu.Used(b), packets(a.e)+packets(z.e)
			for b.Loop() {
				<-time.After(time.Second)
			}
			used, got := cpu.Used(b)-start, packets(a.e)+packets(z.e)-received
			b.ReportMetric(float64(used.Microseconds())/float64(b.N)/float64(2*n), "cpu-us/session/s")
			b.ReportMetric(float64(got)/float64(b.N)/float64(2*n), "packets/session/s")
		})
	}
}

// alarms counts how often a session was lost.
func (n *node) alarms() (alarms int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		if e.Lost() {
			alarms++
		}
	}
	return alarms
}

func packets(e *Engine) (n uint64) {
	for _, s := range e.Sessions() {
		n += s.Received
	}
	return n
}
