package apart

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"golang.org/x/sys/unix"

	"github.com/fairlead/fairlead/announcer/bfd"
)

// Config is what an Engine needs.
type Config struct {
	Log logr.Logger
	// Program is the file of the program that calls Child when Args are its arguments, the first of which is the name
	// under which it is listed.
	Program string
	Args    []string
	// OnEvent is told of changes, in order. Nil is allowed.
	OnEvent func(bfd.Event)
}

const (
	// again is how long after the child has ended by itself another one is started.
	again = time.Second
	// parting is how long the child may take to tell the peers that the sessions end.
	parting = 2 * time.Second
)

// Engine keeps sessions by a child. Its methods may be called from any goroutine.
type Engine struct {
	cfg     Config
	started atomic.Bool
	changed chan struct{}

	mu       sync.Mutex
	want     []bfd.Session
	sessions []bfd.Status
}

// New makes an Engine without sessions.
func New(cfg Config) *Engine { return &Engine{cfg: cfg, changed: make(chan struct{}, 1)} }

// Sync says which sessions are wanted. Those that were wanted before go on; what is new in their settings is
// negotiated with the peer. The error names the sessions that cannot be, and the others are kept all the same.
func (e *Engine) Sync(want []bfd.Session) error {
	good, err := bfd.Check(want)
	e.mu.Lock()
	e.want = good
	e.mu.Unlock()
	select {
	case e.changed <- struct{}{}:
	default:
	}
	return err
}

// Sessions returns how the sessions stand, by name. Counts are as of a few seconds ago.
func (e *Engine) Sessions() []bfd.Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	return append([]bfd.Status(nil), e.sessions...)
}

func (e *Engine) wanted() []bfd.Session {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.want
}

// errSecond is what a second Run says.
var errSecond = errors.New("bfd: Run was called a second time")

// Run keeps sessions until ctx ends, then tells the peers that they end by intent, and returns. It may be called
// once. The child is in the network namespace of the thread that calls it.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errSecond
	}
	for ctx.Err() == nil {
		if len(e.wanted()) == 0 {
			e.await(ctx, nil)
			continue
		}
		if err := e.keep(ctx); err != nil {
			e.cfg.Log.Error(err, "The process of BFD has ended; it is started again")
			e.lose(err)
			e.await(ctx, time.After(again))
		}
	}
	return nil
}

// await returns when ctx has ended, or after the pause, or (without one) when other sessions may be wanted.
func (e *Engine) await(ctx context.Context, pause <-chan time.Time) {
	changed := e.changed
	if pause != nil {
		changed = nil
	}
	select {
	case <-ctx.Done():
	case <-changed:
	case <-pause:
	}
}

// keep has a child keep the sessions until ctx ends or none is wanted. The error says why it has ended before.
func (e *Engine) keep(ctx context.Context) error {
	c, err := start(e.cfg.Program, e.cfg.Args)
	if err != nil {
		return err
	}
	e.cfg.Log.V(1).Info("BFD runs in a process of its own", "pid", c.cmd.Process.Pid)
	defer c.conn.Close()
	ended := make(chan error, 1)
	go func() { ended <- e.listen(c.conn) }()
	for to := gob.NewEncoder(c.conn); ; {
		want := e.wanted()
		over := ctx.Err() != nil || len(want) == 0
		// If the child is gone, reading from it says so.
		_ = to.Encode(order{Want: want, End: over})
		if over {
			return c.depart(ended)
		}
		select {
		case err := <-ended:
			return c.ended(err)
		case <-ctx.Done():
		case <-e.changed:
		}
	}
}

// listen takes the child's reports until it has no more.
func (e *Engine) listen(conn net.Conn) error {
	for from := gob.NewDecoder(conn); ; {
		var r report
		switch more, err := next(from, &r); {
		case err != nil:
			return fmt.Errorf("reading what it reports: %w", err)
		case !more:
			return nil
		}
		e.take(r)
	}
}

func (e *Engine) take(r report) {
	e.mu.Lock()
	e.sessions = r.Sessions
	e.mu.Unlock()
	for _, ev := range r.Events {
		if e.cfg.OnEvent != nil {
			e.cfg.OnEvent(ev)
		}
	}
}

// lose says of all sessions that nobody keeps them.
func (e *Engine) lose(why error) {
	now, r := time.Now(), report{}
	before := map[string]bfd.Status{}
	for _, s := range e.Sessions() {
		before[s.Session] = s
		if s.State == bfd.Up {
			r.Events = append(r.Events, bfd.Event{Session: s.Session, State: bfd.AdminDown, Was: bfd.Up, Cause: bfd.CauseEnded, At: now})
		}
	}
	for _, w := range e.wanted() {
		s := bfd.Status{Session: w.Name, State: bfd.Down, Since: now, Cause: bfd.CauseEnded, At: now, Trouble: why.Error()}
		if b, ok := before[w.Name]; ok && b.State == bfd.Down {
			s.Since, s.Cause, s.At = b.Since, b.Cause, b.At
		}
		r.Sessions = append(r.Sessions, s)
	}
	e.take(r)
}

// child is a process that runs Child, and the parent's end of the pair of sockets.
type child struct {
	cmd  *exec.Cmd
	conn net.Conn
}

func start(program string, args []string) (*child, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("making a pair of sockets: %w", err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "child"), os.NewFile(uintptr(pair[1]), "parent")
	defer ours.Close()
	defer theirs.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		return nil, fmt.Errorf("using a pair of sockets: %w", err)
	}
	cmd := &exec.Cmd{
		Path: program, Args: args, Stderr: os.Stderr,
		ExtraFiles: []*os.File{theirs}, // is descriptor there
	}
	if err := cmd.Start(); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("starting the process of BFD: %w", err)
	}
	return &child{cmd: cmd, conn: conn}, nil
}

// depart waits for a child that was told to end, and kills it if it takes too long.
func (c *child) depart(heard <-chan error) error {
	stuck := time.AfterFunc(parting, func() { _ = c.cmd.Process.Kill() })
	defer stuck.Stop()
	err := <-heard
	if err != nil {
		_ = c.cmd.Process.Kill()
	}
	return errors.Join(err, c.cmd.Wait())
}

// ended says how a child has ended by itself, of which no more is heard.
func (c *child) ended(heard error) error {
	// One that goes on though its socket is closed would be in the way of the next.
	_ = c.cmd.Process.Kill()
	if err := errors.Join(heard, c.cmd.Wait()); err != nil {
		return fmt.Errorf("the process of BFD has ended: %w", err)
	}
	return errors.New("the process of BFD has ended")
}
