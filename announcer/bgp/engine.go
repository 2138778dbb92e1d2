package bgp

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

// maxCommunityBytes bounds what the communities of a route take in a message.
const maxCommunityBytes = 3072

// Engine speaks BGP with peers. Its methods may be called from any goroutine.
type Engine struct {
	cfg     Config
	out     outside
	started atomic.Bool

	mu sync.Mutex
	// ctx is Run's; nil before Run, and sessions begin then.
	ctx   context.Context
	peers map[string]*peering
	// parting counts by peer the sessions that have been ended on purpose and may not be closed yet.
	parting   map[string]int
	refused   map[string]refusal
	attrs     *pool
	listeners []*listener
	leaving   bool
	work      sync.WaitGroup
}

// peering is a session with what is needed to end it.
type peering struct {
	session *session
	peer    Peer
	stop    context.CancelCauseFunc
	done    chan struct{}
}

type refusal struct {
	peer  Peer
	why   string
	since time.Time
}

type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// New makes an Engine. Nothing is sent before Run, but peers and routes may be set already.
func New(cfg Config) *Engine {
	if cfg.Log.GetSink() == nil {
		cfg.Log = logr.Discard()
	}
	if cfg.Clock == nil {
		cfg.Clock = systemClock{}
	}
	if cfg.OnEvent == nil {
		cfg.OnEvent = func(Event) {}
	}
	cfg.Timings = cfg.Timings.withDefaults()
	e := &Engine{cfg: cfg, peers: map[string]*peering{}, parting: map[string]int{}, refused: map[string]refusal{}, attrs: newPool()}
	e.out = outside{
		clock: cfg.Clock, timings: cfg.Timings, dial: dial, beside: besides, emit: cfg.OnEvent,
		discover: func(ctx context.Context, iface string) *discovery { return discover(ctx, cfg.Log, cfg.Clock, iface) },
	}
	return e
}

// Run speaks until ctx ends; it returns an error only if it could not begin, and may be called once. How peers are left at
// the end: those with graceful restart by closing the connection without a word, which makes them keep the routes until the
// speaker is back; the others, and all of them after Leave, by a NOTIFICATION that makes them drop the routes at once.
func (e *Engine) Run(ctx context.Context) error {
	if !e.started.CompareAndSwap(false, true) {
		return errors.New("bgp: Run was called a second time")
	}
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	if err := e.begin(inner); err != nil {
		return fmt.Errorf("bgp: %w", err)
	}
	<-ctx.Done()
	e.end()
	return nil
}

func (e *Engine) begin(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, at := range e.cfg.Listen {
		l, err := listen(ctx, at)
		if err != nil {
			e.closeListeners()
			return err
		}
		e.listeners = append(e.listeners, l)
	}
	e.ctx = ctx
	for _, l := range e.listeners {
		e.work.Go(func() {
			if err := l.serve(e.accept); err != nil {
				e.cfg.Log.Error(err, "No more connections of passive BGP peers are accepted")
			}
		})
	}
	for _, p := range e.peers {
		e.start(p)
	}
	return nil
}

func (e *Engine) closeListeners() {
	for _, l := range e.listeners {
		_ = l.l.Close()
	}
	e.listeners = nil
}

// end leaves all peers.
func (e *Engine) end() {
	e.mu.Lock()
	e.ctx = nil
	e.closeListeners()
	for _, p := range e.peers {
		e.work.Go(func() { <-p.done })
		if p.peer.GracefulRestart.Enabled && !e.leaving {
			p.stop(&fault{kind: ours, words: "the speaker has stopped; the peer keeps the routes for a while"})
			continue
		}
		p.stop(ceased(wire.BGP_ERROR_SUB_ADMINISTRATIVE_SHUTDOWN, "the speaker has stopped"))
	}
	e.mu.Unlock()
	e.work.Wait()
}

// start lets a peering's session run.
func (e *Engine) start(p *peering) {
	ctx, stop := context.WithCancelCause(e.ctx)
	p.stop = stop
	e.sign(p.peer, p.peer.Password)
	go func() {
		defer close(p.done)
		defer stop(nil)
		p.session.run(ctx)
	}()
}

func (e *Engine) sign(p Peer, password string) {
	if !p.Passive || p.Password == "" {
		return
	}
	for _, l := range e.listeners {
		if err := l.sign(p.Address, password); err != nil {
			e.cfg.Log.Error(err, "Connections of a passive BGP peer are not signed", "peer", p.Name)
		}
	}
}

