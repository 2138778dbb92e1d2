package bfd

import "time"

const (
	// idleTx is the least interval between packets while a session is not up (RFC 5880 section 6.8.3).
	idleTx = time.Second
	// unheard is what a peer is taken to be able to receive before it has said so (RFC 5880 section 6.8.1).
	unheard = time.Microsecond
)

// machine is one session (RFC 5880 section 6.8). It is told the time and never asks for it.
type machine struct {
	set   Settings
	local uint32
	// chance is a number from 0 to 1 that spreads packets over time.
	chance func() float64

	state  State
	diag   Diagnostic
	remote remote
	// poll: a Poll Sequence is going on. Until it ends, tx and rx are what the peer counts on.
	poll   bool
	tx, rx time.Duration

	// txAt is when the next packet is due, detectAt when the peer is taken for silent. Zero: never.
	txAt, detectAt time.Time
	echo           echo
	// noEcho: echoes cannot be sent here, so that none may be missed.
	noEcho bool
}

// remote is what the peer has said last.
type remote struct {
	discriminator       uint32
	state               State
	diag                Diagnostic
	demand              bool
	minTx, minRx, minEc time.Duration
	multiplier          uint8
}

// result is what comes of one step.
type result struct {
	// send says that the packet goes out now.
	send   bool
	packet Packet
	// echo says that an echo goes out now.
	echo bool
	// changed: the session is in another state than it was, for why.
	changed bool
	was     State
	why     Cause
}

func newMachine(now time.Time, set Settings, local uint32, chance func() float64) *machine {
	m := &machine{set: set, local: local, chance: chance, state: Down, remote: remote{state: Down, minRx: unheard}}
	m.tx, m.rx = m.desiredTx(), set.ReceiveInterval
	m.txAt = now
	return m
}

// desiredTx is what this side says that it would like.
func (m *machine) desiredTx() time.Duration {
	if m.state != Up {
		return max(idleTx, m.set.TransmitInterval)
	}
	return m.set.TransmitInterval
}

// interval is the time between two packets before chance has shortened it (RFC 5880 section 6.8.7).
func (m *machine) interval() time.Duration { return max(m.tx, m.remote.minRx) }

// jittered is the interval less up to a quarter, so that packets of many sessions do not fall together. With a
// multiplier of 1 it has to be shorter by a tenth at least, or the peer would miss each.
func (m *machine) jittered() time.Duration {
	shortest, longest := 0.75, 1.0
	if m.set.DetectMultiplier == 1 {
		longest = 0.9
	}
	return time.Duration(float64(m.interval()) * (shortest + (longest-shortest)*m.chance()))
}

// detection is how long the peer may be silent (RFC 5880 section 6.8.4).
func (m *machine) detection() time.Duration {
	return time.Duration(m.remote.multiplier) * max(m.rx, m.remote.minTx)
}

// quiet says that nothing is sent periodically (RFC 5880 section 6.8.7).
func (m *machine) quiet() bool {
	return m.remote.minRx == 0 || m.set.Passive && m.remote.discriminator == 0 ||
		m.remote.demand && m.state == Up && m.remote.state == Up && !m.poll
}

// packet is what this side has to say now.
func (m *machine) packet() Packet {
	return Packet{
		Diagnostic: m.diag, State: m.state, Poll: m.poll, DetectMultiplier: m.set.DetectMultiplier,
		Mine: m.local, Yours: m.remote.discriminator,
		DesiredMinTx: m.desiredTx(), RequiredMinRx: m.requiredRx(), RequiredMinEchoRx: m.set.EchoInterval,
	}
}

// requiredRx is what this side says that it can receive. While echoes test the path, few control packets are needed
// (RFC 5880 section 6.8.3).
func (m *machine) requiredRx() time.Duration {
	if m.echo.on {
		return max(idleTx, m.set.ReceiveInterval)
	}
	return m.set.ReceiveInterval
}

// emit sends a packet and begins the wait for the next.
func (m *machine) emit(now time.Time, r *result) {
	r.send, r.packet = true, m.packet()
	m.txAt = now.Add(m.jittered())
}

