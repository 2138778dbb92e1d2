package agent

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Router speaks BGP with the peers of the node. *bgp.Engine is one.
type Router interface {
	Run(ctx context.Context) error
	SetPeers(peers []bgp.Peer) error
	Set(prefix netip.Prefix, peers map[string]bgp.Attributes) error
	Down(peer, why string)
	Up(peer string)
	Leave()
	Flush(ctx context.Context) error
	Sessions() []bgp.Session
	Parting() []string
}

const (
	// flushWait is how long peers have to take the last word of a node that stops.
	flushWait = 500 * time.Millisecond
	// drainWait is how long after that the routes stay, so that peers can go over to others.
	drainWait = 2 * time.Second
)

// routing is what the loop knows of BGP.
type routing struct {
	table *announcer.BGPTable
	peers []announcer.NodePeer
	// sent are the peers that the router was given.
	sent []bgp.Peer
	// waiting says of peers why they were not.
	waiting map[string]string
	// passwords are those of peers, and keys of BFD, as they were read last.
	passwords map[string]string
	// keyless says of peers why BFD does not watch them, for want of the key.
	keyless map[string]string
	// drained are peers that are asked to prefer other nodes for all routes.
	drained map[string]bool
	// watched are the sessions that BFD was given.
	watched []bfd.Session
	// watches is what BFD watches for whom; what BFD says is taken up beside the loop.
	watches atomic.Pointer[map[string][]watcher]
}

func newRouting() *routing {
	return &routing{table: announcer.NewBGPTable(), waiting: map[string]string{}, drained: map[string]bool{}}
}

// decideRoutes decides what we announce of an address by BGP. It adds the prefixes whose routes have changed, and says
// whether we begin to announce the address.
func (a *Agent) decideRoutes(ip netip.Addr, e *entry, endpoints announcer.EndpointsOf, changed map[netip.Prefix]bool) (begin bool) {
	if a.router == nil {
		return false
	}
	d, before := a.loop.index.DecideBGP(e.address, endpoints, a.cfg.Node), e.routed
	e.routed = len(d.Routes) > 0
	for _, p := range a.loop.routing.table.Set(ip, d.Routes) {
		changed[p] = true
	}
	return e.routed && !before
}

// announceRoutes hands the routes of prefixes to the router.
func (a *Agent) announceRoutes(prefixes []netip.Prefix) {
	if len(prefixes) == 0 {
		return
	}
	r := a.loop.routing
	var errs []error
	for _, p := range prefixes {
		route, _ := r.table.Route(p)
		peers := make(map[string]bgp.Attributes, len(route.Peers))
		for _, to := range route.Peers {
			peers[to.Peer] = attributesOf(to, r.drained[to.Peer])
		}
		errs = append(errs, a.router.Set(p, peers))
	}
	if err := errors.Join(errs...); err != nil {
		a.cfg.Log.Error(err, "Some routes cannot be announced")
		a.self.failed(a.cfg.Clock.Now(), "routes", err.Error())
		return
	}
	a.self.mended("routes")
}

func attributesOf(to announcer.RoutePeer, drained bool) bgp.Attributes {
	return bgp.Attributes{
		LocalPref: to.LocalPref, GracefulShutdown: to.Draining || drained, Communities: to.Communities.Standard, LargeCommunities: to.Communities.Large,
	}
}

// setRouters gives the router the peers that our node is to have sessions with.
func (a *Agent) setRouters(ctx context.Context) {
	if a.router == nil {
		return
	}
	r := a.loop.routing
	r.peers = a.loop.index.PeersOf(a.cfg.Node)
	r.passwords = a.passwords(ctx)
	waiting := map[string]string{}
	peers := make([]bgp.Peer, 0, len(r.peers))
	for i := range r.peers {
		p := &r.peers[i]
		password, known := string(p.Password), true
		if p.PasswordSecret != "" {
			password, known = r.passwords[p.Name], r.passwords[p.Name] != ""
		}
		if !known {
			waiting[p.Name] = a.missing("password", p.PasswordSecret)
			continue
		}
		peer := peerOf(p, password)
		peer.Hold = a.watchdog != nil && p.Strict()
		peers = append(peers, peer)
	}
	r.waiting = waiting
	if !slices.Equal(peers, r.sent) {
		r.sent = peers
		if err := a.router.SetPeers(peers); err != nil {
			a.cfg.Log.Error(err, "Some peers cannot be used")
		}
		// Routes name their peers, so those of new peers have to be said again.
		a.announceRoutes(prefixesOf(r.table))
	}
	a.watchPeers()
}

// missing says that a password, or a key, has not come from its Secret.
func (a *Agent) missing(what, secret string) string {
	return fmt.Sprintf("The %s is not there: is there a Secret %s of type kubernetes.io/basic-auth in namespace %s, with the entry password?", what, secret, a.cfg.Namespace)
}

func prefixesOf(t *announcer.BGPTable) []netip.Prefix {
	routes := t.Routes()
	out := make([]netip.Prefix, len(routes))
	for i := range routes {
		out[i] = routes[i].Prefix
	}
	return out
}

// unboundedTTL lets sessions pass any number of routers.
const unboundedTTL = 255

