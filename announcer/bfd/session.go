package bfd

import (
	"cmp"
	"fmt"
	"net/netip"
	"sync/atomic"
	"time"
)

// way is what tells sessions apart before their discriminators are known: RFC 5881 section 3, RFC 5883 section 4.
type way struct {
	peer     netip.Addr // without zone
	multiHop bool
	link     string     // of one hop; empty: any
	local    netip.Addr // of several; unset: any
}

func (s Session) way() way {
	w := way{peer: s.Peer.WithZone(""), multiHop: s.MultiHop}
	if s.MultiHop {
		w.local = s.Local
	} else {
		w.link = s.link()
	}
	return w
}

// link is the interface that the session is bound to.
func (s Session) link() string {
	if s.Interface != "" {
		return s.Interface
	}
	return s.Peer.Zone()
}

// same says that a change of one to the other needs no new session.
func (s Session) same(o Session) bool { return s.way() == o.way() && s.Local == o.Local }

// session is a session of the thread of Run. Only what Sessions needs is read by others.
type session struct {
	want    Session
	machine *machine
	auth    authState
	// sender is nil until it could be opened; retryAt is when that is tried again, and trouble why.
	sender  *sender
	echoer  *echoer
	retryAt time.Time
	trouble string
	// echoTrouble is why no echoes are sent though they are wanted.
	echoTrouble string
	// linkIndex is that of the interface which the session is bound to; 0: none.
	linkIndex int
	// parting is how often the peer will still be told that the session ends; the session is not wanted any more.
	parting int
	partAt  time.Time

	// at is when the session wants to be looked at, and place where it stands in the agenda; -1: nowhere.
	at    time.Time
	place int

	shown                            atomic.Pointer[Status]
	sent, received, refused, dropped atomic.Uint64
	// heard is when a packet has arrived last while the session was Up; gap is the longest time between two, in nanoseconds.
	heard time.Time
	gap   atomic.Int64
}

// next is when the session has something to do.
func (s *session) next() time.Time {
	if s.parting > 0 {
		return s.partAt
	}
	return earliest(s.machine.next(), s.retryAt)
}

func (s *session) status() Status {
	st := *s.shown.Load()
	st.Sent, st.Received, st.Refused, st.Downs = s.sent.Load(), s.received.Load(), s.refused.Load(), s.dropped.Load()
	st.LongestGap = time.Duration(s.gap.Load())
	return st
}

// hear notes that a packet has arrived.
func (s *session) hear(at time.Time) {
	s.received.Add(1)
	if s.machine.state != Up {
		s.heard = time.Time{}
		return
	}
	if !s.heard.IsZero() {
		s.gap.Store(max(s.gap.Load(), int64(at.Sub(s.heard))))
	}
	s.heard = at
}

// show publishes how the session stands, and says whether that is new.
func (s *session) show(now time.Time, r result) (changed bool) {
	m, st, old := s.machine, Status{Session: s.want.Name, Since: now}, s.shown.Load()
	if old != nil {
		st = *old
	}
	if r.changed {
		st.Since = now
	}
	if r.changed && r.why != CauseNone {
		st.Cause, st.At = r.why, now
	}
	st.State, st.Remote, st.Diagnostic, st.Trouble = m.state, m.remote.state, m.remote.diag, cmp.Or(s.trouble, s.echoTrouble)
	st.Transmit, st.Detection, st.Echoes = m.interval(), m.detection(), m.echo.on
	if old != nil && st == *old {
		return false
	}
	s.shown.Store(&st)
	return true
}

// arrival is a packet with what the kernel says of it.
type arrival struct {
	raw      []byte
	from, to netip.Addr // without zones
	ttl      int
	link     int // index of the interface
	multiHop bool
	at       time.Time
}

// admits checks where a packet comes from.
func (s *session) admits(a arrival) error {
	if a.from != s.want.Peer.WithZone("") {
		return fmt.Errorf("it comes from %s", a.from)
	}
	if s.want.MultiHop {
		if a.ttl < int(s.want.MinimumTTL) {
			return fmt.Errorf("its TTL is %d, and at least %d is asked for", a.ttl, s.want.MinimumTTL)
		}
		return nil
	}
	if a.ttl != hopTTL {
		return fmt.Errorf("its TTL is %d, so it was forwarded (RFC 5881 section 5)", a.ttl)
	}
	if s.linkIndex != 0 && a.link != s.linkIndex {
		return fmt.Errorf("it came by interface %d, not by %s, which is %d", a.link, s.want.link(), s.linkIndex)
	}
	return nil
}

// agenda is a heap of sessions by what is due first.
type agenda []*session

func (a agenda) Len() int           { return len(a) }
func (a agenda) Less(i, j int) bool { return a[i].at.Before(a[j].at) }
func (a agenda) Swap(i, j int) {
	a[i], a[j] = a[j], a[i]
	a[i].place, a[j].place = i, j
}

// Push is for package heap.
func (a *agenda) Push(x any) {
	s := x.(*session)
	s.place = len(*a)
	*a = append(*a, s)
}

// Pop is for package heap.
func (a *agenda) Pop() any {
	s := (*a)[len(*a)-1]
	(*a)[len(*a)-1] = nil
	*a = (*a)[:len(*a)-1]
	s.place = -1
	return s
}
