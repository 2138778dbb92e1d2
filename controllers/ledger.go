package controllers

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/trace"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// errMoved says that the API server's ledger kept changing under a decision.
var errMoved = errors.New("the ledger at the API server has changed meanwhile")

// deciding is how often one decision is taken again before it goes back to the
// queue, when the ledger moves under it.
const deciding = 8

// Ledger keeps the books and the Address objects of the API server in
// agreement. It is level-triggered: what it writes for an address is always
// what the books say at that moment, whoever asked. It is safe for concurrent
// use.
type Ledger struct {
	writer client.Client
	live   client.Reader
	clock  clock.PassiveClock
	fail   Failpoint
	tracer trace.Tracer
	hooks  LedgerHooks

	mu    sync.Mutex
	books *allocator.Books
	rows  map[netip.Addr]*row
	// floor is the resourceVersion at which the ledger was read in whole. What
	// a cache shows that is older, and unknown here, is gone.
	floor string
	// orphans are holders that a foreign edit took out of an Address: what
	// their status shows is adopted again before they are given anything else.
	orphans map[allocator.Key]struct{}
}

// LedgerHooks are called when the ledger changes, outside of its locks.
type LedgerHooks struct {
	Wake func([]allocator.Key) // claims that should be decided again
	Used func(pools []string)  // pools whose usage changed
	// Retry asks for Settle of an address whose write failed or is due.
	Retry func([]netip.Addr)
}

// row is what is known of one Address object at the API server.
type row struct {
	// writing lets one writer at a time through. It is taken before Ledger.mu.
	writing sync.Mutex
	// users counts who holds or waits for writing; guarded by Ledger.mu.
	users int
	// object is the newest state known, never modified; nil: there is none.
	object *v1alpha1.Address
	// gone is the object last known to be deleted: a cache that still shows it
	// is late.
	gone types.UID
}

// NewLedger makes an empty ledger. Recovery fills it.
func NewLedger(writer client.Client, live client.Reader, clk clock.PassiveClock, tracer trace.Tracer, fail Failpoint, hooks LedgerHooks) *Ledger {
	return &Ledger{
		writer: writer, live: live, clock: clk, fail: fail, tracer: tracer, hooks: hooks,
		books: allocator.New(), rows: map[netip.Addr]*row{}, orphans: map[allocator.Key]struct{}{},
	}
}

// Decide takes a decision on a claim and brings the ledger in line with it. When
// it returns without an error, everything in Decision.Addresses stands in the
// ledger at the API server.
func (l *Ledger) Decide(ctx context.Context, c allocator.Claim) (allocator.Decision, error) {
	return l.settle(ctx, c.Key, func() allocator.Decision { return l.books.Decide(l.clock.Now(), c) })
}

// Adopt takes addresses that a status shows and no Address object holds.
func (l *Ledger) Adopt(ctx context.Context, c allocator.Claim, addresses []netip.Addr) (allocator.Decision, error) {
	return l.settle(ctx, c.Key, func() allocator.Decision { return l.books.Adopt(l.clock.Now(), c, addresses) })
}

// Vacate frees what a holder has left, after its status has let go of it.
func (l *Ledger) Vacate(ctx context.Context, k allocator.Key, leaving []netip.Addr) error {
	return l.free(ctx, func() allocator.Decision { return l.books.Vacate(l.clock.Now(), k, leaving) })
}

// Release frees all that a holder has, after it is gone or its status has let go.
func (l *Ledger) Release(ctx context.Context, k allocator.Key) error {
	return l.free(ctx, func() allocator.Decision { return l.books.Release(l.clock.Now(), k) })
}

// Held are the addresses of a holder in the books.
func (l *Ledger) Held(k allocator.Key) []netip.Addr {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.Held(k)
}

// Adopted tells whether an address is being taken over from another controller, which
// may have it back.
func (l *Ledger) Adopted(a netip.Addr) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.rows[a]
	return r != nil && r.object != nil && r.object.Annotations[v1alpha1.AnnotationAdopted] != ""
}

