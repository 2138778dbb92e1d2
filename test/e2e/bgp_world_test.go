//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// onHost runs the programs of a router on a host of the testbed until the test ends.
type onHost struct {
	*world
	host string
}

// routerOn is where a router's programs run. What they leave in the host's kernel goes when all of them have ended.
func (w *world) routerOn(host string) onHost {
	w.Helper()
	h := onHost{w, host}
	h.Cleanup(h.forgetRoutes)
	return h
}

func (h onHost) Exec(c *exec.Cmd) {
	h.Helper()
	start, stop := h.On(h.host)
	h.Cleanup(stop)
	if err := start(c); err != nil {
		h.Fatal(err)
	}
}

// forgetRoutes takes away the routes that a router's kernel has from a daemon that was killed: the next one may add its own to them.
// FRR's next hops go first, and their routes with them: the kernel refuses what ip asks for when it flushes routes of next hop objects.
func (h onHost) forgetRoutes() {
	h.inKernel("nexthop", "flush")
	for _, family := range []string{"-4", "-6"} {
		for _, daemon := range []string{"bgp", "bird"} {
			h.inKernel(family, "route", "flush", "proto", daemon)
		}
	}
}

func (h onHost) inKernel(args ...string) {
	if out, err := h.Cluster.Exec(context.Background(), h.host, append([]string{"ip"}, args...)...); err != nil {
		h.Errorf("removing the routes that a daemon left on %s: %v: %s", h.host, err, out)
	}
}

// far puts the client host behind the router for these prefixes.
func (w *world) far(prefixes ...string) {
	w.Helper()
	remove, err := w.PutBehindRouter(w.ctx, prefixes...)
	if err != nil {
		w.Fatal(err)
	}
	w.undo(remove)
}

// offSegment gives the world a pool of both families on no segment, and puts the client host behind the router for it.
func (w *world) offSegment() {
	w.Helper()
	w.apply(w.ownPool(w.pool, noSegment...))
	w.far(noSegment...)
}

// noSegment are the addresses of offSegment.
var noSegment = []string{"203.0.113.0/28", "2001:db8:113::/124"}

// secondRouter makes another router beside the first, with a client behind it that asks for the addresses of offSegment
// there.
func (w *world) secondRouter() lab.Far {
	w.Helper()
	f := lab.Far{Router: "router2", Client: "client2", Number: 1}
	w.addHost(f.Router, w.Cluster.AddRouter)
	w.addHost(f.Client, w.Cluster.AddClient)
	remove, err := w.PutBehind(w.ctx, f, noSegment...)
	if err != nil {
		w.Fatal(err)
	}
	w.undo(remove)
	if remove, err = w.RouteBack(w.ctx, f); err != nil {
		w.Fatal(err)
	}
	w.undo(remove)
	return f
}

// addHost adds a host of a kind that goes with the test.
func (w *world) addHost(name string, add func(string) error) {
	w.Helper()
	if err := add(name); err != nil {
		w.Fatal(err)
	}
	w.undo(func() error { return w.Cluster.RemoveHost(name) })
}

// undo does something when the test ends.
func (w *world) undo(f func() error) {
	w.Cleanup(func() {
		if err := f(); err != nil {
			w.Error(err)
		}
	})
}

// label marks what goes with the world.
func (w *world) label(o client.Object) client.Object {
	o.SetLabels(map[string]string{"world": w.namespace})
	return o
}

// peer is the router as a BGPPeer, without a password and BFD, and slow to notice by itself that it is lost.
func (w *world) peer(name string, edits ...func(*v1alpha1.BGPPeerSpec)) *v1alpha1.BGPPeer {
	p := lab.BGPPeer(name)
	p.Spec.HoldTime = &metav1.Duration{Duration: 3 * time.Minute}
	w.label(p)
	for _, edit := range edits {
		edit(&p.Spec)
	}
	return p
}

// guarded has the password of the world, and its BFD.
func (w *world) guarded(s *v1alpha1.BGPPeerSpec) {
	s.BFDProfile, s.PasswordSecret = w.namespace, &v1alpha1.PasswordSecretReference{Name: w.namespace}
}

// bgp makes the world's peer, with a password and BFD, and an advertisement of the world's pool to it.
func (w *world) bgp(edits ...func(*v1alpha1.BGPPeerSpec)) {
	w.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: w.namespace}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte(lab.BGPPassword)},
	}
	w.Cleanup(func() { _ = w.Client.Delete(context.Background(), secret) })
	w.apply(
		secret,
		w.label(lab.BFDProfile(w.namespace, routerBFD)),
		w.peer(w.namespace, append([]func(*v1alpha1.BGPPeerSpec){w.guarded}, edits...)...),
		w.routesTo(w.namespace, w.namespace),
	)
}