func peerOf(p *announcer.NodePeer, password string) bgp.Peer {
	out := bgp.Peer{
		Name: p.Name, MyASN: p.MyASN, PeerASN: p.PeerASN, LocalASN: p.LocalASN, Dynamic: bgp.DynamicASN(p.Dynamic),
		Address: p.Address, Interface: p.Interface, Device: p.VRF, Source: p.Source, Port: p.Port,
		HoldTime: p.HoldTime, KeepaliveTime: p.KeepaliveTime, ConnectTime: p.ConnectTime,
		RouterID: p.RouterID, Password: password, TTLSecurity: uint8(p.TTLSecurityHops), PrefixLimit: p.PrefixLimit,
		GracefulRestart: bgp.GracefulRestart{Enabled: p.RestartTime > 0, RestartTime: p.RestartTime, LongLived: p.LongLivedStaleTime},
	}
	if p.HoldTime == 0 {
		out.HoldTime = -1 // the session stands without signs of life
	}
	if p.MultiHop {
		out.MultiHop = unboundedTTL
	}
	if p.DualStack {
		out.Families = bgp.IPv4 | bgp.IPv6
	}
	return out
}

// passwords are those of peers by name, and the keys of BFD, which the controller gathers in one Secret, so that speakers need not
// read others.
func (a *Agent) passwords(ctx context.Context) map[string]string {
	if a.cfg.Passwords == nil {
		return nil
	}
	secret := &corev1.Secret{}
	name := types.NamespacedName{Namespace: a.cfg.Namespace, Name: a.cfg.PasswordSecret}
	if err := a.cfg.Passwords.Get(ctx, name, secret, client.UnsafeDisableDeepCopy); err != nil {
		if !apierrors.IsNotFound(err) {
			a.cfg.Log.Error(err, "Reading the passwords of BGP peers failed", "secret", name.String())
		}
		return nil
	}
	out := make(map[string]string, len(secret.Data))
	for peer, password := range secret.Data {
		out[peer] = string(password)
	}
	return out
}

// describeBGP adds to a World what bears on BGP.
func (a *Agent) describeBGP(ctx context.Context, w *announcer.World) {
	var o announcer.BGPObjects
	for _, list := range []client.ObjectList{&o.Advertisements, &o.Peers, &o.Profiles, &o.Communities} {
		if err := a.cfg.Cache.List(ctx, list, client.UnsafeDisableDeepCopy); err != nil {
			a.cfg.Log.Error(err, "Reading the cache failed")
		}
	}
	o.Describe(w, a.tellOfInvalid)
}

// drainRouters asks peers to prefer other nodes before this one stops (RFC 8326). Those with graceful restart keep the
// routes while the speaker is away; they too are asked where the node itself is about to go.
func (a *Agent) drainRouters(ctx context.Context) (wait time.Duration) {
	if a.router == nil {
		return 0
	}
	r, gone := a.loop.routing, a.nodeGoes(ctx)
	if gone {
		a.router.Leave()
	}
	for _, p := range r.sent {
		if gone || !p.GracefulRestart.Enabled {
			r.drained[p.Name] = true
		}
	}
	if len(r.drained) == 0 || r.table.Len() == 0 {
		return 0
	}
	a.announceRoutes(prefixesOf(r.table))
	flush, cancel := context.WithTimeout(ctx, flushWait)
	defer cancel()
	_ = a.router.Flush(flush) // a peer that does not read need not be waited for
	return drainWait
}

// nodeGoes says whether the node is about to stop forwarding, so that nobody may keep its routes: it is drained for that,
// or shuts down, which the kubelet tells by its not being ready.
func (a *Agent) nodeGoes(ctx context.Context) bool {
	node := &corev1.Node{}
	if err := a.cfg.Cache.Get(ctx, types.NamespacedName{Name: a.cfg.Node}, node); err != nil {
		return apierrors.IsNotFound(err)
	}
	n := announcer.FromNode(node)
	return n.Unschedulable || n.Deleting || !n.Ready
}

// takeSessions takes up that sessions stand otherwise.
func (a *Agent) takeSessions(events []bgp.Event) {
	for _, ev := range events {
		a.tellOfSession(ev)
	}
	if len(events) > 0 {
		// The address of an unnumbered peer may be known now, or a session closed that BFD watched to its end.
		a.watchPeers()
	}
}

// tellOfSession writes an Event for a session that came up or was lost.
func (a *Agent) tellOfSession(ev bgp.Event) {
	up := ev.Session.State == bgp.Established
	if a.cfg.Events == nil || ev.Closed || up == (ev.Was == bgp.Established) || !a.status.events.TryAccept() {
		return
	}
	peer := &v1alpha1.BGPPeer{}
	if err := a.cfg.Cache.Get(context.Background(), types.NamespacedName{Name: ev.Session.Peer}, peer); err != nil {
		return
	}
	if up {
		a.cfg.Events.Eventf(peer, nil, corev1.EventTypeNormal, "SessionEstablished", "Announce", "Node %s has a session with %s.", a.cfg.Node, ev.Session.Remote.Addr())
		return
	}
	a.cfg.Events.Eventf(peer, nil, corev1.EventTypeWarning, "SessionLost", "Announce", "Node %s has lost its session: %s.", a.cfg.Node, ev.Session.Why)
}
