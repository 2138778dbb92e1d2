package apart

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/fairlead/fairlead/announcer/bfd"
)

// BenchmarkSessions is what the process of BFD costs in a second of sessions of 3 x 100 ms, and the memory that it has then.
func BenchmarkSessions(b *testing.B) {
	for _, n := range []int{2, 50, 200} {
		b.Run(fmt.Sprintf("sessions=%d", n), func(b *testing.B) {
			a, z := wired(b)
			ofA, ofZ, addrsA, addrsZ := many(n)
			a.Up("eth0", addrsA...)
			z.Up("eth0", addrsZ...)
			a.sync(ofA...)
			z.sync(ofZ...)
			for i := range ofA {
				a.await(ofA[i].Name, bfd.Up)
				z.await(ofZ[i].Name, bfd.Up)
			}
			pids := children(b)
			if len(pids) != 2 {
				b.Fatalf("the processes are %v", pids)
			}
			start, began := ran(b, pids), time.Now()
			for b.Loop() {
				<-time.After(time.Second)
			}
			used, each := ran(b, pids)-start, time.Since(began).Seconds()*float64(2*n)
			b.ReportMetric(float64(used.Microseconds())/each, "cpu-us/session/s")
			b.ReportMetric(resident(b, pids[0]), "MiB")
		})
	}
}

// ran is how long processes have run, of all their threads.
func ran(t testing.TB, pids []int) (sum time.Duration) {
	t.Helper()
	for _, pid := range pids {
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", pid))
		if err != nil || len(threads) == 0 {
			t.Fatalf("process %d has no threads: %v", pid, err)
		}
		for _, path := range threads {
			sum += time.Duration(field(t, path, 0))
		}
	}
	return sum
}

// resident is the memory of a process that is in RAM and is not of a file that others may have there too, in MiB.
func resident(t testing.TB, pid int) float64 {
	t.Helper()
	path := fmt.Sprintf("/proc/%d/statm", pid)
	return float64(field(t, path, 1)-field(t, path, 2)) * float64(os.Getpagesize()) / (1 << 20)
}

// field is a number of a file.
func field(t testing.TB, path string, n int) int64 {
	t.Helper()
	text, err := os.ReadFile(path)
	fields := strings.Fields(string(text))
	if err != nil || len(fields) <= n {
		t.Fatalf("%s says %q: %v", path, text, err)
	}
	v, err := strconv.ParseInt(fields[n], 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return v
}
