//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/testbed"
)

const (
	probeEvery   = 20 * time.Millisecond
	probeTimeout = 5 * time.Second
)

// probing watches an address with new connections while f runs, and a little
// longer, and returns the tries.
func (w *world) probing(a netip.Addr, f func()) []lab.Try {
	w.Helper()
	w.settled(a)
	p := w.StartProbe(w.ctx, testbed.Client, a, 80, probeEvery, probeTimeout)
	f()
	return p.Stop()
}

// settled waits until an address has stayed with a node for longer than a better one may wait whose endpoint is new.
func (w *world) settled(a netip.Addr) {
	w.Helper()
	node, since := "", time.Time{}
	w.await(fmt.Sprintf("%s to stay with a node", a), func(ctx context.Context) error {
		address, err := w.address(ctx, a)
		if err != nil {
			return err
		}
		now := ""
		if l := address.Status.Layer2; l != nil {
			now = l.Node
		}
		if now != node || now == "" {
			node, since = now, time.Now()
		}
		if stayed := time.Since(since); stayed < announcer.ProxyTime+time.Second {
			return fmt.Errorf("%q has announced it for %s", node, stayed)
		}
		return nil
	})
}

// none fails the test if new connections failed, or broke.
func (w *world) none(tries []lab.Try, during string) {
	w.Helper()
	w.countFailed(tries, 0, during)
}

// underway is how many connections may break while their address moves: they last for a few milliseconds, and one begins
// every probeEvery.
const underway = 3

// noneNew is none where the address moves. Another node knows nothing of the connections that were established through
// the first; no new one may fail.
func (w *world) noneNew(tries []lab.Try, during string) {
	w.Helper()
	w.countFailed(tries, underway, during)
}

func (w *world) countFailed(tries []lab.Try, mayBreak int, during string) {
	w.Helper()
	failed, broken := lab.Failed(tries), lab.Broken(tries)
	w.Logf("%s: %d new connections, %d failed, and %d broke when they were established", during, len(tries), len(failed)-len(broken), len(broken))
	if len(tries) == 0 {
		w.Fatalf("%s: nothing was tried", during)
	}
	for _, t := range failed {
		w.Logf("%s: after %s, at %s: established %t, broke after %s: %v",
			during, t.Start.Sub(tries[0].Start), t.Start.Format("15:04:05.000"), t.Connected, t.Took, t.Err)
	}
	if len(failed) > len(broken) || len(broken) > mayBreak {
		w.Errorf("%s: %d of %d new connections failed, %d when they were established; the first with %v", during, len(failed), len(tries), len(broken), failed[0].Err)
	}
}

// neighbour is the hardware address that the client host has for an address.
func (w *world) neighbour(a netip.Addr) string {
	out, err := w.Cluster.Exec(w.ctx, testbed.Client, "ip", "neigh", "show", a.String())
	if err != nil {
		w.Fatal(err)
	}
	fields := strings.Fields(out)
	for i, f := range fields {
		if f == "lladdr" && i+1 < len(fields) {
			return fields[i+1]
		}
	}
	return ""
}

// A node that is cut off loses its addresses to others, of both families, and
// when it returns there is one announcer.
func TestTakeoverWhenNodeIsCutOff(t *testing.T) {
	w := newWorld(t, "172.30.0.120-172.30.0.129", "fd00:30::120-fd00:30::12f")
	w.backend("echo", 3)
	addresses := w.service("dual", "echo", 2, lab.DualStack)
	for _, a := range addresses {
		w.answers(a, 80)
	}
	was := w.announcer(addresses[0], "any node", anyNode)
	for _, a := range addresses {
		probe := w.StartProbe(w.ctx, testbed.Client, a, 80, probeEvery, time.Second)
		defer probe.Stop()
	}
	cut := time.Now()
	if err := w.Cluster.Cut(was); err != nil {
		t.Fatal(err)
	}
	defer w.Cluster.Heal(was)
	for _, a := range addresses {
		w.announcer(a, "another node than "+was, other(was))
		w.answers(a, 80)
		t.Logf("%s is served again; ledger and client agree %s after the cut", a, time.Since(cut).Round(10*time.Millisecond))
	}
	if err := w.Cluster.Heal(was); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		w.oneAnswer(a)
	}
}

