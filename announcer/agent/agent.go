package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
)

// gossipKeys is the entry of the Secret with the keys, one to a line.
const gossipKeys = "keys"

// Agent is the speaker of one node.
type Agent struct {
	cfg     Config
	pending *pending
	status  *statusWriter
	self    *selfWriter
	rejects *rejecter
	metrics *metrics

	engine   Engine
	members  Membership
	router   Router     // nil: nothing is announced by BGP
	watchdog Watchdog   // nil: no path is watched by BFD
	watching sync.Mutex // while sessions of BGP follow those of BFD

	// macs are the hardware addresses of all speakers that were ever seen.
	macs    sync.Map
	ready   atomic.Bool
	beat    atomic.Int64 // when the loop was last seen alive, in nanoseconds since 1970
	stopped chan struct{}
	wg      sync.WaitGroup

	loop loop
}

// New makes a speaker; nothing happens before Run.
func New(cfg Config) (*Agent, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	a := &Agent{cfg: cfg, pending: newPending(), metrics: newMetrics(), stopped: make(chan struct{})}
	a.status = newStatusWriter(&a.cfg, a.metrics)
	a.self = newSelfWriter(&a.cfg)
	a.loop = newLoop()
	a.loop.started = cfg.Clock.Now()
	a.beat.Store(cfg.Clock.Now().UnixNano())
	return a, nil
}

// Run announces until ctx ends, then hands over in order and returns. It waits
// for the API server at the start and needs it no more afterwards.
func (a *Agent) Run(ctx context.Context) error {
	// What serves goes on while the speaker departs, after ctx has ended.
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer a.wg.Wait()
	defer close(a.stopped)
	defer stop()

	failed := make(chan error, 4)
	if err := a.observe(ctx, serving, failed); err != nil {
		return ignoreEnd(ctx, err)
	}
	node, err := a.ownNode(ctx)
	if err != nil {
		return ignoreEnd(ctx, err)
	}
	if err := a.startEngine(serving, failed); err != nil {
		return err
	}
	a.startRouter(serving, failed)
	if err := a.startMembers(ctx, node); err != nil {
		return ignoreEnd(ctx, err)
	}
	defer a.members.Stop()
	a.startWriters(serving, node)
	defer a.rejects.stop()
	a.begin(ctx)
	return a.serve(ctx, failed)
}

// ignoreEnd makes being told to stop during the start no error.
func ignoreEnd(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// background runs something until the agent stops, and reports its failure.
func (a *Agent) background(failed chan<- error, what string, run func() error) {
	a.wg.Add(1)
	go func() {
		defer a.wg.Done()
		if err := run(); err != nil && !errors.Is(err, context.Canceled) {
			select {
			case failed <- fmt.Errorf("%s: %w", what, err):
			default:
			}
		}
	}()
}

func (a *Agent) observe(ctx, serving context.Context, failed chan<- error) error {
	if err := a.watch(ctx); err != nil {
		return err
	}
	caches := []cache.Cache{a.cfg.Cache}
	if a.cfg.Passwords != nil {
		caches = append(caches, a.cfg.Passwords)
	}
	a.cfg.Log.V(1).Info("Waiting for the API server")
	for _, c := range caches {
		a.background(failed, "watching the API server", func() error { return c.Start(serving) })
		if !c.WaitForCacheSync(ctx) {
			return errors.New("the caches did not fill")
		}
	}
	return nil
}

// again is how often the start asks for what is not there yet.
const again = 200 * time.Millisecond

// until asks again and again until there is an answer, and says once what it
// waits for.
func (a *Agent) until(ctx context.Context, ask func() error) error {
	said := ""
	for {
		err := ask()
		if err == nil {
			return nil
		}
		if err.Error() != said {
			said = err.Error()
			a.cfg.Log.Info("Waiting", "for", said)
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(again):
		}
	}
}

// ownNode waits for our Node and its address.
func (a *Agent) ownNode(ctx context.Context) (*corev1.Node, error) {
	node := &corev1.Node{}
	err := a.until(ctx, func() error {
		if err := a.cfg.Cache.Get(ctx, types.NamespacedName{Name: a.cfg.Node}, node); err != nil {
			return fmt.Errorf("node %s: %w", a.cfg.Node, err)
		}
		if len(announcer.FromNode(node).Addresses) == 0 {
			return fmt.Errorf("an internal IP address in the status of node %s", a.cfg.Node)
		}
		return nil
	})
	return node, err
}

// keys reads the gossip keys.
func (a *Agent) keys(ctx context.Context) ([][]byte, error) {
	name := types.NamespacedName{Namespace: a.cfg.Namespace, Name: a.cfg.Secret}
	secret := &corev1.Secret{}
	if err := a.cfg.Cache.Get(ctx, name, secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, fmt.Errorf("the Secret %s with the gossip keys, which the controller makes", name)
		}
		return nil, fmt.Errorf("the Secret %s with the gossip keys: %w", name, err)
	}
	keys, err := members.ParseKeys(string(secret.Data[gossipKeys]))
	if err != nil {
		return nil, fmt.Errorf("the entry %q of Secret %s: %w", gossipKeys, name, err)
	}
	return keys, nil
}

