package agent

import (
	"context"
	"net"
	"net/netip"
	"reflect"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/announcer/reject"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// loop is the state of the one goroutine that decides.
type loop struct {
	entries map[netip.Addr]*entry
	// releasing are those whose release may be set.
	releasing map[netip.Addr]bool
	// standings count the entries by how they stand on the network.
	standings map[onNetwork]int
	// byService are the addresses that depend on the endpoints of a Service.
	byService map[types.NamespacedName]map[netip.Addr]bool
	endpoints map[types.NamespacedName]known
	// fronts are the Services of Gateways by the Service of the Envoys that serve them.
	fronts map[types.NamespacedName]map[types.NamespacedName]bool
	fresh  freshness
	leave  leaving
	// aging are the Services with new endpoints, and when they are so no longer; agingAt is when the loop is woken for the
	// first of them. Zero: there are none.
	aging   map[types.NamespacedName]time.Time
	agingAt time.Time
	index   *announcer.Index
	members []announcer.Member
	// interfaces are our own that suit.
	interfaces []announcer.Interface
	// told are the speakers, by node and life, that were told that we are their
	// deputy.
	told map[string]uint64
	// departing: the others were told that we stop; deputies are those who have
	// said that they answer for us.
	departing bool
	deputies  map[string]bool
	// invalid are objects that cannot be used, by kind and name, and were told of.
	invalid map[string]string
	started time.Time
	ahead   ahead
	routing *routing
}

func newLoop() loop {
	return loop{
		entries: map[netip.Addr]*entry{}, releasing: map[netip.Addr]bool{}, standings: map[onNetwork]int{}, byService: map[types.NamespacedName]map[netip.Addr]bool{},
		endpoints: map[types.NamespacedName]known{}, fronts: map[types.NamespacedName]map[types.NamespacedName]bool{}, told: map[string]uint64{},
		deputies: map[string]bool{}, invalid: map[string]string{}, routing: newRouting(),
		fresh: newFreshness(), leave: leaving{}, aging: map[types.NamespacedName]time.Time{},
	}
}

// known are the endpoints of a Service.
type known struct {
	announcer.Endpoints
	// fleet is the Service of the Envoys, where the Service is a Gateway's.
	fleet types.NamespacedName
}

// forget has the endpoints of a Service looked up anew, and those of the Gateways
// that are served by what it selects.
func (l *loop) forget(service types.NamespacedName, dirty map[netip.Addr]bool) {
	if fleet := l.endpoints[service].fleet; fleet.Name != "" {
		delete(l.fronts[fleet], service)
	}
	delete(l.endpoints, service)
	for ip := range l.byService[service] {
		dirty[ip] = true
	}
	for front := range l.fronts[service] {
		l.forget(front, dirty)
	}
}

// entry is one address of the ledger.
type entry struct {
	address announcer.Address
	ports   []reject.PortProto
	// fresh is when a change of the ledger that is not announced yet was seen.
	fresh       time.Time
	traceparent string
	decided     bool
	decision    announcer.Decision
	// routed: the address is announced by BGP from here.
	routed bool
	// want is what the packet engine was asked for.
	want *l2.Announcement
	// came is when the address was bound while we served, until it was asked for ahead; zero: it was not. asked is until
	// when that counts, while nothing is wanted; zero: it does not.
	came, asked time.Time
	// release is when we stop answering for an address that moved away, unless its
	// successor says earlier that it answers.
	release time.Time
	// claim is who said last that it announces an address that we announce too, as
	// after a split.
	claim  claim
	report report
	// counted is as what the entry counts in loop.standings.
	counted onNetwork
}

// onNetwork is how an address stands on the network, by what we do.
type onNetwork int

const (
	silent onNetwork = iota
	byARP
	byNDP
	asDeputy // of another speaker
)

func (e *entry) onNetwork() onNetwork {
	switch {
	case e.want == nil:
		return silent
	case e.want.Deputy != nil:
		return asDeputy
	case len(e.report.on) == 0:
		return silent
	case e.address.IP.Is4():
		return byARP
	default:
		return byNDP
	}
}

// count brings the counts up to date with an entry.
func (l *loop) count(e *entry) {
	if now := e.onNetwork(); now != e.counted {
		l.standings[e.counted]--
		l.standings[now]++
		e.counted = now
	}
}

// drop forgets an address that is over.
func (l *loop) drop(ip netip.Addr) {
	if e := l.entries[ip]; e != nil {
		l.standings[e.counted]--
		delete(l.entries, ip)
	}
}

// claim is another node's word that it announces an address.
type claim struct {
	node string
	at   time.Time
}

// stands says whether a node has just said that it announces the address. Older
// words may be about a time before the address came to us.
func (c claim) stands(node string, now time.Time) bool {
	return c.node == node && now.Sub(c.at) < handoverWait
}

// over says whether there is nothing left to do or to hear of an address that is
// gone from the ledger.
func (e *entry) over() bool {
	return e.want == nil && !e.address.Bound && len(e.address.Holders) == 0 && e.address.Pool == "" &&
		len(e.report.on) == 0 && len(e.report.taken) == 0
}

// report is what the packet engine says of an address that we announce as
// ourselves. Only what it says changes it: it is silent about what is withdrawn
// and wanted again before it has acted.
type report struct {
	// since is when we began to announce.
	since time.Time
	// on are the interfaces on which it is announced, taken those on which another
	// host has it.
	on    map[string]bool
	taken map[string]net.HardwareAddr
}

// pass picks up what happened and acts on it.
func (a *Agent) pass(ctx context.Context) {
	t := a.pending.take()
	l := &a.loop
	dirty := map[netip.Addr]bool{}
	for name, since := range t.addresses {
		a.load(ctx, name, since, dirty)
	}
	for service := range t.services {
		l.forget(service, dirty)
	}
	a.age(dirty)
	if t.secret {
		a.rekey(ctx)
	}
	a.takeEvents(t.events)
	returned := a.takeMembers(t)
	if t.world {
		a.setPeers(ctx)
	}
	if t.world || l.index == nil || returned != nil {
		l.index = announcer.NewIndex(a.world(ctx))
		for ip := range l.entries {
			dirty[ip] = true
		}
		a.setRouters(ctx)
	} else if t.passwords {
		a.setRouters(ctx)
	}
	a.takeSessions(t.sessions)
	a.takeMessages(t.messages)
	a.decideAll(ctx, dirty)
	if len(returned) > 0 {
		a.announceAgain()
		a.claimFrom(returned)
	}
	a.deputize(ctx)
	a.expire()
	a.outdate()
	a.report()
}

// load takes an address from the ledger into our state.
func (a *Agent) load(ctx context.Context, name string, since time.Time, dirty map[netip.Addr]bool) {
	l := &a.loop
	ip, err := v1alpha1.ParseAddressName(name)
	if err != nil {
		return
	}
	dirty[ip] = true
	object := &v1alpha1.Address{}
	err = a.cfg.Cache.Get(ctx, types.NamespacedName{Name: name}, object, client.UnsafeDisableDeepCopy)
	e := l.entries[ip]
	if e != nil {
		l.release(ip, e)
		defer l.forsake(e.address.Holders)
	}
	if err != nil {
		if !apierrors.IsNotFound(err) {
			a.cfg.Log.Error(err, "Reading an address failed", "address", ip.String())
		}
		if e != nil {
			e.address = announcer.Address{IP: ip}
		}
		return
	}
	bound := e != nil && e.address.Bound
	if e == nil {
		e = &entry{fresh: since, report: report{on: map[string]bool{}, taken: map[string]net.HardwareAddr{}}}
		l.entries[ip] = e
	}
	if e.address, err = announcer.FromAddress(object); err != nil {
		a.cfg.Log.Error(err, "An address of the ledger cannot be read")
		e.address = announcer.Address{IP: ip}
	}
	if e.want == nil {
		e.fresh = since
	}
	if e.address.Bound && !bound && l.index != nil {
		e.came = since
	}
	e.ports, e.traceparent = portsOf(object), object.Annotations[AnnotationTraceparent]
	for _, h := range e.address.Holders {
		if l.byService[h.Endpoints] == nil {
			l.byService[h.Endpoints] = map[netip.Addr]bool{}
		}
		l.byService[h.Endpoints][ip] = true
	}
}

// release takes an address from the Services that it depends on.
func (l *loop) release(ip netip.Addr, e *entry) {
	for _, h := range e.address.Holders {
		delete(l.byService[h.Endpoints], ip)
	}
}

// forsake forgets the Services of holders that no address depends on any longer.
func (l *loop) forsake(holders []announcer.Holder) {
	for _, h := range holders {
		if len(l.byService[h.Endpoints]) == 0 {
			delete(l.byService, h.Endpoints)
			l.fresh.forget(h.Endpoints)
			l.leave.forget(h.Endpoints)
		}
	}
}

// portsOf are the ports of all holders, also of those that wait: a port that a
// holder has is never rejected.
func portsOf(object *v1alpha1.Address) (out []reject.PortProto) {
	protocols := map[string]uint8{"TCP": 6, "UDP": 17, "SCTP": 132}
	for _, h := range object.Spec.Holders {
		for _, p := range h.Ports {
			if n, ok := protocols[p.Protocol]; ok {
				out = append(out, reject.PortProto{Port: uint16(p.Port), Protocol: n})
			}
		}
	}
	return out
}

// world reads what bears on all addresses.
func (a *Agent) world(ctx context.Context) announcer.World {
	w := announcer.World{Options: a.cfg.Options, Members: a.loop.members}
	nodes, pools, ads := &corev1.NodeList{}, &v1alpha1.IPAddressPoolList{}, &v1alpha1.L2AdvertisementList{}
	for _, list := range []client.ObjectList{nodes, pools, ads} {
		if err := a.cfg.Cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			a.cfg.Log.Error(err, "Reading the cache failed")
		}
	}
	for i := range nodes.Items {
		w.Nodes = append(w.Nodes, announcer.FromNode(&nodes.Items[i]))
	}
	for i := range pools.Items {
		w.Pools = append(w.Pools, announcer.FromPool(&pools.Items[i]))
	}
	for i := range ads.Items {
		ad, err := announcer.FromL2Advertisement(&ads.Items[i])
		a.tellOfInvalid("L2Advertisement", ads.Items[i].Name, err)
		if err == nil {
			w.Advertisements = append(w.Advertisements, ad)
		}
	}
	a.describeBGP(ctx, &w)
	return w
}

