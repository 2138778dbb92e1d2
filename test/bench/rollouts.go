package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/gateway/fleet"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	// guestsEvery is how often a client on a long connection asks.
	guestsEvery = 500 * time.Millisecond
	// guestsOfKind is how many of these there are of each kind.
	guestsOfKind = 10

	// calls are the name of what answers gRPC.
	calls     = "calls"
	callsHost = "calls.bench.example"
	// spreadGateway is the Gateway whose clients any node may take.
	spreadGateway = "spread"
)

// rolloutGateways are those that there are meanwhile.
var rolloutGateways = []string{mainGateway, spreadGateway}

// rollout is a way in which Envoys or controllers end. Undo makes things as they
// were.
type rollout struct {
	what        string
	full, quick int
	// failed is the aim of new connections that fail.
	failed aim
	// tells: clients are told to go.
	tells    bool
	do, undo func(*web, context.Context, target) error
}

var rollouts = []rollout{
	{"rolling update of the Envoys", 2, 1, atMost(0), true, (*web).rollEnvoys, (*web).leave},
	{"rolling update of the controllers", 2, 1, atMost(0), false, (*web).rollControllers, (*web).leave},
	{"drain of the announcing node", 4, 1, atMost(0), false, (*web).drainHome, (*web).uncordonHome},
	{"kill -9 of the Envoy of the announcing node", 4, 1, aim{}, false, (*web).killEnvoy, (*web).renewEnvoy},
	{"kill -9 of the controller that leads", 4, 1, atMost(0), false, (*web).killLeader, (*web).leave},
}

// rolloutsPart ends Envoys and controllers in all ways, while new connections come
// and others last. The backends run where nobody announces, so that what is ended
// is never one of them.
func rolloutsPart(ctx context.Context, b *bench) (rows []row, err error) {
	if rows, err = simulatedRollout(ctx, b.pick(200, 10)); err != nil {
		return nil, err
	}
	w, clear, err := b.stageWeb(ctx, "rollouts", scene{
		addresses: []string{segmentIPv4}, backends: []string{"node3"}, from: []string{"node1", "node2"},
	})
	if err != nil {
		return rows, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	if err := w.giveSources(ctx, "eth0", nearSegment); err != nil {
		return rows, err
	}
	spread, err := w.stageRollouts(ctx)
	if err != nil {
		return rows, err
	}
	for _, g := range []struct {
		policy  string
		name    string
		address netip.Addr
	}{{"Local", mainGateway, w.address}, {"Cluster", spreadGateway, spread}} {
		t, err := w.settledTarget(ctx, g.name, g.address)
		if err != nil {
			return rows, err
		}
		for _, r := range rollouts {
			seen, err := w.rollouts(ctx, r, t, g.policy)
			rows = append(rows, seen.rows("policy "+g.policy+", "+r.what, r)...)
			if err != nil {
				return rows, fmt.Errorf("policy %s, %s: %w", g.policy, r.what, err)
			}
		}
	}
	return rows, nil
}

// simulatedRollout counts the EndpointSlices that are written for more Envoys and
// Gateways than there is room for here.
func simulatedRollout(ctx context.Context, gateways int) ([]row, error) {
	results, err := goBench(ctx, "./controllers", fmt.Sprintf("^BenchmarkFleetRollout$/./^gateways=%d$", gateways), "-benchtime", "1x")
	if err != nil {
		return nil, err
	}
	return simulatedRows(results), nil
}

func simulatedRows(results []result) []row {
	var rows []row
	for _, r := range results {
		of := parameters(r.name)
		rows = append(rows, row{
			what:   fmt.Sprintf("rolling update of the Envoys of %s nodes with %s Gateways, simulated: EndpointSlices written", of["nodes"], of["gateways"]),
			figure: r.median("writes"), unit: "writes", runs: r.runs("writes"),
			beside: fmt.Sprintf("%s if no change waited for another; it takes %s", number(r.median("changes")), time.Duration(r.median("simulated-s")*float64(time.Second)).Round(time.Second)),
		})
	}
	return rows
}

// stageRollouts adds what the part needs beside the main Gateway: what answers
// gRPC, and a Gateway whose clients any node may take.
func (w *web) stageRollouts(ctx context.Context) (spread netip.Addr, err error) {
	gw, config := w.gatewayOf(spreadGateway, corev1.ServiceExternalTrafficPolicyCluster)
	answering := lab.EchoGRPC(namespace, calls, 1)
	answering.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: "node3"}
	objects := []client.Object{config, gw, answering, lab.ClusterIP(namespace, calls, calls), lab.HTTPRoute(namespace, spreadGateway, spreadGateway, backend)}
	for _, g := range rolloutGateways {
		objects = append(objects, lab.GRPCRoute(namespace, calls+"-"+g, g, callsHost, calls))
	}
	if err := w.lab.Apply(ctx, objects...); err != nil {
		return spread, err
	}
	if err := w.lab.AwaitReady(ctx, namespace, calls); err != nil {
		return spread, err
	}
	if spread, err = w.awaitProgrammed(ctx, spreadGateway); err != nil {
		return spread, err
	}
	_, err = w.newAsker(spread).until(ctx, hostOf(0), served)
	return spread, err
}

