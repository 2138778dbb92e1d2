//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// device is a router of any kind.
type device interface {
	Routes(prefix string) ([]routers.Route, error)
	Neighbour(address string) (routers.Neighbour, error)
	Freeze() error
	Thaw() error
}

// optionsRouter is a router of which each node is another kind of neighbour: node1 is in an AS of four octets, speaks from an address of
// its own, and has the long times of graceful restart; node2 is in the router's AS; node3 has a password.
type optionsRouter struct {
	device
	name, address string
	// wide, internal and guarded are the nodes' addresses.
	wide, internal, guarded string
	// log is what the router has logged; it has a line for each route that comes with GRACEFUL_SHUTDOWN.
	log func() (string, error)
	// password changes that of node3.
	password func(string) error
}

const (
	wideASN       = 4200000001
	otherPassword = "changed"
)

// peers are the names of the BGPPeers of the router, by node.
func (r *optionsRouter) peers() (wide, internal, guarded string) {
	return r.name + "-wide", r.name + "-internal", r.name + "-guarded"
}

const optionsFRR = `
debug bgp updates in
router bgp 64513
 bgp router-id 172.30.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 no bgp network import-check
 bgp graceful-restart
 bgp long-lived-graceful-restart stale-time 600
 neighbor WIDE remote-as 4200000001
 neighbor INTERNAL remote-as 64513
 neighbor GUARDED remote-as 64512
 neighbor GUARDED password secret
 neighbor WIDE passive
 neighbor INTERNAL passive
 neighbor GUARDED passive
 address-family ipv4 unicast
  network 10.50.0.0/24
  network 10.50.1.0/24
  network 10.50.2.0/24
  neighbor WIDE activate
  neighbor INTERNAL activate
  neighbor GUARDED activate
 exit-address-family
 address-family ipv6 unicast
  neighbor WIDE activate
  neighbor INTERNAL activate
  neighbor GUARDED activate
 exit-address-family
!
`

const optionsBIRD = `
router id 172.30.0.2;
log "LOG" { warning, error, fatal, bug, info };
protocol device { scan time 1; }
protocol static { ipv4; route 10.50.0.0/24 blackhole; route 10.50.1.0/24 blackhole; route 10.50.2.0/24 blackhole; }
filter taken {
  if (65535, 0) ~ bgp_community then print "graceful-shutdown from ", from, " for ", net;
  accept;
}
template bgp node {
  local LOCAL as 64513;
  direct;
  passive;
  graceful restart on;
  long lived graceful restart on;
  error wait time 1, 1;
  ipv4 { import filter taken; export where source = RTS_STATIC; };
  ipv6 { import filter taken; export none; };
}
protocol bgp four_octets from node { neighbor WIDE as 4200000001; }
protocol bgp same_as from node { neighbor INTERNAL as 64513; }
protocol bgp with_password from node { neighbor GUARDED as 64512; password "secret"; }
`

// optionsRouters starts FRR on the router and BIRD on the client's host.
func (w *world) optionsRouters() []*optionsRouter {
	w.Helper()
	address := func(host string) string {
		v4, _, err := w.Cluster.HostAddresses(host)
		if err != nil {
			w.Fatal(err)
		}
		return v4
	}
	var out []*optionsRouter
	for name, source := range map[string]string{"frr": "172.30.0.241", "bird": "172.30.0.242"} {
		if _, err := w.Cluster.Exec(w.ctx, "node1", "ip", "address", "add", source+"/32", "dev", "eth0"); err != nil {
			w.Fatal(err)
		}
		w.undo(func() error {
			_, err := w.Cluster.Exec(context.Background(), "node1", "ip", "address", "del", source+"/32", "dev", "eth0")
			return err
		})
		r := &optionsRouter{name: w.namespace + "-" + name, address: lab.RouterV4, wide: source, internal: address("node2"), guarded: address("node3")}
		fill := func(config string) string {
			return strings.NewReplacer("WIDE", r.wide, "INTERNAL", r.internal, "GUARDED", r.guarded, "LOCAL", r.address).Replace(config)
		}
		if name == "frr" {
			f := routers.StartFRR(w.routerOn(testbed.Router), fill(optionsFRR))
			r.device = f
			r.log = f.Log
			r.password = func(p string) error { return f.Configure("router bgp 64513", "neighbor "+r.guarded+" password "+p) }
		} else {
			r.address = address(testbed.Client)
			log := filepath.Join(w.TempDir(), "log")
			config := strings.ReplaceAll(fill(optionsBIRD), "LOG", log)
			b := routers.StartBIRD(w.routerOn(testbed.Client), config)
			r.device = b
			r.log = func() (string, error) {
				text, err := os.ReadFile(log)
				return string(text), err
			}
			r.password = func(p string) error { return b.Configure(strings.ReplaceAll(config, `"secret"`, fmt.Sprintf("%q", p))) }
		}
		out = append(out, r)
	}
	return out
}

