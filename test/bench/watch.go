package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	watchtools "k8s.io/client-go/tools/watch"
)

// observer notes when each Service was first seen with an address, as a client
// that watches sees it.
type observer struct {
	watcher *watchtools.RetryWatcher
	done    chan struct{}

	mu   sync.Mutex
	seen map[string]time.Time
}

// watchServices begins to watch; addresses that are there already do not count.
func (b *bench) watchServices(ctx context.Context) (*observer, error) {
	config := rest.CopyConfig(b.lab.Config)
	config.ContentType = "application/vnd.kubernetes.protobuf"
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("making a client that watches: %w", err)
	}
	services := kube.CoreV1().Services(namespace)
	list, err := services.List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return nil, fmt.Errorf("listing Services: %w", err)
	}
	w, err := watchtools.NewRetryWatcherWithContext(ctx, list.ResourceVersion, lister{services.Watch})
	if err != nil {
		return nil, fmt.Errorf("watching Services: %w", err)
	}
	o := &observer{watcher: w, done: make(chan struct{}), seen: map[string]time.Time{}}
	go o.run()
	return o, nil
}

// lister watches by a function.
type lister struct {
	watch func(context.Context, metav1.ListOptions) (watch.Interface, error)
}

func (l lister) WatchWithContext(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
	return l.watch(ctx, o)
}

func (o *observer) run() {
	defer close(o.done)
	for e := range o.watcher.ResultChan() {
		s, ok := e.Object.(*corev1.Service)
		if ok && e.Type != watch.Deleted && len(s.Status.LoadBalancer.Ingress) > 0 {
			o.note(s.Name, time.Now())
		}
	}
}

func (o *observer) note(name string, at time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if _, before := o.seen[name]; !before {
		o.seen[name] = at
	}
}

func (o *observer) stop() {
	o.watcher.Stop()
	<-o.done
}

// stall is how long nothing may be seen before waiting ends.
const stall = time.Minute

// await waits until n Services were seen with an address, and returns when.
func (o *observer) await(ctx context.Context, n int) (map[string]time.Time, error) {
	before, since := 0, time.Now()
	for {
		o.mu.Lock()
		have := len(o.seen)
		o.mu.Unlock()
		if have >= n {
			break
		}
		if have > before {
			before, since = have, time.Now()
		}
		if time.Since(since) > stall {
			return nil, fmt.Errorf("%d of %d Services have an address, and none came for %s", have, n, stall)
		}
		select {
		case <-o.done:
			return nil, errors.New("the watch of Services has ended")
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return maps.Clone(o.seen), nil
}

// speed is Services per second from the first address to the last, and when the
// last was seen.
func (o *observer) speed(ctx context.Context, n int) (perSecond float64, last time.Time, err error) {
	seen, err := o.await(ctx, n)
	if err != nil {
		return 0, time.Time{}, err
	}
	times := slices.SortedFunc(maps.Values(seen), time.Time.Compare)
	last = times[len(times)-1]
	return rate(len(times)-1, times[0], last), last, nil
}
