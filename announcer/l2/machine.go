package l2

import (
	"container/heap"
	"net/netip"
	"slices"
	"time"
)

// effects is what the machine does to the world. Interfaces go by their index.
type effects interface {
	// watch makes packets about a known to the machine; they are not answered.
	watch(link int, a netip.Addr)
	// answer makes requests for a be answered with hw.
	answer(link int, a netip.Addr, hw mac)
	// forget ends both.
	forget(link int, a netip.Addr)
	// send sends a packet now.
	send(link int, a netip.Addr, kind packetKind) error
	// emit tells of a change.
	emit(Event)
}

// usable is an interface on which at least one family can be announced.
type usable struct {
	index    int
	name     string
	hw       mac
	arp, ndp bool
}

// carries tells whether addresses of a's family can be announced on the interface.
func (u usable) carries(a netip.Addr) bool {
	if a.Is4() {
		return u.arp
	}
	return u.ndp
}

// claim is one address on one interface.
type claim struct {
	addr   netip.Addr
	link   usable
	hw     mac // what is answered with
	deputy bool
	probe  bool // as it was wanted last
	hold   bool // not to be announced yet

	phase  Phase
	since  time.Time
	probes int       // sent in this round of asking
	asking bool      // a round of asking goes on
	told   bool      // Announced has been emitted for the present role
	said   bool      // any event has been emitted
	first  time.Time // when the first gratuitous packet went out
	// probed: it was asked for before it was announced, first at trial, which is zero before that.
	probed bool
	trial  time.Time
	// epoch ends timers and queued packets of an earlier phase.
	epoch int
	// series ends the rest of an earlier series of gratuitous packets.
	series int
	dead   bool

	rival     mac
	contested bool // Conflict has been emitted and ConflictGone has not
	rivalAt   time.Time
	defended  time.Time
	backoff   time.Duration
}

type timerKind int

const (
	probeTimer  timerKind = iota // the wait after a probe is over
	retryTimer                   // ask again for an address that somebody else has
	lateTimer                    // ask once more for what is announced already
	repeatTimer                  // a gratuitous packet is due again
	quietTimer                   // see whether a rival is still there
)

type timer struct {
	at    time.Time
	c     *claim
	epoch int
	kind  timerKind
	round int
	// series is that of the claim when the timer was set.
	series int
}

type timers []timer

func (t timers) Len() int           { return len(t) }
func (t timers) Less(i, j int) bool { return t[i].at.Before(t[j].at) }
func (t timers) Swap(i, j int)      { t[i], t[j] = t[j], t[i] }
func (t *timers) Push(x any)        { *t = append(*t, x.(timer)) }

func (t *timers) Pop() any {
	last := (*t)[len(*t)-1]
	(*t)[len(*t)-1] = timer{}
	*t = (*t)[:len(*t)-1]
	return last
}

// parcel is a packet that waits for its turn.
type parcel struct {
	c             *claim
	epoch, series int
	kind          packetKind
	round         int
}

// machine holds the rules of announcing. It is not safe for concurrent use, does no I/O of its own and takes the time from
// its caller.
type machine struct {
	t  Timings
	fx effects

	want   map[netip.Addr]*Announcement
	claims map[netip.Addr][]*claim
	links  []usable

	timers timers
	// queues are the packets to send, the first before the second before the third: what is new to the segment, its other
	// form, and repeats.
	queues [3][]parcel
	tokens float64
	filled time.Time
}

func newMachine(t Timings, fx effects) *machine {
	return &machine{t: t, fx: fx, want: map[netip.Addr]*Announcement{}, claims: map[netip.Addr][]*claim{}, tokens: burst(t)}
}

// setWant changes what is wanted for one address; nil means nothing.
func (m *machine) setWant(now time.Time, a netip.Addr, w *Announcement) {
	if w == nil {
		delete(m.want, a)
	} else {
		m.want[a] = w
	}
	m.reconcile(now, a)
}

// setLinks replaces the usable interfaces.
func (m *machine) setLinks(now time.Time, links []usable) {
	if slices.Equal(m.links, links) {
		return
	}
	m.links = slices.Clone(links)
	for _, a := range m.addresses() {
		m.reconcile(now, a)
	}
}

// addresses are those wanted, in order.
func (m *machine) addresses() []netip.Addr {
	all := make([]netip.Addr, 0, len(m.want))
	for a := range m.want {
		all = append(all, a)
	}
	slices.SortFunc(all, netip.Addr.Compare)
	return all
}

