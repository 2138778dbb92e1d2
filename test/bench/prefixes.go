package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"slices"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// prefixesPart announces thousands of addresses to three routers, and then one more at a time.
func prefixesPart(ctx context.Context, b *bench) (rows []row, err error) {
	r, clear, err := b.stageRouted(ctx, scene{addresses: []string{manyIPv4}, backends: []string{"node3"}}, 0)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, clear()) }()
	stop, err := r.moreRouters(ctx)
	defer stop()
	if err != nil {
		return nil, err
	}
	if err := r.withoutGracefulRestart(ctx); err != nil {
		return nil, err
	}
	n := b.pick(5000, 300)
	w, err := r.fillLedger(ctx, n)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.clear(ctx), b.startController(ctx)) }()
	if err := r.received(ctx, n); err != nil {
		return nil, err
	}
	cold, err := r.coldStarts(ctx, n, b.pick(5, 1))
	rows = append(rows, cold...)
	if err != nil {
		return rows, err
	}
	added, err := r.addOne(ctx, w, n, b.pick(40, 3))
	return append(rows, added...), err
}

// birdOn is BIRD on a host of the segment, which takes what the nodes say.
func birdOn(address string) string {
	return fmt.Sprintf(`
router id %[1]s;
protocol device { scan time 10; }
protocol kernel { merge paths on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol bgp nodes {
  local %[1]s as %[2]d;
  neighbor range 172.30.0.0/24 as %[3]d;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`, address, lab.RouterASN, lab.NodeASN)
}

