package controllers

import (
	"context"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
)

// startedCache tells when it is started, and is never filled.
type startedCache struct {
	cache.Cache
	started chan struct{}
}

func (c *startedCache) Start(ctx context.Context) error {
	close(c.started)
	<-ctx.Done()
	return nil
}

func (c *startedCache) WaitForCacheSync(context.Context) bool { return false }

// A standby keeps nothing and is ready; its cache is filled once it leads, and
// has to be full from then on.
func TestLeaderCache(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	inner, leading, ended := &startedCache{started: make(chan struct{})}, make(chan struct{}), make(chan error, 1)
	c := &leaderCache{Cache: inner, leading: leading}
	go func() { ended <- c.Start(ctx) }()
	if !c.WaitForCacheSync(ctx) {
		t.Error("a standby waits for a cache that it does not fill")
	}
	select {
	case <-inner.started:
		t.Error("a standby fills its cache")
	default:
	}
	close(leading)
	<-inner.started
	if c.WaitForCacheSync(ctx) {
		t.Error("a leader does not wait for its cache")
	}
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// A standby that is stopped has not started anything.
func TestLeaderCacheStopped(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	inner := &startedCache{started: make(chan struct{})}
	c := &leaderCache{Cache: inner, leading: make(chan struct{})}
	if err := c.Start(ctx); err != nil {
		t.Error(err)
	}
	select {
	case <-inner.started:
		t.Error("the cache of a standby was started")
	default:
	}
}
