package members

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/hashicorp/memberlist"

	"github.com/fairlead/fairlead/announcer"
)

// DefaultPort is the TCP and UDP port of gossip. MetalLB's is 7946: both can run
// on one node.
const DefaultPort = 7950

// DefaultGrace is how long the seat of a speaker is held that is away while its
// node lives.
const DefaultGrace = 10 * time.Second

// Config is what a speaker's membership needs.
type Config struct {
	Log logr.Logger
	// Node is the name of our node, and of our speaker.
	Node string
	// Address is the node's own address, on which gossip listens. All nodes must
	// reach each other by theirs.
	Address netip.Addr
	// Port is the same on all nodes. 0 stands for DefaultPort.
	Port int
	// Version of the speaker.
	Version string
	// Keys encrypt gossip; the first is used, all of them are understood.
	Keys [][]byte
	// Expected is about how many speakers there will be; more of them probe each
	// other less often.
	Expected int
	// Grace is how long a seat is held; 0 stands for DefaultGrace.
	Grace time.Duration
	// Settle is how long a speaker must have been serving before addresses move to
	// it; 0 stands for announcer.SettleTime.
	Settle time.Duration
	// OnChange is called when Members would answer differently. It must not block.
	OnChange func()
	// OnMessage is called for each message. It must not block.
	OnMessage func(Message)

	// Transport and Reach replace the network in tests.
	Transport memberlist.NodeAwareTransport
	Reach     Reach
}

func (c *Config) complete() error {
	if c.Node == "" {
		return fmt.Errorf("membership needs the name of the node")
	}
	if !c.Address.IsValid() {
		return fmt.Errorf("membership needs the internal IP address of node %s", c.Node)
	}
	if len(c.Keys) == 0 {
		return fmt.Errorf("membership needs a key")
	}
	if c.Port == 0 {
		c.Port = DefaultPort
	}
	if c.Grace == 0 {
		c.Grace = DefaultGrace
	}
	if c.Settle == 0 {
		c.Settle = announcer.SettleTime
	}
	if c.OnChange == nil {
		c.OnChange = func() {}
	}
	if c.OnMessage == nil {
		c.OnMessage = func(Message) {}
	}
	if c.Reach == nil {
		c.Reach = reachTCP
	}
	return nil
}

// Peer is a node on which there may be a speaker.
type Peer struct {
	Node    string
	Address netip.Addr
}

// Members knows the other speakers, and lets them know us.
type Members struct {
	cfg     Config
	ring    *memberlist.Keyring
	ear     *ear
	ctx     context.Context
	cancel  context.CancelFunc
	wg      sync.WaitGroup
	publish chan struct{} // our meta has changed

	swap sync.Mutex // held while list is replaced or stopped

	mu       sync.Mutex
	list     *memberlist.Memberlist
	life     int    // which memberlist it is; what an earlier one says does not count
	pristine bool   // it has heard of nobody
	greet    bool   // it followed another one, and has yet to exchange state with all
	told     []byte // the meta that it tells of us
	roster   *roster
	self     self
	peers    []Peer
	next     int // the peer to be tried next
	rotation *rotation
	asking   map[string]bool // of whom a second opinion is on its way
	tried    chan struct{}   // closed when every peer was tried once
	reached  int             // peers that answered in the first round
	stats    Stats
	stopped  bool
}

// self is what we tell of ourselves.
type self struct {
	meta  Meta
	since time.Time // of serving, or of being back from isolation
}

// Stats counts what membership saw.
type Stats struct {
	// Alive are the speakers that answer, with us; Held those that are away while
	// their nodes live; Expected the nodes that may have one, with ours.
	Alive, Held, Expected int
	// Missing are the expected nodes without a live speaker, sorted.
	Missing []string
	// Deaths counts speakers that gossip declared dead; FalseAlarms those of them
	// whose process turned out to live; Lost those whose node was silent too.
	Deaths, FalseAlarms, Lost uint64
}