// role is how an address is answered for on an interface; ok is false if it is not.
func (m *machine) role(l usable, w *Announcement) (hw mac, deputy, ok bool) {
	if w == nil || !l.carries(w.Address) || w.Interfaces != nil && !slices.Contains(w.Interfaces, l.name) {
		return mac{}, false, false
	}
	if w.Deputy == nil {
		return l.hw, false, true
	}
	hw, ok = macOf(w.Deputy[l.name])
	return hw, true, ok
}

// reconcile brings the claims of an address in line with what is wanted and with the interfaces.
func (m *machine) reconcile(now time.Time, a netip.Addr) {
	w := m.want[a]
	have := m.claims[a]
	var keep []*claim
	for _, c := range have {
		i := slices.IndexFunc(m.links, func(l usable) bool { return l.index == c.link.index })
		if i >= 0 {
			hw, deputy, ok := m.role(m.links[i], w)
			silenced := ok && w.Hold && !deputy && c.phase == Answering
			if ok && !silenced {
				c.link = m.links[i]
				m.adjust(now, c, hw, deputy, w)
				keep = append(keep, c)
				continue
			}
		}
		m.drop(c)
	}
	for _, l := range m.links {
		hw, deputy, ok := m.role(l, w)
		if !ok || slices.ContainsFunc(keep, func(c *claim) bool { return c.link.index == l.index }) {
			continue
		}
		c := &claim{addr: a, link: l, hw: hw, deputy: deputy, probe: w.Probe || w.Hold, hold: w.Hold && !deputy}
		keep = append(keep, c)
		m.begin(now, c)
	}
	if len(keep) == 0 {
		delete(m.claims, a)
		return
	}
	m.claims[a] = keep
}

func (m *machine) begin(now time.Time, c *claim) {
	if c.probe && !c.deputy {
		m.fx.watch(c.link.index, c.addr)
		m.enter(now, c, Probing)
		m.ask(c)
		return
	}
	m.announce(now, c)
}

// adjust carries a change of a wish, or of an interface's hardware address, over to a claim that goes on.
func (m *machine) adjust(now time.Time, c *claim, hw mac, deputy bool, w *Announcement) {
	probe := w.Probe || w.Hold
	unasked := c.probe && !probe
	changed := c.hw != hw || c.deputy != deputy
	c.told = c.told && c.deputy == deputy
	c.hw, c.deputy, c.probe, c.hold = hw, deputy, probe, w.Hold && !deputy
	switch {
	case c.phase == Answering && changed, c.phase != Answering && (unasked || deputy):
		m.announce(now, c)
	case changed && c.phase == Waiting:
		m.enter(now, c, Probing)
		m.ask(c)
	case changed:
		c.epoch++
		m.ask(c)
	case c.phase == Waiting && !c.hold:
		m.announceAsked(now, c)
	}
}

// refresh says again on the segment what is announced, as at a takeover.
func (m *machine) refresh(a netip.Addr) {
	for _, c := range m.claims[a] {
		if c.phase == Answering && !c.deputy {
			// What is still on its way of an earlier series is dropped; the watch for a rival's silence goes on.
			c.series++
			m.enqueue(0, c, announcePacket, 0)
		}
	}
}

// drop ends a claim.
func (m *machine) drop(c *claim) {
	c.dead = true
	m.fx.forget(c.link.index, c.addr)
	if c.said {
		m.emit(c, Event{Kind: Withdrawn})
	}
}

func (m *machine) enter(now time.Time, c *claim, p Phase) {
	c.phase, c.since, c.asking, c.probed = p, now, false, false
	c.epoch++
}

// announce answers from now on and says so on the segment, as a deputy without saying so.
func (m *machine) announce(now time.Time, c *claim) {
	m.gone(c)
	m.enter(now, c, Answering)
	m.fx.answer(c.link.index, c.addr, c.hw)
	if c.deputy {
		m.tell(c)
		return
	}
	m.enqueue(0, c, announcePacket, 0)
}

// announceAsked announces what nobody else was found to have.
func (m *machine) announceAsked(now time.Time, c *claim) {
	m.announce(now, c)
	c.probed, c.trial = true, time.Time{}
}

func (m *machine) emit(c *claim, e Event) {
	c.said = true
	e.Address, e.Interface = c.addr, c.link.name
	m.fx.emit(e)
}

// tell emits Announced once.
func (m *machine) tell(c *claim) {
	if !c.told {
		c.told = true
		m.emit(c, Event{Kind: Announced, Deputy: c.deputy})
	}
}

// gone emits ConflictGone if there was a conflict.
func (m *machine) gone(c *claim) {
	if c.contested {
		c.contested = false
		m.emit(c, Event{Kind: ConflictGone, MAC: c.rival.hw()})
	}
}

