package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// queue lets other parts of the shell add to the queue of a controller.
type queue struct {
	mu    sync.Mutex
	work  workqueue.TypedRateLimitingInterface[reconcile.Request]
	early []reconcile.Request // added before the controller started
}

// source hands the controller's queue over when the controller starts.
func (q *queue) source() source.Source {
	return source.Func(func(_ context.Context, work workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
		q.mu.Lock()
		defer q.mu.Unlock()
		q.work = work
		for _, r := range q.early {
			work.Add(r)
		}
		q.early = nil
		return nil
	})
}

func (q *queue) add(requests ...reconcile.Request) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, r := range requests {
		if q.work == nil {
			q.early = append(q.early, r)
			continue
		}
		q.work.Add(r)
	}
}

// addAfter adds a request once the time has passed. Of several, the earliest counts.
func (q *queue) addAfter(r reconcile.Request, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.work == nil {
		q.early = append(q.early, r)
		return
	}
	q.work.AddAfter(r, d)
}

const (
	// A look that failed is repeated after the first of these times, then after
	// twice as long, up to the last: after an outage of the API server nobody
	// waits longer than that.
	firstRetry, lastRetry = 20 * time.Millisecond, 10 * time.Second
	// looking is how long one look may take.
	looking = 30 * time.Second
)

// working are the options of a controller with some workers.
func working(workers int) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers, ReconciliationTimeout: looking,
		RateLimiter: workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](firstRetry, lastRetry),
	}
}
