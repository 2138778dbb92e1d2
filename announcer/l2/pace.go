package l2

import "time"

// paceStep is how long the machine waits for more tokens while packets are queued.
const paceStep = 5 * time.Millisecond

// burst is how many packets go out at once after a rest: 20 ms worth of the rate, and at least one step's.
func burst(t Timings) float64 { return max(float64(t.Rate)/50, 1) }

// refill adds the tokens of the time that has passed.
func (m *machine) refill(now time.Time) {
	if m.filled.IsZero() {
		m.filled = now
	}
	if now.After(m.filled) {
		m.tokens = min(burst(m.t), m.tokens+now.Sub(m.filled).Seconds()*float64(m.t.Rate))
		m.filled = now
	}
}

// due tells whether a packet still says what is so.
func (p parcel) due() bool {
	return !p.c.dead && p.c.epoch == p.epoch && p.c.series == p.series
}

// drain sends what the rate allows and tells whether packets are left.
func (m *machine) drain(now time.Time) bool {
	m.refill(now)
	for q := 0; q < len(m.queues); {
		if len(m.queues[q]) == 0 {
			m.queues[q] = nil // gives the memory of a large takeover back
			q++
			continue
		}
		if p := m.queues[q][0]; p.due() {
			if m.tokens < 1 {
				return true
			}
			m.tokens--
			m.sent(now, p, m.fx.send(p.c.link.index, p.c.addr, p.kind))
		}
		m.queues[q][0] = parcel{}
		m.queues[q] = m.queues[q][1:]
	}
	return false
}

// sent follows a packet up. An error is the shell's to report. A probe that was not sent does not count; for the others the next
// repeat comes all the same.
func (m *machine) sent(now time.Time, p parcel, err error) {
	c := p.c
	switch {
	case p.kind == probePacket && p.round > 0:
		m.askLater(now, c, p.round)
		return
	case p.kind == probePacket:
		if err == nil {
			c.probes++
		}
		m.after(now, c, probeTimer, 0, m.t.ProbeInterval)
		return
	case p.round < 0: // a defence
		return
	case p.kind == announcePacket && p.round == 0:
		c.first = now
		m.tell(c)
		if c.probed && c.trial.IsZero() {
			c.trial = now
			m.askLater(now, c, 0)
		}
	}
	if p.kind == announcePacket && c.addr.Is4() {
		m.enqueue(min(p.round, 1)+1, c, replyPacket, p.round)
		return
	}
	if again := m.repeats(c); p.round < len(again) {
		m.after(c.first, c, repeatTimer, p.round+1, again[p.round])
	}
}

// repeats are when an announcement is said again. What a claim says once more, as after a split, is no longer about an
// address that nobody had.
func (m *machine) repeats(c *claim) []time.Duration {
	if c.probed && c.series == 0 {
		return m.t.ProbedRepeats
	}
	return m.t.Repeats
}

// askLater sets the timer for the late probe after some others.
func (m *machine) askLater(now time.Time, c *claim, sent int) {
	if sent < len(m.t.LateProbes) {
		m.after(now, c, lateTimer, sent+1, c.trial.Add(m.t.LateProbes[sent]).Sub(now))
	}
}