// routesTo is an advertisement of the world's pool to a peer.
func (w *world) routesTo(name, peer string, edits ...func(*v1alpha1.BGPAdvertisementSpec)) *v1alpha1.BGPAdvertisement {
	a := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPAdvertisementSpec{
		IPAddressPools: []string{w.pool}, Peers: []string{peer}, Communities: []v1alpha1.CommunityReference{"64512:7", "large:64512:1:2"},
	}}
	w.label(a)
	for _, edit := range edits {
		edit(&a.Spec)
	}
	return a
}

// route is what FRR knows of a prefix.
type route struct {
	Paths []struct {
		Valid    bool `json:"valid"`
		Nexthops []struct {
			IP string `json:"ip"`
		} `json:"nexthops"`
		Community struct {
			String string `json:"string"`
		} `json:"community"`
		Large struct {
			String string `json:"string"`
		} `json:"largeCommunity"`
	} `json:"paths"`
}

func show(f *routers.FRR, a netip.Addr) (r route, err error) {
	family := "ipv4"
	if a.Is6() {
		family = "ipv6"
	}
	err = f.Show(fmt.Sprintf("show bgp %s unicast %s", family, netip.PrefixFrom(a, a.BitLen())), &r)
	return r, err
}

// paths waits until FRR has so many paths to an address.
func (w *world) paths(f *routers.FRR, a netip.Addr, n int) (r route) {
	w.Helper()
	w.await(fmt.Sprintf("%d paths to %s", n, a), func(context.Context) (err error) {
		if r, err = show(f, a); err == nil && len(r.Paths) != n {
			err = fmt.Errorf("there are %+v", r.Paths)
		}
		return err
	})
	return r
}

// nextHops waits until a host's kernel sends packets for an address to so many others.
func (w *world) nextHops(host string, a netip.Addr, n int) {
	w.Helper()
	w.await(fmt.Sprintf("%d next hops of %s on %s", n, a, host), func(ctx context.Context) error {
		got, err := w.NextHops(ctx, host, a)
		if err == nil && got != n {
			err = fmt.Errorf("there are %d", got)
		}
		return err
	})
}

// peerSays waits until a BGPPeer has a condition of this status whose message has all these words.
func (w *world) peerSays(name, kind string, status metav1.ConditionStatus, words ...string) {
	w.Helper()
	w.await(fmt.Sprintf("%s=%s of BGPPeer %s, with %q", kind, status, name, words), func(ctx context.Context) error {
		var p v1alpha1.BGPPeer
		if err := w.Client.Get(ctx, w.key(name), &p); err != nil {
			return err
		}
		return said(p.Status.Conditions, kind, status, words)
	})
}

// said wants a condition of this status whose message, or reason, has all these words.
func said(conditions []metav1.Condition, kind string, status metav1.ConditionStatus, words []string) error {
	for _, c := range conditions {
		if c.Type != kind || c.Status != status {
			continue
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) && c.Reason != word {
				return fmt.Errorf("it says %s: %s", c.Reason, c.Message)
			}
		}
		return nil
	}
	return fmt.Errorf("it has %+v", conditions)
}

// session is what a node's speaker says of its session with a peer.
func (w *world) session(ctx context.Context, node, peer string) (v1alpha1.SpeakerSession, error) {
	var s v1alpha1.SpeakerStatus
	if err := w.Client.Get(ctx, w.key(node), &s); err != nil {
		return v1alpha1.SpeakerSession{}, err
	}
	if s.Status.BGP != nil {
		for _, session := range s.Status.BGP.Sessions {
			if session.Peer == peer {
				return session, nil
			}
		}
	}
	return v1alpha1.SpeakerSession{}, fmt.Errorf("%s has no session with %s", node, peer)
}

// watch opens new connections to addresses from a host until it is stopped.
func (w *world) watch(host string, addresses []netip.Addr) map[netip.Addr]*lab.Probe {
	probes := map[netip.Addr]*lab.Probe{}
	for _, a := range addresses {
		probes[a] = w.StartProbe(w.ctx, host, a, 80, probeEvery, probeTimeout)
	}
	return probes
}

// routerBFD is how often BFD's packets come, on both sides.
const routerBFD = 100 * time.Millisecond

// frr runs FRR on the router.
func (w *world) frr() *routers.FRR {
	w.Helper()
	return routers.StartFRR(w.routerOn(testbed.Router), lab.FRRConfig(routerBFD))
}
