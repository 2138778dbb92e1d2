package apart

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"sync"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/announcer/bfd"
)

const (
	// descriptor is the child's end of the pair of sockets: the first after the three that every process has.
	descriptor = 3
	// permits is how many threads may run Go code at once (GOMAXPROCS): more than there are goroutines, so that the
	// loop of BFD never waits for one that another thread has.
	permits = 16
	// threads is how many there are from the beginning, which all are preferred then: more than ever run at once.
	threads = 12
	// garbage is how much memory may be used before any is collected, in bytes.
	garbage = 32 << 20
	// counting is how often counts of packets are reported; all else is reported at once.
	counting = 5 * time.Second
	// preferring is how often threads that are new are preferred.
	preferring = time.Second
)

// Child is all that the child does. It returns when the parent says that it shall end, or has ended itself.
//
// The error says why it could not begin, or what the parent sent that it does not understand.
func Child(log logr.Logger) error {
	if kind, err := unix.GetsockoptInt(descriptor, unix.SOL_SOCKET, unix.SO_TYPE); err != nil || kind != unix.SOCK_STREAM {
		return errors.New("the speaker runs this by itself, for BFD, with its end of a pair of sockets as file 3")
	}
	file := os.NewFile(descriptor, "parent")
	parent, err := net.FileConn(file)
	if err != nil {
		return fmt.Errorf("using the socket to the speaker: %w", err)
	}
	_ = file.Close()
	defer parent.Close()
	// A signal to the whole group of processes, as from a terminal, is the parent's to answer.
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	runtime.GOMAXPROCS(permits)
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(garbage)
	makeThreads()
	return obey(log, parent)
}

// makeThreads has Go make as many threads as will be needed; it keeps them for when one waits in the kernel.
func makeThreads() {
	var there, gone sync.WaitGroup
	there.Add(threads)
	for range threads {
		gone.Go(func() {
			runtime.LockOSThread()
			defer runtime.UnlockOSThread()
			there.Done()
			there.Wait()
		})
	}
	gone.Wait()
}

// obey keeps the sessions that the parent wants until it says that all end, or says no more.
func obey(log logr.Logger, parent net.Conn) error {
	k, err := newKeeper(log, parent)
	if err != nil {
		return err
	}
	for from := gob.NewDecoder(parent); ; {
		var o order
		switch more, err := next(from, &o); {
		case err != nil:
			return fmt.Errorf("reading what the speaker wants: %w", err)
		case !more:
			// The process is about to end, and with it all sessions, without a word to their peers.
			return nil
		case o.End:
			k.depart()
			return nil
		}
		if err := k.engine.Sync(o.Want); err != nil {
			log.Error(err, "The speaker wants sessions of BFD that cannot be")
		}
	}
}

// keeper is an engine of this process, and what runs beside it.
type keeper struct {
	engine  *bfd.Engine
	tell    *reporter
	end     context.CancelFunc
	running sync.WaitGroup
	log     logr.Logger
	// preferred is how the threads are preferred, as the log says.
	preferred string
}

func newKeeper(log logr.Logger, parent io.Writer) (*keeper, error) {
	k := &keeper{tell: &reporter{to: gob.NewEncoder(parent)}, log: log}
	var err error
	if k.engine, err = bfd.New(bfd.Config{Log: log, OnEvent: k.tell.happened, OnChange: k.tell.send}); err != nil {
		return nil, err
	}
	k.tell.sessions = k.engine.Sessions
	k.prefer()
	var ctx context.Context
	ctx, k.end = context.WithCancel(context.Background())
	k.running.Go(func() { _ = k.engine.Run(ctx) })
	k.running.Go(func() { every(ctx, counting, k.tell.send) })
	k.running.Go(func() { every(ctx, preferring, k.prefer) })
	return k, nil
}

// depart tells the peers that the sessions end, and then the parent.
func (k *keeper) depart() {
	k.end()
	k.running.Wait()
}

// prefer has all threads preferred, also those that are new.
func (k *keeper) prefer() {
	by, err := bfd.PreferProcess()
	if err != nil {
		by = err.Error()
	}
	if by != "" && by != k.preferred {
		k.log.V(1).Info("The threads of BFD are preferred", "by", by)
		k.preferred = by
	}
}

// every does something again and again until the context ends.
func every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

// reporter tells the parent.
type reporter struct {
	mu       sync.Mutex
	to       *gob.Encoder
	sessions func() []bfd.Status
	events   []bfd.Event
}

func (r *reporter) happened(ev bfd.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev)
}

// send may wait for the parent; the loop of BFD does not wait for it.
func (r *reporter) send() {
	r.mu.Lock()
	defer r.mu.Unlock()
	// If the parent is gone, reading from it says so.
	_ = r.to.Encode(report{Events: r.events, Sessions: r.sessions()})
	r.events = nil
}
