package main

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
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
	if n, err := o.stop(); n != 2 || err != nil {
		t.Errorf("%d changes, %v", n, err)
	}
	broken := make(chan int)
	o = count(make(chan struct{}), broken, func(int) bool { return true })
	close(broken)
	if got := <-o.counted; got.err == nil {
		t.Error("what broke off is taken for no changes")
	}
}

func TestTakeoverRows(t *testing.T) {
	s := &takeovers{what: "layer 2, policy Local"}
	if rows := s.rows(sidewaysAll[0]); rows != nil {
		t.Errorf("without a run there are %+v", rows)
	}
	ended := func() *flood {
		f := &flood{load: load{cancel: func() {}, done: make(chan struct{})}, lasted: time.Second}
		close(f.done)
		f.note(time.Millisecond, answer{status: 200}, nil)
		return f
	}
	failing := ended()
	failing.note(time.Millisecond, answer{}, errors.New("reset"))
	look := &onlooker{end: func() {}, counted: make(chan looked, 1)}
	look.counted <- looked{changes: 1}
	if err := s.count(look, []*flood{ended(), failing}, nil, 12*time.Second); err != nil {
		t.Fatal(err)
	}
	s.stay = lab.Stay{Connections: 200, Broken: 3, Asked: 1400, Failed: 2, Why: "reset"}
	want := map[string]float64{
		"layer 2, policy Local: new connections opened":                                                    3,
		"layer 2, policy Local: of 3 new connections, failed (the first: status 0, reset)":                 1,
		"layer 2, policy Local: of 200 long-lived connections, broken":                                     3,
		"layer 2, policy Local: of 1400 requests on these, failed (the first: reset)":                      2,
		"layer 2, policy Local: " + sidewaysAll[0].seen:                                                    1,
		"layer 2, policy Local: from the second annotation until both sides are told that it is done, p50": 12,
	}
	found := 0
	for _, r := range s.rows(sidewaysAll[0]) {
		if figure, ok := want[r.what]; ok {
			found++
			if r.figure != figure || r.runs != 1 {
				t.Errorf("%+v, want %v", r, figure)
			}
		}
	}
	if found != len(want) {
		t.Errorf("%d of %d rows are there: %+v", found, len(want), s.rows(sidewaysAll[0]))
	}
}

func TestAskingForATakeover(t *testing.T) {
	if got, want := string(asking("gateway/edge", "")), `{"metadata":{"annotations":{"fairlead.dev/takeover":"gateway/edge","fairlead.dev/handover":null}}}`; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