// optionsObjects are the BGPPeers, one of each router for each node, and what is announced to them.
func (w *world) optionsObjects(all []*optionsRouter) {
	w.Helper()
	var wide, internal, every []string
	for _, r := range all {
		names := [3]string{}
		names[0], names[1], names[2] = r.peers()
		wide, internal, every = append(wide, names[0]), append(internal, names[1]), append(every, names[:]...)
		for i, options := range []func(*v1alpha1.BGPPeerSpec){
			func(s *v1alpha1.BGPPeerSpec) {
				s.MyASN, s.SourceAddress, s.RouterID = wideASN, r.wide, "192.0.2.99"
				s.HoldTime, s.KeepaliveTime = &metav1.Duration{Duration: 42 * time.Second}, &metav1.Duration{Duration: 2 * time.Second}
				s.EnableGracefulRestart, s.GracefulRestart = true, &v1alpha1.GracefulRestart{
					RestartTime: &metav1.Duration{Duration: 77 * time.Second}, LongLivedStaleTime: &metav1.Duration{Duration: time.Hour},
				}
			},
			func(s *v1alpha1.BGPPeerSpec) {
				s.MyASN, s.PeerASN, s.DynamicASN = lab.RouterASN, 0, v1alpha1.DynamicASNInternal
				s.HoldTime, s.KeepaliveTime = nil, &metav1.Duration{Duration: 3 * time.Second}
			},
			func(s *v1alpha1.BGPPeerSpec) {
				s.PasswordSecret = &v1alpha1.PasswordSecretReference{Name: w.namespace}
			},
		} {
			w.apply(w.peer(names[i], func(s *v1alpha1.BGPPeerSpec) {
				s.PeerAddress, s.NodeSelectors = r.address, nodesNamed(fmt.Sprintf("node%d", i+1))
			}, options))
		}
	}
	names := &v1alpha1.Community{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}, Spec: v1alpha1.CommunitySpec{Communities: []v1alpha1.CommunityAlias{
		{Name: "customers", Value: "64512:100"}, {Name: "far-away", Value: "large:4200000001:4294967295:0"},
	}}}
	w.label(names)
	four, six := int32(28), int32(124)
	w.apply(
		names,
		w.routesTo(w.namespace, "", func(s *v1alpha1.BGPAdvertisementSpec) {
			s.Peers, s.Communities = every, []v1alpha1.CommunityReference{"customers", "far-away", "no-export", "no-peer", "64512:7"}
		}),
		w.routesTo(w.namespace+"-wide", "", func(s *v1alpha1.BGPAdvertisementSpec) {
			s.Peers, s.Communities = wide, []v1alpha1.CommunityReference{"no-peer"}
			s.AggregationLength, s.AggregationLengthV6 = &four, &six
		}),
		w.routesTo(w.namespace+"-internal", "", func(s *v1alpha1.BGPAdvertisementSpec) {
			s.Peers, s.Communities, s.LocalPref = internal, nil, 250
		}),
	)
}

