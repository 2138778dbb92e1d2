//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"os/exec"
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

// onRouter runs programs on the testbed's router until the test ends.
type onRouter struct{ *world }

func (h onRouter) Exec(c *exec.Cmd) {
	h.Helper()
	inside := h.Cluster.Command(testbed.Router, c.Args...)
	inside.Stderr = c.Stderr
	if err := inside.Start(); err != nil {
		h.Fatal(err)
	}
	h.Cleanup(func() {
		_ = inside.Process.Kill()
		_ = inside.Wait()
	})
}

const (
	ourASN, routerASN = 64512, 64513
	routerV4          = "172.30.0.1"
)

// frrConfig is a router that takes routes of both families from any node, with a password and BFD.
const frrConfig = `
bfd
 profile fast
  transmit-interval 100
  receive-interval 100
 !
!
router bgp 64513
 bgp router-id 172.30.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor nodes peer-group
 neighbor nodes remote-as 64512
 neighbor nodes password secret
 neighbor nodes timers 60 180
 neighbor nodes bfd profile fast
 bgp listen range 172.30.0.0/24 peer-group nodes
 address-family ipv4 unicast
  neighbor nodes activate
  maximum-paths 8
 exit-address-family
 address-family ipv6 unicast
  neighbor nodes activate
  maximum-paths 8
 exit-address-family
!
`

// label marks what goes with the world.
func (w *world) label(o client.Object) client.Object {
	o.SetLabels(map[string]string{"world": w.namespace})
	return o
}

// bgp makes a peer with a password and BFD, and an advertisement of the world's pools to it.
func (w *world) bgp(edits ...func(*v1alpha1.BGPPeer)) {
	w.Helper()
	peer := &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Spec: v1alpha1.BGPPeerSpec{
		MyASN: ourASN, PeerASN: routerASN, PeerAddress: routerV4, DualStackAddressFamily: true, BFDProfile: w.namespace,
		HoldTime: &metav1.Duration{Duration: 3 * time.Minute}, PasswordSecret: &v1alpha1.PasswordSecretReference{Name: w.namespace},
	}}
	for _, edit := range edits {
		edit(peer)
	}
	interval, multiplier := int32(100), int32(3)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: w.namespace}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte("secret")},
	}
	w.Cleanup(func() { _ = w.Client.Delete(context.Background(), secret) })
	w.apply(
		secret,
		w.label(&v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Spec: v1alpha1.BFDProfileSpec{
			ReceiveInterval: &interval, TransmitInterval: &interval, DetectMultiplier: &multiplier,
		}}),
		w.label(peer),
		w.label(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Spec: v1alpha1.BGPAdvertisementSpec{
			IPAddressPools: []string{w.pool}, Peers: []string{w.namespace}, Communities: []v1alpha1.CommunityReference{"64512:7", "large:64512:1:2"},
		}}),
	)
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

// paths waits until the router has so many paths to an address.
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

// A dual-stack Service on addresses that are on no segment is announced to a router by every node, answers a client
// behind the router, and is withdrawn when it goes.
func TestBGP(t *testing.T) {
	w := newWorld(t)
	w.apply(w.ownPool(w.pool, "203.0.113.0/28", "2001:db8:113::/124"))
	f := routers.StartFRR(onRouter{w}, frrConfig)
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
	w.nodeIsCut(f, addresses)
	if err := w.Client.Delete(w.ctx, &corev1.Service{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "web"}}); err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		w.paths(f, a, 0)
	}
}

// nodeIsCut has BFD see that a node is gone, and that it is back. By its hold time the router would see it in three
// minutes.
func (w *world) nodeIsCut(f *routers.FRR, addresses []netip.Addr) {
	w.Helper()
	nodes := w.Cluster.Nodes()
	last := nodes[len(nodes)-1]
	if err := w.Cluster.Cut(last); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { _ = w.Cluster.Heal(last) })
	for _, a := range addresses {
		w.paths(f, a, len(nodes)-1)
		w.answers(a, 80)
	}
	if err := w.Cluster.Heal(last); err != nil {
		w.Fatal(err)
	}
	for _, a := range addresses {
		w.paths(f, a, len(nodes))
	}
}
