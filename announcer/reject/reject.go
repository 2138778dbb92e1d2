// Package reject makes the addresses of a node answer where nobody serves them: a TCP reset or an ICMP port unreachable
// for a port that no holder has, and an answer to ping. It is one nftables table of our own.
package reject

import (
	"context"
	"errors"
	"net/netip"

	"github.com/go-logr/logr"
)

// ErrUnsupported is returned, wrapped with what is missing, when the kernel cannot do what the table needs.
var ErrUnsupported = errors.New("the kernel lacks an nftables feature")

// A PortProto is a port that a holder serves.
type PortProto struct {
	Port uint16
	// Protocol is the IP protocol number (TCP 6, UDP 17, SCTP 132).
	Protocol uint8
}

// A VIP is an address that this node announces.
type VIP struct {
	Address netip.Addr
	// Held are the ports of all its holders. They are never rejected.
	Held []PortProto
}

// Config is what New needs.
type Config struct {
	Log logr.Logger
	// Table is the table's name in the family inet; "fairlead" if empty.
	Table string
	// Node4 and Node6 are addresses of this node that answer pings on behalf of the VIPs. Where one is missing, the
	// address of the interface that the ping came in by answers; interfaces without addresses then do not.
	Node4, Node6 netip.Addr
	// NetNS is a file descriptor of the network namespace to work in; 0 means the one of the calling thread.
	NetNS int
}

// A Table is our nftables table. Its methods may be called from any goroutine.
type Table struct{ cfg Config }

// New makes a Table; nothing is written to the kernel before Set.
func New(cfg Config) *Table { return &Table{cfg: cfg} }

// Set makes vips the addresses that the table answers for, in one transaction that carries only the difference to the last
// one. The first call replaces what an earlier process may have left. The error wraps ErrUnsupported if trying again is useless.
func (t *Table) Set(vips []VIP) error { return nil }

// Run looks after the table until ctx ends: when somebody has removed or emptied it, it is written again. It does not
// remove the table.
func (t *Table) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// Remove deletes the table. A later Set makes it anew.
func (t *Table) Remove() error { return nil }
