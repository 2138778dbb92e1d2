package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	// takenOver is the class of the Gateways that take over, or of the first of two.
	takenOver = "takeovers"
	// familyEvery is 500 new connections a second to each of both families.
	familyEvery = 2 * floodEvery
	// stayers are long-lived connections to each family, and stayersEvery how often each asks.
	stayers      = 100
	stayersEvery = 2 * time.Second
	// lookForDone is the precision of how long a takeover takes.
	lookForDone = 200 * time.Millisecond
)

// sideways is a way in which the addresses of takeovers are announced.
type sideways struct {
	what      string
	stage     func(context.Context, *bench) (clear func() error, err error)
	onlookers func(*lab.Lab, string, []netip.Addr) (*lab.Onlooker, error)
	looker    string // the host that onlookers look at
	// sources are where new connections come from, by family.
	sources [2]netip.Prefix
	device  string
	seen    string // what onlookers see changes of
}

var sidewaysAll = []sideways{
	{"layer 2", stageNear, (*lab.Lab).WatchNeighbours, testbed.Client, [2]netip.Prefix{nearSegment, nearSegmentIPv6}, "eth0", "hardware addresses of it that the client's neighbour table changed"},
	{"BGP", stageFar, (*lab.Lab).WatchRoutes, testbed.Router, [2]netip.Prefix{farSegment, farSegmentIPv6}, lab.FarDevice, "routes to it that the router's kernel changed"},
}

// takenBackends are on all nodes, so that each can serve the Service all the time.
var takenBackends = []string{"node1", "node2", "node3"}

func stageNear(ctx context.Context, b *bench) (func() error, error) {
	clear, err := b.stage(ctx, scene{addresses: []string{segmentIPv4, segmentIPv6}, backends: takenBackends})
	if err != nil {
		return nil, err
	}
	if err := sleep(ctx, settle); err != nil { // which node announces is to change no more
		return nil, errors.Join(err, clear())
	}
	return clear, nil
}

func stageFar(ctx context.Context, b *bench) (func() error, error) {
	// Without BFD: no node fails, and a false alarm would be taken for a change.
	_, clear, err := b.stageRouted(ctx, scene{addresses: []string{routedIPv4, routedIPv6}, backends: takenBackends}, 0, routedIPv4, routedIPv6)
	return clear, err
}

