package fleet

import (
	"net/netip"
	"testing"
	"time"
)

// What clients could be failed by is written at once; what is only a step of a rollout
// waits for others.
func TestPatience(t *testing.T) {
	envoy := func(node, ip string, ready, serving, terminating bool) Envoy {
		return Envoy{Name: ip, Node: node, IPs: []netip.Addr{netip.MustParseAddr(ip)}, Ready: ready, Serving: serving, Terminating: terminating}
	}
	ready := func(node, ip string) Envoy { return envoy(node, ip, true, true, false) }
	ending := func(node, ip string) Envoy { return envoy(node, ip, false, true, true) }
	starting := func(node, ip string) Envoy { return envoy(node, ip, false, false, false) }
	ended := func(node, ip string) Envoy { return envoy(node, ip, false, false, true) }
	const a, b, c = "10.0.0.1", "10.0.0.2", "10.0.0.3"
	other := ready("other", c)
	for _, tt := range []struct {
		what      string
		have, now []Envoy
		want      time.Duration
	}{
		{"a node gets its first Envoy", []Envoy{other}, []Envoy{other, ready("n", a)}, 0},
		{"the Envoy of a node gets ready", []Envoy{other, starting("n", a)}, []Envoy{other, ready("n", a)}, 0},
		{"the Envoy of a node dies", []Envoy{other, ready("n", a)}, []Envoy{other, starting("n", a)}, 0},
		{"the Envoy of a node is gone", []Envoy{other, ready("n", a)}, []Envoy{other}, 0},
		{"the only Envoy of a node begins to end", []Envoy{other, ready("n", a)}, []Envoy{other, ending("n", a)}, 0},
		{"the only Envoy of a node, which ended, is gone", []Envoy{other, ending("n", a)}, []Envoy{other}, 0},
		{"one of two Envoys of a node dies", []Envoy{ready("n", a), ready("n", b)}, []Envoy{starting("n", a), ready("n", b)}, 0},
		{"one of two is gone", []Envoy{ready("n", a), ready("n", b)}, []Envoy{ready("n", b)}, 0},
		{"a step of a rollout, and elsewhere one dies", []Envoy{ready("n", a), other}, []Envoy{ready("n", a), starting("n", b), starting("other", c)}, 0},

		{"the next one is ready", []Envoy{ready("n", a), starting("n", b)}, []Envoy{ready("n", a), ready("n", b)}, soon},
		{"the old one begins to end", []Envoy{ready("n", a), ready("n", b)}, []Envoy{ending("n", a), ready("n", b)}, soon},
		{"the next one is ready and the old one begins to end", []Envoy{ready("n", a)}, []Envoy{ending("n", a), ready("n", b)}, soon},

		{"the next one is started", []Envoy{ready("n", a)}, []Envoy{ready("n", a), starting("n", b)}, later},
		{"the old one has ended", []Envoy{ending("n", a), ready("n", b)}, []Envoy{ended("n", a), ready("n", b)}, later},
		{"the old one is gone", []Envoy{ending("n", a), ready("n", b)}, []Envoy{ready("n", b)}, later},
	} {
		have, now := front().Slices(tt.have, 1), front().Slices(tt.now, 1)
		if got := Patience(have[0], now[0]); got != tt.want {
			t.Errorf("%s: %s, want %s", tt.what, got, tt.want)
		}
	}
	have, now := front().Slices(many(3), 1)[0], front().Slices(many(3), 1)[0]
	now.Ports = now.Ports[:0]
	if got := Patience(have, now); got != 0 {
		t.Errorf("other ports: %s, want none", got)
	}
}

// The times that a rollout keeps are longer than those that its steps wait.
func TestPatienceFitsIntoARollout(t *testing.T) {
	if soon >= availableAfter*time.Second || soon >= settle {
		t.Errorf("a step waits %s, an Envoy counts after %ds and settles for %s", soon, availableAfter, settle)
	}
}
