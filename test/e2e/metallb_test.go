//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/chart"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/metallb"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// incumbent is a cluster that a real MetalLB serves, beside a Fairlead that serves
// only Services of its own class.
type incumbent struct {
	*world
	plugin *plugin
	// has is what MetalLB gave each Service.
	has map[string][]netip.Addr
}

// beside leaves Services without a class to another controller.
func beside() chart.Values {
	values := defaultValues()
	values["services"] = chart.Values{"defaultClass": false}
	return values
}

func (w *world) incumbent(objects ...client.Object) *incumbent {
	w.Helper()
	w.install(beside())
	w.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if w.Failed() {
			w.dumpMetalLB(ctx)
		}
		if err := metallb.Remove(ctx, w.Lab); err != nil {
			w.Error(err)
		}
		w.forget(ctx)
	})
	start := time.Now()
	if err := metallb.Install(w.ctx, w.Lab); err != nil {
		w.Fatal(err)
	}
	w.Logf("MetalLB %s ready after %s", testbed.MetalLBVersion, time.Since(start).Round(time.Millisecond))
	w.apply(objects...)
	return &incumbent{world: w, plugin: w.plugin(), has: map[string][]netip.Addr{}}
}

// forget removes what was imported.
func (w *world) forget(ctx context.Context) {
	for _, o := range []client.Object{
		&v1alpha1.L2Advertisement{}, &v1alpha1.BGPAdvertisement{}, &v1alpha1.BGPPeer{}, &v1alpha1.IPAddressPool{},
	} {
		if err := w.Client.DeleteAllOf(ctx, o); err != nil {
			w.Errorf("removing %T: %v", o, err)
		}
	}
	for _, node := range w.Cluster.Nodes() {
		for _, label := range []string{v1alpha1.LabelAnnouncesLayer2, v1alpha1.LabelAnnouncesBGP} {
			if _, err := w.Cluster.Kubectl(ctx, "label", "node", node, label+"-"); err != nil {
				w.Error(err)
			}
		}
	}
}

func (w *world) dumpMetalLB(ctx context.Context) {
	for _, args := range [][]string{
		{"get", "pods", "-n", metallb.Namespace, "-o", "wide"},
		{"logs", "-n", metallb.Namespace, "-l", "component=controller", "--tail=30", "--prefix"},
		{"logs", "-n", metallb.Namespace, "-l", "component=speaker", "--tail=30", "--prefix"},
	} {
		out, err := w.Cluster.Kubectl(ctx, args...)
		w.Logf("kubectl %v: %v\n%s", args, err, out)
	}
}

// ways is every way in which a Service asks MetalLB for addresses.
var ways = []func(n int) []func(*corev1.Service){
	func(int) []func(*corev1.Service) { return nil },
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.LoadBalancerIP(fmt.Sprint("172.30.0.", 190+n))}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/loadBalancerIPs", fmt.Sprint("172.30.0.", 200+n))}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.universe.tf/loadBalancerIPs", fmt.Sprint("172.30.0.", 210+n))}
	},
	func(int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/address-pool", "named")}
	},
	func(int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.universe.tf/address-pool", "named")}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/allow-shared-ip", fmt.Sprint("key-", n/2)), lab.Port(int32(80 + n%2))}
	},
	func(int) []func(*corev1.Service) { return []func(*corev1.Service){lab.DualStack} },
	func(int) []func(*corev1.Service) { return []func(*corev1.Service){lab.Local} },
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.DualStack, lab.Annotate("metallb.io/loadBalancerIPs", fmt.Sprintf("172.30.0.%d,fd00:30::%x", 180+n, 0x200+n))}
	},
}

// routedWays is the same where routers have the addresses.
var routedWays = []func(n int) []func(*corev1.Service){
	func(int) []func(*corev1.Service) { return nil },
	func(int) []func(*corev1.Service) { return []func(*corev1.Service){lab.Local} },
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.LoadBalancerIP(fmt.Sprint("203.0.113.", 100+n))}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/loadBalancerIPs", fmt.Sprint("203.0.113.", 200+n))}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.universe.tf/loadBalancerIPs", fmt.Sprint("203.0.113.", 220+n))}
	},
	func(int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/address-pool", "named")}
	},
	func(n int) []func(*corev1.Service) {
		return []func(*corev1.Service){lab.Annotate("metallb.io/allow-shared-ip", fmt.Sprint("key-", n/2)), lab.Port(int32(80 + n%2))}
	},
}

