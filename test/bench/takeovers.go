package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/allocator"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/migrate/takeover"
	"github.com/fairlead/fairlead/migrate/takeover/tell"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	// takenOver is the class of the Gateways that take over.
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

// takeoversPart has Gateways take the addresses of Services over, and give them back, under load.
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
			err = errors.Join(err, w.clear(ctx))
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
	for i, policy := range []corev1.ServiceExternalTrafficPolicy{corev1.ServiceExternalTrafficPolicyLocal, corev1.ServiceExternalTrafficPolicyCluster} {
		p, err := w.pairOf(ctx, i, policy)
		if err != nil {
			return rows, err
		}
		seen, err := p.alternate(ctx, s, fmt.Sprintf("%s, policy %s", s.what, policy))
		rows = append(rows, seen.rows(s)...)
		if err != nil {
			return rows, fmt.Errorf("policy %s: %w", policy, err)
		}
	}
	return rows, nil
}

// pair is a Service and a Gateway that take the same addresses over from each other.
type pair struct {
	*web
	service, gateway string
	addresses        []netip.Addr
}

// pairOf makes both, with one externalTrafficPolicy. The Service has the addresses.
func (w *web) pairOf(ctx context.Context, i int, policy corev1.ServiceExternalTrafficPolicy) (*pair, error) {
	p := &pair{web: w, service: serviceName(i), gateway: "edge-" + strings.ToLower(string(policy))}
	_, err := w.createServices(ctx, i, i+1, lab.DualStack, func(s *corev1.Service) { s.Spec.ExternalTrafficPolicy = policy })
	if err != nil {
		return nil, err
	}
	if p.addresses, err = w.lab.AwaitAddresses(ctx, namespace, p.service, 2); err != nil {
		return nil, err
	}
	for _, a := range p.addresses {
		if _, err := w.lab.AwaitAnswer(ctx, testbed.Client, a, 80); err != nil {
			return nil, err
		}
	}
	gw, config := w.gatewayOf(p.gateway, policy)
	gw.Annotations = map[string]string{v1alpha1.AnnotationTakeover: "service/" + p.service}
	return p, w.lab.Apply(ctx, config, gw, lab.HTTPRoute(namespace, p.gateway, p.gateway, backend))
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

// alternate has the Gateway take over, then the Service, and so on.
func (p *pair) alternate(ctx context.Context, s sideways, what string) (*takeovers, error) {
	seen := &takeovers{what: what}
	n := p.pick(10, 2)
	for i := range n {
		if err := p.once(ctx, s, i%2 == 0, seen); err != nil {
			return seen, fmt.Errorf("takeover %d of %d: %w", i+1, n, err)
		}
		p.say("%s, %d of %d: took %s; so far %d of %d new connections failed, of long ones %+v, %d changes seen",
			what, i+1, n, seen.took[i].Round(time.Millisecond), seen.fresh.failed, len(seen.fresh.took), seen.stay, seen.changes)
	}
	return seen, nil
}

// once has the one take over from the other while clients of both families come and stay.
func (p *pair) once(ctx context.Context, s sideways, forth bool, seen *takeovers) error {
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
	took, err := p.takeOver(ctx, forth)
	if err := errors.Join(err, sleep(ctx, afterwards)); err != nil {
		_, _ = look.Stop()
		return err
	}
	changes, err := look.Stop()
	if err != nil {
		return err
	}
	return seen.count(changes, floods, guests, took)
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
func (p *pair) takeOver(ctx context.Context, forth bool) (time.Duration, error) {
	service, gw := "service/"+p.service, "gateway/"+p.gateway
	ofService, ofGateway := asking("", gw), asking(service, "")
	taker := p.key("Gateway", p.gateway)
	if !forth {
		ofService, ofGateway = asking(gw, ""), asking("", service)
		taker = p.key("Service", p.service)
	}
	objects := []client.Object{
		&gatewayv1.Gateway{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.gateway}},
		&corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: p.service}},
	}
	for i, patch := range [][]byte{ofGateway, ofService} {
		if err := p.lab.Client.Patch(ctx, objects[i], client.RawPatch(types.MergePatchType, patch)); err != nil {
			return 0, fmt.Errorf("asking %s for the takeover: %w", objects[i].GetName(), err)
		}
	}
	asked := time.Now()
	err := awaitSlowly(ctx, 3*time.Minute, lookForDone, "the takeover by "+taker+" to be done", func(ctx context.Context) error {
		return p.doneBy(ctx, taker)
	})
	return time.Since(asked), err
}

// key is how a holder is written.
func (p *pair) key(kind, name string) string {
	return allocator.Key{Kind: kind, Namespace: namespace, Name: name}.String()
}

// asking is a patch that has an object take over and hand over; empty: not.
func asking(takes, gives string) []byte {
	value := func(s string) string {
		if s == "" {
			return "null"
		}
		return strconv.Quote(s)
	}
	return fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%s,%q:%s}}}`, v1alpha1.AnnotationTakeover, value(takes), v1alpha1.AnnotationHandover, value(gives))
}

// doneBy wants a holder to have all addresses alone, and both sides to say so.
func (p *pair) doneBy(ctx context.Context, taker string) error {
	for _, a := range p.addresses {
		var o v1alpha1.Address
		if err := p.lab.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, &o); err != nil {
			return err
		}
		if len(o.Spec.Holders) != 1 || p.key(o.Spec.Holders[0].Kind, o.Spec.Holders[0].Name) != taker {
			return fmt.Errorf("%s is held by %s", a, o.Spec.Summary)
		}
	}
	var s corev1.Service
	if err := p.lab.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: p.service}, &s); err != nil {
		return err
	}
	var g gatewayv1.Gateway
	if err := p.lab.Client.Get(ctx, client.ObjectKey{Namespace: namespace, Name: p.gateway}, &g); err != nil {
		return err
	}
	for _, conditions := range [][]metav1.Condition{s.Status.Conditions, g.Status.Conditions} {
		c := meta.FindStatusCondition(conditions, tell.Condition)
		if c == nil || c.Reason != string(takeover.Done) || !strings.HasPrefix(c.Message, taker+" has ") {
			return fmt.Errorf("one side says %+v", c)
		}
	}
	return nil
}
