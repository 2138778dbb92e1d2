package fleet

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
)

func key(i int) PortKey {
	return PortKey{Gateway: gateway.Name{Namespace: "shop", Name: fmt.Sprintf("g%d", i)}, Number: 80, Transport: gateway.TCP}
}

func TestAPortIsGivenOnce(t *testing.T) {
	p := NewPorts()
	a, err := p.Give(key(1), noon)
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Give(key(1), noon)
	if err != nil || again != a {
		t.Errorf("asked again: %d, %v; want %d", again, err, a)
	}
	other := NewPorts()
	if same, _ := other.Give(key(1), noon); same != a {
		t.Errorf("other books give %d, want %d", same, a)
	}
}

func TestKeep(t *testing.T) {
	p := NewPorts()
	if err := p.Keep(key(1), 10007); err != nil {
		t.Fatal(err)
	}
	if err := p.Keep(key(1), 10007); err != nil {
		t.Errorf("the same again: %v", err)
	}
	if p.Keep(key(2), 10007) == nil {
		t.Error("another Gateway has the same port")
	}
	if p.Keep(key(1), 10008) == nil {
		t.Error("one port of a Gateway has two ports of Envoy")
	}
	if p.Keep(key(3), 80) == nil || p.Keep(key(3), 30000) == nil {
		t.Error("a port outside the range is taken")
	}
	if got, err := p.Give(key(1), noon); err != nil || got != 10007 {
		t.Errorf("%d, %v; want 10007", got, err)
	}
}

func TestAFullFleet(t *testing.T) {
	p := NewPorts()
	for i := range LastPort - FirstPort + 1 {
		if _, err := p.Give(key(i), noon); err != nil {
			t.Fatalf("port %d: %v", i, err)
		}
	}
	if _, err := p.Give(key(-1), noon); !errors.Is(err, ErrNoPort) {
		t.Errorf("error %v, want ErrNoPort", err)
	}
	five, _ := p.Give(key(5), noon)
	p.Release(key(5), noon)
	six, _ := p.Give(key(6), noon)
	p.Release(key(6), noon.Add(time.Second))
	later := noon.Add(Quarantine)
	if _, err := p.Give(key(-1), later.Add(-1)); !errors.Is(err, ErrNoPort) {
		t.Errorf("a port in quarantine is given: %v", err)
	}
	if got, err := p.Give(key(6), noon.Add(time.Minute)); err != nil || got != six {
		t.Errorf("who gave up %d gets %d, %v", six, got, err)
	}
	p.Release(key(6), noon.Add(time.Minute))
	if got, err := p.Give(key(-1), later.Add(time.Hour)); err != nil || got != five {
		t.Errorf("%d, %v; want %d, which was given up first", got, err, five)
	}
}

// noon is a time.
var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// TestPortsRapid: no port has two owners, and none of another's goes to anybody
// while in quarantine.
func TestPortsRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, now := NewPorts(), noon
		held := map[PortKey]uint16{}
		type was struct {
			key   PortKey
			until time.Time
		}
		quarantined := map[uint16]was{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := key(rapid.IntRange(0, 9).Draw(t, "gateway"))
			now = now.Add(time.Duration(rapid.IntRange(0, 40).Draw(t, "minutes")) * time.Minute)
			if rapid.Bool().Draw(t, "release") {
				p.Release(k, now)
				if port, ok := held[k]; ok {
					quarantined[port] = was{k, now}
					delete(held, k)
				}
				continue
			}
			port, err := p.Give(k, now)
			if err != nil {
				t.Fatal(err)
			}
			if had, ok := held[k]; ok && had != port {
				t.Fatalf("%s had %d, has %d", k, had, port)
			}
			if q, ok := quarantined[port]; ok && q.key != k && now.Sub(q.until) < Quarantine {
				t.Fatalf("%s gets %d, which %s gave up at %s", k, port, q.key, q.until)
			}
			for other, its := range held {
				if other != k && its == port {
					t.Fatalf("%s and %s have %d", k, other, port)
				}
			}
			held[k] = port
		}
	})
}
