package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"time"

	"golang.org/x/sync/errgroup"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	// proxyNode has both Envoys, their addresses and the backend.
	proxyNode = "node1"
	byHand    = "by-hand"
	// byHandPort is where the Envoy with the hand-written configuration listens.
	byHandPort = 8080
	// proxyConnections ask at once, each as soon as it has its answer.
	proxyConnections = 16
)

// proxyAim is how many percent a Gateway may differ.
var proxyAim = within(3)

// byHandConfig is what somebody writes who wants Envoy to pass requests on to one
// backend, and nothing more.
const byHandConfig = `static_resources:
  listeners:
    - name: http
      address: {socket_address: {address: "::", port_value: %d, ipv4_compat: true}}
      filter_chains:
        - filters:
            - name: envoy.filters.network.http_connection_manager
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                stat_prefix: http
                use_remote_address: true
                route_config:
                  virtual_hosts:
                    - name: all
                      domains: ["*"]
                      routes:
                        - match: {prefix: "/"}
                          route: {cluster: backend}
                http_filters:
                  - name: envoy.filters.http.router
                    typed_config: {"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}
  clusters:
    - name: backend
      type: STATIC
      connect_timeout: 1s
      load_assignment:
        cluster_name: backend
        endpoints:
          - lb_endpoints:
              - endpoint: {address: {socket_address: {address: "%s", port_value: %d}}}
`

