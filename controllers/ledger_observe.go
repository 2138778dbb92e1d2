package controllers

import (
	"context"
	"net/netip"

	"k8s.io/apimachinery/pkg/util/resourceversion"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Observe takes in what the cache shows for an address (nil: nothing) and then
// makes the object what the books say. A late cache changes nothing: what is
// older than what is known here is passed over.
func (l *Ledger) Observe(ctx context.Context, a netip.Addr, cached *v1alpha1.Address) error {
	if err := l.observe(ctx, a, cached); err != nil {
		return err
	}
	return l.write(ctx, a)
}

func (l *Ledger) observe(ctx context.Context, a netip.Addr, cached *v1alpha1.Address) error {
	r, unlock := l.lock(a)
	defer unlock()
	if cached == nil {
		return l.observeNone(ctx, a, r)
	}
	if !l.news(r, cached) {
		return nil
	}
	l.learn(a, r, cached.DeepCopy())
	return nil
}

// news tells whether a cached object is newer than what is known.
func (l *Ledger) news(r *row, cached *v1alpha1.Address) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case r.object != nil:
		return newer(cached.ResourceVersion, r.object.ResourceVersion)
	case r.gone == cached.UID:
		return false
	}
	return l.floor == "" || newer(cached.ResourceVersion, l.floor)
}

// observeNone deals with an object that the cache does not have. Where we know
// of one, the API server is asked: the cache may not have it yet.
func (l *Ledger) observeNone(ctx context.Context, a netip.Addr, r *row) error {
	l.mu.Lock()
	known := r.object
	r.gone = ""
	l.mu.Unlock()
	if known == nil {
		return nil
	}
	return l.reread(ctx, a, r)
}

// newer compares resourceVersions. One that cannot be compared counts as newer:
// it is then compared by content.
func newer(a, b string) bool {
	c, err := resourceversion.CompareResourceVersion(a, b)
	return err != nil || c > 0
}

// Object is the newest state known of an Address; nil: there is none. It must
// not be modified.
func (l *Ledger) Object(a netip.Addr) *v1alpha1.Address {
	l.mu.Lock()
	defer l.mu.Unlock()
	if r := l.rows[a]; r != nil {
		return r.object
	}
	return nil
}

// Orphan tells whether a foreign edit took the holder out of the ledger since
// the last call, and forgets it.
func (l *Ledger) Orphan(k allocator.Key) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, was := l.orphans[k]
	delete(l.orphans, k)
	return was
}
