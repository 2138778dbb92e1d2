package main

import (
	"strings"
	"testing"
	"time"
)

func TestReadStart(t *testing.T) {
	const stat = "42 (a b) c) S 1 42 42 0 -1 4194560 100 0 0 0 150 50 0 0 20 0 8 0 12345 0 0"
	if got, err := readStart(stat); err != nil || got != 123450*time.Millisecond {
		t.Errorf("got %v, %v", got, err)
	}
	for _, bad := range []string{"", "1 (x) S 1 2", strings.Replace(stat, "12345", "x", 1)} {
		if _, err := readStart(bad); err == nil {
			t.Errorf("%q is taken for a stat", bad)
		}
	}
	if got, err := age(1); err != nil || got <= 0 {
		t.Errorf("the first process is %v old, %v", got, err)
	}
}
