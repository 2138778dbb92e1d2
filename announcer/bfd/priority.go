package bfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// preferred is the nice value of threads that go first.
const preferred = -20

// PreferProcess has all threads of this process preferred over other processes. That of Run needs it: Go lets it go on
// after each wait only when one of a few permits is free, and a thread that is kept from running keeps its permit. An
// error says that CAP_SYS_NICE is missing.
func PreferProcess() error {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return fmt.Errorf("listing the threads of this process: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		// Threads that come later have the value of the one that makes them; one that has ended needs none.
		if err := unix.Setpriority(unix.PRIO_PROCESS, id, preferred); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("raising the priority of this process (CAP_SYS_NICE is needed): %w", err)
		}
	}
	return nil
}