// tableHas waits until a router has these routes to a prefix, and no others. They are told apart by their paths.
func (w *world) tableHas(r *optionsRouter, prefix string, want map[string]routers.Route) {
	w.Helper()
	w.await(fmt.Sprintf("the routes of %s to %s", r.name, prefix), func(context.Context) error {
		routes, err := r.Routes(prefix)
		if err != nil {
			return err
		}
		got := map[string]routers.Route{}
		for _, one := range routes {
			path := one.Path
			one.Path = ""
			if path != "" && one.LocalPref == "0" {
				one.LocalPref = "" // FRR follows RFC 8326 without being told to where the peer is external
			}
			if want[path].NextHop == "" {
				one.NextHop = ""
			}
			got[path] = one
		}
		if len(routes) != len(want) || !maps.Equal(got, want) {
			return fmt.Errorf("it has %+v, want %+v", got, want)
		}
		return nil
	})
}

// What BGPPeers, BGPAdvertisements and Communities may say is seen in the tables of real routers, and a node that is cordoned and a speaker
// that stops have routers prefer others. Routers that disagree or fall silent are told of in words. TestRouters in announcer/bgp sees
// more options, without a cluster.
func TestBGPOptions(t *testing.T) {
	w := newWorld(t)
	w.apply(w.ownPool(w.pool, noSegment...))
	all := w.optionsRouters()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: lab.Namespace, Name: w.namespace}, Type: corev1.SecretTypeBasicAuth,
		Data: map[string][]byte{corev1.BasicAuthPasswordKey: []byte(lab.BGPPassword)},
	}
	w.apply(secret)
	w.Cleanup(func() { _ = w.Client.Delete(context.Background(), secret) })
	w.optionsObjects(all)
	w.backend("echo", 3)
	addresses := w.service("web", "echo", 2, lab.DualStack)
	each := func(do func(r *optionsRouter)) {
		t.Helper()
		for _, r := range all {
			do(r)
		}
	}

	const path, named, large = "4200000001", "64512:7 64512:100 no-export no-peer", "4200000001:4294967295:0"
	routed := func(draining bool) {
		t.Helper()
		internal, guarded := routers.Route{LocalPref: "250", Communities: named, LargeCommunities: large}, routers.Route{Communities: named, LargeCommunities: large}
		if draining {
			internal.LocalPref, internal.Communities = "0", strings.Replace(named, "no-export", "graceful-shutdown no-export", 1)
			guarded.Communities = internal.Communities
		}
		each(func(r *optionsRouter) {
			for _, a := range addresses {
				wide := routers.Route{Communities: named, LargeCommunities: large}
				if a.Is4() {
					wide.NextHop = r.wide
				}
				w.tableHas(r, netip.PrefixFrom(a, a.BitLen()).String(), map[string]routers.Route{path: wide, "": internal, "64512": guarded})
			}
		})
	}
	routed(false)
	each(func(r *optionsRouter) {
		for _, prefix := range noSegment {
			w.tableHas(r, prefix, map[string]routers.Route{path: {Communities: "no-peer"}})
		}
		for address, want := range map[string]routers.Neighbour{
			r.wide:     {ASN: wideASN, RouterID: "192.0.2.99", Hold: 42 * time.Second, Restart: 77 * time.Second, LongLived: true},
			r.internal: {ASN: lab.RouterASN, RouterID: r.internal, Hold: 9 * time.Second},
			r.guarded:  {ASN: lab.NodeASN, RouterID: r.guarded, Hold: 3 * time.Minute},
		} {
			got, err := r.Neighbour(address)
			want.Established, want.Keepalives = true, got.Keepalives
			if err != nil || got != want {
				t.Errorf("%s knows %+v of %s, want %+v; %v", r.name, got, address, want, err)
			}
		}
	})
	w.optionsDrain(all, routed)
	w.optionsDisagreed(all, secret)
	routed(false)
}