// Start begins to gossip. Stop or Leave must be called in the end.
func Start(ctx context.Context, cfg Config) (*Members, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	ring, err := memberlist.NewKeyring(cfg.Keys, cfg.Keys[0])
	if err != nil {
		return nil, fmt.Errorf("making the gossip keyring: %w", err)
	}
	m := &Members{
		cfg: cfg, ring: ring,
		ear:      &ear{start: time.Now()},
		pristine: true,
		publish:  make(chan struct{}, 1),
		roster:   newRoster(cfg.Node, cfg.Grace),
		rotation: newRotation(cfg.Keys),
		asking:   map[string]bool{},
		tried:    make(chan struct{}),
		self:     self{meta: Meta{Incarnation: uint64(time.Now().UnixNano()), Version: cfg.Version}},
	}
	m.ctx, m.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err := m.open(); err != nil {
		m.cancel()
		return nil, fmt.Errorf("starting gossip on %s port %d: %w", cfg.Address, cfg.Port, err)
	}
	m.wg.Add(2)
	go m.publisher()
	go m.keeper()
	return m, nil
}

// open opens the port and starts the first memberlist on it.
func (m *Members) open() error {
	if m.cfg.Transport == nil {
		t, err := memberlist.NewNetTransport(&memberlist.NetTransportConfig{
			BindAddrs: []string{m.cfg.Address.String()}, BindPort: m.cfg.Port, Logger: newLogger(m.cfg.Log),
		})
		if err != nil {
			return fmt.Errorf("opening the port: %w", err)
		}
		m.cfg.Transport = t
	}
	list, err := memberlist.Create(m.config(m.life))
	if err != nil {
		_ = m.cfg.Transport.Shutdown()
		return err
	}
	m.mu.Lock()
	m.list = list
	m.mu.Unlock()
	return nil
}

// config tunes memberlist. A node that is cut off must be found out in about
// half a second, with the second opinion on top; false suspicions are harmless
// because of it.
func (m *Members) config(life int) *memberlist.Config {
	c := memberlist.DefaultLANConfig()
	c.Name = m.cfg.Node
	c.BindAddr, c.AdvertiseAddr = m.cfg.Address.String(), m.cfg.Address.String()
	c.BindPort, c.AdvertisePort = m.cfg.Port, m.cfg.Port
	c.Transport = lasting{m.cfg.Transport}
	c.Label = "fairlead"
	c.Keyring = m.ring
	c.Logger = newLogger(m.cfg.Log)
	c.Delegate, c.Merge, c.Events = delegate{m}, delegate{m}, events{m, life}
	c.Ping = m.ear

	c.ProbeInterval = probeInterval(m.cfg.Expected)
	// Two of these must fit in an interval: a peer that is asked to probe for us
	// says so after one if it had no answer either.
	c.ProbeTimeout = c.ProbeInterval * 3 / 7
	c.IndirectChecks = 2
	// The suspicion lasts 2 intervals (times log10 of the number of speakers):
	// enough for the suspect to hear of it and object.
	// The more there are, the longer the word takes; then one more interval, cut
	// short when a second speaker confirms.
	c.SuspicionMult = 2
	if m.cfg.Expected > 10 {
		c.SuspicionMult = 3
	}
	c.SuspicionMaxTimeoutMult = 2
	// One that finds many wrongly suspect is slow itself, and probes less often: to
	// object to a suspicion costs all of them more than a probe does.
	c.AwarenessMaxMultiplier = 8
	c.GossipInterval = 50 * time.Millisecond
	c.GossipNodes = 4
	// Each passes what is new on to so many (times log10 of the number of
	// speakers): with 150 one in e^9 does not hear of it, until the next exchange.
	c.RetransmitMult = 3
	// The dead are forgotten soon: a list of them makes their return noisy. They
	// are found again by trying, not by gossip.
	c.GossipToTheDeadTime = time.Second
	c.PushPullInterval = 10 * time.Second
	c.TCPTimeout = 2 * time.Second
	// A node that comes back with another address is the same node.
	c.DeadNodeReclaimTime = time.Second
	c.EnableCompression = false
	return c
}

// probeInterval is how often a speaker probes one of the others. It grows with
// their number as slowly as memberlist's time of suspicion: 70 ms up to 10
// speakers, 119 ms with 50, 152 ms with 150.
func probeInterval(speakers int) time.Duration {
	return time.Duration(float64(70*time.Millisecond) * max(1, math.Log10(float64(max(1, speakers)))))
}

