package bfd

import "time"

// echo is the echo function of one session (RFC 5880 section 6.8.8 and 6.8.9): packets to this node itself, by way
// of the peer, which need no more than forwarding there.
type echo struct {
	on       bool
	interval time.Duration
	multiple uint8
	// sendAt is when the next echo is due, lostAt when they are taken for lost.
	sendAt, lostAt time.Time
}

// echoes begins or ends the echo function: both sides have to be able to, and the session has to be up.
func (m *machine) echoes(now time.Time) {
	want := m.state == Up && m.set.Echo && !m.noEcho && m.remote.minEc > 0
	interval := max(m.set.EchoInterval, m.remote.minEc)
	if want == m.echo.on && (!want || interval == m.echo.interval && m.set.DetectMultiplier == m.echo.multiple) {
		return
	}
	turned := want != m.echo.on
	m.echo = echo{on: want}
	if want {
		m.echo = echo{on: true, interval: interval, multiple: m.set.DetectMultiplier, sendAt: now}
		m.echo.lostAt = now.Add(m.echo.patience())
	}
	if turned && m.state == Up {
		m.propose()
	}
}

// patience is how long no echo may come back.
func (e *echo) patience() time.Duration { return time.Duration(e.multiple) * e.interval }

func (e *echo) next() time.Time { return earliest(e.sendAt, e.lostAt) }

// missing says that the echo before the one which is due has not come back.
func (e *echo) missing(now time.Time) bool { return e.lostAt.Sub(now) < e.patience()-e.interval }

// due says that an echo goes out now, and begins the wait for the next.
func (e *echo) due(now time.Time, chance float64) bool {
	if !e.on || now.Before(e.sendAt) {
		return false
	}
	e.sendAt = now.Add(time.Duration(float64(e.interval) * (0.75 + 0.25*chance)))
	return true
}

// returned is an echo that has come back.
func (e *echo) returned(at time.Time) {
	if e.on {
		e.lostAt = latest(e.lostAt, at.Add(e.patience()))
	}
}

func (e *echo) expired(now time.Time) bool { return e.on && !now.Before(e.lostAt) }
