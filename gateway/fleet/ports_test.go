package fleet

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/fairlead/fairlead/gateway"
)

func key(i int) PortKey {
	return PortKey{Gateway: gateway.Name{Namespace: "shop", Name: fmt.Sprintf("g%d", i)}, Number: 80, Transport: gateway.TCP}
}

func TestAPortIsGivenOnce(t *testing.T) {
	p := NewPorts()
	a, err := p.Give(key(1))
	if err != nil {
		t.Fatal(err)
	}
	again, err := p.Give(key(1))
	if err != nil || again != a {
		t.Errorf("asked again: %d, %v; want %d", again, err, a)
	}
	other := NewPorts()
	if same, _ := other.Give(key(1)); same != a {
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
	if got, err := p.Give(key(1)); err != nil || got != 10007 {
		t.Errorf("%d, %v; want 10007", got, err)
	}
}

func TestAFullFleet(t *testing.T) {
	p := NewPorts()
	for i := range LastPort - FirstPort + 1 {
		if _, err := p.Give(key(i)); err != nil {
			t.Fatalf("port %d: %v", i, err)
		}
	}
	if _, err := p.Give(key(-1)); !errors.Is(err, ErrNoPort) {
		t.Errorf("error %v, want ErrNoPort", err)
	}
	port, _ := p.Give(key(5))
	p.Release(key(5))
	if _, err := p.Give(key(-1)); !errors.Is(err, ErrNoPort) {
		t.Errorf("a port in quarantine is given: %v", err)
	}
	p.Free(port)
	if got, err := p.Give(key(-1)); err != nil || got != port {
		t.Errorf("%d, %v; want %d", got, err, port)
	}
}

// TestPortsRapid: no port has two owners, and none is given while in quarantine.
func TestPortsRapid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p := NewPorts()
		held, quarantined := map[PortKey]uint16{}, map[uint16]bool{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			k := key(rapid.IntRange(0, 9).Draw(t, "gateway"))
			switch rapid.IntRange(0, 2).Draw(t, "step") {
			case 0:
				port, err := p.Give(k)
				if err != nil {
					t.Fatal(err)
				}
				if had, ok := held[k]; ok && had != port {
					t.Fatalf("%s had %d, has %d", k, had, port)
				}
				if quarantined[port] {
					t.Fatalf("%s gets %d out of quarantine", k, port)
				}
				for other, its := range held {
					if other != k && its == port {
						t.Fatalf("%s and %s have %d", k, other, port)
					}
				}
				held[k] = port
			case 1:
				p.Release(k)
				if port, ok := held[k]; ok {
					quarantined[port] = true
					delete(held, k)
				}
			case 2:
				for port := range quarantined {
					p.Free(port)
					delete(quarantined, port)
				}
			}
		}
	})
}
