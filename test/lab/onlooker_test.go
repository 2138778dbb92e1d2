package lab

import (
	"net"
	"net/netip"
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
		want bool
	}{
		{a.AsSlice(), nil, false},
		{a.AsSlice(), one, false},
		{a.AsSlice(), one, false},
		{a.AsSlice(), nil, false},
		{a.AsSlice(), one, false},
		{other, two, false},
		{net.ParseIP(a.String()), two, true},
		{a.AsSlice(), two, false},
		{a.AsSlice(), one, true},
		{nil, two, false},
	} {
		if got := known.learn(c.ip, c.mac); got != c.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
}

func TestOnlookerCounts(t *testing.T) {
	done, updates := make(chan struct{}), make(chan int)
	o := count(done, updates, func(n int) bool { return n > 1 })
	for n := range 4 {
		updates <- n
	}
	if n, err := o.Stop(); n != 2 || err != nil {
		t.Errorf("%d changes, %v", n, err)
	}
	broken := make(chan int)
	o = count(make(chan struct{}), broken, func(int) bool { return true })
	close(broken)
	if got := <-o.counted; got.err == nil {
		t.Error("what broke off is taken for no changes")
	}
}