// tellOfInvalid says once that an object cannot be used.
func (a *Agent) tellOfInvalid(kind, name string, err error) {
	key := kind + " " + name
	switch {
	case err == nil:
		delete(a.loop.invalid, key)
	case a.loop.invalid[key] != err.Error():
		a.loop.invalid[key] = err.Error()
		a.cfg.Log.Error(err, "An object cannot be used", "kind", kind, "name", name)
	}
}

func (a *Agent) endpointsOf(ctx context.Context) announcer.EndpointsOf {
	return func(service types.NamespacedName) announcer.Endpoints {
		if service.Name == "" {
			return announcer.Endpoints{}
		}
		e, ok := a.loop.endpoints[service]
		if !ok {
			e = a.lookUp(ctx, service)
		}
		return e.Endpoints
	}
}

// lookUp finds out which endpoints a Service has, and remembers it.
func (a *Agent) lookUp(ctx context.Context, service types.NamespacedName) known {
	l := &a.loop
	e := known{}
	e.Endpoints, e.fleet = announcer.LookUp(service, a.cfg.Namespace, func(n types.NamespacedName) []discoveryv1.EndpointSlice {
		var list discoveryv1.EndpointSliceList
		if err := a.cfg.Cache.List(ctx, &list, client.InNamespace(n.Namespace), client.MatchingFields{byService: n.Name}, client.UnsafeDisableDeepCopy); err != nil {
			a.cfg.Log.Error(err, "Reading EndpointSlices failed", "service", n.String())
		}
		return list.Items
	})
	if e.fleet.Name != "" {
		if l.fronts[e.fleet] == nil {
			l.fronts[e.fleet] = map[types.NamespacedName]bool{}
		}
		l.fronts[e.fleet][service] = true
	}
	now := a.cfg.Clock.Now()
	if e.fleet.Name != "" {
		a.lookAgain(service, l.leave.look(service, &e.Endpoints, now))
	}
	var until time.Time
	e.NewOn, until = l.fresh.look(service, e.Endpoints, now)
	a.lookAgain(service, until)
	l.endpoints[service] = e
	return e
}