// gatewayOf is a Gateway whose own Service has an externalTrafficPolicy, and its configuration.
func (w *web) gatewayOf(name string, policy corev1.ServiceExternalTrafficPolicy) (*gatewayv1.Gateway, *v1alpha1.GatewayConfig) {
	config := &v1alpha1.GatewayConfig{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
	config.Spec.ExternalTrafficPolicy = policy
	gw := lab.Gateway(namespace, name, w.class)
	gw.Spec.Infrastructure = &gatewayv1.GatewayInfrastructure{ParametersRef: &gatewayv1.LocalParametersReference{
		Group: "fairlead.dev", Kind: "GatewayConfig", Name: config.Name,
	}}
	return gw, config
}

// settledTarget is a Gateway's address, once it has come to where it stays.
func (w *web) settledTarget(ctx context.Context, gw string, a netip.Addr) (target, error) {
	t := target{name: gw, addresses: []netip.Addr{a}}
	if err := sleep(ctx, settle); err != nil {
		return t, err
	}
	var err error
	t.home, err = w.answering(ctx, a)
	return t, err
}

// rollouts does it some times, at the Gateway that has the target.
func (w *web) rollouts(ctx context.Context, r rollout, t target, policy string) (*rolledOut, error) {
	sum := newRolledOut()
	if err := w.awaitCalm(ctx, t); err != nil {
		return sum, err
	}
	for i := range w.pick(r.full, r.quick) {
		w.say("policy %s, %s: number %d", policy, r.what, i+1)
		from, err := w.markAudit()
		if err != nil {
			return sum, err
		}
		if err := errors.Join(w.rollout(ctx, r, t, sum), w.awaitCalm(ctx, t)); err != nil {
			return sum, err
		}
		requests, err := w.requestsSince(from)
		if err != nil {
			return sum, err
		}
		sum.slices += slicesWritten(requests)
		w.say("policy %s, %s: so far %d of %d new connections failed, at %.0f/s; %d writes of EndpointSlices",
			policy, r.what, sum.fresh.failed, len(sum.fresh.took), median(sum.rates), sum.slices)
		for _, g := range sum.guests {
			w.say("    %s: %+v", g.Name, g.Stay)
		}
	}
	return sum, nil
}

// awaitCalm waits until everything is as it was before, and nothing is written any
// more.
func (w *web) awaitCalm(ctx context.Context, t target) error {
	return errors.Join(w.startController(ctx), w.awaitEnvoys(ctx), w.awaitHomes(ctx, []target{t}), w.awaitNoWrites(ctx))
}

// rollout does it once, and undoes it, while clients watch.
func (w *web) rollout(ctx context.Context, r rollout, t target, sum *rolledOut) error {
	guests, err := w.startGuests(ctx, t.addresses[0])
	defer func() {
		for _, g := range guests {
			g.Stop()
		}
	}()
	if err != nil {
		return err
	}
	f := w.startFlood(ctx, t.addresses[0], hostOf(0), floodEvery, floodSources(nearSegment))
	defer f.stop()
	if err := sleep(ctx, afterwards); err != nil {
		return err
	}
	if err := errors.Join(r.do(w, ctx, t), sleep(ctx, afterwards)); err != nil {
		return errors.Join(err, r.undo(w, ctx, t))
	}
	f.stop()
	sum.count(f, guests)
	return errors.Join(f.broken, r.undo(w, ctx, t))
}

// guestKinds are the clients on long connections.
var guestKinds = []lab.GuestKind{lab.HTTP1, lab.HTTP2, lab.WebSocket, lab.GRPC, lab.GRPCStream}

// startGuests has clients of all kinds come to an address.
func (w *web) startGuests(ctx context.Context, a netip.Addr) (all []*lab.Guests, err error) {
	dial := func(ctx context.Context) (net.Conn, error) {
		return w.cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(a, 80).String())
	}
	for _, k := range guestKinds {
		host := hostOf(0)
		if k.CallsGRPC() {
			host = callsHost
		}
		g, err := lab.StartGuests(ctx, k, w.pick(guestsOfKind, 5), host, guestsEvery, patience, dial)
		if err != nil {
			return all, err
		}
		all = append(all, g)
	}
	return all, nil
}