// optionsDrain cordons nodes, and stops the speaker of one.
func (w *world) optionsDrain(all []*optionsRouter, routed func(draining bool)) {
	w.Helper()
	w.Cleanup(func() { w.uncordon(context.Background(), "node2"); w.uncordon(context.Background(), "node3") })
	if _, err := w.Cluster.Kubectl(w.ctx, "cordon", "node2", "node3"); err != nil {
		w.Fatal(err)
	}
	routed(true)
	if _, err := w.Cluster.Kubectl(w.ctx, "uncordon", "node2", "node3"); err != nil {
		w.Fatal(err)
	}
	routed(false)

	// What a speaker says when it stops is there for two seconds, so the routers write it down.
	asked := func(r *optionsRouter) int {
		text, err := r.log()
		if err != nil {
			w.Fatal(err)
		}
		n := 0
		for line := range strings.Lines(text) {
			if strings.Contains(line, r.guarded) && strings.Contains(line, "graceful-shutdown") {
				n++
			}
		}
		return n
	}
	before := map[string]int{}
	for _, r := range all {
		if before[r.name] = asked(r); before[r.name] == 0 {
			w.Errorf("the log of %s does not have what was asked of it while node3 was cordoned", r.name)
		}
	}
	speaker := w.speaker("node3")
	if err := w.Client.Delete(w.ctx, speaker); err != nil {
		w.Fatal(err)
	}
	for _, r := range all {
		w.await("the speaker that stops to ask "+r.name+" to prefer others", func(context.Context) error {
			if got := asked(r); got <= before[r.name] {
				return fmt.Errorf("%s was asked %d times before, and %d now", r.name, before[r.name], got)
			}
			return nil
		})
	}
	w.awaitNewSpeaker("node3", speaker)
	routed(false)
}

// optionsDisagreed has routers and BGPPeers want different things, and routers that fall silent.
func (w *world) optionsDisagreed(all []*optionsRouter, secret *corev1.Secret) {
	w.Helper()
	limit := int32(2)
	for _, wrong := range []struct {
		edit  func(*v1alpha1.BGPPeerSpec)
		words []string
	}{
		{func(s *v1alpha1.BGPPeerSpec) { s.PeerASN = 64999 }, []string{"wrong ASN: the peer has 64513, but 64999 is configured for it"}},
		{func(s *v1alpha1.BGPPeerSpec) { s.MyASN = lab.NodeASN }, []string{"it expects another ASN of us"}},
		{func(s *v1alpha1.BGPPeerSpec) { s.PrefixLimit = &limit }, []string{"the peer sent more than 2 prefixes"}},
		{func(s *v1alpha1.BGPPeerSpec) {}, nil},
	} {
		for _, r := range all {
			wide, _, _ := r.peers()
			edit(w, w.peer(wide), func(p *v1alpha1.BGPPeer) {
				p.Spec.PeerASN, p.Spec.MyASN, p.Spec.PrefixLimit = lab.RouterASN, wideASN, nil
				wrong.edit(&p.Spec)
			})
		}
		status := metav1.ConditionFalse
		if wrong.words == nil {
			status = metav1.ConditionTrue
		}
		for _, r := range all {
			wide, _, _ := r.peers()
			w.peerSays(wide, v1alpha1.PeerEstablished, status, wrong.words...)
		}
	}

	edit(w, secret, func(s *corev1.Secret) { s.Data[corev1.BasicAuthPasswordKey] = []byte(otherPassword) })
	for _, r := range all {
		_, _, guarded := r.peers()
		w.peerSays(guarded, v1alpha1.PeerEstablished, metav1.ConditionFalse, "node3", "wrong password")
		if err := r.password(otherPassword); err != nil {
			w.Fatal(err)
		}
		w.peerSays(guarded, v1alpha1.PeerEstablished, metav1.ConditionTrue)
	}

	for _, r := range all {
		if err := r.Freeze(); err != nil {
			w.Fatal(err)
		}
		w.Cleanup(func() { _ = r.Thaw() })
	}
	for _, r := range all {
		_, internal, _ := r.peers()
		w.peerSays(internal, v1alpha1.PeerEstablished, metav1.ConditionFalse, "node2", "the hold timer expired: nothing came from the peer for 9s")
		if err := r.Thaw(); err != nil {
			w.Fatal(err)
		}
		w.peerSays(internal, v1alpha1.PeerEstablished, metav1.ConditionTrue)
	}
}