func everyWay(n int) []func(*corev1.Service) { return ways[n%len(ways)](n / len(ways)) }

// waysPools are the pools of MetalLB for all of that.
func waysPools() []client.Object {
	return []client.Object{
		metallb.Pool("public", true, "172.30.0.100-172.30.0.179", "fd00:30::100-fd00:30::1ff"),
		metallb.Pool("pinned", false, "172.30.0.180-172.30.0.219", "fd00:30::200-fd00:30::20f"),
		metallb.Pool("named", false, "172.30.0.220-172.30.0.249"),
		metallb.L2Advertisement("lan"),
	}
}

// services makes so many Services, in all ways, and waits until MetalLB has served
// each and all answer.
func (i *incumbent) services(count int, ask func(n int) []func(*corev1.Service)) {
	i.Helper()
	i.backend("echo", 3)
	for n := range count {
		i.apply(lab.LoadBalancer(i.namespace, fmt.Sprintf("s%03d", n), "echo", ask(n)...))
	}
	i.await("MetalLB to serve all Services", func(ctx context.Context) error {
		all, err := i.shown(ctx)
		if err != nil {
			return err
		}
		for name, list := range all {
			if len(list) == 0 {
				return fmt.Errorf("%s has no address", name)
			}
		}
		i.has = all
		return nil
	})
}

// shown is what the statuses of the Services show.
func (i *incumbent) shown(ctx context.Context) (map[string][]netip.Addr, error) {
	var list corev1.ServiceList
	if err := i.Client.List(ctx, &list, client.InNamespace(i.namespace)); err != nil {
		return nil, err
	}
	out := map[string][]netip.Addr{}
	for n := range list.Items {
		out[list.Items[n].Name] = lab.Addresses(&list.Items[n])
	}
	return out, nil
}

// unchanged says that every Service shows what MetalLB gave it.
func (i *incumbent) unchanged(after string) {
	i.Helper()
	all, err := i.shown(i.ctx)
	if err != nil {
		i.Fatal(err)
	}
	for name, had := range i.has {
		if !slices.Equal(all[name], had) {
			i.Errorf("after %s, %s has %v; it had %v", after, name, all[name], had)
		}
	}
}

// targets are the sockets at which the Services are asked for.
func (i *incumbent) targets() []netip.AddrPort {
	i.Helper()
	var list corev1.ServiceList
	if err := i.Client.List(i.ctx, &list, client.InNamespace(i.namespace)); err != nil {
		i.Fatal(err)
	}
	var out []netip.AddrPort
	for n := range list.Items {
		for _, a := range lab.Addresses(&list.Items[n]) {
			out = append(out, netip.AddrPortFrom(a, uint16(list.Items[n].Spec.Ports[0].Port)))
		}
	}
	return out
}

// traffic is new connections to all Services, and the steps during which they came.
type traffic struct {
	*world
	probes map[netip.AddrPort]*lab.Probe
	steps  []step
	// look looks at something after each step.
	look func(step string)
	// gaps are steps in which MetalLB closes its sessions on all nodes at once, since its
	// BGPPeer changes: the router has no route until they are back.
	gaps []string
}

type step struct {
	name       string
	start, end time.Time
}

func (i *incumbent) traffic(every time.Duration) *traffic {
	i.Helper()
	t := &traffic{world: i.world, probes: map[netip.AddrPort]*lab.Probe{}}
	for _, target := range i.targets() {
		i.answers(target.Addr(), target.Port())
	}
	for _, target := range i.targets() {
		t.probes[target] = i.StartProbe(i.ctx, testbed.Client, target.Addr(), target.Port(), every, probeTimeout)
	}
	return t
}

// during does a step.
func (t *traffic) during(name string, f func()) {
	t.Helper()
	s := step{name: name, start: time.Now()}
	f()
	s.end = time.Now()
	t.steps = append(t.steps, s)
	if t.look != nil {
		t.look(name)
	}
}

