package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	// patience is how long a new connection may take in an orderly takeover: a
	// lost packet is sent again after a second, which is no failure.
	patience = 5 * time.Second
	// held is how many established connections there are to each address.
	held = 5
)

// orderlyCase is a way in which a node or speaker ends that others can know of.
type orderlyCase struct {
	what        string
	full, quick int
	do          func(context.Context, *bench, target) error
	// undo makes the node as it was.
	undo func(context.Context, *bench, target) error
}

var orderlyCases = []orderlyCase{
	{"drain of the announcing node", 8, 1, drain, uncordon},
	{"rolling update of all speakers", 4, 1, rollSpeakers, nothing},
	{"kill -9 of the announcing speaker", 8, 1, killSpeaker, renewSpeaker},
}

func orderlyPart(ctx context.Context, b *bench) (rows []row, err error) {
	clear, err := b.stage(ctx, scene{
		addresses: []string{segmentIPv4, segmentIPv6}, backends: []string{"node3"}, from: []string{"node1", "node2"},
	})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	targets, err := b.targets(ctx, 4)
	if err != nil {
		return nil, err
	}
	for _, c := range orderlyCases {
		seen, err := b.orderly(ctx, c, targets)
		rows = append(rows, seen.rows(c.what)...)
		if err != nil {
			return rows, fmt.Errorf("%s: %w", c.what, err)
		}
	}
	return rows, nil
}

// toll is what clients saw.
type toll struct {
	runs           int
	tried, failed  int
	open, brokenUp int
	slowest        time.Duration
}

func (t toll) rows(what string) []row {
	if t.runs == 0 {
		return nil
	}
	return []row{
		{what: fmt.Sprintf("%s: of %d new connections, failed", what, t.tried), figure: float64(t.failed), unit: "connections", aim: atMost(0), runs: t.runs},
		{what: what + ": slowest answer on a new connection", figure: t.slowest.Seconds(), unit: "s", runs: t.runs},
		{what: fmt.Sprintf("%s: of %d established connections, broken", what, t.open), figure: float64(t.brokenUp), unit: "connections", runs: t.runs},
	}
}

func (b *bench) orderly(ctx context.Context, c orderlyCase, targets []target) (toll, error) {
	var sum toll
	for i := range b.pick(c.full, c.quick) {
		t := targets[i%len(targets)]
		if err := b.once(ctx, c, t, &sum); err != nil {
			return sum, err
		}
		b.say("%s, %s: so far %d of %d new connections failed, %d of %d established ones broke", c.what, t.home, sum.failed, sum.tried, sum.brokenUp, sum.open)
		if err := errors.Join(c.undo(ctx, b, t), b.awaitHomes(ctx, targets)); err != nil {
			return sum, err
		}
	}
	return sum, nil
}

// once ends a node or a speaker while clients of both families watch.
func (b *bench) once(ctx context.Context, c orderlyCase, t target, sum *toll) error {
	var probes []*lab.Probe
	var open connections
	defer func() {
		open.close()
		for _, p := range probes {
			p.Stop()
		}
	}()
	for _, a := range t.addresses {
		if err := b.holdSome(ctx, a, &open); err != nil {
			return err
		}
		probes = append(probes, b.lab.StartProbe(ctx, testbed.Client, a, 80, probeEvery, patience))
	}
	if err := errors.Join(sleep(ctx, time.Second), c.do(ctx, b, t), sleep(ctx, afterwards)); err != nil {
		return errors.Join(err, c.undo(ctx, b, t))
	}
	for _, p := range probes {
		tries := p.Stop()
		sum.tried += len(tries)
		sum.failed += len(lab.Failed(tries))
		for _, try := range tries {
			if try.Err == nil {
				sum.slowest = max(sum.slowest, try.Took)
			}
		}
	}
	sum.open, sum.brokenUp = sum.open+len(open), sum.brokenUp+open.broken()
	sum.runs++
	return nil
}

// connections are established ones.
type connections []*connection

// holdSome opens as many connections to an address as are held to each, and adds those that it could.
func (b *bench) holdSome(ctx context.Context, a netip.Addr, open *connections) error {
	for range held {
		o, err := b.hold(ctx, a)
		if err != nil {
			return err
		}
		*open = append(*open, o)
	}
	return nil
}

func (all connections) broken() (n int) {
	for _, c := range all {
		if c.broke.Load() {
			n++
		}
	}
	return n
}

func (all connections) close() {
	for _, c := range all {
		c.close()
	}
}

// connection is an established one that asks something now and then.
type connection struct {
	broke  atomic.Bool
	cancel context.CancelFunc
	done   chan struct{}
}

