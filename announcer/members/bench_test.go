package members

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/test/cpu"
)

// burnEnv makes the test binary burn a core instead of testing.
const burnEnv = "FAIRLEAD_TEST_BURN"

func burnIfAsked() {
	if os.Getenv(burnEnv) == "" {
		return
	}
	go func() {
		time.Sleep(10 * time.Minute)
		os.Exit(0)
	}()
	for {
		runtime.KeepAlive(time.Now())
	}
}

// burn keeps every core busy with other processes until the benchmark ends.
func burn(b *testing.B) {
	for range runtime.NumCPU() {
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), burnEnv+"=1")
		c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		if err := c.Start(); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			_ = c.Process.Kill()
			_ = c.Wait()
		})
	}
}

// BenchmarkDetection cuts one speaker off again and again, and measures until
// every other one knows, and then until it is one cluster again. It counts what
// gossip took for dead although it was not (suspected), and what was acted upon
// wrongly (alarms).
//
//	go test -bench Detection -benchtime 30x -run '^$' ./announcer/members
func BenchmarkDetection(b *testing.B) {
	// On nodes of their own each has a heap of its own to sweep.
	defer debug.SetGCPercent(debug.SetGCPercent(400))
	for _, n := range []int{3, 50, 150} {
		for _, busy := range []bool{false, true} {
			b.Run(fmt.Sprintf("speakers=%d/busy=%v", n, busy), func(b *testing.B) {
				before := goleak.IgnoreCurrent()
				b.Cleanup(func() { awaitSilence(b, before) })
				f := newFabric(b)
				f.startInTurn(n)
				if busy {
					burn(b)
				}
				benchDetection(b, f, n)
			})
		}
	}
}

// startInTurn starts speakers 1 to n, each when the one before is known to
// everybody. On nodes of their own they may all start at once; 150 that do so on
// the cores of one machine suspect each other of being slow, and their
// objections keep it busy for good.
func (f *fabric) startInTurn(n int) {
	f.tb.Helper()
	for i := range n {
		s := f.run(i+1, n)
		f.speakers = append(f.speakers, s)
		s.serve()
		f.await(s, "to see those before it", func() bool { return s.Stats().Alive == i+1 })
	}
	for _, s := range f.speakers {
		f.await(s, "to see everybody", func() bool { return s.Stats().Alive == n })
		f.await(s, "to settle", s.settledSelf)
	}
}

// awaitSilence waits until the probes that were under way when their speakers
// stopped have ended. memberlist does not wait for them.
func awaitSilence(b *testing.B, before goleak.Option) {
	b.Helper()
	var err error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		if err = goleak.Find(before); err == nil {
			return
		}
	}
	b.Errorf("goroutines of stopped speakers stay: %v", err)
}

// cutFor is how long a speaker stays cut off after all others know.
const cutFor = 2 * time.Second

func benchDetection(b *testing.B, f *fabric, n int) {
	var detect, heal []time.Duration
	alarms := uint64(0)
	b.ResetTimer()
	wall, began := time.Now(), cpu.Used(b)
	for i := range b.N {
		victim := i%n + 1
		name := peerOf(victim).Node
		time.Sleep(time.Duration(i*37%100) * time.Millisecond) // not in step with the probes
		before := f.lost(name)
		f.part(1, victim)
		detect = append(detect, f.until(func(s *speaker) bool {
			return s.peer.Node == name || s.presence(name) == announcer.Absent
		}))
		time.Sleep(cutFor)
		f.part(0, victim)
		heal = append(heal, f.until(func(s *speaker) bool { return s.Stats().Alive == n }))
		f.until((*speaker).settledSelf)
		// The n-1 others lost one node each, and nothing else.
		alarms += f.lost(name) - before - uint64(n-1)
	}
	b.StopTimer()
	// All speakers share these cores, as they never do on their nodes. A share
	// near that of all cores says that the figures are of the cores.
	b.ReportMetric(100*float64(cpu.Used(b)-began)/float64(time.Since(wall)), "cpu-%")
	var suspected uint64
	for _, s := range f.speakers {
		suspected += s.Stats().FalseAlarms
	}
	report(b, "detect", detect)
	report(b, "heal", heal)
	b.ReportMetric(float64(suspected), "suspected")
	b.ReportMetric(float64(alarms), "alarms")
}

// lost counts the nodes that speakers other than one have lost.
func (f *fabric) lost(but string) (n uint64) {
	for _, s := range f.speakers {
		if s.peer.Node != but {
			n += s.Stats().Lost
		}
	}
	return n
}

// until measures the time until a condition holds for every speaker.
func (f *fabric) until(ok func(*speaker) bool) time.Duration {
	start := time.Now()
	for _, s := range f.speakers {
		for !ok(s) {
			if time.Since(start) > time.Minute {
				f.tb.Fatalf("%s: %+v", s.peer.Node, s.Stats())
			}
			time.Sleep(2 * time.Millisecond)
		}
	}
	return time.Since(start)
}

func report(b *testing.B, what string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Milliseconds()), what+"-p50-ms")
	b.ReportMetric(float64(d[min(len(d)-1, len(d)*99/100)].Milliseconds()), what+"-p99-ms")
}
