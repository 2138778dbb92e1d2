package main

import (
	"errors"
	"testing"
	"time"

	"github.com/fairlead/fairlead/test/lab"
)

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
	if err := s.count(1, []*flood{ended(), failing}, nil, 12*time.Second); err != nil {
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