// takeoversPart has two sides take the addresses of each other over, there and back, under load.
func takeoversPart(ctx context.Context, b *bench) (rows []row, err error) {
	for _, s := range sidewaysAll {
		more, err := b.takeoversBy(ctx, s)
		rows = append(rows, more...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	return rows, nil
}

func (b *bench) takeoversBy(ctx context.Context, s sideways) (rows []row, err error) {
	clearScene, err := s.stage(ctx, b)
	if err != nil {
		return nil, err
	}
	w := &web{bench: b, class: takenOver}
	defer func() {
		if ctx.Err() == nil { // interrupted: the cluster goes as a whole
			err = errors.Join(err, w.clear(ctx), w.second().clear(ctx))
		}
		err = errors.Join(err, clearScene())
	}()
	if err := w.set(ctx); err != nil {
		return nil, err
	}
	for _, segment := range s.sources {
		if err := w.giveSources(ctx, s.device, segment); err != nil {
			return nil, err
		}
	}
	for i, pairing := range pairings {
		p, err := pairing(w, ctx, i)
		if err != nil {
			return rows, err
		}
		seen, err := p.alternate(ctx, s)
		rows = append(rows, seen.rows(s)...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", p.what, err)
		}
	}
	return rows, nil
}

// pair is two sides that take the same addresses over from each other. The first has them to begin with.
type pair struct {
	*web
	what      string
	sides     [2]lab.Side
	addresses []netip.Addr
}

// pairings make the pairs, each by its number.
var pairings = []func(w *web, ctx context.Context, i int) (*pair, error){
	func(w *web, ctx context.Context, i int) (*pair, error) {
		return w.serviceAndGateway(ctx, i, corev1.ServiceExternalTrafficPolicyLocal)
	},
	func(w *web, ctx context.Context, i int) (*pair, error) {
		return w.serviceAndGateway(ctx, i, corev1.ServiceExternalTrafficPolicyCluster)
	},
	(*web).gateways,
	(*web).services,
}

// serviceAndGateway are such, with one externalTrafficPolicy.
func (w *web) serviceAndGateway(ctx context.Context, i int, policy corev1.ServiceExternalTrafficPolicy) (*pair, error) {
	p, err := w.pairOfService(ctx, i, "Service and Gateway, policy "+string(policy), policy)
	if err != nil {
		return nil, err
	}
	p.sides[1] = lab.GatewaySide(namespace, "edge-"+strings.ToLower(string(policy)), w.class)
	gw, config := w.gatewayOf(p.sides[1].Name, policy)
	gw.Annotations = lab.Takes(p.sides[0], p.sides[1])
	return p, w.lab.Apply(ctx, config, gw, lab.HTTPRoute(namespace, gw.Name, gw.Name, backend))
}

// services are a Service without a class, and one of Fairlead's.
func (w *web) services(ctx context.Context, i int) (*pair, error) {
	p, err := w.pairOfService(ctx, i, "Service and Service", corev1.ServiceExternalTrafficPolicyCluster)
	if err != nil {
		return nil, err
	}
	p.sides[1] = lab.ServiceSide(namespace, p.sides[0].Name+"-new")
	s := lab.LoadBalancer(namespace, p.sides[1].Name, backend, lab.DualStack)
	s.Spec.LoadBalancerClass, s.Annotations = new(v1alpha1.LoadBalancerClass), lab.Takes(p.sides[0], p.sides[1])
	return p, w.lab.Apply(ctx, s)
}

// second has the class of the second of two Gateways.
func (w *web) second() *web { return &web{bench: w.bench, class: w.class + "-new"} }

// gateways are of two classes.
func (w *web) gateways(ctx context.Context, i int) (*pair, error) {
	second := lab.GatewayClass(w.second().class)
	p := &pair{web: w, what: "Gateway and Gateway", sides: [2]lab.Side{
		lab.GatewaySide(namespace, fmt.Sprintf("edge-%d", i), w.class), lab.GatewaySide(namespace, fmt.Sprintf("edge-%d-new", i), second.Name),
	}}
	first, config := w.gatewayOf(p.sides[0].Name, corev1.ServiceExternalTrafficPolicyLocal)
	config.Spec.Families = []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol}
	next := lab.Gateway(namespace, p.sides[1].Name, second.Name)
	next.Annotations = lab.Takes(p.sides[0], p.sides[1])
	err := w.lab.Apply(ctx, second, config, first, lab.HTTPRoute(namespace, first.Name, first.Name, backend), lab.HTTPRoute(namespace, next.Name, next.Name, backend))
	if err == nil {
		err = p.awaitAddresses(ctx)
	}
	if err == nil {
		err = w.lab.Apply(ctx, next)
	}
	if err != nil {
		return nil, err
	}
	return p, w.second().awaitEnvoys(ctx)
}

// pairOfService makes a Service, the first of a pair.
func (w *web) pairOfService(ctx context.Context, i int, what string, policy corev1.ServiceExternalTrafficPolicy) (*pair, error) {
	p := &pair{web: w, what: what, sides: [2]lab.Side{lab.ServiceSide(namespace, serviceName(i))}}
	_, err := w.createServices(ctx, i, i+1, lab.DualStack, func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = policy })
	if err != nil {
		return nil, err
	}
	return p, p.awaitAddresses(ctx)
}

// awaitAddresses waits until the first side has addresses of both families, which answer.
func (p *pair) awaitAddresses(ctx context.Context) (err error) {
	if p.addresses, err = p.lab.AwaitAddresses(ctx, namespace, p.sides[0].Front, 2); err != nil {
		return err
	}
	for _, a := range p.addresses {
		if _, err := p.lab.AwaitAnswer(ctx, testbed.Client, a, 80); err != nil {
			return err
		}
	}
	return nil
}

// takeovers are what clients and onlookers saw of some.
type takeovers struct {
	what    string
	fresh   load
	rates   []float64
	stay    lab.Stay
	changes int
	took    []time.Duration
}

