package bgp

import (
	"context"
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
)

// outside is what a session needs of the world.
type outside struct {
	clock   Clock
	timings Timings
	// dial connects to a peer.
	dial func(context.Context, Peer, netip.AddrPort) (net.Conn, error)
	// beside are the addresses of the interface that has the address.
	beside func(netip.Addr) ([]netip.Addr, error)
	// discover finds the neighbour on a link until ctx ends.
	discover func(ctx context.Context, iface string) *discovery
	emit     func(Event)
}

// session speaks with one peer, from connection to connection, in the goroutine that calls run.
type session struct {
	outside
	log logr.Logger
	// kick wakes run when it may connect or no longer may, work the writer when there are routes to send.
	kick, work chan struct{}
	// accepted takes connections of a passive peer.
	accepted chan net.Conn
	// limit is the peer's prefix limit and received how many prefixes it has sent.
	limit, received atomic.Int64

	mu   sync.Mutex
	peer Peer
	rib  *ribOut
	view Session
	told Session
	held string
	// verdict is what the last NOTIFICATION was about, of either side, until the session is established or fails otherwise.
	verdict   string
	restarted bool
	// end ends the present attempt or connection.
	end context.CancelCauseFunc
	// retry is when to try next, waits the present back-offs after failures and after a passed limit.
	retry           time.Time
	wait, limitWait time.Duration
	// flushing tells that the writer has routes in hand; waiters are closed when it has none left.
	flushing bool
	waiters  []chan struct{}
}

const (
	heldAtFirst = "held until the peer is known to be reachable"
	awaiting    = "not yet connected"
)