// lookAgain has a Service looked up again at a time; never, where it is zero. The earliest of several counts.
func (a *Agent) lookAgain(service types.NamespacedName, at time.Time) {
	l := &a.loop
	if before, waits := l.aging[service]; at.IsZero() || waits && before.Before(at) {
		return
	}
	l.aging[service] = at
	if l.agingAt.IsZero() || at.Before(l.agingAt) {
		l.agingAt = at
		a.later(at.Sub(a.cfg.Clock.Now()))
	}
}

// age has addresses decided anew whose endpoints are no longer new, or no longer leaving.
func (a *Agent) age(dirty map[netip.Addr]bool) {
	l, now := &a.loop, a.cfg.Clock.Now()
	if l.agingAt.IsZero() || now.Before(l.agingAt) {
		return
	}
	l.agingAt = time.Time{}
	for service, until := range l.aging {
		switch {
		case !now.Before(until):
			delete(l.aging, service)
			l.forget(service, dirty)
		case l.agingAt.IsZero() || until.Before(l.agingAt):
			l.agingAt = until
		}
	}
	if !l.agingAt.IsZero() {
		a.later(l.agingAt.Sub(now))
	}
}

func (a *Agent) rekey(ctx context.Context) {
	keys, err := a.keys(ctx)
	if err == nil {
		err = a.members.SetKeys(keys)
	}
	if err != nil {
		a.cfg.Log.Error(err, "The gossip keys have changed and cannot be used; the old ones stay in use")
		a.self.failed(a.cfg.Clock.Now(), "gossip keys", err.Error())
		return
	}
	a.self.mended("gossip keys")
}