// lost ends the traffic and tells what failed in each step. No new connection may;
// those that are established break where their address moves to a node that does not
// know them.
func (t *traffic) lost() {
	t.Helper()
	var said []string
	tries := map[netip.AddrPort][]lab.Try{}
	for target, p := range t.probes {
		tries[target] = p.Stop()
	}
	for n, s := range t.steps {
		end := s.end
		if n+1 < len(t.steps) {
			end = t.steps[n+1].start
		}
		all, failed, broken := 0, 0, 0
		for target, list := range tries {
			in := slices.DeleteFunc(slices.Clone(list), func(y lab.Try) bool { return y.Start.Before(s.start) || !y.Start.Before(end) })
			all, failed, broken = all+len(in), failed+len(lab.Failed(in)), broken+len(lab.Broken(in))
			for _, y := range lab.Failed(in) {
				t.Logf("%s, %s after its begin: %s failed after %s (connected: %t): %v", s.name, y.Start.Sub(s.start).Round(time.Millisecond), target, y.Took.Round(time.Millisecond), y.Connected, y.Err)
			}
		}
		if slices.Contains(t.gaps, s.name) {
			failed -= t.unreachable(tries, s.start, end)
		}
		if failed > broken {
			t.lookFor(tries)
			t.Errorf("%s: %d of %d new connections failed", s.name, failed-broken, all)
		}
		said = append(said, fmt.Sprintf("%s: %.1fs, %d new connections, %d failed (%d when established)", s.name, s.end.Sub(s.start).Seconds(), all, failed, broken))
	}
	t.Attr("measured", strings.Join(said, "; "))
}

// unreachable counts connections that the router refused for want of a route.
func (t *traffic) unreachable(tries map[netip.AddrPort][]lab.Try, start, end time.Time) (n int) {
	for _, list := range tries {
		for _, y := range lab.Failed(list) {
			if !y.Connected && errors.Is(y.Err, syscall.ENETUNREACH) && !y.Start.Before(start) && y.Start.Before(end) {
				n++
			}
		}
	}
	return n
}

// lookFor shows what the nodes remember of connections that were not made.
func (t *traffic) lookFor(tries map[netip.AddrPort][]lab.Try) {
	for target, list := range tries {
		if len(lab.Failed(list)) == len(lab.Broken(list)) {
			continue
		}
		for _, node := range t.Cluster.Nodes() {
			out, err := t.Cluster.Exec(t.ctx, node, "conntrack", "-L", "-d", target.Addr().String())
			t.Logf("%s of %s: %v\n%s", node, target, err, out)
		}
	}
}

// audited says that the audit names a real MetalLB and what it is made of, and that
// the import gives pools under which every Service keeps its address, whichever way it
// asked.
func (i *incumbent) audited() {
	i.Helper()
	i.plugin.says(0, []string{
		"Found: MetalLB 0.16.1: controller, speaker (3 of 3 ready), 3 IPAddressPools, 1 L2Advertisement, takes Services without a class.\n",
		"Found: Fairlead", "pools as kubectl fairlead import makes them (metallb)", "0 of 100 Services would change.",
	}, "audit")
	i.plugin.says(0, []string{
		"3 IPAddressPools, 1 L2Advertisement.", "0 lost, 0 to do", "100 of 100 Services with an address keep it.", "Nothing was written",
	}, "import", "metallb")
}

// does takes a step of the adoption, or one back.
func (i *incumbent) does(code int, args ...string) ran {
	i.Helper()
	args = append([]string{"--pause=3s"}, args...)
	got := i.plugin.fairlead(i.ctx, append([]string{"adopt", "metallb", "--apply"}, args...)...)
	i.Logf("$ kubectl fairlead adopt metallb --apply %s\n%s%s(exit code %d)", strings.Join(args, " "), got.out, got.errs, got.code)
	if got.code != code {
		i.Fatalf("kubectl fairlead adopt metallb --apply %s ends with %d; want %d", strings.Join(args, " "), got.code, code)
	}
	i.unchanged(strings.Join(args, " "))
	return got
}

// errand is what the command asks for, and what is done then.
type errand struct {
	words string
	do    func(ctx context.Context) error
}

// answering takes a step of the adoption, or one back, and does what the command asks
// for while it waits.
func (i *incumbent) answering(all []errand, args ...string) {
	i.Helper()
	var tees []io.Writer
	done := make(chan error, len(all))
	for _, a := range all {
		heard := &awaited{words: a.words, said: make(chan struct{})}
		tees = append(tees, heard)
		go func() {
			select {
			case <-heard.said:
				done <- a.do(i.ctx)
			case <-i.ctx.Done():
				done <- i.ctx.Err()
			}
		}()
	}
	i.plugin.tee = io.MultiWriter(tees...)
	defer func() { i.plugin.tee = nil }()
	i.does(0, args...)
	for range all {
		if err := <-done; err != nil {
			i.Fatal(err)
		}
	}
}