func newSession(out outside, log logr.Logger, p Peer, restarted bool) *session {
	s := &session{
		outside: out, log: log.WithValues("peer", p.Name, "address", p.peerWords()),
		kick: make(chan struct{}, 1), work: make(chan struct{}, 1), accepted: make(chan net.Conn),
		peer: p, rib: newRIBOut(), restarted: restarted,
		view: Session{Peer: p.Name, State: Connect, Why: awaiting, Since: out.clock.Now()},
	}
	s.limit.Store(int64(p.PrefixLimit))
	if p.Hold {
		s.held = heldAtFirst
		s.view.State, s.view.Why = Idle, s.held
	}
	return s
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run speaks with the peer until ctx ends; ctx's cause, a *fault, decides how the peer is left.
func (s *session) run(ctx context.Context) {
	var found *discovery
	if s.peer.Interface != "" {
		found = s.discover(ctx, s.peer.Interface)
		defer found.wait()
	}
	s.report()
	for s.awaitTurn(ctx) {
		if f := s.attempt(ctx, found); f != nil {
			s.failed(f)
		}
	}
}

// awaitTurn waits until a connection may be tried; false means that ctx has ended.
func (s *session) awaitTurn(ctx context.Context) bool {
	for {
		wait, may := s.turn()
		if may && wait <= 0 {
			return ctx.Err() == nil
		}
		var timer <-chan time.Time
		if may {
			timer = s.clock.After(wait)
		}
		select {
		case <-ctx.Done():
			return false
		case <-s.kick:
		case <-timer:
		}
		s.report()
	}
}

func (s *session) turn() (wait time.Duration, may bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.retry.Sub(s.clock.Now()), s.held == ""
}

// attempt connects and, if that succeeds, speaks until the connection ends. It returns why that was; nil if nothing was tried.
func (s *session) attempt(ctx context.Context, found *discovery) *fault {
	ctx, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.mu.Lock()
	if s.held != "" {
		s.mu.Unlock()
		return nil
	}
	s.end = end
	p := s.peer
	s.mu.Unlock()
	conn, f := s.reach(ctx, p, found)
	if f == nil {
		f = newConversation(s, p, conn).run(ctx)
	}
	s.mu.Lock()
	s.end = nil
	s.mu.Unlock()
	return f
}

// reach returns a connection with the peer.
func (s *session) reach(ctx context.Context, p Peer, found *discovery) (net.Conn, *fault) {
	if p.Passive {
		select {
		case c := <-s.accepted:
			return c, nil
		case <-ctx.Done():
			return nil, causeOf(ctx)
		}
	}
	to := netip.AddrPortFrom(p.Address, p.Port)
	if found != nil {
		a, err := found.neighbour(ctx, s.clock.After(p.ConnectTime))
		switch {
		case ctx.Err() != nil:
			return nil, causeOf(ctx)
		case err != nil:
			return nil, &fault{words: err.Error(), err: err}
		}
		to = netip.AddrPortFrom(a, p.Port)
	}
	conn, err := s.dial(ctx, p, to)
	switch {
	case ctx.Err() != nil:
		if conn != nil {
			_ = conn.Close()
		}
		return nil, causeOf(ctx)
	case err != nil:
		return nil, dialFault(p, err)
	}
	return conn, nil
}

// causeOf is the fault that ended ctx.
func causeOf(ctx context.Context) *fault {
	var f *fault
	if errors.As(context.Cause(ctx), &f) {
		return f
	}
	return &fault{kind: ours, words: "stopped"}
}

// failed takes note of why an attempt or a connection ended and sets when to try next.
func (s *session) failed(f *fault) {
	s.mu.Lock()
	s.noteLocked(f)
	s.retry = s.clock.Now().Add(s.backoff(f))
	s.mu.Unlock()
	s.report()
}

// noteLocked puts a fault into the view. A peer that has sent or been sent a NOTIFICATION may refuse to speak for a while without a
// word, as BIRD does for a minute and more: what it was about is still what is to be mended, and so goes on to be said.
func (s *session) noteLocked(f *fault) {
	words := f.words
	switch {
	case f.kind == ours:
		s.view.Why, s.verdict = words, ""
		return
	case f.kind == closedEarly && s.verdict != "":
		words = s.verdict + closingSince
	case f.send || f.told:
		s.verdict = words
	default:
		s.verdict = ""
	}
	s.view.Why, s.view.LastError, s.view.LastErrorAt = words, words, s.clock.Now()
}

// closingSince goes behind what a NOTIFICATION was about.
const closingSince = "; since then the peer closes each connection at once, as peers do that wait after an error"

// backoff is how long to wait after a fault: three quarters to all of what is due, so that nodes do not act in step
// (RFC 4271 section 10).
func (s *session) backoff(f *fault) time.Duration {
	var wait time.Duration
	switch f.kind {
	case ours:
		s.wait = 0
		return 0
	case overLimit:
		s.limitWait = min(max(2*s.limitWait, s.timings.LimitRetryMin), s.timings.LimitRetryMax)
		wait = s.limitWait
	default:
		s.wait = min(max(2*s.wait, s.timings.RetryMin), s.peer.ConnectTime)
		wait = s.wait
	}
	return wait - time.Duration(rand.Int64N(int64(wait)/4+1))
}

// progress moves the view on to a state on the way to Established.
func (s *session) progress(state State, c net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.State = state
	s.view.Local, s.view.Remote = addrPort(c.LocalAddr()), addrPort(c.RemoteAddr())
}

// up begins to send routes on the terms.
func (s *session) up(a agreed, t terms) {
	s.mu.Lock()
	v := &s.view
	v.State, v.Since, v.Why = Established, s.clock.Now(), ""
	s.verdict = ""
	v.PeerASN, v.PeerRouterID, v.HoldTime, v.KeepaliveTime = a.asn, a.routerID, a.hold, a.keepalive
	v.Families, v.GracefulRestart = a.families, a.restart && s.peer.GracefulRestart.Enabled
	v.NextHopIPv4, v.NextHopIPv6 = t.hop4, t.hop6
	v.UnsentIPv4, v.UnsentIPv6 = unsent(s.peer, a, t, IPv4), unsent(s.peer, a, t, IPv6)
	v.EstablishedCount++
	s.restarted, s.flushing = false, true
	s.rib.connected(t.sendable())
	s.mu.Unlock()
	s.log.Info("BGP session is up", "asn", a.asn, "families", a.families.String(), "holdTime", a.hold.String())
	s.report()
}

// lost takes note that there is no connection any more.
func (s *session) lost(f *fault) {
	s.mu.Lock()
	v := &s.view
	if now := s.clock.Now(); v.State == Established {
		if now.Sub(v.Since) > s.peer.ConnectTime {
			s.wait = 0
		}
		v.Since = now
		if f.kind != overLimit {
			s.limitWait = 0
		}
	}
	v.State = Connect
	s.noteLocked(f)
	v.Local, v.Remote, v.PeerASN, v.PeerRouterID = netip.AddrPort{}, netip.AddrPort{}, 0, netip.Addr{}
	v.HoldTime, v.KeepaliveTime, v.Families, v.GracefulRestart = 0, 0, 0, false
	v.NextHopIPv4, v.NextHopIPv6 = netip.Addr{}, netip.Addr{}
	v.UnsentIPv4, v.UnsentIPv6 = "", ""
	s.rib.disconnected()
	s.received.Store(0)
	s.flushedLocked()
	s.mu.Unlock()
	s.report()
}

// report tells of what has changed since it was last told: whether the session is established, tried for or held, and why.
func (s *session) report() {
	s.mu.Lock()
	if s.view.State != Established && s.held != "" {
		s.view.State, s.view.Why = Idle, s.held
	} else if s.view.State == Idle {
		s.view.State, s.view.Why = Connect, awaiting
	}
	now, was := s.snapshotLocked(), s.told
	settled := now.State == Established || now.State == Idle || now.State == Connect
	if !settled || now.State == was.State && now.Why == was.Why {
		s.mu.Unlock()
		return
	}
	s.told = now
	s.mu.Unlock()
	switch {
	case was.State == Established:
		s.log.Info("BGP session is down", "why", now.Why)
	case now.State == Connect && now.Why != awaiting:
		s.log.Info("BGP session does not come up; it is tried again", "why", now.Why)
	}
	s.emit(Event{Session: now, Was: was.State})
}

func (s *session) snapshot() Session {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.snapshotLocked()
}

func (s *session) snapshotLocked() Session {
	v := s.view
	v.RoutesWanted, v.RoutesSent, v.PrefixesReceived = s.rib.wanted, s.rib.sent, int(s.received.Load())
	if v.State == Connect && s.retry.After(s.clock.Now()) {
		v.Retry = s.retry
	}
	return v
}

// hold takes the session down, if it is up, and keeps it down.
func (s *session) hold(f *fault) {
	s.mu.Lock()
	s.held = f.words
	if s.end != nil {
		s.end(f)
	}
	s.mu.Unlock()
	signal(s.kick)
}

// release lets the session come up again, at once.
func (s *session) release() {
	s.mu.Lock()
	if s.held != "" {
		s.held, s.retry, s.wait = "", time.Time{}, 0
	}
	s.mu.Unlock()
	signal(s.kick)
}

// inherit takes over from a session with the same peer whether it is held. It is called before run.
func (s *session) inherit(from *session) {
	from.mu.Lock()
	held := from.held
	from.mu.Unlock()
	s.held = held
	s.view.State, s.view.Why = Connect, awaiting
	if held != "" {
		s.view.State, s.view.Why = Idle, held
	}
}

// adjust takes over values that do not touch the session.
func (s *session) adjust(p Peer) {
	s.mu.Lock()
	was := s.peer.Hold
	if s.limitWait > 0 && higher(p.PrefixLimit, s.peer.PrefixLimit) {
		s.limitWait, s.retry = 0, time.Time{}
	}
	s.peer = p
	s.mu.Unlock()
	s.limit.Store(int64(p.PrefixLimit))
	signal(s.kick)
	switch {
	case p.Hold && !was:
		s.hold(ceased(subBFDDown, heldAtFirst))
	case was && !p.Hold:
		s.release()
	}
}

// higher tells that a prefix limit lets more pass than another.
func higher(limit, than int) bool { return limit < 0 && than > 0 || than > 0 && limit > than }

// resend sends the family's routes once more.
func (s *session) resend(f Families) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rib.resend(f)
	signal(s.work)
}

