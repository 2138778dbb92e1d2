// Package reject makes the addresses of a node answer where nobody serves them: a TCP reset or an ICMP port unreachable
// for a port that no holder has, and an answer to ping. It is one nftables table of our own, in the family inet:
//
//	nat, prerouting and output, before kube-proxy's (-110)     echo requests to a VIP go to the node, so that its kernel answers as the VIP
//	filter, prerouting, after kube-proxy's translation (-90)   to a VIP: reset or refuse a port that nobody has
//	filter, forward, after everybody's (+10)                   to a VIP: drop what is left
//	filter, output (+10)                                       for the node's own programs: both of these
//
// Whatever kube-proxy serves has been translated before it gets to the filter chains and no longer carries a VIP, so they see
// only what nobody took up. A held port that was not translated (kube-proxy is late, or there is no endpoint here) is dropped:
// the client tries again, and the packet does not leave the node for an address that the node itself answers for.
// kube-proxy's own refusals for Services without endpoints come before that and stand. Where a VIP is an address of the node
// itself (a program bound to it), held ports are left to whoever that is.
//
// Kernels before Linux 5.9 cannot refuse in prerouting; there it is done in forward and input (+10).
package reject

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"sync"
	"time"

	"github.com/go-logr/logr"
)

// ErrUnsupported is returned, wrapped with what is missing, when the kernel cannot do what the table needs.
var ErrUnsupported = errors.New("the kernel refuses the nftables table: nf_tables with NAT in the family inet (Linux 5.2) and the modules " +
	"nft_ct, nft_nat, nft_redir and nft_reject_inet are needed")

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
	// CheckEvery is how often Run looks whether somebody changed the rules (default 10 s). A look costs one small
	// question to the kernel while nothing at all has changed in nftables.
	CheckEvery time.Duration
	// NetNS is a file descriptor of the network namespace to work in; 0 means the one of the calling thread.
	NetNS int
}

// A Table is our nftables table. Its methods may be called from any goroutine.
type Table struct {
	cfg Config

	mu sync.Mutex
	// wanted are the ports of each address that the table answers for; content is what the kernel has of them, nil before
	// the first Set or Change and after Remove. Stale is set when the kernel did not take the last change.
	wanted  map[netip.Addr][]PortProto
	content *content
	stale   bool
	// off is set once the kernel has refused the table for good.
	off error
	// generation is that of the whole ruleset when ours was last seen to be whole; 0 for unknown.
	generation uint32
	looks      int
	layout     layout
}

// content is the elements of the sets.
type content struct {
	vips map[netip.Addr]bool
	held map[heldPort]bool
}

func newContent() *content {
	return &content{vips: map[netip.Addr]bool{}, held: map[heldPort]bool{}}
}

// add takes an address in with its ports.
func (c *content) add(a netip.Addr, ports []PortProto) {
	c.vips[a] = true
	for _, p := range ports {
		c.held[heldPort{a, p}] = true
	}
}

type heldPort struct {
	addr netip.Addr
	port PortProto
}

// New makes a Table; nothing is written to the kernel before Set or Change.
func New(cfg Config) *Table {
	if cfg.Log.GetSink() == nil {
		cfg.Log = logr.Discard()
	}
	if cfg.Table == "" {
		cfg.Table = "fairlead"
	}
	if cfg.CheckEvery <= 0 {
		cfg.CheckEvery = 10 * time.Second
	}
	cfg.Node4, cfg.Node6 = cfg.Node4.Unmap(), cfg.Node6.WithZone("")
	return &Table{cfg: cfg, wanted: map[netip.Addr][]PortProto{}}
}

// canServe tells whether an address is one that a node can announce.
func canServe(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

// Set makes vips the addresses that the table answers for, in one transaction that carries only the difference to the last
// one. See Change for errors.
func (t *Table) Set(vips []VIP) error {
	stay := make(map[netip.Addr]bool, len(vips))
	for _, v := range vips {
		stay[plain(v.Address)] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var gone []netip.Addr
	for a := range t.wanted {
		if !stay[a] {
			gone = append(gone, a)
		}
	}
	return t.change(vips, gone)
}

// Change makes the table answer for vips, with these ports and no others, and no longer for gone, and leaves the rest as it
// is: it costs what changes, and not what there is. The first call replaces what an earlier process may have left. The error
// wraps ErrUnsupported if trying again is useless; every later call returns it too. Entries that are no unicast addresses are
// told of in the error, the others take effect.
func (t *Table) Change(vips []VIP, gone []netip.Addr) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.change(vips, gone)
}

func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// change carries out Change. The caller holds mu.
func (t *Table) change(vips []VIP, gone []netip.Addr) error {
	if t.off != nil {
		return t.off
	}
	before, after := newContent(), newContent()
	touch := func(a netip.Addr) {
		if ports, had := t.wanted[a]; had {
			before.add(a, ports)
		}
	}
	var invalid []error
	for _, g := range gone {
		touch(plain(g))
		delete(t.wanted, plain(g))
	}
	for _, v := range vips {
		a := plain(v.Address)
		if !canServe(a) {
			invalid = append(invalid, fmt.Errorf("%s is no address that can be served; it is left out", v.Address))
			continue
		}
		touch(a)
		after.add(a, v.Held)
		t.wanted[a] = v.Held
	}
	if err := t.apply(before, after); err != nil {
		return err
	}
	return errors.Join(invalid...)
}

// apply brings the kernel from one content of the addresses that changed to another.
func (t *Table) apply(before, after *content) error {
	if t.content == nil || t.stale {
		return t.rewrite(t.all())
	}
	if maps.Equal(before.vips, after.vips) && maps.Equal(before.held, after.held) {
		return nil
	}
	if err := t.update(before, after); err != nil {
		t.cfg.Log.Info("The nftables table is not as it was left; it is written anew", "table", t.cfg.Table, "error", err.Error())
		return t.rewrite(t.all())
	}
	for a := range before.vips {
		delete(t.content.vips, a)
	}
	for h := range before.held {
		delete(t.content.held, h)
	}
	maps.Copy(t.content.vips, after.vips)
	maps.Copy(t.content.held, after.held)
	t.generation = 0
	return nil
}

// all is everything that is wanted.
func (t *Table) all() *content {
	c := newContent()
	for a, ports := range t.wanted {
		c.add(a, ports)
	}
	return c
}

// rewrite replaces the whole table.
func (t *Table) rewrite(next *content) error {
	t.generation, t.stale = 0, true
	if err := t.replace(next); err != nil {
		if unsupported(err) {
			t.off = fmt.Errorf("table inet %s: %w: %w", t.cfg.Table, ErrUnsupported, err)
			return t.off
		}
		return fmt.Errorf("writing the nftables table inet %s (CAP_NET_ADMIN is needed): %w", t.cfg.Table, err)
	}
	t.content, t.stale = next, false
	return nil
}

// Remove deletes the table, whoever made it. A later Set or Change makes it anew.
func (t *Table) Remove() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.off != nil {
		return nil
	}
	if err := t.remove(); err != nil {
		return fmt.Errorf("removing the nftables table inet %s: %w", t.cfg.Table, err)
	}
	t.content = nil
	return nil
}
