package members

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"time"

	"github.com/hashicorp/memberlist"
)

// metaLimit is what memberlist allows for a meta.
const metaLimit = memberlist.MetaMaxSize

// delegate answers memberlist's questions. Some of them come with memberlist's
// locks held, so it never calls back.
type delegate struct{ m *Members }

func (d delegate) NodeMeta(limit int) []byte {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	out, left := d.m.self.meta.Encode(limit)
	if left > 0 {
		d.m.cfg.Log.Info("This node has more interfaces than the other speakers can be told of; exclude some with --exclude-interfaces", "left", left)
	}
	return out
}

func (d delegate) NotifyMsg(in []byte) {
	msg, err := decodeMessage(in)
	if err != nil {
		d.m.cfg.Log.V(1).Info("A message of another speaker was not understood", "error", err.Error())
		return
	}
	if msg.Incarnation == d.m.Incarnation() {
		d.m.cfg.OnMessage(msg)
	}
}

func (delegate) GetBroadcasts(int, int) [][]byte { return nil }

func (d delegate) LocalState(bool) []byte {
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	return encodeState(d.m.roster.heldSeats(time.Now()))
}

func (d delegate) MergeRemoteState(in []byte, _ bool) {
	seats, err := decodeState(in)
	if err != nil {
		d.m.cfg.Log.V(1).Info("The state of another speaker was not understood", "error", err.Error())
		return
	}
	if len(seats) == 0 {
		return
	}
	d.m.mu.Lock()
	d.m.roster.merge(time.Now(), seats)
	d.m.mu.Unlock()
	d.m.cfg.OnChange()
}

// errCutOff is why the state of another speaker is not taken.
var errCutOff = errors.New("the other speaker was cut off from most of us and takes us for dead; it forgets that soon")

// NotifyMerge refuses the state of a speaker that comes back from being cut off.
// memberlist would suspect everybody whom that one takes for dead, and with many
// speakers their objections would come too late. The other takes our state all
// the same and forgets the dead within seconds.
func (d delegate) NotifyMerge(nodes []*memberlist.Node) error {
	var dead []string
	alive := 0
	for _, n := range nodes {
		switch n.State {
		case memberlist.StateDead, memberlist.StateSuspect:
			dead = append(dead, n.Name)
		case memberlist.StateAlive:
			alive++
		}
	}
	d.m.mu.Lock()
	defer d.m.mu.Unlock()
	if d.m.roster.cutOff(dead, alive) {
		return errCutOff
	}
	return nil
}

// events takes what a memberlist finds out. It holds memberlist's lock meanwhile.
type events struct {
	m    *Members
	life int
}

func (e events) NotifyJoin(n *memberlist.Node)   { e.m.heard(e.life, n) }
func (e events) NotifyUpdate(n *memberlist.Node) { e.m.heard(e.life, n) }

func (e events) NotifyLeave(n *memberlist.Node) {
	if n.Name != e.m.cfg.Node {
		e.m.left(e.life, n.Name, addressOf(n))
	}
}

func addressOf(n *memberlist.Node) netip.AddrPort {
	a, _ := netip.AddrFromSlice(n.Addr)
	return netip.AddrPortFrom(a.Unmap(), n.Port)
}

func (m *Members) heard(life int, n *memberlist.Node) {
	if n.Name == m.cfg.Node {
		m.mu.Lock()
		if life == m.life {
			m.told = bytes.Clone(n.Meta)
		}
		m.mu.Unlock()
		return
	}
	meta, err := DecodeMeta(n.Meta)
	if err != nil {
		m.cfg.Log.Info("The speaker of a node is of a version that this one does not understand", "node", n.Name, "error", err.Error())
		return
	}
	m.mu.Lock()
	if life != m.life {
		m.mu.Unlock()
		return
	}
	m.pristine = false
	doubtful := m.roster.heard(time.Now(), n.Name, addressOf(n), meta)
	m.resettle(time.Now())
	m.mu.Unlock()
	if doubtful {
		m.ask(n.Name, addressOf(n))
	}
	m.cfg.Log.V(1).Info("A speaker was heard", "node", n.Name, "serving", meta.Serving, "settled", meta.Settled, "leaving", meta.Leaving, "version", meta.Version)
	m.cfg.OnChange()
}

func (m *Members) left(life int, node string, address netip.AddrPort) {
	m.mu.Lock()
	if life != m.life {
		m.mu.Unlock()
		return
	}
	m.stats.Deaths++
	ask := m.roster.left(node)
	m.mu.Unlock()
	if !ask {
		m.cfg.OnChange()
		return
	}
	m.ask(node, address)
}

// ask gets a second opinion on a speaker, unless one is on its way: where it takes
// long, more of them would make it longer.
func (m *Members) ask(node string, address netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.stopped || m.asking[node] {
		return
	}
	m.asking[node] = true
	m.wg.Add(1)
	go func() {
		defer m.wg.Done()
		answered := m.cfg.Reach(m.ctx, address)
		if m.ctx.Err() != nil {
			return
		}
		m.mu.Lock()
		delete(m.asking, node)
		before := lost(m.roster.seats[node])
		m.roster.opinion(time.Now(), node, answered)
		after := lost(m.roster.seats[node])
		if after && !before {
			m.stats.Lost++
			m.resettle(time.Now())
		}
		m.mu.Unlock()
		m.cfg.OnChange()
	}()
}

func lost(s *seat) bool { return s != nil && s.lost }

// Joining costs little, but 150 nodes that look for 75 others must not flood
// the network.
const (
	keepInterval   = 250 * time.Millisecond
	joinsAtATime   = 4
	firstJoins     = 16
	joinAgainAfter = 80 * time.Millisecond
)

