package reject

import (
	"errors"
	"fmt"
	"time"

	"github.com/google/nftables"
	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// transactionTime bounds one exchange with the kernel.
const transactionTime = 10 * time.Second

// socketBuffer holds a whole transaction, which is one message to the kernel.
const socketBuffer = 32 << 20

// conn opens a connection; each Flush on it is one transaction.
func (t *Table) conn() (*nftables.Conn, error) {
	c, err := nftables.New(nftables.WithNetNSFd(t.cfg.NetNS), nftables.WithSockOptions(func(c *netlink.Conn) error {
		// What is refused here shows as an error of the exchange itself.
		_ = c.SetOption(netlink.ExtendedAcknowledge, true)
		_ = c.SetWriteBuffer(socketBuffer)
		_ = c.SetReadBuffer(socketBuffer)
		return c.SetDeadline(time.Now().Add(transactionTime))
	}))
	if err != nil {
		return nil, fmt.Errorf("connecting to nftables: %w", err)
	}
	return c, nil
}

// unsupported tells whether the kernel refused a table for what it lacks.
func unsupported(err error) bool {
	for _, e := range []error{unix.EOPNOTSUPP, unix.EAFNOSUPPORT, unix.EPROTONOSUPPORT, unix.ENOENT, unix.EINVAL} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// replace writes the table in the best layout that the kernel takes.
func (t *Table) replace(next *content) error {
	err := t.replaceAs(next, t.layout)
	if t.layout == early && unsupported(err) {
		if lateErr := t.replaceAs(next, late); lateErr != nil {
			return errors.Join(err, lateErr)
		}
		t.layout = late
		return nil
	}
	return err
}

// replaceAs writes the table, taking the place of any of that name, in one transaction.
func (t *Table) replaceAs(next *content, lay layout) error {
	c, err := t.conn()
	if err != nil {
		return err
	}
	table := t.table()
	c.AddTable(table) // or deleting it would fail where there is none
	c.DelTable(table)
	c.AddTable(table)
	for _, s := range setsOf(table) {
		if err := c.AddSet(s, nil); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
		if err := eachChunk(elements(s.Name, next, nil), func(e []nftables.SetElement) error { return c.SetAddElements(s, e) }); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	chains := chainsOf(table, t.cfg, lay)
	for _, ch := range chains {
		c.AddChain(ch.chain)
	}
	for _, ch := range chains {
		for _, exprs := range ch.rules {
			c.AddRule(&nftables.Rule{Table: table, Chain: ch.chain, Exprs: exprs})
		}
	}
	return c.Flush()
}

// update carries the difference between two contents.
func (t *Table) update(old, next *content) error {
	c, err := t.conn()
	if err != nil {
		return err
	}
	for _, s := range setsOf(t.table()) {
		if err := eachChunk(elements(s.Name, old, next), func(e []nftables.SetElement) error { return c.SetDeleteElements(s, e) }); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
		if err := eachChunk(elements(s.Name, next, old), func(e []nftables.SetElement) error { return c.SetAddElements(s, e) }); err != nil {
			return fmt.Errorf("set %s: %w", s.Name, err)
		}
	}
	return c.Flush()
}

func (t *Table) remove() error {
	c, err := t.conn()
	if err != nil {
		return err
	}
	table := t.table()
	c.AddTable(table)
	c.DelTable(table)
	return c.Flush()
}

func (t *Table) table() *nftables.Table {
	return &nftables.Table{Name: t.cfg.Table, Family: nftables.TableFamilyINet}
}

// perMessage is how many elements fit into one message, whose list has a length of 16 bits.
const perMessage = 1000

func eachChunk(all []nftables.SetElement, f func([]nftables.SetElement) error) error {
	for len(all) > 0 {
		n := min(len(all), perMessage)
		if err := f(all[:n]); err != nil {
			return err
		}
		all = all[n:]
	}
	return nil
}
