// Package cpu tells benchmarks what this process has used, which hardly depends on what else the machine does.
package cpu

import (
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
