package agent

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
)

// fakeEngine does what it is asked and says so.
type fakeEngine struct {
	onEvent func(l2.Event)
	mac     net.HardwareAddr

	mu    sync.Mutex
	want  map[netip.Addr]*l2.Announcement
	asked map[netip.Addr]int // how often something else was asked for
	again map[netip.Addr]int // how often it was to be announced again
	// held is how often an address was asked for ahead.
	held map[netip.Addr]int
	// taken are addresses that another host has.
	taken map[netip.Addr]net.HardwareAddr
	// mute: it acted too late to see that something was withdrawn and wanted again.
	mute bool
}

func newFakeEngine(n byte) *fakeEngine {
	return &fakeEngine{mac: net.HardwareAddr{2, 0, 0, 0, 0, n}, want: map[netip.Addr]*l2.Announcement{}, asked: map[netip.Addr]int{}, again: map[netip.Addr]int{}, held: map[netip.Addr]int{}, taken: map[netip.Addr]net.HardwareAddr{}}
}

func (f *fakeEngine) Run(ctx context.Context) error { <-ctx.Done(); return nil }
func (f *fakeEngine) Sync(context.Context) error    { return nil }
func (f *fakeEngine) Snapshot() []l2.Count {
	return []l2.Count{{Interface: "eth0", Family: "ipv4", Answered: 7}}
}

func (f *fakeEngine) Interfaces() []l2.Interface {
	return []l2.Interface{{Name: "eth0", MAC: f.mac, ARP: true, NDP: true}, {Name: "lo", Reason: "loopback"}}
}

func (f *fakeEngine) Refresh(ip netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.again[ip]++
}

func (f *fakeEngine) Set(ip netip.Addr, want *l2.Announcement) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked[ip]++
	if f.mute {
		f.want[ip] = want
		return
	}
	if want == nil {
		delete(f.want, ip)
		f.onEvent(l2.Event{Kind: l2.Withdrawn, Address: ip, Interface: "eth0"})
		return
	}
	before := f.want[ip]
	f.want[ip] = want
	if want.Hold {
		f.held[ip]++
	}
	if rival := f.taken[ip]; rival != nil && want.Probe {
		if before == nil || !before.Hold { // it was told
			f.onEvent(l2.Event{Kind: l2.Conflict, Address: ip, Interface: "eth0", MAC: rival})
		}
		return
	}
	if want.Hold {
		return
	}
	f.onEvent(l2.Event{Kind: l2.Announced, Address: ip, Interface: "eth0", Deputy: want.Deputy != nil})
}

// heldFor is how often an address was asked for ahead, and whether it is now.
func (f *fakeEngine) heldFor(ip netip.Addr) (n int, now bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.held[ip], f.want[ip] != nil && f.want[ip].Hold
}

// release lets the other host go.
func (f *fakeEngine) release(ip netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	rival := f.taken[ip]
	delete(f.taken, ip)
	f.onEvent(l2.Event{Kind: l2.ConflictGone, Address: ip, Interface: "eth0", MAC: rival})
	f.onEvent(l2.Event{Kind: l2.Announced, Address: ip, Interface: "eth0"})
}

// answers is with which hardware address it answers, "" if it does not.
func (f *fakeEngine) answers(ip netip.Addr) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	w := f.want[ip]
	switch {
	case w == nil, w.Hold:
		return ""
	case w.Deputy != nil:
		return w.Deputy["eth0"].String()
	default:
		return f.mac.String()
	}
}

func (f *fakeEngine) get(ip netip.Addr) (w l2.Announcement, ok bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.want[ip] == nil {
		return w, false
	}
	return *f.want[ip], true
}

// fakeMembers is a membership that the test decides on.
type fakeMembers struct {
	node   string
	gossip Gossip

	mu      sync.Mutex
	self    announcer.Member
	others  []announcer.Member
	serving bool
	told    map[string][]netip.Addr
}

func (f *fakeMembers) SetPeers([]members.Peer)     {}
func (f *fakeMembers) SetKeys([][]byte) error      { return nil }
func (f *fakeMembers) Joined(context.Context)      {}
func (f *fakeMembers) Stop()                       {}
func (f *fakeMembers) IncarnationOf(string) uint64 { return 1 }
func (f *fakeMembers) Stats() members.Stats        { return members.Stats{Alive: 1, Expected: 1} }
func (f *fakeMembers) Prepare()                    {}
func (f *fakeMembers) SetInterfaces(in []announcer.Interface) {
	f.change(func() { f.self.Interfaces = in })
}
func (f *fakeMembers) Serve()  { f.change(func() { f.serving = true }) }
func (f *fakeMembers) Depart() { f.change(func() { f.self.Presence = announcer.Held }) }

func (f *fakeMembers) change(do func()) {
	f.mu.Lock()
	do()
	f.mu.Unlock()
	f.gossip.OnChange()
}

// toldOf are the addresses that a node was told of.
func (f *fakeMembers) toldOf(node string) []netip.Addr {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.told[node])
}

// forget makes what was told so far not count.
func (f *fakeMembers) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.told)
}

func (f *fakeMembers) set(others ...announcer.Member) { f.change(func() { f.others = others }) }

func (f *fakeMembers) Members() []announcer.Member {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]announcer.Member{f.self}, f.others...)
}

func (f *fakeMembers) Tell(node string, _ members.MessageKind, addresses []netip.Addr) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told[node] = append(f.told[node], addresses...)
	return nil
}

func other(node string, n byte, p announcer.Presence) announcer.Member {
	return announcer.Member{Node: node, Presence: p, Settled: true, Interfaces: []announcer.Interface{{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, n}, ARP: true, NDP: true}}}
}

// metric is the sum of a metric over its labels.
func metric(t *testing.T, a *Agent, name string) (sum float64) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(a)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
		}
	}
	return sum
}
