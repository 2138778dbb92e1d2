package bfd

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// How threads are preferred, best first. The first is out of reach in a control group that has no share of real time
// (RT_GROUP_SCHED), which those of pods have not; the second where the kernel may run the thread on some cores only, or
// has promised all of its time to others. The last counts among the processes of a control group, and not beside other
// pods.
const (
	byFIFO     = "SCHED_FIFO"
	byDeadline = "SCHED_DEADLINE"
	byNice     = "nice value"
)

const (
	// preferred is the nice value of threads that go first.
	preferred = -20
	// period is the time in which a thread of SCHED_DEADLINE gets its runtime: that of the loop, which does all the work,
	// and that of each other thread. All of them together must be less than the kernel leaves to real time, 95 % of a core
	// (sched(7)).
	period       = 10 * time.Millisecond
	ownRuntime   = period / 2
	otherRuntime = period / 40
)

// PreferProcess has all threads of this process preferred over other processes; the loop's own does that by itself, also
// without. It is for a process that does little else than BFD: Go lets a thread go on after each wait only when one of a
// few permits is free, and it waits for locks of Go's own. A thread that is kept from running keeps both. Threads that
// come later are not always preferred, so it should be called now and then.
//
// It returns how they are preferred, for people. An error says that CAP_SYS_NICE is missing.
func PreferProcess() (by string, err error) {
	threads, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return "", fmt.Errorf("listing the threads of this process: %w", err)
	}
	for _, t := range threads {
		id, err := strconv.Atoi(t.Name())
		if err != nil {
			continue
		}
		way, err := preferThread(id, otherRuntime)
		if errors.Is(err, unix.ESRCH) {
			continue // it has ended
		}
		if err != nil {
			return "", err
		}
		if way != "" {
			by = way
		}
	}
	return by, nil
}

// preferThread prefers the thread of that id (0: this one) in the best way that it can have, with that runtime or as much of
// it as the kernel has left. It returns the empty string for one that has been preferred as much before.
func preferThread(id int, runtime time.Duration) (by string, err error) {
	has, err := unix.SchedGetAttr(id, 0)
	if err != nil {
		return "", fmt.Errorf("reading the priority of thread %d: %w", id, err)
	}
	already := has.Policy == unix.SCHED_DEADLINE
	least := otherRuntime
	if already {
		least = time.Duration(has.Runtime) + 1
	}
	if has.Policy == unix.SCHED_FIFO || runtime < least {
		return "", nil
	}
	fifo := unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1}
	if unix.SchedSetAttr(id, &fifo, 0) == nil {
		return byFIFO, nil
	}
	// The kernel may have promised some of its time to others: less is better than nothing.
	for ; runtime >= least; runtime /= 2 {
		if setDeadline(id, runtime) == nil {
			return byDeadline, nil
		}
	}
	if already {
		return "", nil // the kernel has no more for it
	}
	if err := unix.Setpriority(unix.PRIO_PROCESS, id, preferred); err != nil {
		return "", fmt.Errorf("raising the priority of thread %d (CAP_SYS_NICE is needed): %w", id, err)
	}
	return byNice, nil
}

// setDeadline gives the thread that runtime in each period. The kernel lets no thread of this kind make others of its kind.
func setDeadline(id int, runtime time.Duration) error {
	return unix.SchedSetAttr(id, &unix.SchedAttr{
		Size: unix.SizeofSchedAttr, Policy: unix.SCHED_DEADLINE, Flags: unix.SCHED_FLAG_RESET_ON_FORK | unix.SCHED_FLAG_RECLAIM,
		Runtime: uint64(runtime.Nanoseconds()), Deadline: uint64(period.Nanoseconds()), Period: uint64(period.Nanoseconds()),
	}, 0)
}
