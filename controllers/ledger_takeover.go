package controllers

import (
	"context"
	"slices"

	"github.com/fairlead/fairlead/allocator"
)

// TakenBy says what a holder takes or has taken over; nil: nothing.
func (l *Ledger) TakenBy(k allocator.Key) *allocator.Taking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.TakenBy(k)
}

// TakenFrom says what is being, or has been, taken over from a holder; nil: nothing.
func (l *Ledger) TakenFrom(k allocator.Key) *allocator.Taking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.TakenFrom(k)
}

// TakingsFrom are all takeovers from a holder, of each taker the one that is under way first.
func (l *Ledger) TakingsFrom(k allocator.Key) []allocator.Taking {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.books.TakingsFrom(k)
}

// Advance writes down that a takeover has come to a phase.
func (l *Ledger) Advance(ctx context.Context, k allocator.Key, phase string) error {
	return l.free(ctx, func() allocator.Decision { return l.books.Advance(l.clock.Now(), k, phase) })
}

// Withdraw takes from a holder what it was about to take over.
func (l *Ledger) Withdraw(ctx context.Context, k allocator.Key) error {
	return l.free(ctx, func() allocator.Decision { return l.books.Withdraw(l.clock.Now(), k) })
}

// HandOver leaves what a holder takes over to it alone.
func (l *Ledger) HandOver(ctx context.Context, k allocator.Key) error {
	return l.free(ctx, func() allocator.Decision { return l.books.HandOver(l.clock.Now(), k) })
}

// PortsOf are the ports that a holder has in the ledger.
func (l *Ledger) PortsOf(k allocator.Key) []allocator.Port {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.books.Held(k) {
		if e, ok := l.books.Entry(a); ok {
			if i := slices.IndexFunc(e.Holders, func(h allocator.Holding) bool { return h.Key == k }); i >= 0 {
				return e.Holders[i].Ports
			}
		}
	}
	return nil
}
