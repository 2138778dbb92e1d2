package lab

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
)

// A change is another hardware address, and neither the first nor the same one again.
func TestNeighboursLearn(t *testing.T) {
	a, other := netip.MustParseAddr("172.30.0.100"), net.ParseIP("172.30.0.101")
	one, two := net.HardwareAddr{2, 0, 0, 0, 0, 1}, net.HardwareAddr{2, 0, 0, 0, 0, 2}
	known := neighbours{a: ""}
	for i, c := range []struct {
		ip   net.IP
		mac  net.HardwareAddr
		want string
	}{
		{a.AsSlice(), nil, ""},
		{a.AsSlice(), one, ""},
		{a.AsSlice(), one, ""},
		{a.AsSlice(), nil, ""},
		{a.AsSlice(), one, ""},
		{other, two, ""},
		{net.ParseIP(a.String()), two, "172.30.0.100 from 02:00:00:00:00:01 to 02:00:00:00:00:02"},
		{a.AsSlice(), two, ""},
		{a.AsSlice(), one, "172.30.0.100 from 02:00:00:00:00:02 to 02:00:00:00:00:01"},
		{nil, two, ""},
	} {
		if got := known.learn(c.ip, c.mac); got != c.want {
			t.Errorf("step %d: %q, want %q", i, got, c.want)
		}
	}
}

func TestOnlookerNotes(t *testing.T) {
	done, updates := make(chan struct{}), make(chan int)
	o := note(done, updates, func(n int) string {
		if n < 2 {
			return ""
		}
		return strconv.Itoa(n)
	})
	for n := range 4 {
		updates <- n
	}
	changes, err := o.Stop()
	if len(changes) != 2 || !strings.HasSuffix(changes[0], " 2") || !strings.HasSuffix(changes[1], " 3") || err != nil {
		t.Errorf("changes %q, %v", changes, err)
	}
	broken := make(chan int)
	o = note(make(chan struct{}), broken, func(int) string { return "changed" })
	close(broken)
	if got := <-o.noted; got.err == nil {
		t.Error("what broke off is taken for no changes")
	}
}
