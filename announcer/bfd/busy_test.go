package bfd

import (
	"context"
	"flag"
	"fmt"
	"net/netip"
	"os/exec"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/cpu"
)

var busyFor = flag.Duration("busy-for", 15*time.Second, "how long TestNoFalseAlarmsWhileBusy keeps all cores busy")

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

// occupy keeps all cores busy with other processes, and this one with goroutines that make garbage.
func occupy(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var busy sync.WaitGroup
	for range 2 * runtime.NumCPU() {
		// As if this process had not been preferred: others inherit that.
		c := exec.CommandContext(ctx, "nice", "-n", "20", "sh", "-c", "while :; do :; done")
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		busy.Go(func() { _ = c.Wait() })
		busy.Go(func() {
			var keep [][]byte
			for ctx.Err() == nil {
				keep = append(keep, make([]byte, 16<<10))
				if len(keep) > 1000 {
					keep = nil
				}
			}
		})
	}
	t.Cleanup(func() {
		cancel()
		busy.Wait()
	})
}

// Both cores are busy, with this process and with others, and no session of 3 x 100 ms takes its peer for dead.
func TestNoFalseAlarmsWhileBusy(t *testing.T) {
	if err := PreferProcess(); err != nil {
		t.Skip(err)
	}
	a, b := wired(t)
	ofA, ofB, addrsA, addrsB := many(20, quick())
	a.Up("eth0", addrsA...)
	b.Up("eth0", addrsB...)
	a.sync(ofA...)
	b.sync(ofB...)
	for i := range ofA {
		a.await(ofA[i].Name, Up)
		b.await(ofB[i].Name, Up)
	}
	occupy(t)
	before := a.e.Sessions()[0].Received
	<-time.After(*busyFor)
	for _, n := range []*node{a, b} {
		if alarms := n.alarms(); alarms > 0 {
			t.Errorf("%d sessions were taken for lost", alarms)
		}
	}
	if n := time.Duration(a.e.Sessions()[0].Received - before); n < *busyFor/(110*time.Millisecond) {
		t.Errorf("%d packets came in %v, which is less than one in 110 ms", n, *busyFor)
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