// takeMembers returns nil if membership is as before, and otherwise the
// speakers that were gone and are back without having restarted: they may have
// announced our addresses meanwhile, as we did theirs.
func (a *Agent) takeMembers(t taken) []string {
	l := &a.loop
	if !t.members && !t.world && l.index != nil {
		return nil
	}
	now := a.members.Members()
	if reflect.DeepEqual(now, l.members) {
		return nil
	}
	returned := []string{}
	for _, m := range now {
		for _, i := range m.Interfaces {
			a.macs.Store(string(i.MAC), true)
		}
		gone := !slices.ContainsFunc(l.members, func(o announcer.Member) bool { return o.Node == m.Node })
		if gone && m.Presence == announcer.Alive && m.Node != a.cfg.Node && l.members != nil {
			returned = append(returned, m.Node)
		}
		if m.Node == a.cfg.Node && m.Presence == announcer.Held {
			l.departing = true
		}
	}
	l.members = now
	return returned
}

func (a *Agent) takeMessages(messages []members.Message) {
	for _, m := range messages {
		switch m.Kind {
		case members.Announcing:
			for _, ip := range m.Addresses {
				e := a.loop.entries[ip]
				switch {
				case e == nil:
				case !e.release.IsZero():
					e.release = a.cfg.Clock.Now()
				default: // it may have heard of us before we heard of it
					e.claim = claim{node: m.From, at: a.cfg.Clock.Now()}
				}
			}
		case members.Deputizing:
			a.loop.deputies[m.From] = true
		}
	}
}

// missingDeputies are the nodes that should answer for us and have not said
// that they do.
func (l *loop) missingDeputies() []string {
	missing := map[string]bool{}
	for _, e := range l.entries {
		if d := e.decision; d.Held && e.want != nil && e.want.Deputy == nil && d.Deputy != "" && !l.deputies[d.Deputy] {
			missing[d.Deputy] = true
		}
	}
	out := make([]string, 0, len(missing))
	for n := range missing {
		out = append(out, n)
	}
	slices.Sort(out)
	return out
}
