package bgp

import (
	"context"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	wire "github.com/osrg/gobgp/v3/pkg/packet/bgp"
)

const (
	cease = wire.BGP_ERROR_CEASE
	// openWait is how long to wait for the peer's OPEN if no hold time is wanted (RFC 4271 section 8.2.2).
	openWait = 4 * time.Minute
	// batchSize is how many prefixes are taken up before the routes are looked at again.
	batchSize = 1000
)

// conversation is what is said on one connection. One goroutine decides, one reads, and one writes once the peers agree.
type conversation struct {
	s     *session
	p     Peer
	conn  net.Conn
	state State
	agreed
	terms terms
	in    chan input
	// ready is closed when routes may be sent, broken takes what the writer failed at.
	ready  chan struct{}
	broken chan error
	// heard is when the peer last spoke, hold how long it may be silent and timer when to look.
	heard time.Time
	wait  time.Duration
	timer <-chan time.Time
	// torn is what the writer failed at; torn messages forbid further ones.
	torn            error
	readers, writer sync.WaitGroup
}

// input is a message of the peer or the end of them.
type input struct {
	kind   byte
	open   open
	family Families
	fault  *fault
	err    error
}

func newConversation(s *session, p Peer, conn net.Conn) *conversation {
	return &conversation{s: s, p: p, conn: conn, in: make(chan input), ready: make(chan struct{}), broken: make(chan error, 1)}
}

// run speaks until the connection ends and says why it did.
func (c *conversation) run(ctx context.Context) *fault {
	inner, stop := context.WithCancel(ctx)
	c.readers.Go(func() { c.listen(inner) })
	f := c.talk(inner)
	stop()
	c.s.lost(f)
	_ = c.conn.SetWriteDeadline(time.Now().Add(c.s.timings.CloseWait))
	_ = c.conn.SetReadDeadline(time.Now())
	c.writer.Wait()
	c.readers.Wait()
	if f.send {
		c.farewell(f)
	}
	_ = c.conn.Close()
	return f
}

// farewell tells the peer why the connection ends. What it still sends is read, since closing a connection with unread bytes
// resets it, and the reset may overtake the message.
func (c *conversation) farewell(f *fault) {
	select {
	case c.torn = <-c.broken:
	default:
	}
	b, err := f.message()
	if err != nil || c.torn != nil {
		return
	}
	if _, err := c.conn.Write(b); err != nil {
		return
	}
	halfClose(c.conn)
	_ = c.conn.SetReadDeadline(time.Now().Add(c.s.timings.CloseWait))
	_, _ = io.Copy(io.Discard, c.conn)
}

func (c *conversation) talk(ctx context.Context) *fault {
	c.s.mu.Lock()
	restarted := c.s.restarted
	c.s.mu.Unlock()
	hello, err := openMessage(c.p, restarted)
	if err == nil {
		err = c.write(hello)
	}
	if err != nil {
		return readFault(OpenSent, err)
	}
	c.enter(OpenSent)
	c.expect(orOpenWait(c.p.HoldTime))
	for {
		select {
		case <-ctx.Done():
			return causeOf(ctx)
		case in := <-c.in:
			if f := c.handle(ctx, in); f != nil {
				return f
			}
		case c.torn = <-c.broken:
			// The peer may have said why before it closed.
			_ = c.conn.SetReadDeadline(time.Now().Add(c.s.timings.CloseWait))
		case <-c.timer:
			if f := c.overdue(); f != nil {
				return f
			}
		}
	}
}

func (c *conversation) enter(state State) {
	c.state = state
	if state != Established {
		c.s.progress(state, c.conn)
	}
}

// expect begins to wait for the peer to speak; zero waits for ever.
func (c *conversation) expect(wait time.Duration) {
	c.heard, c.wait, c.timer = c.s.clock.Now(), wait, nil
	if wait > 0 {
		c.timer = c.s.clock.After(wait)
	}
}

func orOpenWait(hold time.Duration) time.Duration {
	if hold == 0 {
		return openWait
	}
	return hold
}

// overdue looks whether the peer has been silent for too long.
func (c *conversation) overdue() *fault {
	if left := c.wait - c.s.clock.Now().Sub(c.heard); left > 0 {
		c.timer = c.s.clock.After(left)
		return nil
	}
	words := fmt.Sprintf("the hold timer expired: nothing came from the peer for %s", c.wait)
	if c.state == OpenSent {
		words = fmt.Sprintf("the peer took the connection but said nothing for %s", c.wait)
	}
	return &fault{code: wire.BGP_ERROR_HOLD_TIMER_EXPIRED, send: true, words: words}
}