// proxyPart compares an Envoy that Fairlead configures with one that is configured
// by hand: on the same node, of the same image, with the same resources, reached
// in the same way, and with the same backend.
func proxyPart(ctx context.Context, b *bench) (rows []row, err error) {
	w, clear, err := b.stageWeb(ctx, "proxy", scene{
		addresses: []string{segmentIPv4}, backends: []string{proxyNode}, from: []string{proxyNode},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	sides, err := w.sides(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range sides { // connections to the backend, caches
		if _, err := s.run(ctx, b, proxyTime(b)); err != nil {
			return nil, fmt.Errorf("%s: %w", s.what, err)
		}
	}
	var rounds [][2]runOf
	for i := range b.pick(20, 3) {
		r, err := w.round(ctx, sides, i)
		if err != nil {
			return nil, err
		}
		rounds = append(rounds, r)
	}
	return proxyRows(rounds), nil
}

func proxyTime(b *bench) time.Duration { return time.Duration(b.pick(10, 2)) * time.Second }

// side is one of the two that are compared.
type side struct {
	what    string
	address netip.Addr
	host    string
	pid     int
}

// sides are the Gateway and the Envoy that is configured by hand.
func (w *web) sides(ctx context.Context) (both [2]side, err error) {
	pods, err := w.envoyPods(ctx)
	if err != nil {
		return both, err
	}
	ours, err := podOn(pods, proxyNode)
	if err != nil {
		return both, err
	}
	theirs, address, err := w.envoyByHand(ctx, &ours.Spec)
	if err != nil {
		return both, err
	}
	both = [2]side{{what: "Gateway", address: w.address, host: hostOf(0)}, {what: byHand, address: address, host: hostOf(0)}}
	for i, p := range []*corev1.Pod{ours, theirs} {
		all, err := lab.Processes(w.name, "envoy", []corev1.Pod{*p})
		if err != nil || len(all) != 1 {
			return both, errors.Join(fmt.Errorf("pod %s has %d processes envoy", p.Name, len(all)), err)
		}
		both[i].pid = all[0].PID
	}
	return both, nil
}

// podOn is the pod on a node.
func podOn(pods []corev1.Pod, node string) (*corev1.Pod, error) {
	for i := range pods {
		if pods[i].Spec.NodeName == node && podReady(&pods[i]) {
			return &pods[i], nil
		}
	}
	return nil, fmt.Errorf("none of %d pods is ready on %s", len(pods), node)
}

// envoyByHand starts an Envoy like one of a fleet, with the configuration written by
// hand and an address.
func (w *web) envoyByHand(ctx context.Context, like *corev1.PodSpec) (*corev1.Pod, netip.Addr, error) {
	none := netip.Addr{}
	ip, err := w.backendIP(ctx, proxyNode)
	if err != nil {
		return nil, none, err
	}
	config := &corev1.ConfigMap{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: byHand},
		Data:       map[string]string{"envoy.yaml": fmt.Sprintf(byHandConfig, byHandPort, ip, lab.EchoPort)},
	}
	service := lab.LoadBalancer(namespace, byHand, byHand, lab.Local)
	service.Spec.Ports[0].TargetPort = intstr.FromInt32(byHandPort)
	if err := w.lab.Apply(ctx, config, byHandDeployment(like), service); err != nil {
		return nil, none, err
	}
	if err := w.lab.AwaitReady(ctx, namespace, byHand); err != nil {
		return nil, none, err
	}
	addresses, err := w.lab.AwaitAddresses(ctx, namespace, byHand, 1)
	if err != nil {
		return nil, none, err
	}
	if _, err := w.newAsker(addresses[0]).until(ctx, hostOf(0), served); err != nil {
		return nil, none, err
	}
	var pods corev1.PodList
	if err := w.lab.Client.List(ctx, &pods, client.InNamespace(namespace), client.MatchingLabels{"app": byHand}); err != nil {
		return nil, none, fmt.Errorf("looking for the Envoy configured by hand: %w", err)
	}
	pod, err := podOn(pods.Items, proxyNode)
	return pod, addresses[0], err
}

// byHandDeployment is as confined as the fleet: a filter of system calls costs
// whoever makes many.
func byHandDeployment(like *corev1.PodSpec) *appsv1.Deployment {
	envoy := like.Containers[0]
	d := lab.Echo(namespace, byHand, 1)
	pod := &d.Spec.Template.Spec
	pod.NodeSelector = map[string]string{corev1.LabelHostname: proxyNode}
	pod.Volumes = []corev1.Volume{{Name: "config", VolumeSource: corev1.VolumeSource{
		ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: corev1.LocalObjectReference{Name: byHand}},
	}}}
	pod.SecurityContext = like.SecurityContext.DeepCopy()
	pod.Containers = []corev1.Container{{
		Name: "envoy", Image: envoy.Image, ImagePullPolicy: corev1.PullNever, Resources: *envoy.Resources.DeepCopy(),
		SecurityContext: envoy.SecurityContext.DeepCopy(),
		Args:            append([]string{"--config-path", "/config/envoy.yaml", "--log-level", "warning", "--disable-hot-restart"}, concurrencyOf(envoy.Args)...),
		VolumeMounts:    []corev1.VolumeMount{{Name: "config", MountPath: "/config", ReadOnly: true}},
		ReadinessProbe: &corev1.Probe{PeriodSeconds: 1, ProbeHandler: corev1.ProbeHandler{
			TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(byHandPort)},
		}},
	}}
	return d
}

// concurrencyOf are the arguments by which an Envoy has so many workers.
func concurrencyOf(args []string) []string {
	for i := range args {
		if args[i] == "--concurrency" && i+1 < len(args) {
			return args[i : i+2]
		}
	}
	return nil
}

// runOf is what one side did in a while.
type runOf struct {
	perSecond, mean, p99 float64 // requests; milliseconds
	cpu                  float64 // microseconds per request
}

// round measures both sides; every other round the second goes first, so that what
// changes with time favours none.
func (w *web) round(ctx context.Context, sides [2]side, i int) (r [2]runOf, err error) {
	for k := range sides {
		at := (i + k) % 2
		if r[at], err = sides[at].run(ctx, w.bench, proxyTime(w.bench)); err != nil {
			return r, fmt.Errorf("%s: %w", sides[at].what, err)
		}
	}
	w.say("round %d: Gateway %.0f/s, %.3f ms, %.1f µs of CPU; %s %.0f/s, %.3f ms, %.1f µs", i+1,
		r[0].perSecond, r[0].mean, r[0].cpu, sides[1].what, r[1].perSecond, r[1].mean, r[1].cpu)
	return r, nil
}

