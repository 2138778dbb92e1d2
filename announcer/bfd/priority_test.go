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

var errNoMore = errors.New("no more time")

// The loop's thread gets the time of the one that does all the work also where it was preferred before, as one of many.
func TestTheLoopHasMoreTimeThanOtherThreads(t *testing.T) {
	shares.New(t, "speaker", 50).Add(os.Getpid())
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		done <- func() error {
			if _, err := preferThread(0, otherRuntime); err != nil {
				return err
			}
			before, err := unix.SchedGetAttr(0, 0)
			if err != nil {
				return err
			}
			if before.Policy != unix.SCHED_DEADLINE {
				return nil // all threads preferred in another way are preferred alike
			}
			if _, err := preferThread(0, ownRuntime); err != nil {
				return err
			}
			loop, err := unix.SchedGetAttr(0, 0)
			if err != nil {
				return err
			}
			// Tests of other packages run beside this one and are promised time, too.
			if loop.Runtime < before.Runtime*5/4 {
				refused := setDeadline(0, time.Duration(before.Runtime)*5/4)
				return fmt.Errorf("the loop has %s as any thread; asked for a little more: %w", time.Duration(loop.Runtime), errors.Join(errNoMore, refused))
			}
			if _, err := preferThread(0, otherRuntime); err != nil {
				return err
			}
			after, err := unix.SchedGetAttr(0, 0)
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