// settle decides and writes until both agree.
func (l *Ledger) settle(ctx context.Context, k allocator.Key, decide func() allocator.Decision) (allocator.Decision, error) {
	for range deciding {
		d := l.decide(decide)
		for _, a := range d.Touched {
			if err := l.write(ctx, a); err != nil {
				l.hooks.Retry(d.Touched)
				return allocator.Decision{}, err
			}
		}
		if l.confirmed(k, d) {
			return d, nil
		}
	}
	return allocator.Decision{}, fmt.Errorf("deciding on the addresses of %s: %w", k, errMoved)
}

// free carries out a decision that only gives up. A write that fails is tried
// again by the queue of addresses.
func (l *Ledger) free(ctx context.Context, decide func() allocator.Decision) error {
	d := l.decide(decide)
	for i, a := range d.Touched {
		if err := l.write(ctx, a); err != nil {
			l.hooks.Retry(d.Touched[i:])
			return err
		}
	}
	return nil
}

// decide takes a decision and tells whom it concerns.
func (l *Ledger) decide(decide func() allocator.Decision) allocator.Decision {
	l.mu.Lock()
	d := decide()
	used := l.poolsOf(l.poolsOf(nil, d.Touched), d.Freed)
	wake := append(slices.Clip(d.Wake), l.books.Woken()...)
	l.mu.Unlock()
	l.report(wake, used)
	return d
}

// report tells whom a change of the books concerns. The caller holds no lock.
func (l *Ledger) report(wake []allocator.Key, used []string) {
	if len(used) > 0 {
		l.hooks.Used(used)
	}
	if len(wake) > 0 {
		l.hooks.Wake(wake)
	}
}

// poolsOf adds the pools of addresses to out, each once. The caller holds mu.
func (l *Ledger) poolsOf(out []string, addresses []netip.Addr) []string {
	for _, a := range addresses {
		pool := ""
		if e, ok := l.books.Entry(a); ok {
			pool = e.Pool
		} else if r := l.rows[a]; r != nil && r.object != nil {
			pool = r.object.Spec.Pool
		}
		if pool != "" && !slices.Contains(out, pool) {
			out = append(out, pool)
		}
	}
	return out
}

// confirmed tells whether the API server has agreed to every address given.
func (l *Ledger) confirmed(k allocator.Key, d allocator.Decision) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, given := range d.Addresses {
		h := l.holder(given.Address, k)
		if h == nil || (d.Bound && h.State != v1alpha1.AddressBound) {
			return false
		}
	}
	return true
}

// holder is the holder as it stands at the API server. The caller holds mu.
func (l *Ledger) holder(a netip.Addr, k allocator.Key) *v1alpha1.AddressHolder {
	r := l.rows[a]
	if r == nil || r.object == nil {
		return nil
	}
	for i := range r.object.Spec.Holders {
		h := &r.object.Spec.Holders[i]
		if h.Kind == k.Kind && h.Namespace == k.Namespace && h.Name == k.Name {
			return h
		}
	}
	return nil
}

// lock takes the row of an address for writing; the caller calls the function
// returned when it is done.
func (l *Ledger) lock(a netip.Addr) (*row, func()) {
	l.mu.Lock()
	r := l.rows[a]
	if r == nil {
		r = &row{}
		l.rows[a] = r
	}
	r.users++
	l.mu.Unlock()
	r.writing.Lock()
	return r, func() {
		r.writing.Unlock()
		l.mu.Lock()
		defer l.mu.Unlock()
		r.users--
		if r.users == 0 && r.object == nil && r.gone == "" {
			delete(l.rows, a)
		}
	}
}

// Expire gives up what has waited long enough, and says when to look again
// (zero: nothing waits).
func (l *Ledger) Expire() time.Time {
	l.mu.Lock()
	changed, next := l.books.Expire(l.clock.Now())
	used := l.poolsOf(nil, changed)
	wake := l.books.Woken()
	l.mu.Unlock()
	l.report(wake, used)
	if len(changed) > 0 {
		l.hooks.Retry(changed)
	}
	return next
}