// rolledOut is what clients and the API server saw of some rollouts.
type rolledOut struct {
	runs   int
	fresh  load // the new connections
	rates  []float64
	guests []stayed
	slices int // writes of EndpointSlices by the controllers
}

// stayed is what the clients of a kind saw.
type stayed struct {
	lab.GuestKind
	lab.Stay
}

func newRolledOut() *rolledOut {
	out := &rolledOut{}
	for _, k := range guestKinds {
		out.guests = append(out.guests, stayed{GuestKind: k})
	}
	return out
}

// count adds what clients saw who are done.
func (s *rolledOut) count(f *flood, guests []*lab.Guests) {
	s.runs++
	s.fresh.add(&f.load)
	s.rates = append(s.rates, f.rate())
	for i, g := range guests {
		s.guests[i].Add(g.Stop())
	}
}

// slicesWritten counts the writes of EndpointSlices by the controllers.
func slicesWritten(requests []request) int {
	_, writes, _ := sorted(requests)
	n := 0
	for i := range writes {
		if writes[i].who() == "controller" && writes[i].Object.Resource == "endpointslices" {
			n++
		}
	}
	return n
}

func (s *rolledOut) rows(what string, r rollout) []row {
	if s.runs == 0 {
		return nil
	}
	rows := append(floodRows(what, &s.fresh, s.rates, r.failed), row{
		what: what + ": EndpointSlices written by the controllers until all is as before", figure: float64(s.slices) / float64(s.runs),
		unit: "writes per run", beside: fmt.Sprintf("%d Gateways, %d Envoys", len(rolloutGateways), clusterNodes), runs: s.runs,
	})
	for _, g := range s.guests {
		rows = append(rows, g.rows(what+": "+g.Name, r.tells, s.runs)...)
	}
	return rows
}

func (s stayed) rows(what string, tells bool, runs int) []row {
	var rows []row
	if tells && s.Word != "" {
		rows = append(rows, row{what: fmt.Sprintf("%s, of %d long connections, told to go by %s", what, s.Connections, s.Word), figure: float64(s.Told), unit: "connections", runs: runs})
	}
	failed := fmt.Sprintf("%s, of %d %s on them, failed", what, s.Asked, s.Question)
	if s.Why != "" {
		failed += " (the first: " + s.Why + ")"
	}
	return append(rows,
		row{what: fmt.Sprintf("%s, of %d long connections, broken", what, s.Connections), figure: float64(s.Broken), unit: "connections", runs: runs},
		row{what: failed, figure: float64(s.Failed), unit: s.Question, runs: runs},
	)
}

// leave has nothing to undo.
func (w *web) leave(context.Context, target) error { return nil }

