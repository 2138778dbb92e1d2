//go:build e2e

package e2e

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// A dual-stack Service on addresses that are on no segment is announced to a router by every node, answers a client
// behind the router, and is withdrawn when it goes.
func TestBGP(t *testing.T) {
	w := newWorld(t)
	w.offSegment()
	f := w.frr()
	w.bgp()
	w.backend("echo", 3)
	addresses := w.service("web", "echo", 2, lab.DualStack)
	for _, a := range addresses {
		r := w.paths(f, a, len(w.Cluster.Nodes()))
		for _, p := range r.Paths {
			if !p.Valid || p.Community.String != "64512:7" || p.Large.String != "64512:1:2" {
				t.Errorf("the router has the path %+v", p)
			}
		}
		w.answers(a, 80)
	}
	w.await("the statuses", func(ctx context.Context) error {
		peer := &v1alpha1.BGPPeer{}
		if err := w.Client.Get(ctx, client.ObjectKey{Name: w.namespace}, peer); err != nil {
			return err
		}
		if want := fmt.Sprintf("%d of %[1]d", len(w.Cluster.Nodes())); peer.Status.Established != want {
			return fmt.Errorf("the BGPPeer says %+v, want %s", peer.Status, want)
		}
		for _, a := range addresses {
			address := &v1alpha1.Address{}
			if err := w.Client.Get(ctx, client.ObjectKey{Name: v1alpha1.AddressName(a)}, address); err != nil {
				return err
			}
			if b := address.Status.BGP; b == nil || int(b.Nodes) != len(w.Cluster.Nodes()) || b.Peers != 1 {
				return fmt.Errorf("%s says %+v", a, address.Status)
			}
		}
		return nil
	})
	p := w.plugin()
	p.says(0, []string{w.namespace, "node1", "node2", "node3", "Established", "Up"}, "peers", "-o", "wide")
	p.says(0, []string{"Nothing is wrong.", "BGP 3 nodes", " to 1 peer since "}, "explain", "service", "web", "--namespace="+w.namespace)
	w.nodeIsCut(func(nodes int) {
		for _, a := range addresses {
			w.paths(f, a, nodes)
			w.answers(a, 80)
		}
	})
	if err := w.Client.Delete(w.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		w.paths(f, a, 0)
	}
}

// A Gateway whose address is announced by BGP alone says so once its Envoys are there, and answers a client behind the router.
func TestGatewayByBGP(t *testing.T) {
	w := newWorld(t)
	w.offSegment()
	f := w.frr()
	w.bgp()
	w.backend("echo", 2)
	w.apply(w.clusterIP("echo", "echo"), w.httpRoute("all", "web", "echo"))
	for _, a := range w.gateway("web", w.class()) {
		w.paths(f, a, len(w.Cluster.Nodes()))
		w.answers(a, 80)
	}
}

// nodeIsCut has BFD see that a node is gone, and that it is back. By its hold time the router would see it in three
// minutes.
func (w *world) nodeIsCut(routed func(nodes int)) {
	w.Helper()
	nodes := w.Cluster.Nodes()
	last := nodes[len(nodes)-1]
	if err := w.Cluster.Cut(last); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = w.Cluster.Heal(last) })
	routed(len(nodes) - 1)
	if err := w.Cluster.Heal(last); err != nil {
		w.Fatal(err)
	}
	routed(len(nodes))
}

// birdConfig is a router of our own AS, with a password and BFD. Without "direct" BIRD takes such a neighbour to be several
// hops away, and watches it so.
const birdConfig = `
router id 172.30.0.1;
protocol device { scan time 1; }
protocol direct { ipv4; ipv6; }
protocol kernel { merge paths on; ipv4 { import none; export where source = RTS_BGP; }; }
protocol kernel { merge paths on; ipv6 { import none; export where source = RTS_BGP; }; }
protocol bfd { interface "eth0" { min rx interval 100 ms; min tx interval 100 ms; multiplier 3; }; }
protocol bgp nodes {
  local 172.30.0.1 as 64512;
  neighbor range 172.30.0.0/24 as 64512;
  direct;
  password "secret";
  bfd on;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`

