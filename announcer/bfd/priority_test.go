package bfd

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/test/shares"
)

// The loop's thread gets the time of the one that does all the work also where it was preferred before, as one of many.
func TestTheLoopHasMoreTimeThanOtherThreads(t *testing.T) {
	shares.New(t, "speaker", 50).Add(os.Getpid())
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			before, err := preferredFor(otherRuntime)
			if err != nil || before.Policy != unix.SCHED_DEADLINE {
				return err // all threads preferred in another way are preferred alike
			}
			loop, err := preferredFor(ownRuntime)
			if err != nil {
				return err
			}
			// Tests of other packages run beside this one and are promised time, too.
			if more := before.Runtime * 5 / 4; loop.Runtime < more {
				return errors.Join(fmt.Errorf("the loop has %s, as any thread", time.Duration(loop.Runtime)), setDeadline(0, time.Duration(more)))
			}
			after, err := preferredFor(otherRuntime)
			if err != nil {
				return err
			}
			if after.Runtime != loop.Runtime {
				return fmt.Errorf("the loop had %s, and has %s since it was preferred as any thread", time.Duration(loop.Runtime), time.Duration(after.Runtime))
			}
			return nil
		}()
	}()
	err := <-done
	if errors.Is(err, unix.EBUSY) {
		t.Skipf("the kernel has promised all of its time to others: %v", err)
	}
	if err != nil {
		t.Error(err)
	}
}

// preferredFor prefers this thread with a runtime, and says what it has then.
func preferredFor(runtime time.Duration) (*unix.SchedAttr, error) {
	if _, err := preferThread(0, runtime); err != nil {
		return nil, err
	}
	return unix.SchedGetAttr(0, 0)
}
