package l2

import (
	"context"
	"net/netip"
)

// An Engine announces addresses. Make one with New.
type Engine struct{ cfg Config }

// New makes an Engine; it does nothing before Run, but Apply and Set may be called already.
func New(cfg Config) (*Engine, error) { return &Engine{cfg: cfg}, nil }

// Run announces until ctx ends and returns an error only if it could not begin. It may be called once.
func (e *Engine) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Apply replaces everything that is wanted; only the difference is acted on. It returns at once.
func (e *Engine) Apply(want []Announcement) {}

// Set changes what is wanted for one address, nil meaning nothing; its cost does not depend on how many there are.
func (e *Engine) Set(addr netip.Addr, want *Announcement) {}

// Sync waits until everything that was applied or set before has been acted on (withdrawn addresses are no longer
// answered for; probes and gratuitous packets may still be on their way out).
func (e *Engine) Sync(ctx context.Context) error { return nil }

// Interfaces tells what the node's interfaces are good for, ordered by index.
func (e *Engine) Interfaces() []Interface { return nil }

// States tells how an address stands, one entry for each interface where it is wanted and can be announced.
func (e *Engine) States(addr netip.Addr) []State { return nil }

// Snapshot returns the counters, ordered by interface and family.
func (e *Engine) Snapshot() []Count { return nil }
