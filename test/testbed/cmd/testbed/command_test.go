package main

import (
	"slices"
	"testing"
)

func TestLeadingName(t *testing.T) {
	cases := []struct {
		args, rest []string
		name       string
		ok         bool
	}{
		{args: []string{"--name", "a", "get", "pods"}, name: "a", rest: []string{"get", "pods"}, ok: true},
		{args: []string{"--name=a", "-n", "x"}, name: "a", rest: []string{"-n", "x"}, ok: true},
		{args: []string{"get", "--name", "a"}, rest: []string{"get", "--name", "a"}},
		{args: []string{"--name"}, rest: []string{"--name"}},
		{},
	}
	for _, c := range cases {
		name, rest, ok := leadingName(c.args)
		if name != c.name || ok != c.ok || !slices.Equal(rest, c.rest) {
			t.Errorf("%q: %q, %q, %v", c.args, name, rest, ok)
		}
	}
}