// bird runs BIRD on a host, and says which peer it is. Of its configuration some words, each followed by others, are those others.
func (w *world) bird(host string, instead ...string) (b *routers.BIRD, peer func(*v1alpha1.BGPPeerSpec)) {
	w.Helper()
	v4, _, err := w.Cluster.HostAddresses(host)
	if err != nil {
		w.Fatal(err)
	}
	b = routers.StartBIRD(w.routerOn(host), strings.NewReplacer(append(instead, lab.RouterV4, v4)...).Replace(birdConfig))
	return b, func(s *v1alpha1.BGPPeerSpec) { s.PeerASN, s.PeerAddress = lab.NodeASN, v4 }
}

// birdRoutes waits until BIRD has so many routes to an address, and each with all of these words.
func (w *world) birdRoutes(b *routers.BIRD, a netip.Addr, n int, words ...string) {
	w.Helper()
	w.await(fmt.Sprintf("%d routes to %s in BIRD", n, a), func(context.Context) error {
		out, err := b.Run(fmt.Sprintf("show route %s all", netip.PrefixFrom(a, a.BitLen())))
		if err != nil {
			return err
		}
		for _, word := range append([]string{"BGP.next_hop: "}, words...) {
			if got := strings.Count(out, word); got != n {
				return fmt.Errorf("%q is there %d times: %s", word, got, out)
			}
		}
		return nil
	})
}

// Addresses of one pool are announced on layer 2, to who is on the segment, and by iBGP to a router, for who is behind it,
// which BFD watches with signed packets. Neither is disturbed when the router dies, or when peers come, change and go.
func TestBGPBesideLayer2(t *testing.T) {
	const near, far = testbed.Control, testbed.Client
	w := newWorld(t, "172.30.0.208-172.30.0.215", "fd00:30::208-fd00:30::20f")
	w.far("172.30.0.208/29", "fd00:30::208/125")
	b, peer := w.bird(testbed.Router, "multiplier 3;", `multiplier 3; authentication meticulous keyed sha1; password "secret" { id 7; };`)
	w.bgp(peer)
	edit(w, &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, func(p *v1alpha1.BFDProfile) {
		p.Spec.Authentication = &v1alpha1.BFDAuthentication{
			Type: v1alpha1.BFDMeticulousKeyedSHA1, KeyID: new(int32(7)), PasswordSecret: v1alpha1.BFDKeyReference{Name: w.namespace},
		}
	})
	edit(w, &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, func(a *v1alpha1.BGPAdvertisement) { a.Spec.LocalPref = 250 })
	w.backend("echo", 3)
	addresses := w.service("web", "echo", 2, lab.DualStack)
	all := len(w.Cluster.Nodes())
	routed := func(nodes int) {
		t.Helper()
		for _, a := range addresses {
			w.birdRoutes(b, a, nodes, "BGP.local_pref: 250", "BGP.community: (64512,7)", "BGP.large_community: (64512, 1, 2)", "BGP.as_path: ")
			w.nextHops(testbed.Router, a, nodes)
			w.answersTo(far, a, 80)
		}
	}
	routed(all)
	w.watchedByBFD(w.namespace)
	w.nodeIsCut(routed)
	for _, a := range addresses {
		w.answersTo(near, a, 80)
		w.settled(a)
	}
	onSegment := w.watch(near, addresses)

	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	w.peerSays(w.namespace, v1alpha1.PeerEstablished, metav1.ConditionFalse, "node1: ", "node2: ", "node3: ")
	if err := b.Start(); err != nil {
		t.Fatal(err)
	}
	routed(all)
	w.peerSays(w.namespace, v1alpha1.PeerEstablished, metav1.ConditionTrue)
	w.watchedByBFD(w.namespace)

	behind := w.watch(far, addresses)
	w.apply(w.peer("another", func(s *v1alpha1.BGPPeerSpec) { s.PeerAddress = "172.30.0.250" }))
	w.peerSays("another", v1alpha1.PeerEstablished, metav1.ConditionFalse, "172.30.0.250")
	edit(w, w.peer("another"), func(p *v1alpha1.BGPPeer) { p.Spec.PeerASN = 64999 })
	if err := w.Client.Delete(w.ctx, w.peer("another")); err != nil {
		t.Fatal(err)
	}
	// A node less for the router, and a node more: what it sends to the nodes goes elsewhere in order.
	for _, selected := range []string{"node1", ""} {
		edit(w, w.peer(w.namespace), func(p *v1alpha1.BGPPeer) {
			p.Spec.NodeSelectors = nil
			if selected != "" {
				p.Spec.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: selected}}}
			}
		})
		want := all
		if selected != "" {
			want = 1
		}
		for _, a := range addresses {
			w.birdRoutes(b, a, want)
		}
	}
	for a, p := range behind {
		w.noneNew(p.Stop(), fmt.Sprintf("peers added, edited and removed, %s from behind the router", a))
	}
	for a, p := range onSegment {
		w.none(p.Stop(), fmt.Sprintf("the router killed, peers changed, %s on the segment", a))
	}
}

