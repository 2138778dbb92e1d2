//go:build e2e

package e2e

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/lab"
	"github.com/fairlead/fairlead/test/routers"
	"github.com/fairlead/fairlead/test/testbed"
)

// message is one of BGP (RFC 4271 section 4.1).
func message(kind byte, body ...byte) []byte {
	m := append(slices.Repeat([]byte{0xff}, 16), 0, 0, kind)
	m = append(m, body...)
	binary.BigEndian.PutUint16(m[16:], uint16(len(m)))
	return m
}

// open is an OPEN without capabilities (RFC 4271 section 4.2).
func open(asn, hold uint16) []byte {
	body := []byte{4}
	body = binary.BigEndian.AppendUint16(body, asn)
	body = binary.BigEndian.AppendUint16(body, hold)
	return message(1, append(body, 192, 0, 2, 77, 0)...)
}

var keepalive = message(4)

// crudePeers are routers that misbehave. Each has an address of its own on the testbed's router.
type crudePeers struct{ *world }

// crudePort is beside the port of a real router on the same host.
const crudePort = 1790

// have gives the router an address.
func (c crudePeers) have(a netip.Addr) {
	c.Helper()
	if _, err := c.Cluster.Exec(c.ctx, testbed.Router, "ip", "address", "add", netip.PrefixFrom(a, 32).String(), "dev", "eth0"); err != nil {
		c.Fatal(err)
	}
	c.Cleanup(func() {
		_, _ = c.Cluster.Exec(context.Background(), testbed.Router, "ip", "address", "del", netip.PrefixFrom(a, 32).String(), "dev", "eth0")
	})
}

// listen lets a peer behave in its way in every connection that comes to its address. Its connections are closed when it
// returns.
func (c crudePeers) listen(a netip.Addr, behave func(net.Conn)) {
	c.Helper()
	var l net.Listener
	err := c.Cluster.InNamespace(testbed.Router, func() (err error) {
		l, err = net.ListenTCP("tcp", net.TCPAddrFromAddrPort(netip.AddrPortFrom(a, crudePort)))
		return err
	})
	if err != nil {
		c.Fatal(err)
	}
	var running sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			running.Go(func() {
				behave(conn)
				conn.Close()
				mu.Lock()
				delete(open, conn)
				mu.Unlock()
			})
		}
	})
	c.Cleanup(func() {
		l.Close()
		mu.Lock()
		for conn := range open {
			conn.Close()
		}
		mu.Unlock()
		running.Wait()
	})
}

func say(c net.Conn, messages ...[]byte) { _, _ = c.Write(slices.Concat(messages...)) }

// untilClosed reads what the other side sends, for as long as it does.
func untilClosed(c net.Conn) { _, _ = io.Copy(io.Discard, c) }