// rollEnvoys replaces all Envoys, and waits until the old ones have ended.
func (w *web) rollEnvoys(ctx context.Context, _ target) error {
	return errors.Join(w.restart(ctx, "daemonset/"+fleet.ID{Class: w.class}.Name()), w.awaitNoneEnding(ctx))
}

// rollControllers replaces the controllers, and waits until the old ones have ended.
func (w *web) rollControllers(ctx context.Context, _ target) error {
	return errors.Join(w.restart(ctx, "deployment/"+controllerDeployment), w.startController(ctx))
}

// awaitNoneEnding waits until no Envoy is ending any more.
func (w *web) awaitNoneEnding(ctx context.Context) error {
	return lab.Await(ctx, 2*time.Minute, "the old Envoys to end", func(ctx context.Context) error {
		pods, err := w.envoyPods(ctx)
		if err == nil && len(pods) != clusterNodes {
			err = fmt.Errorf("there are %d", len(pods))
		}
		return err
	})
}

func (w *web) drainHome(ctx context.Context, t target) error    { return drain(ctx, w.bench, t) }
func (w *web) uncordonHome(ctx context.Context, t target) error { return uncordon(ctx, w.bench, t) }

// killEnvoy kills the Envoy of the announcing node, and waits until it is back.
func (w *web) killEnvoy(ctx context.Context, t target) error {
	pod, err := w.envoyOn(ctx, t.home)
	if err != nil {
		return err
	}
	if err := killIn(w.name, "envoy", pod); err != nil {
		return err
	}
	return lab.Await(ctx, 2*time.Minute, "the Envoy of "+t.home+" to be back", func(ctx context.Context) error {
		now, err := w.envoyOn(ctx, t.home)
		if err == nil && restarts(now) == restarts(pod) {
			err = errors.New("it has not been started again")
		}
		return err
	})
}

// renewEnvoy replaces the pod whose container was killed: the kubelet lets a
// container that ends again and again wait ever longer.
func (w *web) renewEnvoy(ctx context.Context, t target) error {
	pod, err := w.envoyOn(ctx, t.home)
	if err != nil {
		return err
	}
	if err := w.lab.Client.Delete(ctx, pod); err != nil {
		return fmt.Errorf("replacing the Envoy of %s: %w", t.home, err)
	}
	return w.awaitNoneEnding(ctx)
}

// envoyOn is the ready Envoy of a node.
func (w *web) envoyOn(ctx context.Context, node string) (*corev1.Pod, error) {
	pods, err := w.envoyPods(ctx)
	if err != nil {
		return nil, err
	}
	return podOn(pods, node)
}

// restarts is how often a container of a pod was started again.
func restarts(p *corev1.Pod) int {
	n := 0
	for i := range p.Status.ContainerStatuses {
		n += int(p.Status.ContainerStatuses[i].RestartCount)
	}
	return n
}

// killIn kills a program of a pod.
func killIn(cluster, program string, pod *corev1.Pod) error {
	all, err := lab.Processes(cluster, program, []corev1.Pod{*pod})
	if err != nil {
		return err
	}
	if len(all) != 1 {
		return fmt.Errorf("pod %s has %d processes %s", pod.Name, len(all), program)
	}
	if err := syscall.Kill(all[0].PID, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing %s of pod %s: %w", program, pod.Name, err)
	}
	return nil
}

// killLeader kills the controller that leads, and waits until one leads again.
func (w *web) killLeader(ctx context.Context, _ target) error {
	before, err := w.holder(ctx)
	if err != nil {
		return err
	}
	pods, err := w.lab.Pods(ctx, "controller")
	if err != nil {
		return err
	}
	i := slices.IndexFunc(pods, func(p corev1.Pod) bool { return p.Name == podOf(before) })
	if i < 0 {
		return fmt.Errorf("there is no controller %s, which leads", before)
	}
	if err := killIn(w.name, "fairlead-controller", &pods[i]); err != nil {
		return err
	}
	return lab.Await(ctx, 2*time.Minute, "another controller to lead", func(ctx context.Context) error {
		now, err := w.holder(ctx)
		if err == nil && now == before {
			err = fmt.Errorf("%s does", now)
		}
		return err
	})
}