// alternate has the second side take over, then the first, and so on.
func (p *pair) alternate(ctx context.Context, s sideways) (*takeovers, error) {
	seen := &takeovers{what: s.what + ", " + p.what}
	n := p.pick(10, 2)
	for i := range n {
		if err := p.once(ctx, s, p.sides[i%2], p.sides[1-i%2], seen); err != nil {
			return seen, fmt.Errorf("takeover %d of %d: %w", i+1, n, err)
		}
		p.say("%s, %d of %d: took %s; so far %d of %d new connections failed, of long ones %+v, %d changes seen",
			seen.what, i+1, n, seen.took[i].Round(time.Millisecond), seen.fresh.failed, len(seen.fresh.took), seen.stay, seen.changes)
	}
	return seen, nil
}

// once has the one take over from the other while clients of both families come and stay.
func (p *pair) once(ctx context.Context, s sideways, from, to lab.Side, seen *takeovers) error {
	var guests []*lab.Guests
	var floods []*flood
	defer func() {
		for _, g := range guests {
			g.Stop()
		}
		for _, f := range floods {
			f.stop()
		}
	}()
	for i, a := range p.addresses {
		dial := func(ctx context.Context) (net.Conn, error) {
			return p.cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(a, 80).String())
		}
		g, err := lab.StartGuests(ctx, lab.HTTP1, stayers, hostOf(0), stayersEvery, patience, dial)
		if err != nil {
			return err
		}
		guests = append(guests, g)
		floods = append(floods, p.startFlood(ctx, a, hostOf(0), familyEvery, floodSources(s.sources[i])))
	}
	if err := sleep(ctx, afterwards); err != nil { // all who stay have come
		return err
	}
	look, err := s.onlookers(p.lab, s.looker, p.addresses)
	if err != nil {
		return err
	}
	took, err := p.takeOver(ctx, from, to)
	if err := errors.Join(err, sleep(ctx, afterwards)); err != nil {
		_, _ = look.Stop()
		return err
	}
	changes, err := look.Stop()
	if err != nil {
		return err
	}
	return seen.count(len(changes), floods, guests, took)
}

// count adds what all saw of one, who are done then.
func (t *takeovers) count(changes int, floods []*flood, guests []*lab.Guests, took time.Duration) error {
	t.changes, t.took = t.changes+changes, append(t.took, took)
	var errs []error
	rate := 0.0
	for _, f := range floods {
		f.stop()
		t.fresh.add(&f.load)
		rate += f.rate()
		errs = append(errs, f.broken)
	}
	t.rates = append(t.rates, rate)
	for _, g := range guests {
		t.stay.Add(g.Stop())
	}
	return errors.Join(errs...)
}

func (t *takeovers) rows(s sideways) []row {
	n := len(t.took)
	if n == 0 {
		return nil
	}
	failed := fmt.Sprintf("%s: of %d requests on these, failed", t.what, t.stay.Asked)
	if t.stay.Why != "" {
		failed += " (the first: " + t.stay.Why + ")"
	}
	rows := append(floodRows(t.what, &t.fresh, t.rates, atMost(0)),
		row{what: fmt.Sprintf("%s: of %d long-lived connections, broken", t.what, t.stay.Connections), figure: float64(t.stay.Broken), unit: "connections", aim: atMost(0), runs: n},
		row{what: failed, figure: float64(t.stay.Failed), unit: "requests", aim: atMost(0), runs: n},
		row{what: fmt.Sprintf("%s: %s", t.what, s.seen), figure: float64(t.changes), unit: "changes", aim: atMost(0), runs: n},
	)
	return append(rows, spread(t.what+": from the second annotation until both sides are told that it is done", t.took, aim{})...)
}

// takeOver writes the annotations, and waits until the one side has the addresses alone and
// both have been told. It says how long that took.
func (p *pair) takeOver(ctx context.Context, from, to lab.Side) (time.Duration, error) {
	if err := p.lab.AskForTakeover(ctx, from, to); err != nil {
		return 0, err
	}
	asked := time.Now()
	err := awaitSlowly(ctx, 3*time.Minute, lookForDone, "the takeover by "+to.String()+" to be done", func(ctx context.Context) error {
		return p.lab.TakenOver(ctx, from, to, p.addresses)
	})
	return time.Since(asked), err
}
