package bfd

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// side is one of two machines that talk to each other.
type side struct {
	*machine
	// deaf says that nothing arrives here.
	deaf bool
	// changes are the states entered, with their causes.
	changes []string
	sent    []sentPacket
	// echoes counts those sent; they come back if returns is set.
	echoes  int
	returns bool
}

type sentPacket struct {
	at time.Time
	Packet
}

// couple is two sides with a wire between them that takes delay.
type couple struct {
	now      time.Time
	delay    time.Duration
	a, b     *side
	underway []underway
	// lose says which packets get lost.
	lose func() bool
}

type underway struct {
	at time.Time
	to *side
	Packet
}

func quick() Settings {
	return Settings{TransmitInterval: 100 * time.Millisecond, ReceiveInterval: 100 * time.Millisecond, DetectMultiplier: 3}
}

func newCouple(a, b Settings) *couple {
	rnd := rand.New(rand.NewPCG(1, 2))
	c := &couple{now: start, delay: time.Millisecond, lose: func() bool { return false }}
	c.a = &side{machine: newMachine(start, a, 11, rnd.Float64)}
	c.b = &side{machine: newMachine(start, b, 22, rnd.Float64)}
	return c
}

func (c *couple) other(s *side) *side {
	if s == c.a {
		return c.b
	}
	return c.a
}

// step notes what a step gave.
func (c *couple) step(s *side, r result) {
	if r.changed {
		s.changes = append(s.changes, fmt.Sprintf("%s(%d)", s.state, r.why))
	}
	if r.echo {
		s.echoes++
		if s.returns {
			s.echo.returned(c.now)
		}
	}
	if !r.send {
		return
	}
	s.sent = append(s.sent, sentPacket{c.now, r.packet})
	if !c.lose() {
		c.underway = append(c.underway, underway{c.now.Add(c.delay), c.other(s), r.packet})
	}
}

// run lets time pass.
func (c *couple) run(d time.Duration) {
	end := c.now.Add(d)
	for steps := 0; ; steps++ {
		if steps > 1e6 {
			panic("time stands still")
		}
		next := earliest(c.a.next(), c.b.next())
		if len(c.underway) > 0 {
			next = earliest(next, c.underway[0].at)
		}
		if next.IsZero() || next.After(end) {
			c.now = end
			return
		}
		c.now = latest(c.now, next)
		if len(c.underway) > 0 && !c.now.Before(c.underway[0].at) {
			p := c.underway[0]
			c.underway = c.underway[1:]
			if !p.to.deaf {
				c.step(p.to, p.to.received(c.now, c.now, p.Packet))
			}
			continue
		}
		for _, s := range []*side{c.a, c.b} {
			if at := s.next(); !at.IsZero() && !c.now.Before(at) {
				c.step(s, s.elapsed(c.now))
			}
		}
	}
}

func (c *couple) up(t *testing.T) {
	t.Helper()
	c.run(5 * time.Second)
	if c.a.state != Up || c.b.state != Up || c.a.poll || c.b.poll {
		t.Fatalf("the states are %s and %s, a poll goes on: %v, %v", c.a.state, c.b.state, c.a.poll, c.b.poll)
	}
}

func TestTheyComeUp(t *testing.T) {
	c := newCouple(quick(), quick())
	c.run(20 * time.Millisecond)
	if c.a.state != Up || c.b.state != Up {
		t.Fatalf("after 20 ms and nothing lost the states are %s and %s", c.a.state, c.b.state)
	}
	c.up(t)
	for _, s := range []*side{c.a, c.b} {
		if got := s.detection(); got != 300*time.Millisecond {
			t.Errorf("the detection time is %v", got)
		}
		if n := len(s.sent); n < 50 || n > 80 {
			t.Errorf("%d packets were sent in 5 s at 100 ms less a quarter", n)
		}
	}
}

// Intervals are those that both sides can do, and detection waits for the sum that RFC 5880 section 6.8.4 says.
func TestUnequalSides(t *testing.T) {
	slow := Settings{TransmitInterval: 400 * time.Millisecond, ReceiveInterval: 250 * time.Millisecond, DetectMultiplier: 5}
	c := newCouple(quick(), slow)
	c.up(t)
	if got := c.a.interval(); got != 250*time.Millisecond {
		t.Errorf("a sends every %v", got)
	}
	if got := c.b.interval(); got != 400*time.Millisecond {
		t.Errorf("b sends every %v", got)
	}
	if got := c.a.detection(); got != 5*400*time.Millisecond {
		t.Errorf("a waits %v", got)
	}
	if got := c.b.detection(); got != 3*250*time.Millisecond {
		t.Errorf("b waits %v", got)
	}
}

func TestSilenceIsNoticed(t *testing.T) {
	c := newCouple(quick(), quick())
	c.up(t)
	c.a.deaf = true
	c.a.changes, c.b.changes = nil, nil
	c.run(301 * time.Millisecond)
	if got := fmt.Sprint(c.a.changes); got != "[Down(1)]" {
		t.Errorf("a went through %s", got)
	}
	c.run(10 * time.Millisecond)
	if got := fmt.Sprint(c.b.changes); got != "[Down(3)]" || c.b.diag != NeighbourDown {
		t.Errorf("b went through %s, for %s", got, c.b.diag)
	}
	if c.a.diag != DetectionTimeExpired {
		t.Errorf("a says %s", c.a.diag)
	}
	c.a.deaf = false
	c.up(t)
}

func TestAnEndByIntentIsToldApart(t *testing.T) {
	c := newCouple(quick(), quick())
	c.up(t)
	c.b.changes = nil
	c.step(c.a, c.a.stop(c.now))
	c.run(time.Second)
	if got := fmt.Sprint(c.b.changes); got != "[Down(4)]" || c.a.state != AdminDown {
		t.Errorf("b went through %s, a is %s", got, c.a.state)
	}
}

