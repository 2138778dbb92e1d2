package agent

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/fairlead/fairlead/announcer/reject"
)

// rejecter hands the addresses to the reject table beside the loop: of each that
// changed the last state only.
type rejecter struct {
	log   logr.Logger
	table Rejecter
	wake  chan struct{}
	done  chan struct{}

	mu sync.Mutex
	// want are the addresses that we answer for, with their ports; changed are
	// those of which the table does not know yet.
	want    map[netip.Addr][]reject.PortProto
	changed map[netip.Addr]bool
	// waiting are closed when the table knows what was noted before.
	waiting []chan struct{}
}

func newRejecter(log logr.Logger, table Rejecter) *rejecter {
	return &rejecter{
		log: log, table: table, wake: make(chan struct{}, 1), done: make(chan struct{}),
		want: map[netip.Addr][]reject.PortProto{}, changed: map[netip.Addr]bool{},
	}
}

// answer notes that we answer for an address on which these ports are held;
// silent that we do not. Both take effect with the next flush.
func (r *rejecter) answer(ip netip.Addr, held []reject.PortProto) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if have, ok := r.want[ip]; ok && slices.Equal(have, held) {
		return
	}
	r.want[ip], r.changed[ip] = held, true
}

func (r *rejecter) silent(ip netip.Addr) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, ok := r.want[ip]; ok {
		delete(r.want, ip)
		r.changed[ip] = true
	}
}

// flush has what was noted carried out.
func (r *rejecter) flush() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// settle has what was noted carried out, and waits for that for a while.
func (r *rejecter) settle(patience time.Duration) {
	if r.table == nil {
		return
	}
	done := make(chan struct{})
	r.mu.Lock()
	r.waiting = append(r.waiting, done)
	r.mu.Unlock()
	r.flush()
	select {
	case <-done:
	case <-r.done:
	case <-time.After(patience):
	}
}

// take is what the table does not know yet, and who waits until it does.
func (r *rejecter) take() (vips []reject.VIP, gone []netip.Addr, waiting []chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for ip := range r.changed {
		if held, ok := r.want[ip]; ok {
			vips = append(vips, reject.VIP{Address: ip, Held: held})
		} else {
			gone = append(gone, ip)
		}
	}
	clear(r.changed)
	waiting, r.waiting = r.waiting, nil
	return vips, gone, waiting
}

// rejectRetry is how long a failed change of the table waits.
const rejectRetry = 5 * time.Second

func (r *rejecter) start(ctx context.Context, wg *sync.WaitGroup) {
	if r.table == nil {
		close(r.done)
		return
	}
	wg.Add(2)
	go func() {
		defer wg.Done()
		if err := r.table.Run(ctx); err != nil && ctx.Err() == nil {
			r.log.Error(err, "The reject table is no longer looked after")
		}
	}()
	go func() {
		defer wg.Done()
		defer close(r.done)
		r.run(ctx)
	}()
}

func (r *rejecter) run(ctx context.Context) {
	var retry <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-r.wake:
		case <-retry:
		}
		retry = nil
		// What is handed over once stays wanted: the table keeps it, also when the
		// kernel does not take it at once.
		vips, gone, waiting := r.take()
		err := r.table.Change(vips, gone)
		for _, w := range waiting {
			close(w)
		}
		switch {
		case err == nil:
		case errors.Is(err, reject.ErrUnsupported):
			r.log.Error(err, "Ports that nobody serves are not refused and ping is not answered on this node")
			return
		default:
			r.log.Error(err, "Changing the reject table failed; trying again")
			retry = time.After(rejectRetry)
		}
	}
}

// stop removes the table. Its context must have ended or be about to.
func (r *rejecter) stop() {
	if r.table == nil {
		return
	}
	if err := r.table.Remove(); err != nil {
		r.log.Error(err, "Removing the reject table failed")
	}
}