// twoRouters are FRR and BIRD (see bird), each with a client of its own that asks for addresses on no segment, and the peer "second" is BIRD.
func (w *world) twoRouters(instead []string, edits ...func(*v1alpha1.BGPPeerSpec)) (*routers.FRR, *routers.BIRD, lab.Far) {
	w.Helper()
	w.offSegment()
	second := w.secondRouter()
	f := w.frr()
	b, peer := w.bird(second.Router, instead...)
	w.bgp(edits...)
	w.apply(w.peer("second", append([]func(*v1alpha1.BGPPeerSpec){w.guarded, peer}, edits...)...), w.routesTo("second", "second"))
	return f, b, second
}

// Two routers, FRR and BIRD, are told of the same addresses and spread over all nodes, each for a client of its own. When
// either is gone, the other's client notices nothing. Then each has nodes of its own.
func TestBGPTwoRouters(t *testing.T) {
	w := newWorld(t)
	// A loss is noticed by the hold time: what BFD does is another test's.
	f, b, second := w.twoRouters(nil, func(s *v1alpha1.BGPPeerSpec) {
		s.HoldTime, s.BFDProfile = &metav1.Duration{Duration: 9 * time.Second}, ""
	})
	w.backend("echo", 3)
	addresses := w.service("web", "echo", 2, lab.DualStack)
	routed := func(byFirst, bySecond int) {
		t.Helper()
		for _, a := range addresses {
			w.paths(f, a, byFirst)
			w.nextHops(testbed.Router, a, byFirst)
			w.birdRoutes(b, a, bySecond)
			w.nextHops(second.Router, a, bySecond)
			w.answersTo(testbed.Client, a, 80)
			w.answersTo(second.Client, a, 80)
		}
	}
	all := len(w.Cluster.Nodes())
	routed(all, all)
	for _, gone := range []struct {
		host, peer, others string
		kill, start        func() error
	}{
		{testbed.Router, w.namespace, second.Client, f.Kill, f.Start},
		{second.Router, "second", testbed.Client, b.Kill, b.Start},
	} {
		probes := w.watch(gone.others, addresses)
		w.dies(gone.host, gone.kill)
		w.peerSays(gone.peer, v1alpha1.PeerEstablished, metav1.ConditionFalse, "node1: ", "node2: ", "node3: ")
		w.returns(gone.host, gone.start)
		routed(all, all)
		for a, p := range probes {
			w.none(p.Stop(), fmt.Sprintf("%s killed and back, %s by the other router", gone.host, a))
		}
	}

	probes := map[string]map[netip.Addr]*lab.Probe{"FRR": w.watch(testbed.Client, addresses), "BIRD": w.watch(second.Client, addresses)}
	edit(w, w.peer(w.namespace), func(p *v1alpha1.BGPPeer) { p.Spec.NodeSelectors = nodesNamed("node1") })
	edit(w, w.peer("second"), func(p *v1alpha1.BGPPeer) { p.Spec.NodeSelectors = nodesNamed("node2", "node3") })
	routed(1, 2)
	for router, probes := range probes {
		for a, p := range probes {
			w.noneNew(p.Stop(), fmt.Sprintf("fewer nodes for each router, %s by %s", a, router))
		}
	}
	w.peerSays(w.namespace, v1alpha1.PeerEstablished, metav1.ConditionTrue, "1 of 1")
	w.peerSays("second", v1alpha1.PeerEstablished, metav1.ConditionTrue, "2 of 2")
}