// Peers that are not there, that talk nonsense, that fall silent or that flap are told of in words, and disturb neither
// the peer that behaves nor layer 2.
func TestBGPPeersThatMisbehave(t *testing.T) {
	w := newWorld(t, "172.30.0.208-172.30.0.215")
	f := w.frr()
	w.bgp()
	w.backend("echo", 3)
	a := w.service("web", "echo", 1)[0]
	w.paths(f, a, len(w.Cluster.Nodes()))
	w.settled(a)
	probes := w.watch(testbed.Client, []netip.Addr{a})
	before := w.sessions(w.namespace)

	crude := crudePeers{w}
	next := mustAddr("172.30.0.230")
	wanted := map[string][]string{}
	for _, bad := range []struct {
		name   string
		away   bool           // nobody has the address
		behave func(net.Conn) // nil: nobody listens
		edit   func(*v1alpha1.BGPPeerSpec)
		words  []string
	}{
		{name: "nobody", away: true, words: []string{"172.30.0.230", "no answer"}},
		{name: "refusing", words: []string{"refused"}},
		{name: "wrong-password", edit: func(s *v1alpha1.BGPPeerSpec) { s.Password = "another" }, behave: untilClosed, words: []string{"wrong password"}},
		{name: "wrong-asn", words: []string{"64999"}, behave: func(c net.Conn) {
			say(c, open(64999, 90))
			untilClosed(c)
		}},
		{name: "rejecting", words: []string{"it expects another ASN of us"}, behave: func(c net.Conn) {
			say(c, message(3, 2, 2))
			untilClosed(c)
		}},
		{name: "silent", words: []string{"hold time"}, edit: func(s *v1alpha1.BGPPeerSpec) {
			s.HoldTime, s.ConnectTime = &metav1.Duration{Duration: 3 * time.Second}, &metav1.Duration{Duration: 5 * time.Second}
		}, behave: func(c net.Conn) {
			say(c, open(lab.RouterASN, 3), keepalive)
			untilClosed(c)
		}},
		{name: "garbage", words: []string{"the peer sent"}, behave: func(c net.Conn) {
			b := make([]byte, 4096)
			for i := range b {
				b[i] = byte(rand.Uint32())
			}
			say(c, b)
			untilClosed(c)
		}},
		{name: "flapping", words: []string{"the peer closed the connection"}, behave: func(c net.Conn) {
			say(c, open(lab.RouterASN, 90), keepalive)
			_, _ = io.ReadFull(c, make([]byte, 30))
		}},
	} {
		address := next
		next = next.Next()
		peer := w.peer(bad.name, func(s *v1alpha1.BGPPeerSpec) {
			s.PeerAddress, s.PeerPort, s.HoldTime = address.String(), crudePort, nil
		})
		if bad.edit != nil {
			bad.edit(&peer.Spec)
		}
		if !bad.away {
			crude.have(address)
		}
		if bad.behave != nil {
			crude.listen(address, bad.behave)
		}
		w.apply(peer, w.routesTo(bad.name, bad.name))
		wanted[bad.name] = bad.words
	}
	w.brokenManifests()
	for name, words := range wanted {
		w.peerSays(name, v1alpha1.PeerEstablished, metav1.ConditionFalse, words...)
	}
	for node, since := range before {
		now, err := w.session(w.ctx, node, w.namespace)
		if err != nil {
			t.Fatal(err)
		}
		if now.State != v1alpha1.SessionEstablished || !now.Since.Equal(&since) {
			t.Errorf("the session of %s with the peer that behaves is %s since %s, it was established since %s", node, now.State, now.Since, since)
		}
	}
	w.paths(f, a, len(w.Cluster.Nodes()))
	w.none(probes[a].Stop(), "with peers that misbehave")
}

// sessions says since when each node has its session with a peer.
func (w *world) sessions(peer string) map[string]metav1.Time {
	w.Helper()
	since := map[string]metav1.Time{}
	for _, node := range w.Cluster.Nodes() {
		w.await("the session of "+node, func(ctx context.Context) error {
			s, err := w.session(ctx, node, peer)
			if err == nil && s.State != v1alpha1.SessionEstablished {
				err = fmt.Errorf("it is %+v", s)
			}
			since[node] = s.Since
			return err
		})
	}
	return since
}