// publishWait is how long gossip may take to pass on our meta before it is
// tried again.
const publishWait = 300 * time.Millisecond

// publisher lets the others know that our meta has changed.
func (m *Members) publisher() {
	defer m.wg.Done()
	for {
		select {
		case <-m.ctx.Done():
			return
		case <-m.publish:
			m.update(m.gossip().UpdateNode)
		}
	}
}

// update lets gossip take our meta, and sees to it that it has. memberlist drops
// it where it objects to a suspicion at the same moment, with the old meta, and
// then reports that nobody took it. It reports the same where others have much
// to tell at the moment. Then ours waits its turn; another one would only add to
// what delays it, and many speakers that change at once would keep each other
// busy.
func (m *Members) update(node func(time.Duration) error) {
	if err := node(publishWait); err != nil && !m.taken() {
		m.cfg.Log.V(1).Info("Gossip about this speaker was not taken; trying again", "error", err.Error())
		m.republish()
	}
}

// taken says whether memberlist tells of us what we are.
func (m *Members) taken() bool {
	meta := delegate{m}.NodeMeta(metaLimit)
	m.mu.Lock()
	defer m.mu.Unlock()
	return bytes.Equal(m.told, meta)
}

// tell marks our meta as changed.
func (m *Members) tell() {
	m.republish()
	m.cfg.OnChange()
}

func (m *Members) republish() {
	select {
	case m.publish <- struct{}{}:
	default:
	}
}

// SetInterfaces tells on which interfaces we can answer.
func (m *Members) SetInterfaces(interfaces []announcer.Interface) {
	m.mu.Lock()
	same := slices.EqualFunc(m.self.meta.Interfaces, interfaces, equalInterface)
	m.self.meta.Interfaces = slices.Clone(interfaces)
	m.mu.Unlock()
	if !same {
		m.tell()
	}
}

func equalInterface(a, b announcer.Interface) bool {
	return a.Name == b.Name && a.ARP == b.ARP && a.NDP == b.NDP && slices.Equal(a.MAC, b.MAC)
}

// SetPeers tells which nodes there are. Those without a live speaker are tried
// again and again.
func (m *Members) SetPeers(peers []Peer) {
	peers = slices.Clone(peers)
	m.mu.Lock()
	m.peers = peers
	m.roster.forget(func(node string) bool {
		return slices.ContainsFunc(peers, func(p Peer) bool { return p.Node == node })
	})
	m.mu.Unlock()
}

// SetKeys changes the keys. A new first key is used once the others have had
// the time to hear of it.
func (m *Members) SetKeys(keys [][]byte) error {
	for _, k := range keys {
		if err := memberlist.ValidateKey(k); err != nil {
			return fmt.Errorf("changing the gossip keys: %w", err)
		}
	}
	if len(keys) == 0 {
		return fmt.Errorf("changing the gossip keys: there is none")
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rotation.set(time.Now(), keys)
	return install(m.ring, m.rotation.ring(time.Now()))
}

// Joined waits until every peer was tried once, or ctx ends.
func (m *Members) Joined(ctx context.Context) {
	select {
	case <-m.tried:
	case <-ctx.Done():
	case <-m.ctx.Done():
	}
}

// Prepare settles what we are before we serve: at once settled if our seat was
// held for us, if nobody else serves, or if those who do began just now. From then on Members counts us among
// those who answer, but the others are not told before Serve.
func (m *Members) Prepare() {
	m.mu.Lock()
	m.self.since = time.Now()
	// Nobody answering at all may mean that our own network is not up yet.
	m.self.meta.Founding = !m.roster.others() && (m.reached > 0 || len(m.peers) <= 1)
	m.self.meta.Settled = m.roster.selfHeld || m.self.meta.Founding || m.roster.founding()
	held, settled := m.roster.selfHeld, m.self.meta.Settled
	m.mu.Unlock()
	m.cfg.Log.V(1).Info("Ready to serve", "settled", settled, "seatHeld", held)
}

// Serve tells the others that we answer.
func (m *Members) Serve() {
	m.mu.Lock()
	m.self.meta.Serving = true
	m.mu.Unlock()
	m.tell()
}

// Depart tells the others that we are about to stop and will probably be back:
// our seat is held, and deputies answer for us. We must answer until they do.
func (m *Members) Depart() {
	m.mu.Lock()
	m.self.meta.Leaving = true
	m.mu.Unlock()
	m.tell()
}

// Stop ends gossip. A speaker that departed says that it leaves; one that did
// not just falls silent. A second call does nothing.
func (m *Members) Stop() {
	m.mu.Lock()
	leaving, again := m.self.meta.Leaving, m.stopped
	m.stopped = true
	m.mu.Unlock()
	if again {
		return
	}
	m.close(leaving)
	m.wg.Wait()
}

// close ends the memberlist of the moment; stopped says that no other follows.
func (m *Members) close(leaving bool) {
	m.swap.Lock()
	defer m.swap.Unlock()
	list := m.gossip()
	if leaving {
		if err := list.Leave(300 * time.Millisecond); err != nil {
			m.cfg.Log.V(1).Info("Leaving the gossip was not heard", "error", err.Error())
		}
	}
	m.cancel()
	// The transport first, while there is somebody to take what it still brings.
	if err := m.cfg.Transport.Shutdown(); err != nil {
		m.cfg.Log.Error(err, "Closing the gossip port failed")
	}
	if err := list.Shutdown(); err != nil {
		m.cfg.Log.Error(err, "Stopping gossip failed")
	}
}

// Incarnation is which life of this speaker this is.
func (m *Members) Incarnation() uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.self.meta.Incarnation
}

