package bfd

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// Config is what an Engine needs.
type Config struct {
	Log logr.Logger
	// OnEvent is told of changes, in order, by a goroutine of its own. Nil is allowed.
	OnEvent func(Event)
	// OnChange is told by the same goroutine that what Sessions returns has changed in more than its counts, after the
	// events of that. Nil is allowed.
	OnChange func()
}

// Engine keeps sessions. Its methods may be called from any goroutine.
type Engine struct {
	cfg     Config
	started atomic.Bool
	want    atomic.Pointer[[]Session]
	wake    wakeup
	// table is what Sessions shows. The thread of Run replaces it and never waits for who reads it.
	table  atomic.Pointer[[]*session]
	events queue
}

// New makes an Engine without sessions.
func New(cfg Config) (*Engine, error) {
	wake, err := newWakeup()
	if err != nil {
		return nil, fmt.Errorf("bfd: %w", err)
	}
	e := &Engine{cfg: cfg, wake: wake}
	e.want.Store(&[]Session{})
	e.table.Store(&[]*session{})
	e.events.some = make(chan struct{}, 1)
	return e, nil
}

// Sync says which sessions are wanted. Those that were wanted before go on; what is new in their settings is
// negotiated with the peer. The error names the sessions that cannot be, and the others are kept all the same.
func (e *Engine) Sync(want []Session) error {
	good, err := Check(want)
	e.want.Store(&good)
	e.wake.signal()
	return err
}

// Check returns the sessions that can be, by name, and an error that says what is wrong with each of the others.
func Check(want []Session) (good []Session, err error) {
	var errs []error
	names, ways := map[string]bool{}, map[way]string{}
	for _, s := range want {
		err := s.Validate()
		if other, taken := ways[s.way()]; err == nil && taken {
			err = fmt.Errorf("session %q: %s has the same peer", s.Name, other)
		}
		if err == nil && names[s.Name] {
			err = fmt.Errorf("session %q is there twice", s.Name)
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		names[s.Name], ways[s.way()] = true, s.Name
		good = append(good, s)
	}
	slices.SortFunc(good, func(a, b Session) int { return strings.Compare(a.Name, b.Name) })
	return good, errors.Join(errs...)
}

// Sessions returns how the sessions stand, by name.
func (e *Engine) Sessions() []Status {
	table := *e.table.Load()
	out := make([]Status, len(table))
	for i, s := range table {
		out[i] = s.status()
	}
	return out
}

// Run keeps sessions until ctx ends, then tells the peers that they end by intent, and returns. It may be called
// once. It returns an error only if it could not begin.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errSecond
	}
	stopped := make(chan struct{})
	var told sync.WaitGroup
	told.Go(func() { e.events.deliver(stopped, e.cfg) })
	release := context.AfterFunc(ctx, e.wake.signal)
	defer func() {
		release()
		close(stopped)
		told.Wait()
		e.wake.close()
	}()
	l := &loop{
		e: e, ctx: ctx, byLocal: map[uint32]*session{}, byName: map[string]*session{}, byPeer: map[netip.Addr][]*session{},
		receivers: map[receiverKind]*receiver{}, echoing: map[*session]bool{}, chance: rand.Float64,
	}
	l.run()
	return nil
}

// queue are events that wait to be told. The thread that adds some is never kept waiting by who takes them.
type queue struct {
	mu   sync.Mutex
	list []Event
	some chan struct{}
}

func (q *queue) add(list ...Event) {
	q.mu.Lock()
	q.list = append(q.list, list...)
	q.mu.Unlock()
	q.changed()
}

// changed has it told that something is new.
func (q *queue) changed() {
	select {
	case q.some <- struct{}{}:
	default:
	}
}

func (q *queue) take() []Event {
	q.mu.Lock()
	defer q.mu.Unlock()
	list := q.list
	q.list = nil
	return list
}

// deliver tells what comes until stopped is closed, and then what is left.
func (q *queue) deliver(stopped <-chan struct{}, to Config) {
	for last := false; !last; {
		select {
		case <-q.some:
		case <-stopped:
			last = true
		}
		list := q.take()
		for i := 0; to.OnEvent != nil && i < len(list); i++ {
			to.OnEvent(list[i])
		}
		if to.OnChange != nil {
			to.OnChange()
		}
	}
}

// farewells is how often a peer is told that a session ends by intent, farewellGap the time between.
const (
	farewells   = 3
	farewellGap = 10 * time.Millisecond
)