// moreRouters runs BIRD on two more hosts of the segment.
func (r *routed) moreRouters(ctx context.Context) (stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for _, host := range []string{testbed.Client, testbed.Control} {
		address, _, err := r.cluster.HostAddresses(host)
		if err != nil {
			return stop, err
		}
		dir, err := os.MkdirTemp(r.dir, "bird")
		if err != nil {
			return stop, fmt.Errorf("making a folder: %w", err)
		}
		start, end := r.lab.On(host)
		stops = append(stops, end)
		if _, err := routers.RunBIRD(start, dir, birdOn(address)); err != nil {
			return stop, err
		}
		if err := r.lab.Apply(ctx, r.peer(host, address)); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

// fillLedger writes the Addresses of one Service as the controller would, and no controller runs.
func (r *routed) fillLedger(ctx context.Context, n int) (*rawWriter, error) {
	if err := r.stopController(ctx); err != nil {
		return nil, err
	}
	if _, err := r.createServices(ctx, 0, 1); err != nil {
		return nil, err
	}
	w, err := r.newRawWriter(ctx, true)
	if err != nil {
		return nil, err
	}
	if len(w.services) != 1 {
		return nil, fmt.Errorf("there are %d Services, want 1", len(w.services))
	}
	service := w.services[0]
	w.services = slices.Repeat([]corev1.Service{service}, n)
	r.say("writing %d Addresses", n)
	return w, inParallel(ctx, w.workers, 0, n, func(ctx context.Context, i int) error { return w.enter(ctx, &service, rawAddress(i)) })
}

// received waits until FRR has so many prefixes from each node.
func (r *routed) received(ctx context.Context, n int) error {
	return awaitSlowly(ctx, 5*time.Minute, 50*time.Millisecond, fmt.Sprintf("FRR to have %d prefixes of each node", n), func(context.Context) error {
		got, err := r.frr.Received("ipv4")
		if err != nil {
			return err
		}
		for _, have := range got {
			if have != n {
				return fmt.Errorf("it has %v", got)
			}
		}
		if len(got) != clusterNodes {
			return fmt.Errorf("it has %v", got)
		}
		return nil
	})
}

// withoutGracefulRestart lets a speaker that ends take its routes with it.
func (r *routed) withoutGracefulRestart(ctx context.Context) error {
	var peers v1alpha1.BGPPeerList
	if err := r.lab.Client.List(ctx, &peers); err != nil {
		return fmt.Errorf("listing BGPPeers: %w", err)
	}
	for i := range peers.Items {
		patch := client.RawPatch(types.MergePatchType, []byte(`{"spec":{"enableGracefulRestart":false}}`))
		if err := r.lab.Client.Patch(ctx, &peers.Items[i], patch); err != nil {
			return fmt.Errorf("changing BGPPeer %s: %w", peers.Items[i].Name, err)
		}
	}
	return nil
}

// coldStarts replaces a speaker, and waits until FRR has all prefixes of the new one.
func (r *routed) coldStarts(ctx context.Context, n, times int) ([]row, error) {
	const node = "node1"
	address, _, err := r.cluster.HostAddresses(node)
	if err != nil {
		return nil, err
	}
	var took, cpu []time.Duration
	var mib []float64
	for i := range times {
		r.say("cold start %d of %d of the speaker of %s", i+1, times, node)
		pid, err := r.newSpeaker(ctx, node)
		if err != nil {
			return nil, err
		}
		err = awaitSlowly(ctx, 2*time.Minute, 20*time.Millisecond, "FRR to have all of "+node, func(context.Context) error {
			got, err := r.frr.Received("ipv4")
			if err == nil && got[address] != n {
				err = fmt.Errorf("it has %v", got)
			}
			return err
		})
		if err != nil {
			return nil, err
		}
		lived, err := age(pid)
		if err != nil {
			return nil, err
		}
		u, err := usedBy(pid, speaker)
		if err != nil {
			return nil, err
		}
		took, cpu, mib = append(took, lived), append(cpu, u.cpu), append(mib, u.mib)
		if err := r.received(ctx, n); err != nil {
			return nil, err
		}
	}
	what := fmt.Sprintf("%d addresses to three routers, cold start of a speaker: ", n)
	return []row{
		{what: what + "from the start of the process until FRR has the last prefix, p50", figure: percentile(seconds(took), 50), unit: "s", runs: times},
		{what: what + "from the start of the process until FRR has the last prefix, max", figure: percentile(seconds(took), 100), unit: "s", runs: times},
		{what: what + "CPU of the speaker until then, max", figure: percentile(seconds(cpu), 100), unit: "s", runs: times},
		{what: what + "memory (RSS) of the speaker then, max", figure: percentile(mib, 100), unit: "MiB", runs: times},
	}, nil
}

// newSpeaker replaces the speaker of a node and returns the new process, as soon as it is there.
func (r *routed) newSpeaker(ctx context.Context, node string) (pid int, err error) {
	old, err := r.deleteSpeaker(ctx, node)
	if err != nil {
		return 0, err
	}
	return pid, awaitSlowly(ctx, time.Minute, 20*time.Millisecond, "a new speaker on "+node, func(ctx context.Context) error {
		pods, err := r.lab.Pods(ctx, "speaker")
		if err != nil {
			return err
		}
		pods = slices.DeleteFunc(pods, func(p corev1.Pod) bool { return p.Spec.NodeName != node || p.Name == old })
		all, err := lab.Processes(r.name, "fairlead-speaker", pods)
		if err != nil {
			return err
		}
		if len(all) != 1 {
			return fmt.Errorf("there are %d", len(all))
		}
		pid = all[0].PID
		return nil
	})
}

// theRouters are those whose kernels are watched for routes, by host of the testbed.
var theRouters = map[string]string{testbed.Router: "FRR, which waits 50 ms before it chooses", testbed.Client: "BIRD"}

// follower follows the routes of a host's kernel.
type follower struct {
	host       string
	changes    chan netlink.RouteUpdate
	first, all []time.Duration
}

func (r *routed) follow(host string, done <-chan struct{}) (*follower, error) {
	f := &follower{host: host, changes: make(chan netlink.RouteUpdate, 10000)}
	err := r.cluster.InNamespace(host, func() error { return netlink.RouteSubscribe(f.changes, done) })
	if err != nil {
		return nil, fmt.Errorf("following the routes of %s: %w", host, err)
	}
	return f, nil
}

// addOne adds one address at a time, and waits until the kernels of two routers have its route, of all nodes.
func (r *routed) addOne(ctx context.Context, w *rawWriter, have, times int) ([]row, error) {
	done := make(chan struct{})
	defer close(done)
	var followers []*follower
	for _, host := range slices.Sorted(maps.Keys(theRouters)) {
		f, err := r.follow(host, done)
		if err != nil {
			return nil, err
		}
		followers = append(followers, f)
	}
	var creates []time.Duration
	w.services = append(w.services, slices.Repeat(w.services[:1], times)...) // for clear
	for i := range times {
		sent := time.Now()
		if err := w.enter(ctx, &w.services[0], rawAddress(have+i)); err != nil {
			return nil, err
		}
		creates = append(creates, time.Since(sent))
		group, ctx := errgroup.WithContext(ctx)
		for _, f := range followers {
			group.Go(func() error { return f.await(ctx, rawAddress(have+i), sent) })
		}
		if err := errors.Join(group.Wait(), sleep(context.WithoutCancel(ctx), time.Duration(200+i*37%100)*time.Millisecond)); err != nil {
			return nil, err
		}
	}
	what := fmt.Sprintf("one address added to %d: ", have)
	rows := spreadMS(what+"the API server's own time for a create", creates, aim{})
	for _, f := range followers {
		told := fmt.Sprintf("%sfrom sending the Address to the router's kernel (%s) having the route of ", what, theRouters[f.host])
		rows = append(rows, spreadMS(told+"the first node", f.first, addedAim)...)
		rows = append(rows, spreadMS(told+"all nodes", f.all, aim{})...)
	}
	return rows, nil
}

func spreadMS(what string, all []time.Duration, p99 aim) []row {
	ms := milliseconds(all)
	return []row{
		{what: what + ", p50", figure: percentile(ms, 50), unit: "ms", runs: len(ms)},
		{what: what + ", p99", figure: percentile(ms, 99), unit: "ms", runs: len(ms), aim: p99},
	}
}

// await notes how long after a moment the kernel had a route to an address, and when that had as many next hops as there are
// nodes.
func (f *follower) await(ctx context.Context, a netip.Addr, sent time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	want := netip.PrefixFrom(a, a.BitLen()).String()
	for seen := false; ; {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for the route to %s on %s: %w", a, f.host, ctx.Err())
		case c := <-f.changes:
			if c.Type != unix.RTM_NEWROUTE || c.Dst == nil || c.Dst.String() != want {
				continue
			}
			if !seen {
				f.first, seen = append(f.first, time.Since(sent)), true
			}
			if len(c.MultiPath) == clusterNodes {
				f.all = append(f.all, time.Since(sent))
				return nil
			}
		}
	}
}