func TestPassiveWaits(t *testing.T) {
	passive := quick()
	passive.Passive = true
	c := newCouple(passive, passive)
	c.run(10 * time.Second)
	if len(c.a.sent)+len(c.b.sent) != 0 {
		t.Fatal("a passive side has sent first")
	}
	active := newCouple(passive, quick())
	active.up(t)
}

// A peer that wants to hear nothing while all is well gets nothing, but answers (RFC 5880 section 6.6).
func TestDemandOfThePeer(t *testing.T) {
	c := newCouple(quick(), quick())
	c.up(t)
	p := c.b.packet()
	p.Demand = true
	c.step(c.a, c.a.received(c.now, c.now, p))
	sent := len(c.a.sent)
	at := c.a.next()
	if !at.Equal(c.a.detectAt) {
		t.Error("a wants to send")
	}
	p.Poll = true
	c.step(c.a, c.a.received(c.now, c.now, p))
	if len(c.a.sent) != sent+1 || !c.a.sent[sent].Final || c.a.sent[sent].Poll {
		t.Errorf("the poll was answered by %+v", c.a.sent[sent:])
	}
}

// What gets slower waits for the peer to know; what gets faster does not (RFC 5880 section 6.8.3).
func TestChangesArePolled(t *testing.T) {
	c := newCouple(quick(), quick())
	c.up(t)
	slower := quick()
	slower.TransmitInterval, slower.ReceiveInterval = 500*time.Millisecond, 50*time.Millisecond
	c.lose = func() bool { return true }
	c.a.changes = nil
	c.a.reset(c.now, slower)
	if c.a.interval() != 100*time.Millisecond || c.a.rx != 100*time.Millisecond || !c.a.poll {
		t.Errorf("before b knows, a sends every %v and counts on %v", c.a.interval(), c.a.rx)
	}
	c.run(100 * time.Millisecond)
	c.lose = func() bool { return false }
	c.up(t)
	if c.a.interval() != 500*time.Millisecond || c.a.rx != 50*time.Millisecond {
		t.Errorf("a sends every %v and counts on %v", c.a.interval(), c.a.rx)
	}
	if c.b.detection() != 1500*time.Millisecond || len(c.a.changes) != 0 {
		t.Errorf("b waits %v; a went through %v", c.b.detection(), c.a.changes)
	}
	c.a.reset(c.now, quick())
	if c.a.interval() != 100*time.Millisecond {
		t.Errorf("the faster interval is not taken at once: %v", c.a.interval())
	}
	c.up(t)
}

func TestEchoes(t *testing.T) {
	echoing := quick()
	echoing.Echo, echoing.EchoInterval = true, 50*time.Millisecond
	returning := quick()
	returning.EchoInterval = 80 * time.Millisecond
	c := newCouple(echoing, returning)
	c.a.returns = true
	c.run(2 * time.Second)
	if !c.a.echo.on || c.b.echo.on || c.a.echo.interval != 80*time.Millisecond || c.a.echoes < 25 {
		t.Fatalf("after %d echoes: %+v and %+v", c.a.echoes, c.a.echo, c.b.echo)
	}
	if c.a.state != Up || c.b.interval() != time.Second {
		t.Errorf("while echoes come back a is %s, and b sends every %v", c.a.state, c.b.interval())
	}
	c.a.returns = false
	c.a.changes = nil
	c.run(250 * time.Millisecond)
	if len(c.a.changes) == 0 || c.a.changes[0] != "Down(2)" {
		t.Errorf("when none came back, a went through %v", c.a.changes)
	}
}

// Whatever gets lost for a while: no side is up alone for longer than its detection time, and both come up again when
// the wire is good.
func TestLossyWires(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) Settings {
			return Settings{
				TransmitInterval: time.Duration(rapid.IntRange(10, 2000).Draw(t, name+"Tx")) * time.Millisecond,
				ReceiveInterval:  time.Duration(rapid.IntRange(10, 2000).Draw(t, name+"Rx")) * time.Millisecond,
				DetectMultiplier: uint8(rapid.IntRange(2, 5).Draw(t, name+"Multiplier")),
			}
		}
		c := newCouple(draw("a"), draw("b"))
		c.delay = time.Duration(rapid.IntRange(0, 5).Draw(t, "delay")) * time.Millisecond
		loss := rapid.IntRange(0, 100).Draw(t, "loss")
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
		c.lose = func() bool { return rnd.IntN(100) < loss }
		for range rapid.IntRange(1, 5).Draw(t, "rounds") {
			c.run(time.Duration(rapid.IntRange(1, 5000).Draw(t, "for")) * time.Millisecond)
			if rapid.Bool().Draw(t, "change") {
				c.a.reset(c.now, draw("a"))
			}
		}
		c.lose = func() bool { return true }
		c.run(15 * time.Second) // more than five times the longest interval
		if c.a.state != Down || c.b.state != Down {
			t.Fatalf("nothing arrives, and the states are %s and %s", c.a.state, c.b.state)
		}
		c.lose = func() bool { return false }
		c.run(20 * time.Second)
		if c.a.state != Up || c.b.state != Up || c.a.poll || c.b.poll {
			t.Fatalf("the wire is good, and the states are %s and %s (polls: %v %v)", c.a.state, c.b.state, c.a.poll, c.b.poll)
		}
		a, b := len(c.a.changes), len(c.b.changes)
		c.run(time.Minute)
		if len(c.a.changes) != a || len(c.b.changes) != b {
			t.Fatalf("false alarms: %v, %v", c.a.changes[a:], c.b.changes[b:])
		}
	})
}