// oneAnswer waits until exactly one hardware address answers for an IPv4 or
// IPv6 address.
func (w *world) oneAnswer(a netip.Addr) {
	w.Helper()
	w.await("one host to answer for "+a.String(), func(ctx context.Context) error {
		macs, err := w.whoHas(ctx, a)
		if err != nil {
			return err
		}
		if len(macs) != 1 {
			return fmt.Errorf("these answer: %v", macs)
		}
		return nil
	})
}

// A speaker that is restarted in order, killed, or replaced by an update moves
// nothing and fails no new connection.
func TestSpeakerRestartMovesNothing(t *testing.T) {
	w := newWorld(t, "172.30.0.130-172.30.0.139", "fd00:30::130-fd00:30::13f")
	w.backend("echo", 3)
	addresses := w.service("dual", "echo", 2, lab.DualStack)
	for _, a := range addresses {
		w.answers(a, 80)
	}
	node := w.announcer(addresses[0], "any node", anyNode)
	mac := w.neighbour(addresses[0])
	for _, how := range []struct {
		name string
		end  func() error
	}{
		{"deleted", func() error { return w.Client.Delete(w.ctx, w.speaker(node)) }},
		{"killed", func() error { return w.kill(w.speaker(node), "fairlead-speaker") }},
	} {
		// Both families at once: a container that is killed again soon is kept
		// waiting by the kubelet for longer than a seat is held.
		six := w.StartProbe(w.ctx, testbed.Client, addresses[1], 80, probeEvery, probeTimeout)
		w.none(w.probing(addresses[0], func() {
			before := w.speaker(node)
			if err := how.end(); err != nil {
				t.Fatal(err)
			}
			w.awaitNewSpeaker(node, before)
		}), "speaker "+how.name+", IPv4")
		w.none(six.Stop(), "speaker "+how.name+", IPv6")
		if now := w.announcer(addresses[0], "any node", anyNode); now != node {
			t.Errorf("speaker %s: the address moved from %s to %s", how.name, node, now)
		}
		if now := w.neighbour(addresses[0]); now != mac {
			t.Errorf("speaker %s: the client's neighbour entry went from %s to %s", how.name, mac, now)
		}
	}
}

func TestRollingUpdateOfSpeakersFailsNoConnection(t *testing.T) {
	w := newWorld(t, "172.30.0.140-172.30.0.149", "fd00:30::140-fd00:30::14f")
	w.backend("echo", 3)
	addresses := w.service("dual", "echo", 2, lab.DualStack)
	for _, a := range addresses {
		w.answers(a, 80)
	}
	second := w.StartProbe(w.ctx, testbed.Client, addresses[1], 80, probeEvery, probeTimeout)
	w.none(w.probing(addresses[0], func() {
		w.rollOut("daemonset/fairlead-speaker", 2*time.Minute)
	}), "rolling update, IPv4")
	w.none(second.Stop(), "rolling update, IPv6")
}

func TestCordonMovesInOrder(t *testing.T) {
	w := newWorld(t, "172.30.0.150-172.30.0.159")
	w.backend("echo", 3)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	node := w.announcer(a, "any node", anyNode)
	w.noneNew(w.probing(a, func() {
		w.drain(node, time.Minute)
		w.announcer(a, "another node than "+node, other(node))
	}), "drain of "+node)
}

// drain cordons a node and evicts its pods. It is cordoned until the test ends, at most.
func (w *world) drain(node string, within time.Duration) {
	w.Helper()
	w.Cleanup(func() { w.uncordon(context.Background(), node) })
	if _, err := w.Cluster.Kubectl(w.ctx, "drain", node, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout="+within.String()); err != nil {
		w.Fatal(err)
	}
}

