package apart

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/test/cpu"
	"github.com/fairlead/fairlead/test/shares"
)

var (
	busyFor    = flag.Duration("busy-for", 0, "how long TestNoFalseAlarmsWhileBusy keeps all cores busy; 0: it is skipped")
	busyBeside = flag.String("busy-beside", "", "a file: as long as it is there, other programs keep the cores busy, and TestNoFalseAlarmsWhileBusy takes only what they leave")
)

const (
	// ours is what the chart has the speaker ask for, and others what each of the pods beside it asks for, in
	// thousandths of a core.
	ours, others = 50, 1000
	// least is the share of a pod that asks for nothing.
	least = 0
)

// many are sessions between addresses 10.9.1.N of a and 10.9.2.N of b.
func many(n int) (ofA, ofB []bfd.Session, addrsA, addrsB []string) {
	for i := range n {
		a, b := fmt.Sprintf("10.9.1.%d", i+1), fmt.Sprintf("10.9.2.%d", i+1)
		toB, toA := wantTo(b, b), wantTo(a, a)
		toB.Local, toA.Local = netip.MustParseAddr(a), netip.MustParseAddr(b)
		ofA, ofB = append(ofA, toB), append(ofB, toA)
		addrsA, addrsB = append(addrsA, a+"/16"), append(addrsB, b+"/16")
	}
	return ofA, ofB, addrsA, addrsB
}

// load keeps all cores busy: with processes in control groups as of other pods, and with goroutines of this process that make
// garbage.
type load struct {
	testing.TB
	pods      []*shares.Group
	processes []*exec.Cmd
	cancel    context.CancelFunc
	busy      sync.WaitGroup
}

// occupy has this process make as much garbage as it can, or no more than a speaker would (modest).
func occupy(t testing.TB, modest bool) *load {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{TB: t, cancel: cancel}
	for i := range 2 * runtime.NumCPU() {
		pod := shares.New(t, fmt.Sprintf("other%d", i+1), others)
		c := exec.CommandContext(ctx, "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		pod.Add(c.Process.Pid)
		l.pods, l.processes = append(l.pods, pod), append(l.processes, c)
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

// yield has the other pods take only what programs of the machine leave, or compete with them.
func (l *load) yield(all bool) {
	l.Helper()
	ask := others
	if all {
		ask = least
	}
	for _, p := range l.pods {
		p.Ask(ask)
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
	// Shares of all cores: of what kept them busy, and of nothing.
	load, idle float64
}

func (o ordeal) String() string {
	return fmt.Sprintf("%d sessions of 3 x 100 ms for %s, in a pod of %dm: %d false alarms; the longest time between two packets was %s; of the cores %.0f %% went to other pods, each of %dm, %.0f %% to the sessions and to other programs, and %.1f %% were idle",
		o.sessions, o.took.Round(time.Second), ours, o.alarms, o.longest.Round(100*time.Microsecond), o.load, others, max(0, 100-o.load-o.idle), o.idle)
}

// endure has sessions of 3 x 100 ms between two nodes, in a control group as of the speaker's pod, while all cores are busy
// until wait returns.
func endure(t testing.TB, modest bool, wait func(*load)) (o ordeal) {
	t.Helper()
	shares.New(t, "speaker", ours).Add(os.Getpid())
	a, b := wired(t)
	ofA, ofB, addrsA, addrsB := many(20)
	a.Up("eth0", addrsA...)
	b.Up("eth0", addrsB...)
	a.sync(ofA...)
	b.sync(ofB...)
	a.settle()
	b.settle()
	began, idle := time.Now(), cpu.Idle(t)
	l := occupy(t, modest)
	wait(l)
	idle = cpu.Idle(t) - idle
	o.took = time.Since(began)
	share := func(d time.Duration) float64 { return 100 * d.Seconds() / o.took.Seconds() / float64(runtime.NumCPU()) }
	o.load, o.idle = share(l.end()), share(idle)
	o.alarms = a.alarms() + b.alarms()
	for _, n := range []*node{a, b} {
		n.counted()
		for _, s := range n.e.Sessions() {
			if o.fewest = min(o.fewest, s.Received); o.sessions == 0 {
				o.fewest = s.Received
			}
			o.sessions++
			o.longest = max(o.longest, s.LongestGap)
		}
	}
	return o
}

// settle waits until packets come in their turn in all sessions, and forgets what came before. A session may come up, be taken
// down by a first packet that comes late, and be up again at once.
func (n *node) settle() {
	n.Helper()
	n.until("not all sessions are up to stay", func() bool {
		return !slices.ContainsFunc(n.e.Sessions(), func(s bfd.Status) bool { return s.State != bfd.Up || s.LongestGap < 50*time.Millisecond })
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = nil
}

// counted waits until packets of now are counted.
func (n *node) counted() {
	n.Helper()
	before := n.received()
	n.until("no counts are reported", func() bool { return n.received() != before })
}

func (n *node) received() (packets uint64) {
	for _, s := range n.e.Sessions() {
		packets += s.Received
	}
	return packets
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

// All cores are busy, with other pods and with this process, and no session of 3 x 100 ms takes its peer for dead.
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