func nodesNamed(names ...string) (out []metav1.LabelSelector) {
	for _, name := range names {
		out = append(out, metav1.LabelSelector{MatchLabels: map[string]string{corev1.LabelHostname: name}})
	}
	return out
}

// watchedByBFD waits until BFD sees a peer from all nodes.
func (w *world) watchedByBFD(peer string) {
	w.Helper()
	for _, node := range w.Cluster.Nodes() {
		w.await("BFD of "+peer+" on "+node, func(ctx context.Context) error {
			s, err := w.session(ctx, node, peer)
			if err == nil && s.BFD != "Up" {
				err = fmt.Errorf("it says %+v", s)
			}
			return err
		})
	}
}

// dies is a router that loses its power.
func (w *world) dies(host string, kill func() error) {
	w.Helper()
	if err := errors.Join(w.Cluster.Cut(host), kill()); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = w.Cluster.Heal(host) })
}

func (w *world) returns(host string, start func() error) {
	w.Helper()
	if err := errors.Join(w.Cluster.Heal(host), start()); err != nil {
		w.Fatal(err)
	}
}

// Speakers that are killed or replaced, and nodes that are drained, fail no new connection that comes by a router, be it FRR,
// with which the nodes speak eBGP, or BIRD, with iBGP and over IPv4.
func TestBGPRestartsFailNoConnection(t *testing.T) {
	w := newWorld(t)
	// Otherwise the end of BFD has BIRD forget that it is to wait for a speaker that restarts.
	graceful := []string{"bfd on;", "bfd graceful;"}
	f, b, second := w.twoRouters(graceful, func(s *v1alpha1.BGPPeerSpec) { s.EnableGracefulRestart = true })
	w.backend("echo", 3)
	addresses := w.service("web", "echo", 2, lab.DualStack)
	node := "node2"
	spread := func(n int) {
		t.Helper()
		for _, a := range addresses {
			w.nextHops(testbed.Router, a, n)
			w.nextHops(second.Router, a, n)
		}
	}
	all := func() {
		t.Helper()
		for _, a := range addresses {
			w.paths(f, a, len(w.Cluster.Nodes()))
			w.birdRoutes(b, a, len(w.Cluster.Nodes()))
		}
		spread(len(w.Cluster.Nodes()))
		for _, a := range addresses {
			w.answersTo(testbed.Client, a, 80)
			w.answersTo(second.Client, a, 80)
		}
	}
	all()
	for _, step := range []struct {
		during string
		do     func()
	}{
		{"speaker killed", func() {
			before := w.speaker(node)
			if err := w.kill(before, "fairlead-speaker"); err != nil {
				t.Fatal(err)
			}
			w.awaitNewSpeaker(node, before)
		}},
		{"speakers replaced", func() { w.rollOut("daemonset/fairlead-speaker", 2*time.Minute) }},
		{"node drained", func() {
			w.drain(node, time.Minute)
			spread(len(w.Cluster.Nodes()) - 1)
			w.uncordon(w.ctx, node)
		}},
	} {
		// BIRD's routes of IPv6 are not asked for: connections over them break when a speaker comes back, see docs/bgp.md.
		probes := map[string]map[netip.Addr]*lab.Probe{"FRR": w.watch(testbed.Client, addresses), "BIRD": w.watch(second.Client, addresses[:1])}
		step.do()
		all()
		w.peerSays(w.namespace, v1alpha1.PeerEstablished, metav1.ConditionTrue)
		w.peerSays("second", v1alpha1.PeerEstablished, metav1.ConditionTrue)
		for router, probes := range probes {
			for a, p := range probes {
				w.noneNew(p.Stop(), fmt.Sprintf("%s, %s by %s", step.during, a, router))
			}
		}
	}
}