func (w *world) uncordon(ctx context.Context, node string) {
	w.Helper()
	if _, err := w.Cluster.Kubectl(ctx, "uncordon", node); err != nil {
		w.Error(err)
	}
}

// Local: only a node with an endpoint announces, and the announcement follows it.
func TestLocalFollowsItsEndpoint(t *testing.T) {
	w := newWorld(t, "172.30.0.160-172.30.0.169")
	pin := func(node string) {
		d := lab.Echo(w.namespace, "echo", 1)
		d.Spec.Template.Spec.NodeSelector = map[string]string{corev1.LabelHostname: node}
		w.apply(d)
		if err := w.AwaitReady(w.ctx, w.namespace, "echo"); err != nil {
			t.Fatal(err)
		}
	}
	pin("node2")
	a := w.service("local", "echo", 1, lab.Local)[0]
	w.announcer(a, "node2", func(n string) bool { return n == "node2" })
	w.answers(a, 80)
	pin("node3")
	w.announcer(a, "node3", func(n string) bool { return n == "node3" })
	w.answers(a, 80)
}

// Nodes labelled to be kept out of load balancing do not announce.
func TestExcludedNodeDoesNotAnnounce(t *testing.T) {
	w := newWorld(t, "172.30.0.170-172.30.0.179")
	w.backend("echo", 3)
	a := w.service("s", "echo", 1)[0]
	node := w.announcer(a, "any node", anyNode)
	label := func(value *string) {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: node}}
		edit(w, n, func(n *corev1.Node) {
			delete(n.Labels, corev1.LabelNodeExcludeBalancers)
			if value != nil {
				n.Labels[corev1.LabelNodeExcludeBalancers] = *value
			}
		})
	}
	empty := ""
	label(&empty)
	defer label(nil)
	w.announcer(a, "another node than "+node, other(node))
	w.answers(a, 80)
}

// A node whose network is not set up yet, as a network plugin says by the
// condition NetworkUnavailable, announces nothing: others do, until it is.
func TestNodeWithoutNetworkDoesNotAnnounce(t *testing.T) {
	w := newWorld(t, "172.30.0.170-172.30.0.179", "fd00:30::170-fd00:30::17f")
	w.backend("echo", 3)
	// One Service with two addresses, and some more: whatever the node has must go.
	addresses := w.service("dual", "echo", 2, lab.DualStack)
	for i := range 4 {
		addresses = append(addresses, w.service(fmt.Sprintf("s%d", i), "echo", 1)...)
	}
	node := w.announcer(addresses[0], "any node", anyNode)
	var its []netip.Addr
	for _, a := range addresses {
		w.answers(a, 80)
		if w.announcer(a, "any node", anyNode) == node {
			its = append(its, a)
		}
	}
	mac := w.hardwareAddress(node, "eth0")
	w.answersFrom(its, mac, true)
	t.Cleanup(func() { w.networkUnavailable(node, "") })
	w.networkUnavailable(node, corev1.ConditionTrue)
	for _, a := range addresses {
		w.announcer(a, "another node than "+node, other(node))
		w.oneAnswer(a)
		w.answers(a, 80)
	}
	w.answersFrom(addresses, mac, false)
	w.networkUnavailable(node, corev1.ConditionFalse)
	for _, a := range its {
		w.announcer(a, node+" again", func(n string) bool { return n == node })
		w.oneAnswer(a)
		w.answers(a, 80)
	}
	w.answersFrom(its, mac, true)
}

// networkUnavailable sets a node's condition of that name; "" removes it.
func (w *world) networkUnavailable(node string, status corev1.ConditionStatus) {
	w.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.ctx), time.Minute)
	defer cancel()
	err := lab.Await(ctx, time.Minute, "the condition of "+node+" to be written", func(ctx context.Context) error {
		var n corev1.Node
		if err := w.Client.Get(ctx, w.key(node), &n); err != nil {
			return err
		}
		n.Status.Conditions = slices.DeleteFunc(n.Status.Conditions, func(c corev1.NodeCondition) bool { return c.Type == corev1.NodeNetworkUnavailable })
		if status != "" {
			n.Status.Conditions = append(n.Status.Conditions, corev1.NodeCondition{
				Type: corev1.NodeNetworkUnavailable, Status: status, Reason: "Test",
				LastHeartbeatTime: metav1.Now(), LastTransitionTime: metav1.Now(),
			})
		}
		return w.Client.Status().Update(ctx, &n)
	})
	if err != nil {
		w.Error(err)
	}
}

