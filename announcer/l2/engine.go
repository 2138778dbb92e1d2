package l2

import (
	"context"
	"errors"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// An Engine announces addresses. Make one with New. Its methods may be called from any goroutine.
type Engine struct {
	cfg      Config
	wake     chan struct{}
	stopped  chan struct{}
	started  atomic.Bool
	registry registry

	// mu guards what callers hand over.
	mu      sync.Mutex
	desired map[netip.Addr]*Announcement
	dirty   map[netip.Addr]bool
	order   []netip.Addr // of dirty, oldest first
	refresh []netip.Addr
	waiters []chan struct{}

	// state guards what the running goroutine works on, for those who ask about it.
	state   sync.Mutex
	machine *machine
	ifaces  []Interface

	// The rest belongs to the goroutine that runs the Engine.
	links  linkTable
	ports  map[int]*port
	events []Event
	retry  retry
	sub    *subscription
	// deaf: there is no subscription until the retry.
	deaf bool
	// troubles are the errors that last, so that each is told once, and that it is over.
	troubles map[trouble]string
	// tighten is when loose filters are made exact again; zero for never.
	tighten time.Time

	own    atomic.Pointer[map[mac]bool]
	rivals chan rival
	broken chan brokenPort
}

// rival is a packet of another host about one of our addresses.
type rival struct {
	link int
	addr netip.Addr
	hw   mac
}

// brokenPort tells that a port can no longer be read.
type brokenPort struct {
	resp *responder
	link int
	err  error
}

// New makes an Engine; it does nothing before Run, but Apply and Set may be called already.
func New(cfg Config) (*Engine, error) {
	if cfg.Log.GetSink() == nil {
		cfg.Log = logr.Discard()
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.Exclude == nil {
		cfg.Exclude = DefaultExclude
	}
	cfg.Timings = cfg.Timings.withDefaults()
	if !slices.IsSorted(cfg.Timings.Repeats) {
		return nil, errors.New("l2: Timings.Repeats must be in ascending order")
	}
	if cfg.Timings.ConflictRetryMax < cfg.Timings.ConflictRetryMin {
		return nil, errors.New("l2: Timings.ConflictRetryMax must not be less than ConflictRetryMin")
	}
	e := &Engine{
		cfg: cfg, wake: make(chan struct{}, 1), stopped: make(chan struct{}),
		desired: map[netip.Addr]*Announcement{}, dirty: map[netip.Addr]bool{},
		links: linkTable{exclude: cfg.Exclude}, ports: map[int]*port{}, troubles: map[trouble]string{},
		rivals: make(chan rival, 1024), broken: make(chan brokenPort, 1024),
	}
	e.machine = newMachine(cfg.Timings, e)
	e.own.Store(&map[mac]bool{})
	return e, nil
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Apply replaces everything that is wanted; only the difference is acted on. It returns at once. Of several entries for one
// address the last one counts; entries whose address is not a unicast one are logged and left out.
func (e *Engine) Apply(want []Announcement) {
	next := make(map[netip.Addr]*Announcement, len(want))
	order := make([]netip.Addr, 0, len(want))
	for i := range want {
		a, ok := e.normal(want[i].Address)
		if !ok {
			continue
		}
		if next[a] == nil {
			order = append(order, a)
		}
		next[a] = &want[i]
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for a := range e.desired {
		if next[a] == nil {
			e.setLocked(a, nil)
		}
	}
	for _, a := range order {
		e.setLocked(a, next[a])
	}
	e.notify()
}

// Set changes what is wanted for one address, nil meaning nothing; its cost does not depend on how many there are.
func (e *Engine) Set(addr netip.Addr, want *Announcement) {
	a, ok := e.normal(addr)
	if !ok {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.setLocked(a, want)
	e.notify()
}

// Refresh sends the gratuitous packets of a takeover again for an address that is announced, as after another speaker that
// had announced it too has withdrawn (a partition healed). For an address that is not announced it does nothing.
func (e *Engine) Refresh(addr netip.Addr) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.refresh = append(e.refresh, addr.Unmap().WithZone(""))
	e.notify()
}

func (e *Engine) normal(a netip.Addr) (netip.Addr, bool) {
	a = a.Unmap().WithZone("")
	if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() || a.IsLoopback() {
		e.cfg.Log.Error(nil, "An address that is no unicast address cannot be announced; it is left out", "address", a)
		return a, false
	}
	return a, true
}

func (e *Engine) setLocked(a netip.Addr, want *Announcement) {
	have := e.desired[a]
	if want == nil {
		if have == nil {
			return
		}
		delete(e.desired, a)
	} else {
		if have != nil && have.same(want) {
			return
		}
		w := *want
		w.Address, w.Interfaces, w.Deputy = a, slices.Clone(want.Interfaces), maps.Clone(want.Deputy)
		e.desired[a] = &w
	}
	if !e.dirty[a] {
		e.dirty[a] = true
		e.order = append(e.order, a)
	}
}

// same tells whether two announcements of one address ask for the same.
func (a *Announcement) same(b *Announcement) bool {
	return a.Probe == b.Probe && a.Hold == b.Hold && slices.Equal(a.Interfaces, b.Interfaces) && (a.Interfaces == nil) == (b.Interfaces == nil) &&
		(a.Deputy == nil) == (b.Deputy == nil) &&
		maps.EqualFunc(a.Deputy, b.Deputy, slices.Equal[net.HardwareAddr])
}

func (e *Engine) notify() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// Sync waits until everything that was applied or set before has been acted on: withdrawn addresses are no longer answered for;
// probes and gratuitous packets may still be on their way out. It fails when ctx ends or the Engine has stopped.
func (e *Engine) Sync(ctx context.Context) error {
	done := make(chan struct{})
	e.mu.Lock()
	e.waiters = append(e.waiters, done)
	e.notify()
	e.mu.Unlock()
	select {
	case <-done:
		return nil
	case <-e.stopped:
		return errors.New("l2: the engine has stopped")
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Interfaces tells what the node's interfaces are good for, ordered by index.
func (e *Engine) Interfaces() []Interface {
	e.state.Lock()
	defer e.state.Unlock()
	return slices.Clone(e.ifaces)
}

// States tells how an address stands, one entry for each interface where it is wanted and can be announced.
func (e *Engine) States(addr netip.Addr) []State {
	e.state.Lock()
	defer e.state.Unlock()
	return e.machine.states(addr.Unmap().WithZone(""))
}

// Snapshot returns the counters, ordered by interface and family.
func (e *Engine) Snapshot() []Count { return e.registry.snapshot() }
