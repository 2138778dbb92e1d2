package members

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/memberlist"
)

// lasting is a transport that outlives the memberlist on top of it: its port
// stays open, so that the kernel goes on answering second opinions while one
// memberlist follows another.
type lasting struct{ memberlist.NodeAwareTransport }

func (lasting) Shutdown() error { return nil }

// ear notes when another speaker was heard last. memberlist tells of each probe
// that it answers, and of each answer to its own.
type ear struct {
	start time.Time
	last  atomic.Int64 // nanoseconds after start
}

func (e *ear) note() { e.last.Store(int64(time.Since(e.start))) }

// quiet is for how long nobody was heard.
func (e *ear) quiet(now time.Time) time.Duration {
	return now.Sub(e.start) - time.Duration(e.last.Load())
}

// AckPayload adds nothing to an answer, as the others expect.
func (e *ear) AckPayload() []byte {
	e.note()
	return nil
}

func (e *ear) NotifyPingComplete(*memberlist.Node, time.Duration, []byte) { e.note() }

// deafIntervals is how many intervals of probing without a word from anybody
// make us look whether we are cut off. Each of the others probes once in an
// interval, so that on average one of them probes us.
const deafIntervals = 5

// mindSilence finds out whether we are cut off. Gossip would find the others
// dead one after the other, for as long as there are others, and tell each of
// them so as soon as they hear us again. So when nobody is heard at all, they are
// dialled, and if none answers they are all lost at once.
func (m *Members) mindSilence() {
	deaf := deafIntervals * probeInterval(m.cfg.Expected)
	if m.ear.quiet(time.Now()) < deaf {
		return
	}
	m.mu.Lock()
	seen := m.roster.seen()
	m.mu.Unlock()
	if len(seen) == 0 {
		return
	}
	if m.anyAnswers(seen) {
		m.ear.note() // a node, if not its speaker
		return
	}
	m.mu.Lock()
	// Who was heard meanwhile, even once, shows that it is over.
	over := m.ear.quiet(time.Now()) < deaf || m.ctx.Err() != nil
	if !over {
		m.stats.Lost += uint64(m.roster.silence(seen))
		m.resettle(time.Now())
	}
	m.mu.Unlock()
	if !over {
		m.cfg.Log.Info("No other speaker is heard, and none of their nodes answers: this node is cut off", "others", len(seen))
		m.cfg.OnChange()
	}
}

// firstDialled is how many nodes are dialled before all are. A process that hears
// nobody because it does not get a core dials in vain, and many of them on busy
// machines would keep each other from hearing.
const firstDialled = 3

// anyAnswers dials some nodes and, if none of them answers, all others.
func (m *Members) anyAnswers(nodes map[string]netip.AddrPort) bool {
	first, others := map[string]netip.AddrPort{}, map[string]netip.AddrPort{}
	for node, to := range nodes { // in no order, so that it is others each time
		if len(first) < firstDialled {
			first[node] = to
		} else {
			others[node] = to
		}
	}
	return m.anyOfThese(first) || m.anyOfThese(others)
}

// anyOfThese dials nodes at once and waits for all.
func (m *Members) anyOfThese(nodes map[string]netip.AddrPort) bool {
	answers := make(chan bool, len(nodes))
	for _, to := range nodes {
		go func() { answers <- m.cfg.Reach(m.ctx, to) }()
	}
	answered := false
	for range nodes {
		answered = <-answers || answered
	}
	return answered
}

// startAfresh replaces the memberlist when nobody is left in it. The old one
// takes all others for dead, and has word of that waiting to be sent: it would
// be spread on our return, each of the others would have to object, and with
// many of them the objections would come too late. The new one knows nobody.
// The others still hold us for dead, by a number that is higher than the new
// one's first; it hears that when it greets them, and objects.
func (m *Members) startAfresh() {
	m.swap.Lock()
	defer m.swap.Unlock()
	m.mu.Lock()
	if m.stopped || m.pristine || !m.roster.alone() {
		m.mu.Unlock()
		return
	}
	old := m.list
	m.life++
	m.pristine = true // before the new one can hear of anybody
	life := m.life
	m.mu.Unlock()
	list, err := memberlist.Create(m.config(life))
	m.mu.Lock()
	if err != nil {
		m.life, m.pristine = m.life-1, false
	} else {
		m.list, m.greet = list, true
	}
	m.mu.Unlock()
	if err != nil {
		m.cfg.Log.Error(err, "Starting gossip afresh failed; going on with what there is")
		return
	}
	if err := old.Shutdown(); err != nil {
		m.cfg.Log.Error(err, "Ending the gossip from before the cut failed")
	}
	// What was published meanwhile may have gone to the old one.
	m.republish()
}

// greetAll exchanges state with every peer once, when the first is heard after a
// fresh start. Some of them have forgotten by then that we were dead, and pass
// on that we live; those who have not do not believe that before we object, and
// we can object to them only once we hear of it.
func (m *Members) greetAll() {
	m.mu.Lock()
	due := m.greet && !m.pristine
	if due {
		m.greet = false
	}
	peers := slices.DeleteFunc(slices.Clone(m.peers), func(p Peer) bool { return p.Node == m.cfg.Node })
	m.mu.Unlock()
	if !due {
		return
	}
	for batch := range slices.Chunk(peers, firstJoins) {
		m.join(batch)
	}
}

// gossip is the memberlist of the moment.
func (m *Members) gossip() *memberlist.Memberlist {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.list
}
