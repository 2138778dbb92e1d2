package l2

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// An interface that goes while it is taken up cannot be opened; when the kernel has told that it is gone, that is over.
func TestTroubleOfInterfaceThatGoesIsOver(t *testing.T) {
	h := newSegment(t).host()
	var told []string
	e, err := New(Config{Timings: fast(), OnEvent: func(ev Event) {
		if ev.Kind == Failed || ev.Kind == Mended {
			told = append(told, ev.Kind.String()+" "+ev.Interface)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer e.closePorts()
	h.Must("interfaces", func() error {
		if err := e.links.list(); err != nil {
			return err
		}
		const index = 4711
		e.links.links[index] = linkInfo{
			index: index, name: "eth7", kind: "device", ethernet: true, hw: mac{2, 0, 0, 0, 0, 7}, hasHW: true,
			flags: unix.IFF_UP | unix.IFF_RUNNING | unix.IFF_LOWER_UP | unix.IFF_BROADCAST | unix.IFF_MULTICAST,
		}
		for range 2 {
			e.relink()
		}
		if want := []string{"Failed eth7"}; !slices.Equal(told, want) {
			return fmt.Errorf("while the interface is thought to be there: %q, want %q", told, want)
		}
		delete(e.links.links, index)
		for range 2 {
			e.relink()
		}
		if want := []string{"Failed eth7", "Mended eth7"}; !slices.Equal(told, want) {
			return fmt.Errorf("when it is known to be gone: %q, want %q", told, want)
		}
		return nil
	})
}

// Each trouble is told once, when it changes, and when it is over.
func TestTroubles(t *testing.T) {
	e := &Engine{troubles: map[trouble]string{}}
	told := func(want ...string) {
		t.Helper()
		var got []string
		for _, ev := range e.events {
			got = append(got, fmt.Sprint(ev.Kind, " ", ev.Interface, " ", ev.Address))
		}
		if e.events = nil; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	whole := trouble{link: "eth0"}
	one := trouble{"eth0", netip.MustParseAddr("192.0.2.1")}
	no := errors.New("no")
	e.tried(whole, nil)
	told()
	e.tried(whole, no)
	e.tried(whole, no)
	told("Failed eth0 invalid IP")
	e.tried(whole, errors.New("never"))
	told("Failed eth0 invalid IP")
	e.tried(one, no)
	e.tried(trouble{link: "eth1"}, no)
	e.tried(trouble{}, no)
	told("Failed eth0 192.0.2.1", "Failed eth1 invalid IP", "Failed  invalid IP")
	e.tried(one, nil)
	e.tried(one, nil)
	told("Mended eth0 192.0.2.1")
	e.forgetTroubles(func(link string) bool { return link != "eth1" })
	told("Mended eth0 invalid IP")
	e.tried(trouble{}, nil)
	told("Mended  invalid IP")
}