// hardwareAddress is that of a host's interface.
func (w *world) hardwareAddress(host, iface string) string {
	w.Helper()
	var mac string
	err := w.Cluster.InNamespace(host, func() error {
		i, err := net.InterfaceByName(iface)
		if err == nil {
			mac = i.HardwareAddr.String()
		}
		return err
	})
	if err != nil {
		w.Fatalf("the hardware address of %s on %s: %v", iface, host, err)
	}
	return mac
}

// whoAnswers waits until somebody answers for an address, and returns who does.
func (w *world) whoAnswers(a netip.Addr) []string {
	w.Helper()
	var macs []string
	w.await("somebody to answer for "+a.String(), func(ctx context.Context) error {
		var err error
		if macs, err = w.whoHas(ctx, a); err == nil && len(macs) == 0 {
			err = errors.New("nobody does")
		}
		return err
	})
	return macs
}

// answersFrom checks that a hardware address answers for all the addresses, or
// for none of them.
func (w *world) answersFrom(addresses []netip.Addr, mac string, want bool) {
	w.Helper()
	for _, a := range addresses {
		if macs := w.whoAnswers(a); slices.Contains(macs, mac) != want {
			w.Errorf("%v answer for %s; that %s does should be %t", macs, a, mac, want)
		}
	}
}

// What the advertisement selects decides: nodes, interfaces, Services.
func TestAdvertisementSelects(t *testing.T) {
	w := newWorld(t, "172.30.0.180-172.30.0.189")
	w.backend("echo", 3)
	a := w.service("s", "echo", 1)[0]
	w.announcer(a, "any node", anyNode)
	adv := func(change func(*v1alpha1.L2AdvertisementSpec)) {
		o := w.advertisement()
		edit(w, o, func(o *v1alpha1.L2Advertisement) {
			o.Spec = w.advertisement().Spec
			change(&o.Spec)
		})
	}
	for _, node := range []string{"node1", "node2", "node3"} {
		adv(func(s *v1alpha1.L2AdvertisementSpec) {
			s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: node}}}
		})
		w.announcer(a, node, func(n string) bool { return n == node })
		w.answers(a, 80)
		w.oneAnswer(a)
	}
	adv(func(s *v1alpha1.L2AdvertisementSpec) {
		s.PreferredNodeSelectors = []v1alpha1.PreferredNodeSelector{{Weight: 10, Preference: metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelHostname: "node1"}}}}
	})
	w.announcer(a, "node1", func(n string) bool { return n == "node1" })
	adv(func(s *v1alpha1.L2AdvertisementSpec) { s.Interfaces = []string{"nosuch0"} })
	w.unannounced(a, "NoInterface")
	adv(func(s *v1alpha1.L2AdvertisementSpec) { s.Interfaces = []string{"eth0"} })
	w.answers(a, 80)
	adv(func(s *v1alpha1.L2AdvertisementSpec) {
		s.ServiceSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{"tier": "front"}}}
	})
	w.unannounced(a, "NoAdvertisement")
	edit(w, lab.LoadBalancer(w.namespace, "s", "echo"), func(s *corev1.Service) { s.Labels = map[string]string{"tier": "front"} })
	w.answers(a, 80)
}