// decides has the one give addresses from now on that did not: the command says that
// Helm is to be asked, and goes on when that is done.
func (i *incumbent) decides(values chart.Values, args ...string) {
	i.Helper()
	i.answering([]errand{{"helm upgrade", func(ctx context.Context) error { return i.Install(ctx, values) }}}, args...)
}

// awaited tells when words were written.
type awaited struct {
	words string
	text  strings.Builder
	said  chan struct{}
	once  sync.Once
}

func (a *awaited) Write(b []byte) (int, error) {
	a.text.Write(b)
	if strings.Contains(a.text.String(), a.words) {
		a.once.Do(func() { close(a.said) })
	}
	return len(b), nil
}

// watching notes every status of the Services that does not show what MetalLB gave:
// also one that is put right at once, for which kube-proxy has no address meanwhile.
func (i *incumbent) watching() {
	i.Helper()
	clients, err := kubernetes.NewForConfig(i.Config)
	if err != nil {
		i.Fatal(err)
	}
	ctx, cancel := context.WithCancel(i.ctx)
	w, err := clients.CoreV1().Services(i.namespace).Watch(ctx, metav1.ListOptions{})
	if err != nil {
		i.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() {
		for e := range w.ResultChan() {
			svc, ok := e.Object.(*corev1.Service)
			if !ok || e.Type != watch.Modified {
				continue
			}
			if had, known := i.has[svc.Name]; known && !slices.Equal(lab.Addresses(svc), had) {
				i.Errorf("%s: %s shows %v; it had %v: %s", time.Now().Format(time.TimeOnly), svc.Name, svc.Status.LoadBalancer.Ingress, had, lastWriter(svc))
			}
		}
	})
	i.Cleanup(func() {
		w.Stop()
		cancel()
		done.Wait()
	})
}

func lastWriter(svc *corev1.Service) string {
	var last metav1.ManagedFieldsEntry
	for _, f := range svc.ManagedFields {
		if f.Subresource == "status" && f.Time != nil && (last.Time == nil || !f.Time.Before(last.Time)) {
			last = f
		}
	}
	return last.Manager
}

// A cluster is taken over from a real MetalLB under load, back, and again, to the end:
// no address changes and no new connection fails. In between MetalLB's controller is
// gone; afterwards there is a MetalLB for one class.
func TestAdoptMetalLB(t *testing.T) {
	builds(t, shared.Cluster.BuildMetalLB)
	w := newWorld(t)
	i := w.incumbent(waysPools()...)
	i.services(100, everyWay)
	i.audited()
	tr := i.traffic(500 * time.Millisecond)
	i.watching()
	i.forth(tr)
	tr.during("Announce, back", func() { i.does(0, "--undo") })
	tr.during("Decide, back", func() { i.decides(beside(), "--undo") })
	tr.during("Books and Pools, back", func() { i.does(0, "--undo", "--all") })
	i.halved(tr)
	i.takes(tr)
	i.end(tr)
	i.plugin.says(0, []string{"All of it is in the cluster already."}, "import", "metallb")
	tr.lost()
	i.limited()
}

// The same where routers have the addresses by BGP, and then all the way back.
func TestAdoptMetalLBByBGP(t *testing.T) {
	builds(t, shared.Cluster.BuildMetalLB)
	w := newWorld(t)
	w.far("203.0.113.0/24")
	router := routers.StartFRR(w.routerOn(testbed.Router), lab.FRRConfig(0))
	i := w.incumbent(
		metallb.Pool("routed", true, "203.0.113.0/25"), metallb.Pool("named", false, "203.0.113.128/25"),
		metallb.BGPPeer("tor"), metallb.BGPAdvertisement("tor", "routed", "named"),
	)
	i.services(100, func(n int) []func(*corev1.Service) { return routedWays[n%len(routedWays)](n / len(routedWays)) })
	for _, target := range i.targets() {
		w.paths(router, target.Addr(), 3)
	}
	tr := i.traffic(500 * time.Millisecond)
	tr.gaps = []string{"Decide", "Decide, back"}
	tr.look = func(step string) {
		out, err := router.Run("show bgp ipv4 unicast summary")
		w.Logf("sessions of the router after %s: %v\n%s", step, err, out)
	}
	i.watching()
	i.forth(tr)
	i.end(tr)
	tr.during("End, back", i.reinstalled)
	tr.during("Announce, back", func() {
		i.does(0, "--undo")
		for _, target := range i.targets() {
			w.paths(router, target.Addr(), 3)
		}
	})
	tr.during("Decide, back", func() { i.decides(beside(), "--undo") })
	tr.during("Books and Pools, back", func() { i.does(0, "--undo", "--all") })
	i.plugin.says(0, []string{"There is nothing to take back."}, "adopt", "metallb", "--undo")
	tr.lost()
}