// brokenManifests makes objects that cannot be used as they are, each of which says so.
func (w *world) brokenManifests() {
	w.Helper()
	twenty := int32(20)
	for name, b := range map[string]struct {
		edit func(*v1alpha1.BGPAdvertisementSpec)
		word string
	}{
		"unknown-alias": {func(s *v1alpha1.BGPAdvertisementSpec) {
			s.Communities = []v1alpha1.CommunityReference{"nobody-defines-it"}
		}, "UnknownCommunity"},
		"too-wide": {func(s *v1alpha1.BGPAdvertisementSpec) { s.AggregationLength = &twenty }, "AggregationTooWide"},
		"no-pool":  {func(s *v1alpha1.BGPAdvertisementSpec) { s.IPAddressPools = []string{"nowhere"} }, "PoolNotFound"},
		"no-peer":  {func(s *v1alpha1.BGPAdvertisementSpec) { s.Peers = append(s.Peers, "nobody-at-all") }, "PeerNotFound"},
	} {
		w.apply(w.routesTo(name, w.namespace, b.edit))
		w.await(fmt.Sprintf("BGPAdvertisement %s to say %s", name, b.word), func(ctx context.Context) error {
			var a v1alpha1.BGPAdvertisement
			if err := w.Client.Get(ctx, w.key(name), &a); err != nil {
				return err
			}
			return said(a.Status.Conditions, v1alpha1.AdvertisementReady, metav1.ConditionFalse, []string{b.word})
		})
	}
	for name, b := range map[string]struct {
		edit func(*v1alpha1.BGPPeerSpec)
		word string
	}{
		"no-profile": {func(s *v1alpha1.BGPPeerSpec) { s.PeerAddress, s.BFDProfile = "172.30.0.227", "nowhere" }, "ProfileNotFound"},
		"no-secret": {func(s *v1alpha1.BGPPeerSpec) {
			s.PeerAddress, s.PasswordSecret = "172.30.0.228", &v1alpha1.PasswordSecretReference{Name: "nowhere"}
		}, "PasswordMissing"},
		"same-address": {func(*v1alpha1.BGPPeerSpec) {}, "AddressTwice"},
	} {
		w.apply(w.peer(name, b.edit))
		w.peerSays(name, v1alpha1.PeerReady, metav1.ConditionFalse, b.word)
	}
	for words, edit := range map[string]func(*v1alpha1.BGPPeerSpec){
		"peerASN":           func(s *v1alpha1.BGPPeerSpec) { s.DynamicASN = v1alpha1.DynamicASNExternal },
		"peerAddress":       func(s *v1alpha1.BGPPeerSpec) { s.Interface = "eth0" },
		"passwordSecret":    func(s *v1alpha1.BGPPeerSpec) { w.guarded(s); s.Password = "twice" },
		"3s to 65535s":      func(s *v1alpha1.BGPPeerSpec) { s.HoldTime = &metav1.Duration{Duration: 2 * time.Second} },
		"not an IP address": func(s *v1alpha1.BGPPeerSpec) { s.PeerAddress = "router" },
	} {
		if err := w.Client.Create(w.ctx, w.peer("refused", edit)); err == nil || !strings.Contains(err.Error(), words) {
			w.Errorf("a BGPPeer that contradicts itself (%s) was answered with: %v", words, err)
		}
	}
}

// kindsConfig has an unnumbered neighbour, and takes the nodes by IPv6 from one hop away.
const kindsConfig = `
interface ptp0
 ipv6 nd ra-interval 1
!
router bgp 64513
 bgp router-id 172.30.0.1
 no bgp ebgp-requires-policy
 no bgp default ipv4-unicast
 neighbor ptp0 interface remote-as external
 neighbor six peer-group
 neighbor six remote-as external
 neighbor six ttl-security hops 1
 neighbor six capability extended-nexthop
 bgp listen range fd00:30::/64 peer-group six
 address-family ipv4 unicast
  neighbor ptp0 activate
  neighbor six activate
  maximum-paths 8
 exit-address-family
 address-family ipv6 unicast
  neighbor ptp0 activate
  neighbor six activate
  maximum-paths 8
 exit-address-family
!
`

// farConfig is a router behind another one. It has BFD with the nodes before they connect, as strict profiles want it.
func (w *world) farConfig() string {
	w.Helper()
	config := `
router id 172.31.0.2;
protocol device { scan time 1; }
protocol bfd { multihop { interval 100 ms; multiplier 3; }; }
template bgp far {
  local 172.31.0.2 as 64514;
  multihop 3;
  passive;
  bfd on;
  ipv4 { import all; export none; };
  ipv6 { import all; export none; };
}
`
	for _, node := range w.Cluster.Nodes() {
		address, _, err := w.Cluster.HostAddresses(node)
		if err != nil {
			w.Fatal(err)
		}
		config += fmt.Sprintf("protocol bgp %s from far { neighbor %s as 64520; }\n", node, address)
	}
	return config
}

