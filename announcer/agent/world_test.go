package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/announcer/members"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/test/apiserver"
)

// world is a cluster's API server with what speakers read.
type world struct {
	t      *testing.T
	ctx    context.Context
	client client.Client
	// writes counts what speakers write; away makes the API server unreachable for
	// them.
	writes atomic.Int64
	away   atomic.Bool
	nodes  []string
}

const (
	testNamespace = "fairlead-system"
	testSecret    = "fairlead-gossip"
)

func newWorld(t *testing.T, nodes ...string) *world {
	t.Helper()
	if apiServer == nil {
		t.Skip(apiserver.Missing)
	}
	noLeaks(t)
	scheme, err := Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(rest.CopyConfig(apiServer), client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, ctx: context.Background(), client: c, nodes: nodes}
	t.Cleanup(w.clean)
	w.clean()
	for n, name := range nodes {
		w.createNode(name, fmt.Sprintf("127.77.0.%d", n+1))
	}
	_ = c.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: testNamespace}})
	_ = c.Create(w.ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "shop"}})
	w.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: testSecret},
		Data:       map[string][]byte{gossipKeys: []byte("MDEyMzQ1Njc4OWFiY2RlZg==\n")},
	})
	w.create(&v1alpha1.IPAddressPool{ObjectMeta: metav1.ObjectMeta{Name: "public"}, Spec: v1alpha1.IPAddressPoolSpec{Addresses: []v1alpha1.AddressRange{"172.30.0.0/24"}}})
	w.create(&v1alpha1.L2Advertisement{ObjectMeta: metav1.ObjectMeta{Name: "lan"}})
	return w
}

// clean empties the API server for the next test.
func (w *world) clean() {
	for _, o := range []client.Object{
		&v1alpha1.Address{}, &v1alpha1.L2Advertisement{}, &v1alpha1.IPAddressPool{}, &v1alpha1.SpeakerStatus{}, &corev1.Node{},
		&v1alpha1.BGPAdvertisement{}, &v1alpha1.BGPPeer{}, &v1alpha1.BFDProfile{}, &v1alpha1.Community{},
	} {
		_ = w.client.DeleteAllOf(w.ctx, o)
	}
	for _, namespace := range []string{"shop", testNamespace} {
		_ = w.client.DeleteAllOf(w.ctx, &discoveryv1.EndpointSlice{}, client.InNamespace(namespace))
	}
	_ = w.client.DeleteAllOf(w.ctx, &corev1.Secret{}, client.InNamespace(testNamespace))
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	if err := w.client.Create(w.ctx, o); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) createNode(name, ip string) {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	w.create(n)
	n.Status.Addresses = []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: ip}}
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	if err := w.client.Status().Update(w.ctx, n); err != nil {
		w.t.Fatal(err)
	}
}

// bind makes an address that a Service of the same name as its address holds.
func (w *world) bind(ip string, annotations map[string]string) netip.Addr {
	w.t.Helper()
	a := netip.MustParseAddr(ip)
	w.create(&v1alpha1.Address{
		ObjectMeta: metav1.ObjectMeta{Name: v1alpha1.AddressName(a), Annotations: annotations},
		Spec: v1alpha1.AddressSpec{
			Address: ip, Pool: "public", State: v1alpha1.AddressBound,
			Holders: []v1alpha1.AddressHolder{{
				HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "web"}, Since: metav1.Now(), State: v1alpha1.AddressBound,
				Endpoints: "web", Ports: []v1alpha1.HolderPort{{Protocol: "TCP", Port: 80}, {Protocol: "UDP", Port: 53}},
			}},
		},
	})
	return a
}

// bindMany makes n addresses, the first of them 172.30.0.1.
func (w *world) bindMany(n int) []netip.Addr {
	w.t.Helper()
	ips := make([]netip.Addr, 0, n)
	for i := range n {
		ips = append(ips, w.bind(fmt.Sprintf("172.30.0.%d", i+1), nil))
	}
	return ips
}

// endpoints makes the Service web have one ready endpoint on each node.
func (w *world) endpoints(nodes ...string) {
	w.t.Helper()
	s := &discoveryv1.EndpointSlice{
		ObjectMeta:  metav1.ObjectMeta{Namespace: "shop", Name: "web-1", Labels: map[string]string{discoveryv1.LabelServiceName: "web"}},
		AddressType: discoveryv1.AddressTypeIPv4,
	}
	for n, node := range nodes {
		s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{Addresses: []string{fmt.Sprintf("10.244.0.%d", n+1)}, NodeName: ptr.To(node), Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(true)}})
	}
	_ = w.client.Delete(w.ctx, &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web-1"}})
	w.create(s)
}

// envoys makes the Service web that of a Gateway, which lists one Envoy on each node,
// and lets Kubernetes say of the Envoys' own Service which of them are ready.
func (w *world) envoys(listed []string, ready map[string]bool) {
	w.t.Helper()
	slice := func(namespace, service string, nodes []string, ready func(node string) bool) {
		s := &discoveryv1.EndpointSlice{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: service + "-1", Labels: map[string]string{
				discoveryv1.LabelServiceName: service, v1alpha1.LabelFleet: "envoy-public",
			}},
			AddressType: discoveryv1.AddressTypeIPv4,
		}
		for n, node := range nodes {
			s.Endpoints = append(s.Endpoints, discoveryv1.Endpoint{
				Addresses: []string{fmt.Sprintf("10.244.0.%d", n+1)}, NodeName: ptr.To(node),
				Conditions: discoveryv1.EndpointConditions{Ready: ptr.To(ready(node))},
				TargetRef:  &corev1.ObjectReference{Kind: "Pod", Name: "envoy-" + node, UID: types.UID(node)},
			})
		}
		_ = w.client.Delete(w.ctx, &discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: s.Name}})
		w.create(s)
	}
	slice(testNamespace, "envoy-public", slices.Sorted(maps.Keys(ready)), func(n string) bool { return ready[n] })
	slice("shop", "web", listed, func(string) bool { return true })
}