// run asks as fast as the connections get answers.
func (s side) run(ctx context.Context, b *bench, d time.Duration) (runOf, error) {
	before, err := cpuTime(s.pid)
	if err != nil {
		return runOf{}, err
	}
	start := time.Now()
	took, err := s.hammer(ctx, b, start.Add(d))
	spent := time.Since(start)
	if err != nil {
		return runOf{}, err
	}
	after, err := cpuTime(s.pid)
	if err != nil {
		return runOf{}, err
	}
	ms, n := milliseconds(took), float64(len(took))
	return runOf{
		perSecond: n / spent.Seconds(), mean: mean(ms), p99: percentile(ms, 99),
		cpu: float64((after - before).Microseconds()) / n,
	}, nil
}

// hammer asks on some connections until a time, and says how long each answer
// took. It writes and reads by itself, since net/http's client would cost more than
// Envoy does.
func (s side) hammer(ctx context.Context, b *bench, until time.Time) ([]time.Duration, error) {
	group, ctx := errgroup.WithContext(ctx)
	var each [proxyConnections][]time.Duration
	for i := range each {
		group.Go(func() (err error) {
			each[i], err = s.askOn(ctx, b, until)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	var all []time.Duration
	for _, one := range each {
		all = append(all, one...)
	}
	return all, nil
}

// askOn asks one question after the other on a connection.
func (s side) askOn(ctx context.Context, b *bench, until time.Time) ([]time.Duration, error) {
	conn, err := b.cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(s.address, 80).String())
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	if err := conn.SetDeadline(until.Add(patience)); err != nil {
		return nil, err
	}
	return exchange(ctx, conn, s.host, until)
}

func exchange(ctx context.Context, conn io.ReadWriter, host string, until time.Time) (took []time.Duration, err error) {
	question := []byte("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	answers := bufio.NewReader(conn)
	for time.Now().Before(until) && ctx.Err() == nil {
		start := time.Now()
		if _, err := conn.Write(question); err != nil {
			return took, fmt.Errorf("asking: %w", err)
		}
		if err := readOK(answers); err != nil {
			return took, err
		}
		took = append(took, time.Since(start))
	}
	return took, ctx.Err()
}

// readOK reads one answer to its end.
func readOK(from *bufio.Reader) error {
	response, err := http.ReadResponse(from, nil)
	if err != nil {
		return fmt.Errorf("reading an answer: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("the answer is %s", response.Status)
	}
	return discard(response.Body)
}

// proxyRows has each figure of both sides as the median of all rounds, and by how
// much the Gateway's differs, as the median and the spread of the rounds.
func proxyRows(rounds [][2]runOf) []row {
	var rows []row
	for _, f := range []struct {
		what, unit string
		of         func(runOf) float64
		aim        aim
	}{
		{"requests", "per second", func(r runOf) float64 { return r.perSecond }, proxyAim},
		{"latency, mean", "ms", func(r runOf) float64 { return r.mean }, proxyAim},
		{"latency, p99", "ms", func(r runOf) float64 { return r.p99 }, aim{}},
		{"CPU of Envoy", "µs per request", func(r runOf) float64 { return r.cpu }, proxyAim},
	} {
		var ours, theirs, differ []float64
		for _, r := range rounds {
			a, b := f.of(r[0]), f.of(r[1])
			ours, theirs, differ = append(ours, a), append(theirs, b), append(differ, 100*(a/b-1))
		}
		n := len(rounds)
		what := fmt.Sprintf("%d connections, one backend: %s", proxyConnections, f.what)
		rows = append(rows,
			row{what: what + ", through a Gateway", figure: median(ours), unit: f.unit, runs: n},
			row{what: what + ", Envoy configured by hand", figure: median(theirs), unit: f.unit, runs: n},
			row{
				what: fmt.Sprintf("%s: the Gateway's beside that (of the rounds: %s to %s, half of them %s to %s)", what,
					number(percentile(differ, 0)), number(percentile(differ, 100)), number(percentile(differ, 25)), number(percentile(differ, 75))),
				figure: median(differ), unit: "%", aim: f.aim, runs: n,
			},
		)
	}
	return rows
}
