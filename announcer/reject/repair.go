package reject

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mdlayher/netlink"
	"golang.org/x/sys/unix"
)

// Run looks after the table until ctx ends: when somebody has removed or emptied it, it is written again. It does not
// remove the table.
func (t *Table) Run(ctx context.Context) error {
	tick := time.NewTicker(t.cfg.CheckEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			if err := t.check(); err != nil {
				t.cfg.Log.Error(err, "The nftables table could not be looked after; it is tried again", "table", t.cfg.Table)
			}
		}
	}
}

// elementsEvery is how many looks at a changed ruleset pass between two comparisons of all elements.
const elementsEvery = 6

// check writes the table anew if it is not whole.
func (t *Table) check() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.content == nil || t.off != nil {
		return nil
	}
	if t.stale {
		return t.rewrite(t.all())
	}
	g, err := t.rulesetGeneration()
	if err != nil {
		return err
	}
	if g == t.generation {
		return nil
	}
	deep := t.looks%elementsEvery == 0
	whole, err := t.whole(deep)
	if err != nil {
		return err
	}
	t.looks++
	if whole {
		if deep {
			t.generation = g // until the next change there is nothing to look at
		}
		return nil
	}
	t.cfg.Log.Info("Somebody changed the nftables table; it is written anew", "table", t.cfg.Table)
	return t.rewrite(t.content)
}

// whole tells whether the kernel's table has the chains and rules, and if deep the elements, that it should have. Only numbers are
// compared: this is against a flush, not against sabotage.
func (t *Table) whole(deep bool) (bool, error) {
	c, err := t.conn()
	if err != nil {
		return false, err
	}
	table := t.table()
	for _, ch := range chainsOf(table, t.cfg, t.layout) {
		rules, err := c.GetRules(table, ch.chain)
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("listing the rules of %s: %w", ch.chain.Name, err)
		}
		if len(rules) != len(ch.rules) {
			return false, nil
		}
	}
	for _, s := range setsOf(table) {
		if !deep {
			break
		}
		have, err := c.GetSetElements(s)
		if errors.Is(err, unix.ENOENT) {
			return false, nil
		}
		if err != nil {
			return false, fmt.Errorf("listing the set %s: %w", s.Name, err)
		}
		if len(have) != len(elements(s.Name, t.content, nil)) {
			return false, nil
		}
	}
	return true, nil
}

// rulesetGeneration is a number that changes with every change of any table.
func (t *Table) rulesetGeneration() (uint32, error) {
	c, err := netlink.Dial(unix.NETLINK_NETFILTER, &netlink.Config{NetNS: t.cfg.NetNS})
	if err != nil {
		return 0, fmt.Errorf("connecting to nftables: %w", err)
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(transactionTime)); err != nil {
		return 0, err
	}
	answers, err := c.Execute(netlink.Message{
		Header: netlink.Header{Type: unix.NFNL_SUBSYS_NFTABLES<<8 | unix.NFT_MSG_GETGEN, Flags: netlink.Request},
		Data:   make([]byte, 4), // nfgenmsg
	})
	if err != nil {
		return 0, fmt.Errorf("asking for the generation of the ruleset: %w", err)
	}
	for _, m := range answers {
		if len(m.Data) < 4 {
			continue
		}
		attrs, err := netlink.UnmarshalAttributes(m.Data[4:])
		if err != nil {
			return 0, fmt.Errorf("reading the generation of the ruleset: %w", err)
		}
		for _, a := range attrs {
			if a.Type == unix.NFTA_GEN_ID && len(a.Data) == 4 {
				return uint32(a.Data[0])<<24 | uint32(a.Data[1])<<16 | uint32(a.Data[2])<<8 | uint32(a.Data[3]), nil
			}
		}
	}
	return 0, errors.New("the kernel did not tell the generation of the ruleset")
}