// IncarnationOf is which life of a node's speaker we last heard of.
func (m *Members) IncarnationOf(node string) uint64 {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.roster.seats[node]; s != nil {
		return s.meta.Incarnation
	}
	return 0
}

// Members lists the speakers that are present, ourselves included once Prepare
// was called, by node.
func (m *Members) Members() []announcer.Member {
	m.mu.Lock()
	defer m.mu.Unlock()
	out := m.roster.members()
	if m.self.since.IsZero() {
		return out
	}
	me := announcer.Member{Node: m.cfg.Node, Presence: announcer.Alive, Settled: m.self.meta.Settled, Interfaces: slices.Clone(m.self.meta.Interfaces)}
	if m.self.meta.Leaving {
		me.Presence = announcer.Held
	}
	at, _ := slices.BinarySearchFunc(out, me.Node, func(o announcer.Member, node string) int {
		if o.Node < node {
			return -1
		}
		if o.Node > node {
			return 1
		}
		return 0
	})
	return slices.Insert(out, at, me)
}

// Stats counts what membership saw.
func (m *Members) Stats() Stats {
	m.mu.Lock()
	defer m.mu.Unlock()
	s := m.stats
	s.FalseAlarms = m.roster.falseAlarms
	s.Alive = 1
	for _, seat := range m.roster.seats {
		switch seat.presence() {
		case announcer.Alive:
			s.Alive++
		case announcer.Held:
			s.Held++
		}
	}
	s.Expected = max(len(m.peers), 1)
	for _, p := range m.peers {
		seat := m.roster.seats[p.Node]
		if p.Node != m.cfg.Node && (seat == nil || seat.presence() != announcer.Alive) {
			s.Missing = append(s.Missing, p.Node)
		}
	}
	slices.Sort(s.Missing)
	return s
}

// Tell sends a message to the speaker of another node. It may get lost.
func (m *Members) Tell(node string, kind MessageKind, addresses []netip.Addr) error {
	m.mu.Lock()
	s := m.roster.seats[node]
	m.mu.Unlock()
	if s == nil || !s.address.IsValid() {
		return fmt.Errorf("telling the speaker of node %s: it is not known", node)
	}
	to := memberlist.Address{Addr: s.address.String(), Name: node}
	for {
		n := min(len(addresses), addressesPerMessage)
		msg := Message{Kind: kind, From: m.cfg.Node, Incarnation: s.meta.Incarnation, Addresses: addresses[:n]}
		if err := m.gossip().SendToAddress(to, msg.encode()); err != nil {
			return fmt.Errorf("telling the speaker of node %s: %w", node, err)
		}
		if addresses = addresses[n:]; len(addresses) == 0 {
			return nil
		}
	}
}