func (w *world) status(ip netip.Addr) v1alpha1.AddressStatus {
	a := &v1alpha1.Address{}
	if err := w.client.Get(w.ctx, client.ObjectKey{Name: v1alpha1.AddressName(ip)}, a); err != nil {
		return v1alpha1.AddressStatus{}
	}
	return a.Status
}

// announced is the node that the status of an address names, and the reason of
// its condition.
func (w *world) announced(ip netip.Addr) string {
	s := w.status(ip)
	out := ""
	if s.Layer2 != nil {
		out = s.Layer2.Node
	}
	for _, c := range s.Conditions {
		if c.Type == v1alpha1.AddressAnnounced {
			out += " " + string(c.Status) + " " + c.Reason
		}
	}
	return strings.TrimSpace(out)
}

func (w *world) await(what string, ok func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("waited in vain %s", what)
		}
	}
}

// counting counts writes and can be made unreachable.
type counting struct {
	http.RoundTripper
	world *world
}

func (c counting) RoundTrip(r *http.Request) (*http.Response, error) {
	if c.world.away.Load() {
		return nil, errors.New("the API server is away")
	}
	if r.Method != http.MethodGet {
		c.world.writes.Add(1)
	}
	return c.RoundTripper.RoundTrip(r)
}

// speaker is a running agent.
type speaker struct {
	*Agent
	engine  *fakeEngine
	fake    *fakeMembers // nil with real membership
	cancel  context.CancelFunc
	done    chan error
	rejects *fakeRejecter
}

// config is that of a speaker without its network.
func (w *world) config(node string) Config {
	w.t.Helper()
	scheme, err := Scheme()
	if err != nil {
		w.t.Fatal(err)
	}
	cfg := rest.CopyConfig(apiServer)
	cfg.QPS, cfg.Burst = 1000, 1000
	cfg.WrapTransport = func(rt http.RoundTripper) http.RoundTripper { return counting{rt, w} }
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	if err != nil {
		w.t.Fatal(err)
	}
	informers, err := NewCache(cfg, scheme, testNamespace, testSecret)
	if err != nil {
		w.t.Fatal(err)
	}
	return Config{Log: logr.Discard(), Node: node, Version: "test", Cache: informers, Client: c, Namespace: testNamespace, Secret: testSecret}
}

// speak runs a speaker whose membership the test decides on.
func (w *world) speak(node string, prepare ...func(*speaker, *Config)) *speaker {
	w.t.Helper()
	cfg := w.config(node)
	s := &speaker{engine: newFakeEngine(node[4] - '0'), rejects: &fakeRejecter{}}
	s.fake = &fakeMembers{node: node, self: announcer.Member{Node: node, Presence: announcer.Alive, Settled: true}, told: map[string][]netip.Addr{}}
	cfg.NewMembers = func(_ context.Context, g Gossip) (Membership, error) { s.fake.gossip = g; return s.fake, nil }
	for _, p := range prepare {
		p(s, &cfg)
	}
	w.run(s, cfg)
	return s
}

// gossip runs a speaker with real membership.
func (w *world) gossip(node string) *speaker {
	w.t.Helper()
	cfg := w.config(node)
	s := &speaker{engine: newFakeEngine(node[4] - '0'), rejects: &fakeRejecter{}}
	cfg.NewMembers = func(ctx context.Context, g Gossip) (Membership, error) {
		return members.Start(ctx, members.Config{
			Log: logr.Discard(), Node: node, Address: g.Address, Port: 19950, Keys: g.Keys, Version: "test",
			Settle: 500 * time.Millisecond, OnChange: g.OnChange, OnMessage: g.OnMessage,
		})
	}
	w.run(s, cfg)
	return s
}

func (w *world) run(s *speaker, cfg Config) {
	w.t.Helper()
	cfg.NewEngine = func(onEvent func(l2.Event), _ func(net.HardwareAddr) bool) (Engine, error) {
		s.engine.onEvent = onEvent
		return s.engine, nil
	}
	cfg.NewRejecter = func([]netip.Addr) Rejecter { return s.rejects }
	var err error
	if s.Agent, err = New(cfg); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(w.ctx)
	s.cancel, s.done = cancel, make(chan error, 1)
	go func() { s.done <- s.Run(ctx) }()
	w.t.Cleanup(s.stop)
	w.await("for the speaker of "+cfg.Node+" to serve", func() bool {
		select {
		case err := <-s.done:
			s.done <- err
			w.t.Fatalf("the speaker of %s ended: %v", cfg.Node, err)
		default:
		}
		return s.Ready() == nil
	})
}

// stop ends a speaker in order.
func (s *speaker) stop() {
	s.cancel()
	err := <-s.done
	s.done <- err
}