// SetPeers replaces the peers. Only differences act: a peer that is as before keeps its session and its routes. A new one has
// no routes until they are Set again. It does not wait for peers. Of several peers of one name the first counts. The error
// names what cannot be used, each fault by itself; everything else is done.
func (e *Engine) SetPeers(peers []Peer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	good, bad := sift(peers, e.cfg.RouterID, len(e.cfg.Listen) > 0)
	var errs []error
	refused := map[string]refusal{}
	for _, r := range bad {
		errs = append(errs, fmt.Errorf("peer %s: %s", r.peer.Name, r.why))
		if was, ok := e.refused[r.peer.Name]; ok && was.why == r.why {
			r.since = was.since
		} else {
			r.since = e.cfg.Clock.Now()
		}
		refused[r.peer.Name] = r
	}
	e.refused = refused
	for name, p := range e.peers {
		next, ok := good[name]
		switch {
		case !ok:
			e.remove(p, ceased(wire.BGP_ERROR_SUB_PEER_DECONFIGURED, "the peer is no longer configured"))
		case next == p.peer:
		case next.lasting() == p.peer.lasting():
			p.peer = next
			p.session.adjust(next)
		default:
			e.replace(p, next)
		}
	}
	for name, p := range good {
		if e.peers[name] == nil {
			e.add(p, !e.cfg.FirstStart)
		}
	}
	return errors.Join(errs...)
}

func (e *Engine) add(p Peer, restarted bool) { e.put(newSession(e.out, e.cfg.Log, p, restarted)) }

func (e *Engine) put(s *session) {
	made := &peering{session: s, peer: s.peer, stop: func(error) {}, done: make(chan struct{})}
	e.peers[s.peer.Name] = made
	if e.ctx != nil {
		e.start(made)
	}
}

// remove ends a session in the background.
func (e *Engine) remove(p *peering, f *fault) {
	delete(e.peers, p.peer.Name)
	if e.ctx == nil {
		return
	}
	e.sign(p.peer, "")
	e.parting[p.peer.Name]++
	e.work.Go(func() {
		<-p.done
		e.parted(p)
	})
	p.stop(f)
}

// parted takes note that a session which was removed has been closed.
func (e *Engine) parted(p *peering) {
	name := p.peer.Name
	e.mu.Lock()
	if e.parting[name]--; e.parting[name] == 0 {
		delete(e.parting, name)
	}
	e.mu.Unlock()
	s := p.session.snapshot()
	e.cfg.OnEvent(Event{Session: s, Was: s.State, Closed: true})
}

// Parting are the names of the peers that had a session which SetPeers has ended and which is not closed yet: the peer may not
// have been told so far. There is an event when it is closed.
func (e *Engine) Parting() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Sorted(maps.Keys(e.parting))
}

// replace ends a session and begins another one with the routes of the first. The new one begins when the old one has ended,
// since the peer would refuse a second connection.
func (e *Engine) replace(p *peering, next Peer) {
	old := *p
	e.remove(p, anew(p.peer, next))
	out := e.out
	if e.ctx != nil {
		out.dial = after(old.done, e.out.dial)
	}
	made := newSession(out, e.cfg.Log, next, false)
	if old.peer.Hold == next.Hold {
		made.inherit(old.session)
	}
	e.put(made)
}

// anew ends a session that another one with the same router follows: without a word if the router then keeps the routes.
func anew(was, next Peer) *fault {
	const words = "the peer is configured anew"
	kept := was.GracefulRestart.Enabled && next.GracefulRestart.Enabled && was.sessionASN() == next.sessionASN() &&
		was.RouterID == next.RouterID && was.Address == next.Address && was.Interface == next.Interface && was.Source == next.Source
	if kept {
		return &fault{kind: ours, words: words}
	}
	return ceased(wire.BGP_ERROR_SUB_OTHER_CONFIGURATION_CHANGE, words)
}

type dialFunc = func(context.Context, Peer, netip.AddrPort) (net.Conn, error)

