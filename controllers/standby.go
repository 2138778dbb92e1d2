package controllers

import (
	"context"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// leaderCache is a cache that is filled once we lead. A standby watches nothing:
// each object of a big cluster would be sent to it, and kept by it, in vain. A
// new leader lists what there is before it serves.
type leaderCache struct {
	cache.Cache
	// leading is closed when we lead; it is set before the cache is started.
	leading <-chan struct{}
}

func newLeaderCache(cfg *rest.Config, o cache.Options) (cache.Cache, error) {
	c, err := cache.New(cfg, o)
	if err != nil {
		return nil, err
	}
	return &leaderCache{Cache: c}, nil
}

// waitToLead lets the cache of a manager know when we lead.
func waitToLead(mgr manager.Manager) {
	if c, ok := mgr.GetCache().(*leaderCache); ok {
		c.leading = mgr.Elected()
	}
}

// Start fills the cache as soon as we lead, until ctx ends.
func (c *leaderCache) Start(ctx context.Context) error {
	select {
	case <-c.leading:
		return c.Cache.Start(ctx)
	case <-ctx.Done():
		return nil
	}
}

// WaitForCacheSync does not wait on a standby, which has nothing to fill.
func (c *leaderCache) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-c.leading:
		return c.Cache.WaitForCacheSync(ctx)
	default:
		return true
	}
}

// awaitCache waits until we lead and the cache is filled. It returns false when
// ctx ends before.
func awaitCache(ctx context.Context, mgr manager.Manager) bool {
	select {
	case <-mgr.Elected():
		return mgr.GetCache().WaitForCacheSync(ctx)
	case <-ctx.Done():
		return false
	}
}
