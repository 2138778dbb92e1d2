// Package cpu tells benchmarks what this process has used, which hardly depends on what else the machine does, and what
// nobody has.
package cpu

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Used is the CPU time of this process so far, in user and kernel mode.
func Used(t testing.TB) time.Duration {
	t.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		t.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// Idle is how long the machine's cores have had nothing to do so far, all added up.
func Idle(t testing.TB) time.Duration {
	t.Helper()
	text, err := os.ReadFile("/proc/stat")
	if err != nil {
		t.Fatal(err)
	}
	// cpu USER NICE SYSTEM IDLE IOWAIT ..., in hundredths of a second (proc(5)).
	fields := strings.Fields(string(text))
	if len(fields) < 6 {
		t.Fatalf("/proc/stat says %q", text)
	}
	var ticks int64
	for _, f := range fields[4:6] {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			t.Fatalf("/proc/stat says %q: %v", text, err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond
}