// hold opens a connection and keeps asking on it, never on another.
func (b *bench) hold(ctx context.Context, a netip.Addr) (*connection, error) {
	conn, err := b.cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(a, 80).String())
	if err != nil {
		return nil, fmt.Errorf("opening a connection to %s: %w", a, err)
	}
	var once sync.Once
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		var first net.Conn
		once.Do(func() { first = conn })
		if first == nil {
			return nil, errors.New("the connection is gone")
		}
		return first, nil
	}}
	ctx, cancel := context.WithCancel(ctx)
	c := &connection{cancel: cancel, done: make(chan struct{})}
	go func() {
		defer close(c.done)
		defer conn.Close()
		for ctx.Err() == nil {
			if err := ask(ctx, transport, a); err != nil {
				c.broke.Store(ctx.Err() == nil)
				return
			}
			if sleep(ctx, 100*time.Millisecond) != nil {
				return
			}
		}
	}()
	return c, nil
}

func ask(ctx context.Context, transport *http.Transport, a netip.Addr) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+netip.AddrPortFrom(a, 80).String()+"/", nil)
	if err != nil {
		return err
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	return errors.Join(discard(response.Body), response.Body.Close())
}

func discard(body io.Reader) error {
	_, err := io.Copy(io.Discard, body)
	return err
}

func (c *connection) close() {
	c.cancel()
	<-c.done
}

func nothing(context.Context, *bench, target) error { return nil }

func drain(ctx context.Context, b *bench, t target) error {
	if err := b.empty(ctx, t.home, "--grace-period=1"); err != nil {
		return err
	}
	return b.awaitMoved(ctx, t)
}

// empty cordons a node and evicts its pods.
func (b *bench) empty(ctx context.Context, node string, more ...string) error {
	_, err := b.cluster.Kubectl(ctx, append([]string{"drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout=90s"}, more...)...)
	return err
}

func uncordon(ctx context.Context, b *bench, t target) error {
	_, err := b.cluster.Kubectl(context.WithoutCancel(ctx), "uncordon", t.home)
	return err
}

func rollSpeakers(ctx context.Context, b *bench, _ target) error { return b.replaceSpeakers(ctx) }

// killSpeaker kills the speaker of the announcing node, and waits until it is
// back.
func killSpeaker(ctx context.Context, b *bench, t target) error {
	all, err := b.processes(ctx, "speaker")
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.Node != t.home {
			continue
		}
		if err := syscall.Kill(p.PID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing the speaker of %s: %w", t.home, err)
		}
		return b.awaitSpeaker(ctx, t.home, func(q lab.Process) bool { return q.PID != p.PID })
	}
	return fmt.Errorf("there is no speaker on %s", t.home)
}

// renewSpeaker replaces the pod whose container was killed: the kubelet lets a
// container that ends again and again wait ever longer.
func renewSpeaker(ctx context.Context, b *bench, t target) error {
	old, err := b.deleteSpeaker(ctx, t.home)
	if err != nil {
		return err
	}
	return b.awaitSpeaker(ctx, t.home, func(q lab.Process) bool { return q.Pod != old })
}

// deleteSpeaker deletes the pod of a node's speaker, so that another one takes its place.
func (b *bench) deleteSpeaker(ctx context.Context, node string) (pod string, err error) {
	pods, err := b.lab.Pods(ctx, "speaker")
	if err != nil {
		return "", err
	}
	for i := range pods {
		if pods[i].Spec.NodeName != node {
			continue
		}
		if err := b.lab.Client.Delete(ctx, &pods[i]); err != nil {
			return "", fmt.Errorf("replacing the speaker of %s: %w", node, err)
		}
		return pods[i].Name, nil
	}
	return "", fmt.Errorf("there is no speaker on %s", node)
}

// awaitSpeaker waits until a node has one speaker, a ready one that ok accepts.
func (b *bench) awaitSpeaker(ctx context.Context, node string, ok func(lab.Process) bool) error {
	return lab.Await(ctx, 2*time.Minute, "a new speaker on "+node, func(ctx context.Context) error {
		pods, err := b.lab.Pods(ctx, "speaker")
		if err != nil {
			return err
		}
		for i := range pods {
			if !podReady(&pods[i]) {
				return fmt.Errorf("%s is not ready", pods[i].Name)
			}
		}
		all, err := b.processes(ctx, "speaker")
		if err != nil {
			return err
		}
		for _, p := range all {
			if p.Node == node && ok(p) {
				return nil
			}
		}
		return errors.New("it is the old one")
	})
}