// received takes a packet of the peer that has come at the time arrived, after the checks of RFC 5880 section 6.8.6
// that Parse does.
func (m *machine) received(now, arrived time.Time, p Packet) (r result) {
	if m.state == AdminDown {
		return r
	}
	before := m.interval()
	m.remote = remote{
		discriminator: p.Mine, state: p.State, diag: p.Diagnostic, demand: p.Demand, multiplier: p.DetectMultiplier,
		minTx: p.DesiredMinTx, minRx: p.RequiredMinRx, minEc: p.RequiredMinEchoRx,
	}
	if m.poll && p.Final {
		m.poll = false
		m.tx, m.rx = m.desiredTx(), m.requiredRx()
	}
	m.follow(p, &r)
	m.echoes(now)
	m.detectAt = arrived.Add(m.detection())
	if r.changed {
		m.emit(now, &r)
	}
	if p.Poll {
		// The answer goes out whatever else holds packets back (RFC 5880 section 6.8.7). A packet is either a poll
		// or an answer; ours goes on with the next.
		r.send, r.packet = true, m.packet()
		r.packet.Poll, r.packet.Final = false, true
	}
	if m.interval() < before {
		m.txAt = earliest(m.txAt, now.Add(m.jittered()))
	}
	return r
}

// follow moves the state as RFC 5880 section 6.8.6 says.
func (m *machine) follow(p Packet, r *result) {
	switch {
	case p.State == AdminDown:
		if m.state != Down {
			m.enter(Down, NeighbourDown, CausePeerAdminDown, r)
		}
	case m.state == Down && p.State == Down:
		m.enter(Init, m.diag, CauseNone, r)
	case m.state == Down && p.State == Init, m.state == Init && (p.State == Init || p.State == Up):
		m.enter(Up, NoDiagnostic, CauseNone, r)
	case m.state == Up && p.State == Down:
		m.enter(Down, NeighbourDown, CausePeerDown, r)
	}
}

// enter changes the state, and with it how often packets are sent.
func (m *machine) enter(s State, d Diagnostic, why Cause, r *result) {
	r.changed, r.was, r.why = true, m.state, why
	m.state, m.diag = s, d
	if s == Up {
		m.propose()
		return
	}
	m.poll = false
	m.echo = echo{}
	m.tx, m.rx = m.desiredTx(), m.requiredRx()
}

// propose makes other intervals known by a Poll Sequence. What is slower than before holds once the peer has
// confirmed it, and what is faster at once (RFC 5880 section 6.8.3).
func (m *machine) propose() {
	tx, rx := m.desiredTx(), m.requiredRx()
	m.poll = m.state == Up
	if !m.poll || tx < m.tx {
		m.tx = tx
	}
	if !m.poll || rx > m.rx {
		m.rx = rx
	}
}

// reset changes the settings of a session that goes on.
func (m *machine) reset(now time.Time, set Settings) {
	before := m.interval()
	m.set = set
	m.echoes(now)
	m.propose()
	if m.poll || m.interval() < before {
		m.txAt = earliest(m.txAt, now.Add(m.jittered()))
	}
	if !m.detectAt.IsZero() && m.remote.multiplier > 0 {
		m.detectAt = latest(m.detectAt, now.Add(m.detection()))
	}
}

// next is when elapsed wants to be called.
func (m *machine) next() time.Time {
	t := m.detectAt
	if !m.quiet() {
		t = earliest(t, m.txAt)
	}
	return earliest(t, m.echo.next())
}

// elapsed does what is due.
func (m *machine) elapsed(now time.Time) (r result) {
	if !m.detectAt.IsZero() && !now.Before(m.detectAt) {
		m.silent(&r)
	}
	if m.echo.expired(now) {
		m.enter(Down, EchoFailed, CauseEcho, &r)
	}
	r.echo = m.echo.due(now, m.chance())
	if r.changed || !m.quiet() && !now.Before(m.txAt) {
		m.emit(now, &r)
	}
	return r
}

// silent is the end of the detection time: the peer is forgotten.
func (m *machine) silent(r *result) {
	m.detectAt = time.Time{}
	m.remote.discriminator, m.remote.demand, m.remote.minRx = 0, false, unheard
	if m.state == Init || m.state == Up {
		m.enter(Down, DetectionTimeExpired, CauseSilence, r)
	}
}

// stop takes the session down by intent.
func (m *machine) stop(now time.Time) (r result) {
	m.enter(AdminDown, AdministrativelyDown, CauseNone, &r)
	m.detectAt = time.Time{}
	m.emit(now, &r)
	return r
}

// earliest is the earlier one of two times, of which a zero one is never.
func earliest(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func latest(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}