// handle takes up what came from the peer (RFC 4271 section 8.2.2).
func (c *conversation) handle(ctx context.Context, in input) *fault {
	switch {
	case in.fault != nil:
		return in.fault
	case in.err != nil && c.torn != nil:
		return readFault(c.state, c.torn)
	case in.err != nil:
		return readFault(c.state, in.err)
	}
	c.heard = c.s.clock.Now()
	switch {
	case c.state == OpenSent && in.kind == wire.BGP_MSG_OPEN:
		return c.meet(ctx, in.open)
	case c.state == OpenConfirm && in.kind == wire.BGP_MSG_KEEPALIVE:
		return c.establish()
	case c.state == Established && in.kind == wire.BGP_MSG_ROUTE_REFRESH:
		c.s.resend(in.family)
		return nil
	case c.state == Established && in.kind != wire.BGP_MSG_OPEN:
		return nil
	}
	sub := map[State]byte{OpenSent: 1, OpenConfirm: 2, Established: 3}[c.state] // RFC 6608
	return malformed(wire.BGP_ERROR_FSM_ERROR, sub, fmt.Sprintf("a message of type %d out of turn", in.kind))
}

// meet agrees on terms with the peer.
func (c *conversation) meet(ctx context.Context, o open) *fault {
	a, f := agree(c.p, o)
	if f != nil {
		return f
	}
	c.agreed = a
	if err := c.write(keepaliveMessage()); err != nil {
		return readFault(c.state, err)
	}
	c.enter(OpenConfirm)
	c.expect(orOpenWait(a.hold))
	c.writer.Go(func() { c.speak(ctx) })
	return nil
}

func (c *conversation) establish() *fault {
	local := addrPort(c.conn.LocalAddr()).Addr()
	if local.Is6() {
		local = local.WithZone(c.p.link())
	}
	beside, err := c.s.beside(local)
	if err != nil {
		return &fault{words: "finding this node's next hop: " + err.Error(), err: err}
	}
	c.terms = terms{asn: c.p.sessionASN(), internal: c.internal, fourOctet: c.fourOctet}
	c.terms.hop4, c.terms.hop6 = nextHops(c.p, c.agreed, local, beside)
	c.enter(Established)
	c.expect(c.hold)
	c.s.up(c.agreed, c.terms)
	close(c.ready)
	return nil
}

// listen reads what the peer sends until there is no more or ctx ends.
func (c *conversation) listen(ctx context.Context) {
	r, t := &reader{r: c.conn}, newTally()
	for {
		in := c.hear(r, t)
		select {
		case c.in <- in:
		case <-ctx.Done():
			return
		}
		if in.fault != nil || in.err != nil {
			return
		}
	}
}

func (c *conversation) hear(r *reader, t *tally) input {
	kind, body, err := r.next()
	in := input{kind: kind, err: err}
	if f, ok := err.(*fault); ok { //nolint:errorlint // next never wraps one.
		in.fault = f
	}
	if err != nil {
		return in
	}
	switch kind {
	case wire.BGP_MSG_OPEN:
		in.open, in.fault = parseOpen(body)
	case wire.BGP_MSG_NOTIFICATION:
		in.fault = notified(body)
	case wire.BGP_MSG_UPDATE:
		in.fault = t.update(body, int(c.s.limit.Load()))
		c.s.received.Store(int64(len(t.seen)))
	case wire.BGP_MSG_ROUTE_REFRESH:
		in.family = familyOfAFI(uint16(body[0])<<8 | uint16(body[1]))
	}
	return in
}

func keepaliveMessage() []byte { return header(wire.BGP_MSG_KEEPALIVE, 0) }

// speak sends keepalives and, once the session is established, routes.
func (c *conversation) speak(ctx context.Context) {
	ready := c.ready
	var keepalive <-chan time.Time
	var work <-chan struct{}
	var err error
	for err == nil {
		if keepalive == nil && c.keepalive > 0 {
			keepalive = c.s.clock.After(c.keepalive)
		}
		select {
		case <-ctx.Done():
			return
		case <-keepalive:
			keepalive = nil
			err = c.write(keepaliveMessage())
		case <-ready:
			ready, work = nil, c.s.work
			if err = c.flush(ctx); err == nil {
				err = c.finishFirst(ctx)
			}
		case <-work:
			err = c.flush(ctx)
		}
	}
	c.broken <- err
}

// finishFirst marks the end of the first round of routes.
func (c *conversation) finishFirst(ctx context.Context) error {
	for _, f := range []Families{IPv4, IPv6} {
		if c.families&f == 0 {
			continue
		}
		if err := c.write(endOfRIB(f)); err != nil {
			return err
		}
	}
	return c.flush(ctx)
}

// flush sends all routes that are due.
func (c *conversation) flush(ctx context.Context) error {
	for ctx.Err() == nil {
		b := c.s.take(batchSize)
		if b.empty() {
			c.s.settled()
			return nil
		}
		messages, err := updates(c.terms, b)
		if err != nil {
			return err
		}
		if err := c.write(join(messages...)); err != nil {
			return err
		}
		c.s.wrote(len(messages))
	}
	return nil
}

// write sends whole messages. A peer that takes none for as long as it may be silent is lost.
func (c *conversation) write(b []byte) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(orOpenWait(c.hold))); err != nil {
		return fmt.Errorf("sending to the peer: %w", err)
	}
	if _, err := c.conn.Write(b); err != nil {
		return fmt.Errorf("sending to the peer: %w", err)
	}
	return nil
}
