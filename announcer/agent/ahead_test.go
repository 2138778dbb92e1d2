package agent

import (
	"net"
	"net/netip"
	"testing"
	"time"

	clocktesting "k8s.io/utils/clock/testing"

	"github.com/fairlead/fairlead/announcer"
)

// What nobody can serve yet is asked for by the node that would announce it, once, and announced when it can be served.
func TestAsksAheadOfEndpoints(t *testing.T) {
	w := newWorld(t, "node1", "node2")
	speakers := []*speaker{w.speak("node1"), w.speak("node2")}
	speakers[0].fake.set(other("node2", 2, announcer.Alive))
	speakers[1].fake.set(other("node1", 1, announcer.Alive))
	ips := w.bindMany(20)
	held := func() (n int) { // addresses that are asked for now
		for _, ip := range ips {
			for _, s := range speakers {
				if _, now := s.engine.heldFor(ip); now {
					n++
				}
			}
		}
		return n
	}
	announced := func() int { return count(speakers[0].engine, ips) + count(speakers[1].engine, ips) }
	w.await("for all to be asked for", func() bool { return held() == 20 })
	if n := announced(); n > 0 {
		t.Errorf("%d addresses are answered for without an endpoint", n)
	}
	w.endpoints("node1")
	w.await("for all to be announced", func() bool { return announced() == 20 && held() == 0 })
	for _, ip := range ips {
		for _, s := range speakers {
			n, _ := s.engine.heldFor(ip)
			if a, ours := s.engine.get(ip); ours && (n != 1 || !a.Probe) || !ours && n != 0 {
				t.Errorf("%s was asked for %d times ahead, and is announced as %+v", ip, n, a)
			}
		}
	}
	w.endpoints()
	w.await("for the end of it", func() bool { return announced() == 0 })
	w.endpoints("node1")
	w.await("for their return", func() bool { return announced() == 20 })
	for _, ip := range ips {
		for _, s := range speakers {
			if n, _ := s.engine.heldFor(ip); n > 1 {
				t.Errorf("%s was asked for ahead %d times", ip, n)
			}
		}
	}
}

// A start asks for nothing ahead, however many addresses wait for endpoints.
func TestAStartAsksForNothingAhead(t *testing.T) {
	w := newWorld(t, "node1")
	before := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	after := w.bind("172.30.0.2", nil)
	w.await("to ask for what has come since", func() bool { _, now := s.engine.heldFor(after); return now })
	if n, _ := s.engine.heldFor(before); n != 0 {
		t.Errorf("what was there before was asked for %d times", n)
	}
}

// What was found out ahead does not count for ever.
func TestWhatWasAskedAheadIsOutdated(t *testing.T) {
	w := newWorld(t, "node1")
	clock := clocktesting.NewFakeClock(time.Now())
	s := w.speak("node1", func(_ *speaker, c *Config) { c.Clock = clock })
	first := w.bind("172.30.0.1", nil)
	w.await("to ask for the first", func() bool { _, now := s.engine.heldFor(first); return now })
	clock.Step(aheadFor / 2)
	second := w.bind("172.30.0.2", nil)
	w.await("to ask for the second", func() bool { _, now := s.engine.heldFor(second); return now })
	clock.Step(aheadFor / 2)
	w.await("to let the first go", func() bool { _, now := s.engine.heldFor(first); return !now })
	if _, now := s.engine.heldFor(second); !now {
		t.Error("the second was let go with it")
	}
	w.await("to let the second go too", func() bool {
		clock.Step(time.Second)
		_, now := s.engine.heldFor(second)
		return !now
	})
	w.endpoints("node1")
	w.await("to announce both", func() bool { return count(s.engine, []netip.Addr{first, second}) == 2 })
	if a, _ := s.engine.get(first); !a.Probe {
		t.Error("it is announced without having been asked for again")
	}
}

// Another host that has the address is told of at once, and once.
func TestConflictThatIsFoundAhead(t *testing.T) {
	w := newWorld(t, "node1")
	ip := netip.MustParseAddr("172.30.0.1")
	s := w.speak("node1", func(s *speaker, _ *Config) { s.engine.taken[ip] = net.HardwareAddr{0xaa, 0xbb, 0xcc, 0, 0, 1} })
	w.bind(ip.String(), nil)
	conflicts := func() float64 { return metric(t, s.Agent, "fairlead_speaker_conflicts_total") }
	w.await("for the conflict", func() bool { return conflicts() == 1 })
	w.endpoints("node1")
	w.await("for the status", func() bool { return w.announced(ip) == "node1 False AddressInUse" })
	if n := conflicts(); n != 1 {
		t.Errorf("%v conflicts were counted", n)
	}
	s.engine.release(ip)
	w.await("for its end", func() bool { return w.announced(ip) == "node1 True Layer2" })
}
