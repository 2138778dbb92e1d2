package agent

import (
	"context"
	"maps"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// decideAll decides on the addresses that something has changed for, and does
// what follows.
func (a *Agent) decideAll(ctx context.Context, dirty map[netip.Addr]bool) {
	if len(dirty) == 0 {
		return
	}
	before, changed := a.decideEach(ctx, dirty)
	a.announceRoutes(slices.Collect(maps.Keys(changed)))
	took := map[string][]netip.Addr{} // from whom
	for ip := range before {
		e := a.loop.entries[ip]
		if from := a.follow(ctx, ip, e, before[ip]); from != "" {
			took[from] = append(took[from], ip)
		}
		e.decided = true
		if e.over() {
			a.loop.drop(ip) // gone from the ledger
		}
	}
	a.tellPredecessors(ctx, took)
	for ip := range dirty {
		a.setReject(ip)
	}
	a.rejects.flush()
}

// decideEach decides on addresses and returns what was decided on them before, and the prefixes whose routes have changed.
// What we begin to announce is in the reject table first.
func (a *Agent) decideEach(ctx context.Context, dirty map[netip.Addr]bool) (before map[netip.Addr]announcer.Decision, changed map[netip.Prefix]bool) {
	endpoints, begins := a.endpointsOf(ctx), false
	before, changed = make(map[netip.Addr]announcer.Decision, len(dirty)), map[netip.Prefix]bool{}
	for ip := range dirty {
		e := a.loop.entries[ip]
		if e == nil {
			continue
		}
		before[ip] = e.decision
		e.decision = a.loop.index.Decide(e.address, endpoints)
		routed := a.decideRoutes(ip, e, endpoints, changed)
		if routed || a.mine(e) && (e.want == nil || e.want.Deputy != nil) {
			a.rejects.answer(ip, e.ports)
			begins = true
		}
	}
	if begins {
		a.rejects.settle(rejectPatience)
	}
	return before, changed
}

// rejectPatience is how long an announcement waits for the reject table. Packets that come before kube-proxy serves the
// address must be dropped, so that the client sends them again: one that is forwarded leaves the kernel with the idea of a
// connection which nobody translates, for as long as the client tries.
const rejectPatience = 100 * time.Millisecond

// mine says whether an entry is announced by us as ourselves.
func (a *Agent) mine(e *entry) bool { return e.decision.Node == a.cfg.Node }

// follow does what follows from a decision. It returns the node from which the
// address was taken over, if another announced it.
func (a *Agent) follow(ctx context.Context, ip netip.Addr, e *entry, before announcer.Decision) (from string) {
	d := e.decision
	switch {
	case a.mine(e):
		from = a.announce(ctx, ip, e, before)
	case d.Held && d.Deputy == a.cfg.Node:
		a.set(ip, e, a.asDeputy(ip, d))
	case e.want == nil:
	case e.want.Deputy == nil && e.claim.stands(d.Node, a.cfg.Clock.Now()):
		a.set(ip, e, nil)
	case e.want.Deputy == nil && d.Node != "" && before.Node == a.cfg.Node:
		// Make before break: the successor first.
		e.release = a.cfg.Clock.Now().Add(handoverWait)
		a.loop.releasing[ip] = true
		a.later(handoverWait)
	case e.release.IsZero():
		a.set(ip, e, nil)
	}
	if d.Reason == announcer.NoReadyEndpoint {
		a.askAhead(ctx, ip, e)
	} else {
		a.askNoMore(ip, e)
	}
	if !a.mine(e) && d.Node == "" {
		e.release = time.Time{}
		a.set(ip, e, nil)
		a.status.clear(ip, d)
	} else if !a.mine(e) {
		a.status.leave(ip)
	}
	return from
}

// announce makes us answer for an address as ourselves, and has it said.
func (a *Agent) announce(ctx context.Context, ip netip.Addr, e *entry, before announcer.Decision) (from string) {
	e.release = time.Time{}
	// Also where nothing changes on the wire: the address may have been another
	// node's for a moment, whose speaker has said so.
	defer func() { a.status.want(ip, a.standing(e)) }()
	want := &l2.Announcement{Address: ip, Interfaces: namesOf(e.decision.Interfaces)}
	if e.want != nil && e.want.Deputy == nil {
		want.Probe = e.want.Probe
		a.set(ip, e, want)
		return ""
	}
	previous, known := a.previous(ctx, ip, e, before)
	want.Probe = !known
	e.report.since = a.cfg.Clock.Now()
	a.set(ip, e, want)
	if previous != "" && previous != a.cfg.Node {
		a.metrics.takeovers.Inc()
		a.cfg.Log.V(1).Info("Taking over an address", "address", ip.String(), "from", previous)
		a.status.moved(ip, previous)
		return previous
	}
	return ""
}

// previous is who announced an address before us, and whether anybody did: then
// it need not be probed for.
func (a *Agent) previous(ctx context.Context, ip netip.Addr, e *entry, before announcer.Decision) (node string, known bool) {
	if e.decided && before.Node != "" {
		return before.Node, true
	}
	object := &v1alpha1.Address{}
	name := types.NamespacedName{Name: v1alpha1.AddressName(ip)}
	if err := a.cfg.Cache.Get(ctx, name, object, client.UnsafeDisableDeepCopy); err != nil {
		return "", false
	}
	if l := object.Status.Layer2; l != nil && l.TakenBy == "" {
		return l.Node, true
	}
	return "", false
}

func (a *Agent) asDeputy(ip netip.Addr, d announcer.Decision) *l2.Announcement {
	macs := d.DeputyMACs(a.loop.interfaces, ip)
	want := &l2.Announcement{Address: ip, Deputy: map[string]net.HardwareAddr{}, Interfaces: slices.Sorted(maps.Keys(macs))}
	for name, i := range macs {
		want.Deputy[name] = i.MAC
	}
	return want
}

// set asks the packet engine, if it was asked for something else.
func (a *Agent) set(ip netip.Addr, e *entry, want *l2.Announcement) {
	if reflect.DeepEqual(e.want, want) {
		return
	}
	e.want, e.asked = want, time.Time{}
	a.loop.count(e)
	e.release = time.Time{}
	a.engine.Set(ip, want)
}

// tellPredecessors lets those from whom addresses were taken over know that
// they need not answer any longer.
func (a *Agent) tellPredecessors(ctx context.Context, took map[string][]netip.Addr) {
	if len(took) == 0 {
		return
	}
	a.sync(ctx)
	for node, addresses := range took {
		if err := a.members.Tell(node, members.Announcing, addresses); err != nil {
			a.cfg.Log.V(1).Info("The former announcer could not be told", "node", node, "error", err.Error())
		}
	}
}

// announceAgain tells the network once more where our addresses are, after a
// split in which others may have announced them.
func (a *Agent) announceAgain() {
	for ip, e := range a.loop.entries {
		if a.mine(e) && e.want != nil && e.want.Deputy == nil {
			a.engine.Refresh(ip)
		}
	}
}

// claimFrom tells speakers that were cut off which addresses we announce, so that
// they stop at once: there are two announcers until they do.
func (a *Agent) claimFrom(returned []string) {
	var mine []netip.Addr
	for ip, e := range a.loop.entries {
		if a.mine(e) && e.want != nil && e.want.Deputy == nil && len(e.report.on) > 0 {
			mine = append(mine, ip)
		}
	}
	if len(mine) == 0 {
		return
	}
	slices.SortFunc(mine, netip.Addr.Compare)
	for _, node := range returned {
		if err := a.members.Tell(node, members.Announcing, mine); err != nil {
			a.cfg.Log.V(1).Info("A speaker that is back could not be told what was announced meanwhile", "node", node, "error", err.Error())
		}
	}
}

// deputize tells the speakers for which we answer that we do, once in each of
// their lives.
func (a *Agent) deputize(ctx context.Context) {
	var nodes []string
	for _, m := range a.loop.members {
		if m.Presence != announcer.Held || m.Node == a.cfg.Node {
			delete(a.loop.told, m.Node)
			continue
		}
		if life := a.members.IncarnationOf(m.Node); a.loop.told[m.Node] != life {
			a.loop.told[m.Node] = life
			nodes = append(nodes, m.Node)
		}
	}
	if len(nodes) == 0 {
		return
	}
	a.sync(ctx)
	for _, n := range nodes {
		if err := a.members.Tell(n, members.Deputizing, nil); err != nil {
			a.cfg.Log.V(1).Info("A departing speaker could not be told of its deputy", "node", n, "error", err.Error())
		}
	}
}

// expire stops answering for addresses whose successor had its time.
func (a *Agent) expire() {
	now := a.cfg.Clock.Now()
	changed := false
	for ip := range a.loop.releasing {
		e := a.loop.entries[ip]
		if e != nil && now.Before(e.release) {
			continue
		}
		delete(a.loop.releasing, ip)
		if e != nil && !e.release.IsZero() {
			a.set(ip, e, nil)
			a.setReject(ip)
			changed = true
		}
	}
	if changed {
		a.rejects.flush()
	}
}

// setReject notes whether we answer for an address as ourselves, and for which
// ports nobody is refused.
func (a *Agent) setReject(ip netip.Addr) {
	if e := a.loop.entries[ip]; e != nil && (e.routed || e.want != nil && e.want.Deputy == nil) {
		a.rejects.answer(ip, e.ports)
	} else {
		a.rejects.silent(ip)
	}
}

// takeEvents takes what the packet engine says.
func (a *Agent) takeEvents(events []l2.Event) {
	for _, ev := range events {
		switch ev.Kind {
		case l2.InterfacesChanged:
			a.setInterfaces()
			continue
		case l2.Failed:
			a.cfg.Log.V(1).Info("The packet engine failed", "interface", ev.Interface, "address", ev.Address, "error", errorText(ev.Err))
			a.self.failed(a.cfg.Clock.Now(), failureKey(ev), failureText(ev))
			continue
		case l2.Mended:
			a.self.mended(failureKey(ev))
			continue
		}
		if e := a.loop.entries[ev.Address]; e != nil {
			e.report.take(ev)
			a.loop.count(e)
			a.takeEvent(ev, e)
		}
	}
}

// take brings the report up to date.
func (r *report) take(ev l2.Event) {
	switch ev.Kind {
	case l2.Announced:
		delete(r.taken, ev.Interface)
		if ev.Deputy {
			delete(r.on, ev.Interface)
		} else {
			r.on[ev.Interface] = true
		}
	case l2.Withdrawn:
		delete(r.on, ev.Interface)
		delete(r.taken, ev.Interface)
	case l2.Conflict:
		if !ev.Held {
			r.taken[ev.Interface] = ev.MAC
			delete(r.on, ev.Interface)
		}
	case l2.ConflictGone:
		delete(r.taken, ev.Interface)
	}
}

func (a *Agent) takeEvent(ev l2.Event, e *entry) {
	if e.over() {
		a.loop.drop(ev.Address)
		return
	}
	if e.want == nil && e.asked.IsZero() || e.want != nil && e.want.Deputy != nil || ev.Deputy {
		return
	}
	switch ev.Kind {
	case l2.Announced:
		a.announced(ev.Address, e)
	case l2.Conflict:
		a.metrics.conflicts.Inc()
		a.status.conflicted(ev)
	}
	// An address that is being handed over is for the other node to speak of.
	if a.mine(e) {
		a.status.want(ev.Address, a.standing(e))
	}
}

// announced measures the way from the ledger to the wire.
func (a *Agent) announced(ip netip.Addr, e *entry) {
	if e.fresh.IsZero() {
		return
	}
	now := a.cfg.Clock.Now()
	a.metrics.latency.Observe(now.Sub(e.fresh).Seconds())
	a.span(ip, e, now)
	e.fresh = time.Time{}
}

// standing is what the status of an address should say while we announce it.
func (a *Agent) standing(e *entry) standing {
	s := standing{node: a.cfg.Node, since: e.report.since, protocol: "ARP"}
	if e.address.IP.Is6() {
		s.protocol = "NDP"
	}
	s.interfaces = slices.Sorted(maps.Keys(e.report.on))
	if len(s.interfaces) == 0 {
		for _, name := range slices.Sorted(maps.Keys(e.report.taken)) {
			s.takenBy, s.takenOn = e.report.taken[name].String(), name
			break
		}
	}
	return s
}

func failureKey(ev l2.Event) string {
	parts := []string{ev.Interface}
	if ev.Address.IsValid() {
		parts = append(parts, ev.Address.String())
	}
	return strings.Join(parts, " ")
}

func failureText(ev l2.Event) string { return failureKey(ev) + ": " + errorText(ev.Err) }

func errorText(err error) string {
	if err == nil {
		return "unknown error"
	}
	return err.Error()
}