// reinstalled takes End back: MetalLB is installed again when the command asks for it.
func (i *incumbent) reinstalled() {
	i.Helper()
	i.answering([]errand{
		{"install MetalLB again", func(ctx context.Context) error { return metallb.Again(ctx, i.Lab, metallb.As{Stopped: true}) }},
		{"kubectl create secret generic -n metallb-system memberlist", func(ctx context.Context) error { return metallb.GiveSecret(ctx, i.Lab) }},
	}, "--undo")
}

// halved deletes MetalLB's controller. What is left of it is named, and goes on; the
// steps that change nothing of it are done, and the one that has to does nothing.
func (i *incumbent) halved(tr *traffic) {
	i.Helper()
	tr.during("without its controller", func() {
		if _, err := i.Cluster.Kubectl(i.ctx, "delete", "deployment", "--namespace="+metallb.Namespace, metallb.Controller); err != nil {
			i.Fatal(err)
		}
		i.plugin.says(1, []string{"MEND: Of MetalLB, controller is missing.", "0 of 100 Services would change."}, "audit")
		i.plugin.says(0, []string{"100 of 100 Services with an address keep it.", "Nothing was written"}, "import", "metallb")
		got := i.does(1, "--all", "--timeout=3s")
		for _, words := range []string{"MetalLB's controller is gone.", "It waits for the webhook that admits this to answer."} {
			if !strings.Contains(got.out+got.errs, words) {
				i.Errorf("it does not say %q", words)
			}
		}
		if err := metallb.Again(i.ctx, i.Lab, metallb.As{}); err != nil {
			i.Fatal(err)
		}
	})
}

// limited installs MetalLB for a class, beside a Fairlead that serves the rest: it is
// left alone, and so is its Service.
func (i *incumbent) limited() {
	i.Helper()
	const class, address = "metallb.io/metallb", "172.30.0.249"
	if err := metallb.Again(i.ctx, i.Lab, metallb.As{Class: class}); err != nil {
		i.Fatal(err)
	}
	if err := metallb.AwaitReady(i.ctx, i.Lab); err != nil {
		i.Fatal(err)
	}
	i.apply(lab.LoadBalancer(i.namespace, "classed", "echo", lab.Annotate("metallb.io/loadBalancerIPs", address), func(s *corev1.Service) {
		s.Spec.LoadBalancerClass = new(class)
	}))
	i.answers(netip.MustParseAddr(address), 80)
	i.plugin.says(1, []string{"serves only Services of class " + class, i.namespace + "/classed", "not taken: Its class is " + class}, "audit")
	got := i.does(1, "--all", "--remove")
	if why := "Books is blocked: MetalLB serves only Services of class " + class + " (its flag --lb-class): " + i.namespace + "/classed."; !strings.Contains(got.out+got.errs, why) {
		i.Errorf("it does not say %q", why)
	}
	i.answers(netip.MustParseAddr(address), 80)
}

// forth goes on until Fairlead announces.
func (i *incumbent) forth(tr *traffic) {
	i.Helper()
	tr.during("Books", func() { i.does(0) })
	tr.during("Pools", func() { i.does(0) })
	i.takes(tr)
}

// takes goes on from what changes nothing.
func (i *incumbent) takes(tr *traffic) {
	i.Helper()
	tr.during("Decide", func() {
		i.decides(defaultValues())
		i.plugin.says(1, []string{"MEND: Of MetalLB, controller is missing, since Fairlead takes the cluster over from it. Go on, or back: kubectl fairlead adopt metallb."}, "audit")
	})
	tr.during("Announce", func() { i.does(0) })
}

// end removes MetalLB, and looks at what is left.
func (i *incumbent) end(tr *traffic) {
	i.Helper()
	tr.during("End", func() { i.does(0, "--remove") })
	tr.during("after", func() {
		i.plugin.says(0, []string{"All is done."}, "adopt", "metallb")
		// Its kinds are left to the administrator, and the audit says so.
		i.plugin.says(1, []string{
			"Found: MetalLB: ", "only 9 kinds, no workload.", "takes Services without a class", "MEND: The cluster has 9 kinds of MetalLB and nothing that serves them.", "   Fairlead   same", "0 of ",
		}, "audit")
		i.plugin.says(0, []string{"Nothing is wrong: "}, "status")
	})
}