// after dials once done is closed.
func after(done <-chan struct{}, f dialFunc) dialFunc {
	return func(ctx context.Context, p Peer, to netip.AddrPort) (net.Conn, error) {
		select {
		case <-done:
			return f(ctx, p, to)
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// sift tells peers that can be used from those that cannot.
func sift(peers []Peer, routerID netip.Addr, listening bool) (good map[string]Peer, bad []refusal) {
	good = make(map[string]Peer, len(peers))
	taken := map[endpoint]string{}
	for _, p := range peers {
		p = p.normal(routerID)
		if _, twice := good[p.Name]; twice || slices.ContainsFunc(bad, func(r refusal) bool { return r.peer.Name == p.Name }) {
			continue
		}
		other, shared := taken[p.endpoint()]
		switch err := p.check(); {
		case err != nil:
			bad = append(bad, refusal{peer: p, why: strings.ReplaceAll(err.Error(), "\n", "; ")})
		case p.Passive && !listening:
			bad = append(bad, refusal{peer: p, why: "it is passive, but nothing listens for peers"})
		case shared:
			bad = append(bad, refusal{peer: p, why: fmt.Sprintf(
				"it has the address, port, source and device of peer %s, and a router takes one session of a pair", other)})
		default:
			good[p.Name], taken[p.endpoint()] = p, p.Name
		}
	}
	return good, bad
}

// Set replaces what is wanted for one prefix, by the names of peers; nil means nothing, and a name that no peer has is passed
// over. A route that is as before is not sent again. Its cost does not depend on how many routes there are. The error names
// what cannot be used; everything else is done.
func (e *Engine) Set(prefix netip.Prefix, peers map[string]Attributes) error {
	prefix, err := usable(prefix)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for name, p := range e.peers {
		a, wanted := peers[name]
		if err := a.check(); err != nil {
			errs = append(errs, fmt.Errorf("route %s for peer %s: %w", prefix, name, err))
			wanted = false
		}
		if p.session.set(prefix, a, wanted, e.attrs) {
			signal(p.session.work)
		}
	}
	e.tidy()
	return errors.Join(errs...)
}

// tidy forgets attributes that no route has any more, once there are many more than were in use the last time.
func (e *Engine) tidy() {
	if !e.attrs.full() {
		return
	}
	used := map[*attributes]bool{}
	for _, p := range e.peers {
		p.session.use(used)
	}
	e.attrs.keep(used)
}

// usable is the prefix without superfluous bits.
func usable(p netip.Prefix) (netip.Prefix, error) {
	m := p.Masked()
	if !m.IsValid() || m.Addr().Is4In6() {
		return m, fmt.Errorf("route %s: that is no prefix to announce", p)
	}
	return m, nil
}

func (a Attributes) check() error {
	if n := 4*len(a.Communities) + 12*len(a.LargeCommunities); n > maxCommunityBytes {
		return fmt.Errorf("its communities take %d bytes, more than %d", n, maxCommunityBytes)
	}
	return nil
}

// accept hands a connection to the passive peer that it comes from.
func (e *Engine) accept(c *net.TCPConn) {
	from, to := addrPort(c.RemoteAddr()).Addr(), addrPort(c.LocalAddr()).Addr()
	e.mu.Lock()
	var found *peering
	for _, p := range e.peers {
		if p.peer.Passive && p.peer.Address == from && (!p.peer.Source.IsValid() || p.peer.Source == to) {
			found = p
		}
	}
	e.mu.Unlock()
	if found == nil || prepare(c, found.peer) != nil {
		_ = c.Close()
		return
	}
	found.session.offer(c)
}

// Down takes the peer's session down at once and keeps it down until Up is called; why says in words what for. The peer is
// told that BFD is down (RFC 9384), if it can be told. A peer that is not known is passed over.
func (e *Engine) Down(peer, why string) {
	if p := e.peering(peer); p != nil {
		p.session.hold(ceased(subBFDDown, why))
	}
}

// Up lets the peer's session come up, after Down or Peer.Hold.
func (e *Engine) Up(peer string) {
	if p := e.peering(peer); p != nil {
		p.session.release()
	}
}

func (e *Engine) peering(name string) *peering {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers[name]
}

// Leave makes the end of Run final: all peers are told that this node is gone, also those that would keep its routes.
func (e *Engine) Leave() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.leaving = true
}

// Flush waits until all that is wanted has been handed to the connections of established sessions, or until ctx ends.
func (e *Engine) Flush(ctx context.Context) error {
	e.mu.Lock()
	var waits []<-chan struct{}
	for _, p := range e.peers {
		waits = append(waits, p.session.flushed())
	}
	e.mu.Unlock()
	for _, w := range waits {
		select {
		case <-w:
		case <-ctx.Done():
			return fmt.Errorf("sending routes: %w", ctx.Err())
		}
	}
	return nil
}

// Sessions tells how it stands with every peer, in the order of their names.
func (e *Engine) Sessions() []Session {
	e.mu.Lock()
	out := make([]Session, 0, len(e.peers)+len(e.refused))
	for _, p := range e.peers {
		out = append(out, p.session.snapshot())
	}
	for name, r := range e.refused {
		out = append(out, Session{Peer: name, State: Idle, Refused: true, Why: "refused: " + r.why, Since: r.since})
	}
	e.mu.Unlock()
	slices.SortFunc(out, func(a, b Session) int { return strings.Compare(a.Peer, b.Peer) })
	return out
}
