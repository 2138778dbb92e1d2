package controllers

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// queue lets other parts of the shell add to the queue of a controller.
type queue struct {
	mu    sync.Mutex
	work  priorityqueue.PriorityQueue[reconcile.Request]
	early []addition // before the controller started
}

// addition is what is added to a queue at once, and how.
type addition struct {
	how      priorityqueue.AddOpts
	requests []reconcile.Request
}

// source hands the controller's queue over when the controller starts.
func (q *queue) source() source.Source {
	return source.Func(func(_ context.Context, work workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		var ok bool
		if q.work, ok = work.(priorityqueue.PriorityQueue[reconcile.Request]); !ok {
			return fmt.Errorf("the controller's queue is a %T, and knows no priorities", work)
		}
		for _, a := range q.early {
			q.work.AddWithOpts(a.how, a.requests...)
		}
		q.early = nil
		return nil
	})
}

func (q *queue) put(how priorityqueue.AddOpts, requests ...reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.work == nil {
		q.early = append(q.early, addition{how, requests})
		return
	}
	q.work.AddWithOpts(how, requests...)
}

func (q *queue) add(requests ...reconcile.Request) { q.put(priorityqueue.AddOpts{}, requests...) }

// addAfter adds a request once the time has passed. Of several, the earliest counts.
func (q *queue) addAfter(r reconcile.Request, d time.Duration) {
	q.put(priorityqueue.AddOpts{After: d}, r)
}

// addBacklog adds requests that have waited for long, in the order given: before
// what the first list of a cache has brought in, behind what changes now.
func (q *queue) addBacklog(requests ...reconcile.Request) {
	q.put(priorityqueue.AddOpts{Priority: new(handler.LowPriority + 1)}, requests...)
}

// recovered is a source of nothing that is in sync once the books are rebuilt.
// Before that no worker of a controller with it takes anything from the queue.
type recovered <-chan struct{}

// Start implements source.Source.
func (recovered) Start(context.Context, workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
	return nil
}

// WaitForSync implements source.SyncingSource.
func (r recovered) WaitForSync(ctx context.Context) error {
	select {
	case <-r:
	case <-ctx.Done():
	}
	return nil
}

const (
	// A look that failed is repeated after the first of these times, then after
	// twice as long, up to the last: after an outage of the API server nobody
	// waits longer than that.
	firstRetry, lastRetry = 20 * time.Millisecond, 10 * time.Second
	// looking is how long one look may take.
	looking = 30 * time.Second
	// noTimeout is longer than any program runs.
	noTimeout = math.MaxInt64
)

// working are the options of a controller with some workers.
func working(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers, ReconciliationTimeout: looking,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
	}
}