func (a *Agent) startEngine(serving context.Context, failed chan<- error) error {
	engine, err := a.cfg.NewEngine(a.onEngine, func(mac net.HardwareAddr) bool {
		_, known := a.macs.Load(string(mac))
		return known
	})
	if err != nil {
		return fmt.Errorf("opening the node's interfaces: %w", err)
	}
	a.engine = engine
	a.background(failed, "answering ARP and NDP", func() error { return engine.Run(serving) })
	return nil
}

// startRouter begins to speak BGP, and to watch peers. The router ends first: peers would take the end of BFD, while the
// session of BGP stands, for the end of the path.
func (a *Agent) startRouter(serving context.Context, failed chan<- error) {
	if a.cfg.NewRouter == nil {
		return
	}
	a.router = a.cfg.NewRouter(func(ev bgp.Event) {
		a.pending.note(func() { a.pending.sessions = append(a.pending.sessions, ev) })
	})
	watching, stop := context.WithCancel(context.WithoutCancel(serving))
	a.background(failed, "speaking BGP", func() error {
		defer stop()
		return a.router.Run(serving)
	})
	if a.cfg.NewWatchdog != nil {
		a.watchdog = a.cfg.NewWatchdog(a.onBFD)
		a.background(failed, "watching peers by BFD", func() error { return a.watchdog.Run(watching) })
	}
}

func (a *Agent) startMembers(ctx context.Context, node *corev1.Node) error {
	var keys [][]byte
	if err := a.until(ctx, func() (err error) {
		keys, err = a.keys(ctx)
		return err
	}); err != nil {
		return err
	}
	nodes := &corev1.NodeList{}
	if err := a.cfg.Cache.List(ctx, nodes, client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("reading the nodes: %w", err)
	}
	m, err := a.cfg.NewMembers(ctx, Gossip{
		Address: announcer.FromNode(node).Addresses[0], Nodes: len(nodes.Items), Keys: keys, OnChange: a.onMembers, OnMessage: a.onMessage,
	})
	if err != nil {
		return err
	}
	a.members = m
	return nil
}

func (a *Agent) startWriters(serving context.Context, node *corev1.Node) {
	var table Rejecter
	if a.cfg.NewRejecter != nil {
		table = a.cfg.NewRejecter(announcer.FromNode(node).Addresses)
	}
	a.rejects = newRejecter(a.cfg.Log, table)
	a.rejects.start(serving, &a.wg)
	a.status.start(serving, &a.wg)
	a.self.setNode(node.UID)
	a.self.start(serving, &a.wg)
}

// begin learns of interfaces and peers, decides for the first time, and only
// then tells the others that we answer.
func (a *Agent) begin(ctx context.Context) {
	for deadline := time.Now().Add(interfaceWait); len(a.engine.Interfaces()) == 0 && time.Now().Before(deadline) && ctx.Err() == nil; {
		time.Sleep(10 * time.Millisecond)
	}
	a.setInterfaces()
	a.setPeers(ctx)
	wait, cancel := context.WithTimeout(ctx, joinWait)
	a.members.Joined(wait)
	cancel()
	a.members.Prepare()
	a.pending.note(func() { a.pending.world = true })
	a.pass(ctx)
	a.sync(ctx)
	a.members.Serve()
	a.ready.Store(true)
	a.report()
	a.cfg.Log.Info("Serving", "version", a.cfg.Version, "interfaces", interfaceNames(a.engine.Interfaces()), "speakers", a.members.Stats().Alive)
}