// ask begins a round of probes.
func (m *machine) ask(c *claim) {
	c.asking, c.probes = true, 0
	m.enqueue(0, c, probePacket, 0)
}

// rivalSeen tells of a packet in which another host, neither this one nor one of our speakers, claims or wants the address.
func (m *machine) rivalSeen(now time.Time, link int, a netip.Addr, hw mac) {
	i := slices.IndexFunc(m.claims[a], func(c *claim) bool { return c.link.index == link })
	if i < 0 || m.claims[a][i].deputy {
		return
	}
	c := m.claims[a][i]
	changed := !c.contested || c.rival != hw
	c.rival, c.rivalAt = hw, now
	if c.phase == Answering {
		if !m.onProbation(now, c) {
			m.defend(now, c, changed)
			return
		}
		m.fx.watch(link, a)
		c.told = false
	}
	if c.phase == Contested && !c.asking {
		return // it is known and will be asked for again
	}
	c.backoff = min(max(2*c.backoff, m.t.ConflictRetryMin), m.t.ConflictRetryMax)
	since := c.since
	m.enter(now, c, Contested)
	if c.contested {
		c.since = since
	}
	c.contested = true
	if changed {
		m.emit(c, Event{Kind: Conflict, MAC: hw.hw()})
	}
	m.after(now, c, retryTimer, 0, c.backoff)
}

// onProbation tells whether a host that claims an announced address may have had it before us. Before the first packet has
// gone out nobody can have taken it from us.
func (m *machine) onProbation(now time.Time, c *claim) bool {
	return c.probed && (c.trial.IsZero() || now.Before(c.trial.Add(m.t.Probation)))
}

// defend keeps an announced address: RFC 5227 section 2.4 (c), at most one packet per interval.
func (m *machine) defend(now time.Time, c *claim, changed bool) {
	if !c.contested {
		m.after(now, c, quietTimer, 0, m.t.ConflictQuiet)
	}
	c.contested = true
	if changed {
		m.emit(c, Event{Kind: Conflict, MAC: c.rival.hw(), Held: true})
	}
	if c.defended.IsZero() || now.Sub(c.defended) >= m.t.DefendInterval {
		c.defended = now
		m.enqueue(0, c, announcePacket, -1)
	}
}

// after sets a timer; the last argument is the wait.
func (m *machine) after(now time.Time, c *claim, kind timerKind, round int, wait time.Duration) {
	heap.Push(&m.timers, timer{at: now.Add(wait), c: c, epoch: c.epoch, kind: kind, round: round, series: c.series})
}

func (m *machine) enqueue(queue int, c *claim, kind packetKind, round int) {
	m.queues[queue] = append(m.queues[queue], parcel{c: c, epoch: c.epoch, series: c.series, kind: kind, round: round})
}

// advance does what is due at now and returns when it wants to be called again; ok is false if nothing is pending.
func (m *machine) advance(now time.Time) (next time.Time, ok bool) {
	for len(m.timers) > 0 && !m.timers[0].at.After(now) {
		m.fire(now, heap.Pop(&m.timers).(timer))
	}
	if m.drain(now) {
		next, ok = now.Add(paceStep), true
	}
	if len(m.timers) > 0 && (!ok || m.timers[0].at.Before(next)) {
		next, ok = m.timers[0].at, true
	}
	if next.Before(now) { // a repeat that fell due while its address waited for its turn
		next = now
	}
	return next, ok
}

func (m *machine) fire(now time.Time, t timer) {
	c := t.c
	if c.dead || c.epoch != t.epoch {
		return
	}
	switch t.kind {
	case probeTimer:
		if c.probes < m.t.ProbeCount {
			m.enqueue(0, c, probePacket, 0)
			return
		}
		c.backoff = 0
		if c.hold {
			m.gone(c)
			m.enter(now, c, Waiting)
			return
		}
		m.announceAsked(now, c)
	case retryTimer:
		m.ask(c)
	case lateTimer:
		m.enqueue(2, c, probePacket, t.round)
	case repeatTimer:
		if t.series != c.series {
			return
		}
		m.enqueue(2, c, announcePacket, t.round)
	case quietTimer:
		if wait := c.rivalAt.Add(m.t.ConflictQuiet).Sub(now); wait > 0 {
			m.after(now, c, quietTimer, 0, wait)
			return
		}
		m.gone(c)
	}
}

// states tells how an address stands.
func (m *machine) states(a netip.Addr) []State {
	var all []State
	for _, c := range m.claims[a] {
		s := State{Interface: c.link.name, Phase: c.phase, Since: c.since, Deputy: c.deputy}
		if c.contested {
			s.Rival = c.rival.hw()
		}
		all = append(all, s)
	}
	return all
}
