package bfd

import (
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
			for _, share := range []struct{ asked, want time.Duration }{
				{otherRuntime, otherRuntime}, {ownRuntime, ownRuntime}, {otherRuntime, ownRuntime},
			} {
				if _, err := preferThread(0, share.asked); err != nil {
					return err
				}
				has, err := unix.SchedGetAttr(0, 0)
				if err != nil {
					return err
				}
				if has.Policy == unix.SCHED_DEADLINE && time.Duration(has.Runtime) != share.want {
					return fmt.Errorf("asked for %s, the thread has %s, want %s", share.asked, time.Duration(has.Runtime), share.want)
				}
			}
			return nil
		}()
	}()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