// Unnumbered peers on an interface, peers by IPv6 that carry IPv4 (RFC 8950) with any ASN and TTL security, and peers
// several hops away with strict BFD and another ASN of ours, all at once.
func TestBGPKindsOfPeers(t *testing.T) {
	w := newWorld(t)
	w.offSegment()
	w.pointToPoint("node1")
	f := routers.StartFRR(w.routerOn(testbed.Router), kindsConfig)
	b := routers.StartBIRD(w.routerOn(testbed.Client), w.farConfig())
	one := int32(1)
	w.bgp(func(s *v1alpha1.BGPPeerSpec) {
		s.PeerAddress, s.PeerASN, s.LocalASN, s.EBGPMultiHop, s.PasswordSecret = lab.FarClientV4, 64514, 64520, true, nil
	})
	edit(w, &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}, func(p *v1alpha1.BFDProfile) {
		ttl := int32(60) // BIRD sends with 64 where there are several hops
		p.Spec.MinimumTTL, p.Spec.Strict = &ttl, true
	})
	w.apply(
		w.peer("unnumbered", func(s *v1alpha1.BGPPeerSpec) {
			s.PeerAddress, s.Interface, s.PeerASN, s.DynamicASN, s.RouterID = "", "ptp0", 0, v1alpha1.DynamicASNExternal, "192.0.2.99"
			s.NodeSelectors = []metav1.LabelSelector{{MatchLabels: map[string]string{corev1.LabelHostname: "node1"}}}
		}),
		w.peer("six", func(s *v1alpha1.BGPPeerSpec) {
			s.PeerAddress, s.PeerASN, s.DynamicASN, s.TTLSecurityHops = lab.RouterV6, 0, v1alpha1.DynamicASNExternal, &one
		}),
		w.routesTo("unnumbered", "unnumbered"), w.routesTo("six", "six"),
	)
	w.backend("echo", 3)
	nodes := len(w.Cluster.Nodes())
	for _, a := range w.service("web", "echo", 2, lab.DualStack) {
		for _, p := range w.paths(f, a, nodes+1).Paths {
			if !p.Valid {
				t.Errorf("FRR does not use the path %+v", p)
			}
		}
		w.nextHops(testbed.Router, a, nodes+1)
		w.birdRoutes(b, a, nodes, "BGP.as_path: 64520")
		w.answers(a, 80)
	}
	for _, peer := range []string{w.namespace, "unnumbered", "six"} {
		w.peerSays(peer, v1alpha1.PeerEstablished, metav1.ConditionTrue)
	}
	w.watchedByBFD(w.namespace)
	var neighbour map[string]struct {
		ID string `json:"remoteRouterId"`
	}
	if err := f.Show("show bgp neighbors ptp0", &neighbour); err != nil || neighbour["ptp0"].ID != "192.0.2.99" {
		t.Errorf("the unnumbered neighbour has the router ID %q, want 192.0.2.99; %v", neighbour["ptp0"].ID, err)
	}
	if err := b.Kill(); err != nil {
		t.Fatal(err)
	}
	w.peerSays(w.namespace, v1alpha1.PeerEstablished, metav1.ConditionFalse)
	w.peerSays("six", v1alpha1.PeerEstablished, metav1.ConditionTrue)
}

// pointToPoint joins a node and the router by an interface ptp0 of each, without addresses but those of the link.
func (w *world) pointToPoint(node string) {
	w.Helper()
	segment := w.segment("ptp")
	for _, host := range []string{node, testbed.Router} {
		if err := segment.Plug(host, "ptp0"); err != nil {
			w.Fatal(err)
		}
	}
}