// unannounced waits until the ledger says that nobody announces the address and
// nobody answers for it.
func (w *world) unannounced(a netip.Addr, reason string) {
	w.Helper()
	w.await(a.String()+" not to be announced", func(ctx context.Context) error {
		o, err := w.address(ctx, a)
		if err != nil {
			return err
		}
		for _, c := range o.Status.Conditions {
			if c.Type == v1alpha1.AddressAnnounced && c.Status == metav1.ConditionFalse && c.Reason == reason {
				macs, err := w.whoHas(ctx, a)
				if err == nil && len(macs) > 0 {
					err = fmt.Errorf("these answer: %v", macs)
				}
				return err
			}
		}
		return fmt.Errorf("its status is %+v", o.Status)
	})
}

// An address that another host of the network uses already is not announced.
func TestAddressOfAnotherHostIsSaid(t *testing.T) {
	w := newWorld(t, "172.30.0.190-172.30.0.199")
	w.backend("echo", 2)
	taken := netip.MustParseAddr("172.30.0.195")
	host := func(verb string) {
		if _, err := w.Cluster.Exec(w.ctx, testbed.Router, "ip", "address", verb, taken.String()+"/24", "dev", "eth0"); err != nil {
			t.Fatal(err)
		}
	}
	host("add")
	removed := false
	defer func() {
		if !removed {
			host("del")
		}
	}()
	w.service("s", "echo", 1, lab.LoadBalancerIP(taken.String()))
	w.await("the conflict to be said", func(ctx context.Context) error {
		o, err := w.address(ctx, taken)
		if err != nil {
			return err
		}
		for _, c := range o.Status.Conditions {
			if c.Type == v1alpha1.AddressAnnounced && c.Status == metav1.ConditionFalse && c.Reason == "AddressInUse" {
				return nil
			}
		}
		return fmt.Errorf("its status is %+v", o.Status)
	})
	host("del")
	removed = true
	w.answers(taken, 80)
}

// Ports that nobody has are refused at once, ports that somebody has never are,
// and ping is answered.
func TestAddressAnswersAsAHostDoes(t *testing.T) {
	w := newWorld(t, "172.30.0.200-172.30.0.209", "fd00:30::200-fd00:30::20f")
	w.backend("echo", 2)
	for _, a := range w.service("dual", "echo", 2, lab.DualStack) {
		w.answers(a, 80)
		w.await("a refused port at "+a.String(), func(ctx context.Context) error { return w.tcpRefused(ctx, a, 81) })
		w.await("an unreachable UDP port at "+a.String(), func(ctx context.Context) error { return w.udpRefused(ctx, a, 5353) })
		w.await("a pong of "+a.String(), func(ctx context.Context) error {
			return w.Cluster.InNamespace(testbed.Client, func() error { return lab.Ping(ctx, a) })
		})
	}
}

func (w *world) tcpRefused(ctx context.Context, a netip.Addr, port uint16) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	conn, err := w.Cluster.Dial(ctx, testbed.Client, "tcp", netip.AddrPortFrom(a, port).String())
	if err == nil {
		conn.Close()
		return errors.New("somebody answers")
	}
	return ifNot(err, syscall.ECONNREFUSED)
}

func (w *world) udpRefused(ctx context.Context, a netip.Addr, port uint16) error {
	conn, err := w.Cluster.Dial(ctx, testbed.Client, "udp", netip.AddrPortFrom(a, port).String())
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := conn.Write([]byte("x")); err != nil {
		return ifNot(err, syscall.ECONNREFUSED)
	}
	if err := conn.SetReadDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	if _, err = conn.Read(make([]byte, 1)); err == nil {
		return errors.New("somebody answered")
	}
	return ifNot(err, syscall.ECONNREFUSED)
}

func ifNot(err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return err
}

