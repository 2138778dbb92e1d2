package l2

import (
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

// When the kernel had to drop messages about interfaces, everything is read anew and followed again.
func TestOverrunBeginsAnew(t *testing.T) {
	h := newSegment(t).host()
	e, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	has := func(name string) bool {
		for _, i := range e.Interfaces() {
			if i.Name == name {
				return true
			}
		}
		return false
	}
	h.Must("overrun", func() error {
		if e.sub, err = subscribe(); err != nil {
			return err
		}
		defer func() { e.sub.close() }()
		defer e.closePorts()
		if err := e.links.list(); err != nil {
			return err
		}
		e.relink()
		if err := netlink.LinkAdd(&netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "lan1"}, PeerName: "lan2"}); err != nil {
			return err
		}
		if has("lan1") {
			return fmt.Errorf("the interface is known before anything was read")
		}
		e.follow(false)
		if !has("lan1") || e.deaf {
			return fmt.Errorf("after the overrun the interfaces are %+v (deaf: %v)", e.Interfaces(), e.deaf)
		}
		// The new subscription works.
		l, err := netlink.LinkByName("lan1")
		if err != nil {
			return err
		}
		if err := netlink.LinkDel(l); err != nil {
			return err
		}
		for has("lan1") {
			u, open := <-e.sub.links
			if !open {
				return fmt.Errorf("the new subscription has ended")
			}
			e.links.linkUpdate(u)
			e.follow(true)
		}
		return nil
	})
}

// What one change costs must not depend on how many addresses there are.
func BenchmarkSet(b *testing.B) {
	for _, n := range []int{10, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			e, err := New(Config{})
			if err != nil {
				b.Fatal(err)
			}
			e.machine.setLinks(e.cfg.Clock.Now(), []usable{eth0})
			for _, a := range spread(n) {
				e.Set(a.Address, &a)
			}
			e.process()
			on := false
			for b.Loop() {
				on = !on
				if on {
					e.Set(addr6, &Announcement{Address: addr6})
				} else {
					e.Set(addr6, nil)
				}
				e.process()
			}
		})
	}
}