// keeper does what has to be done again and again: it tries the missing,
// verifies the held, lets us settle, and starts gossip afresh when we are cut
// off.
func (m *Members) keeper() {
	defer m.wg.Done()
	t := time.NewTicker(keepInterval)
	defer t.Stop()
	m.firstRound()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-t.C:
		}
		m.keep(time.Now())
		m.mindSilence()
		m.startAfresh()
		m.join(m.missing())
		m.greetAll()
	}
}

func (m *Members) keep(now time.Time) {
	m.mu.Lock()
	changed := m.roster.tick(now)
	verify := m.roster.toVerify()
	for node, a := range verify {
		if !a.IsValid() {
			verify[node] = m.addressOfPeer(node)
		}
	}
	settled := m.settle(now)
	ring := m.rotation.ring(now)
	err := install(m.ring, ring)
	m.mu.Unlock()
	if err != nil {
		m.cfg.Log.Error(err, "Changing the gossip keys failed")
	}
	for node, a := range verify {
		m.ask(node, a)
	}
	if settled {
		m.tell()
	} else if changed {
		m.cfg.OnChange()
	}
}

func (m *Members) addressOfPeer(node string) netip.AddrPort {
	for _, p := range m.peers {
		if p.Node == node {
			return netip.AddrPortFrom(p.Address, uint16(m.cfg.Port))
		}
	}
	return netip.AddrPort{}
}

// settle makes us settled when it is time, and a founder one like the others; it
// returns whether we have settled.
func (m *Members) settle(now time.Time) bool {
	s := &m.self
	if !s.meta.Serving {
		return false
	}
	if !s.meta.Settled && m.roster.isolated() {
		s.since = now
	}
	if now.Sub(s.since) < m.cfg.Settle {
		return false
	}
	if s.meta.Founding {
		s.meta.Founding = false
		m.republish()
	}
	settled := !s.meta.Settled
	s.meta.Settled = true
	return settled
}

// resettle makes us unsettled when most of the others fall silent: then it is
// probably us who are cut off, and who will be the one to return.
func (m *Members) resettle(now time.Time) {
	if m.self.since.IsZero() || !m.roster.isolated() {
		return
	}
	m.self.since = now
	if m.self.meta.Settled {
		m.self.meta.Settled, m.self.meta.Founding = false, false
		m.republish()
	}
}

// missing are some of the peers without a live speaker, others each time. Of
// those that see each other only a few try each of the missing: an exchange of
// state with one who was cut off makes its partner suspect everybody whom that
// one took for dead, and if all did so at once, the objections of those who
// live would come too late.
func (m *Members) missing() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	atMost := joinsAtATime
	if m.roster.isolated() {
		atMost = 1
	}
	var out []Peer
	for range m.peers {
		if len(out) == atMost {
			break
		}
		m.next = (m.next + 1) % len(m.peers)
		if p := m.peers[m.next]; m.roster.absent(time.Now(), p) && m.roster.tries(p.Node) {
			out = append(out, p)
		}
	}
	return out
}

// unheard are those of some peers that gossip does not see.
func (m *Members) unheard(peers []Peer) []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(peers), func(p Peer) bool { return !m.roster.absent(time.Now(), p) })
}

// firstRound tries every peer once that is not heard of before its turn.
func (m *Members) firstRound() {
	ctx, cancel := context.WithTimeout(m.ctx, 2*time.Second)
	defer cancel()
	for m.ctx.Err() == nil {
		m.mu.Lock()
		known := len(m.peers)
		m.mu.Unlock()
		if known > 0 {
			break
		}
		select {
		case <-ctx.Done():
			close(m.tried)
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	// One exchange tells of everybody whom the other knows, so most need not be
	// tried themselves. Many that start at once each begin with others.
	left := m.unheard(m.peersAfterUs())
	for n := 1; len(left) > 0 && m.ctx.Err() == nil; left = m.unheard(left) {
		n = min(2*n, firstJoins, len(left))
		m.join(left[:n])
		left = left[n:]
	}
	close(m.tried)
}

// peersAfterUs are the peers, from the one that follows us on.
func (m *Members) peersAfterUs() []Peer {
	m.mu.Lock()
	defer m.mu.Unlock()
	us := slices.IndexFunc(m.peers, func(p Peer) bool { return p.Node == m.cfg.Node })
	return slices.Concat(m.peers[us+1:], m.peers[:us+1])
}

// join tries peers at once and waits for all.
func (m *Members) join(peers []Peer) {
	done := make(chan bool, len(peers))
	for _, p := range peers {
		go func() { done <- m.joinOne(p) }()
	}
	for range peers {
		if <-done {
			m.mu.Lock()
			m.reached++
			m.mu.Unlock()
		}
	}
}

// joinOne tries a peer. It returns whether its node answered at all.
func (m *Members) joinOne(p Peer) bool {
	to := netip.AddrPortFrom(p.Address, uint16(m.cfg.Port))
	if !m.cfg.Reach(m.ctx, to) {
		return false
	}
	name := p.Node + "/" + to.String()
	for range 2 {
		if _, err := m.gossip().Join([]string{name}); err != nil || m.ctx.Err() != nil {
			return true
		}
		m.mu.Lock()
		s := m.roster.seats[p.Node]
		there := s != nil && s.alive
		m.mu.Unlock()
		if there {
			return true
		}
		// Each side had declared the other dead. Now that it has heard so it
		// objects, and a second exchange brings the objection.
		select {
		case <-m.ctx.Done():
		case <-time.After(joinAgainAfter):
		}
	}
	return true
}