// With the API server away, what is announced stays announced and fails over.
func TestSpeakersGoOnAlone(t *testing.T) {
	w := newWorld(t, "172.30.0.210-172.30.0.219")
	w.backend("echo", 3)
	a := w.service("s", "echo", 1)[0]
	w.answers(a, 80)
	node := w.announcer(a, "any node", anyNode)
	// What a kube-proxy has not heard of by now it will not hear of.
	for _, n := range w.Cluster.Nodes() {
		if _, err := w.AwaitAnswer(w.ctx, n, a, 80); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Cluster.KillProcess(testbed.Control, testbed.APIServer); err != nil {
		t.Fatal(err)
	}
	back := func() error {
		if err := w.Cluster.StartProcess(testbed.Control, testbed.APIServer); err != nil {
			return err
		}
		return w.Cluster.AwaitAPI(w.ctx)
	}
	defer back()
	if err := w.Cluster.Cut(node); err != nil {
		t.Fatal(err)
	}
	defer w.Cluster.Heal(node)
	w.answers(a, 80)
	hold := time.NewTimer(outage)
	defer hold.Stop()
	probe := w.StartProbe(w.ctx, testbed.Client, a, 80, 200*time.Millisecond, time.Second)
	<-hold.C
	tries := probe.Stop()
	// One backend of three is on the node that is cut off, and with the API
	// server away nobody takes it out of service: its share may fail, no more.
	if failed := lab.Failed(tries); len(failed) > len(tries)*2/3 {
		t.Errorf("with the API server away %d of %d new connections failed", len(failed), len(tries))
	}
	if err := back(); err != nil {
		t.Fatal(err)
	}
	w.announcer(a, "another node than "+node, other(node))
}

// outage is how long the API server is away in the test.
const outage = 90 * time.Second

// speaker is the speaker pod of a node.
func (w *world) speaker(node string) *corev1.Pod {
	w.Helper()
	pods, err := w.Pods(w.ctx, "speaker")
	if err != nil {
		w.Fatal(err)
	}
	for i, p := range pods {
		if p.Spec.NodeName == node && p.DeletionTimestamp == nil {
			return &pods[i]
		}
	}
	w.Fatalf("there is no speaker on %s", node)
	return nil
}

// awaitNewSpeaker waits until the node has a ready speaker that is another pod,
// or the same pod with another container, than before.
func (w *world) awaitNewSpeaker(node string, before *corev1.Pod) {
	w.Helper()
	restarts := func(p *corev1.Pod) int32 {
		if len(p.Status.ContainerStatuses) == 0 {
			return 0
		}
		return p.Status.ContainerStatuses[0].RestartCount
	}
	w.await("a new speaker on "+node, func(ctx context.Context) error {
		pods, err := w.Pods(ctx, "speaker")
		if err != nil {
			return err
		}
		for _, p := range pods {
			if p.Spec.NodeName != node || p.DeletionTimestamp != nil || (p.UID == before.UID && restarts(&p) == restarts(before)) {
				continue
			}
			for _, c := range p.Status.Conditions {
				if c.Type == corev1.PodReady && c.Status == corev1.ConditionTrue {
					return nil
				}
			}
		}
		return errors.New("it is not there or not ready")
	})
}

// kill ends a program of a pod with SIGKILL, as when it crashes.
func (w *world) kill(p *corev1.Pod, program string) error {
	processes, err := lab.Processes(w.Cluster.Name(), program, []corev1.Pod{*p})
	if err != nil {
		return err
	}
	if len(processes) == 0 {
		return fmt.Errorf("no %s runs in pod %s", program, p.Name)
	}
	for _, one := range processes {
		if err := syscall.Kill(one.PID, syscall.SIGKILL); err != nil {
			return fmt.Errorf("killing %s of pod %s: %w", program, p.Name, err)
		}
	}
	return nil
}

// whoHas are the hardware addresses that answer for an address when the client
// host asks the segment.
func (w *world) whoHas(ctx context.Context, a netip.Addr) ([]string, error) {
	return w.whoHasOn(ctx, "eth0", a)
}

// whoHasOn asks on the segment of an interface of the client host.
func (w *world) whoHasOn(ctx context.Context, iface string, a netip.Addr) ([]string, error) {
	var macs []string
	err := w.Cluster.InNamespace(testbed.Client, func() error {
		var err error
		macs, err = lab.WhoHas(ctx, iface, a)
		return err
	})
	return macs, err
}
