package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/fairlead/fairlead/announcer/reject"
)

// rejecter hands the addresses to the reject table beside the loop, always the
// last state only.
type rejecter struct {
	log   logr.Logger
	table Rejecter
	wake  chan struct{}
	done  chan struct{}

	mu   sync.Mutex
	want []reject.VIP
}

func newRejecter(log logr.Logger, table Rejecter) *rejecter {
	return &rejecter{log: log, table: table, wake: make(chan struct{}, 1), done: make(chan struct{})}
}

func (r *rejecter) set(vips []reject.VIP) {
	r.mu.Lock()
	r.want = vips
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default:
	}
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
		r.mu.Lock()
		vips := r.want
		r.mu.Unlock()
		err := r.table.Set(vips)
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