func interfaceNames(in []l2.Interface) (out []string) {
	for _, i := range in {
		if i.ARP || i.NDP {
			out = append(out, i.Name)
		}
	}
	return out
}

// sync waits until the packet engine has done what it was asked to.
func (a *Agent) sync(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	_ = a.engine.Sync(ctx)
}

// serve runs the loop until ctx ends, and then the departure.
func (a *Agent) serve(ctx context.Context, failed <-chan error) error {
	tick := a.cfg.Clock.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			a.depart()
			return nil
		case err := <-failed:
			return err
		case <-a.pending.wake:
			a.pass(ctx)
		case <-tick.C():
			a.report()
		}
		a.beat.Store(a.cfg.Clock.Now().UnixNano())
	}
}

// depart lets the others know that we stop, and answers until the deputies do.
func (a *Agent) depart() {
	a.ready.Store(false)
	a.cfg.Log.Info("Stopping: handing over to deputies")
	ctx, cancel := context.WithTimeout(context.Background(), departWait)
	defer cancel()
	a.members.Depart()
	if wait := a.drainRouters(ctx); wait > 0 {
		// The deputies have their time meanwhile.
		defer func(until time.Time) { time.Sleep(time.Until(until)) }(time.Now().Add(wait))
	}
	a.pending.note(func() { a.pending.members = true })
	for {
		select {
		case <-ctx.Done():
			a.cfg.Log.Info("Not every deputy answered in time", "missing", a.loop.missingDeputies())
			return
		case <-a.pending.wake:
			a.pass(ctx)
		}
		if a.loop.departing && len(a.loop.missingDeputies()) == 0 {
			a.cfg.Log.V(1).Info("Every deputy answers")
			return
		}
	}
}

func (a *Agent) setInterfaces() {
	in := a.engine.Interfaces()
	out := make([]announcer.Interface, 0, len(in))
	for _, i := range in {
		if i.ARP || i.NDP {
			out = append(out, announcer.Interface{Name: i.Name, MAC: i.MAC, ARP: i.ARP, NDP: i.NDP})
		}
	}
	slices.SortFunc(out, func(a, b announcer.Interface) int { return strings.Compare(a.Name, b.Name) })
	a.loop.interfaces = out
	a.members.SetInterfaces(out)
	a.self.setInterfaces(in)
}

func (a *Agent) setPeers(ctx context.Context) {
	nodes := &corev1.NodeList{}
	if err := a.cfg.Cache.List(ctx, nodes, client.UnsafeDisableDeepCopy); err != nil {
		a.cfg.Log.Error(err, "Reading the nodes failed")
		return
	}
	own := netip.Addr{}
	for i := range nodes.Items {
		if nodes.Items[i].Name == a.cfg.Node {
			own = firstOf(announcer.FromNode(&nodes.Items[i]).Addresses)
			a.self.setNode(nodes.Items[i].UID)
		}
	}
	peers := make([]members.Peer, 0, len(nodes.Items))
	for i := range nodes.Items {
		n := announcer.FromNode(&nodes.Items[i])
		peers = append(peers, members.Peer{Node: n.Name, Address: sameFamily(n.Addresses, own)})
	}
	a.members.SetPeers(peers)
}

func firstOf(addresses []netip.Addr) netip.Addr {
	if len(addresses) == 0 {
		return netip.Addr{}
	}
	return addresses[0]
}

// sameFamily is the first address of the family of another, or the zero value:
// gossip runs over one family.
func sameFamily(addresses []netip.Addr, as netip.Addr) netip.Addr {
	for _, a := range addresses {
		if a.Is4() == as.Is4() {
			return a
		}
	}
	return netip.Addr{}
}

// Ready says whether the speaker answers, as an error if not.
func (a *Agent) Ready() error {
	if !a.ready.Load() {
		return errors.New("the speaker does not answer yet, or is stopping")
	}
	return nil
}

// Healthy says whether the speaker's loop runs, as an error if not. Waiting for
// the API server at the start is healthy.
func (a *Agent) Healthy() error {
	if age := a.cfg.Clock.Since(time.Unix(0, a.beat.Load())); a.ready.Load() && age > 30*time.Second {
		return fmt.Errorf("the loop has been stuck for %s", age.Round(time.Second))
	}
	return nil
}