// set changes what is wanted for one prefix and tells whether that is a change.
func (s *session) set(p netip.Prefix, a Attributes, wanted bool, attrs *pool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !wanted {
		return s.rib.drop(p)
	}
	return s.rib.put(p, a, attrs)
}

// use adds the attributes of the session's routes to those that are in use.
func (s *session) use(used map[*attributes]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rib.use(used)
}

// take is the next batch to send. An empty one means that all has been sent.
func (s *session) take(limit int) batch {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.rib.queue) > 0 {
		if b := s.rib.next(limit); !b.empty() {
			s.flushing = true
			return b
		}
	}
	return batch{}
}

// wrote counts messages.
func (s *session) wrote(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.view.UpdatesSent += uint64(n)
}

// settled tells those who wait that all has been written, unless there is more by now.
func (s *session) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.rib.queue) == 0 {
		s.flushedLocked()
	}
}

func (s *session) flushedLocked() {
	s.flushing = false
	for _, w := range s.waiters {
		close(w)
	}
	s.waiters = nil
}

// flushed returns a channel that is closed when nothing is left to be sent.
func (s *session) flushed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	done := make(chan struct{})
	if s.view.State != Established || !s.flushing && len(s.rib.queue) == 0 {
		close(done)
		return done
	}
	s.waiters = append(s.waiters, done)
	return done
}

// offer hands an accepted connection over, if one is awaited.
func (s *session) offer(c net.Conn) {
	select {
	case s.accepted <- c:
	default:
		_ = c.Close()
	}
}
