package announcer

import (
	"maps"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	discoveryv1 "k8s.io/api/discovery/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// scene is a small cluster in which everything works: three nodes, one
// advertisement of everything, a Cluster Service with an endpoint on node1.
type scene struct {
	world     World
	endpoints map[string]Endpoints
	address   Address
}

func newScene() *scene {
	s := &scene{
		world: World{
			Pools:          []Pool{{Name: "public", Labels: labels.Set{"zone": "dmz"}}},
			Advertisements: []Advertisement{{Name: "all"}},
		},
		endpoints: map[string]Endpoints{"web": ready("node1")},
		address: Address{
			IP: netip.MustParseAddr("172.30.0.100"), Pool: "public", Bound: true, Key: "172.30.0.100",
			Holders: []Holder{holder("web", false)},
		},
	}
	for _, n := range []string{"node1", "node2", "node3"} {
		s.world.Nodes = append(s.world.Nodes, Node{Name: n, Ready: true, Labels: labels.Set{"name": n}})
		s.world.Members = append(s.world.Members, Member{
			Node: n, Presence: Alive, Settled: true,
			Interfaces: []Interface{
				{Name: "eth0", MAC: net.HardwareAddr{2, 0, 0, 0, 0, n[4] - '0'}, ARP: true, NDP: true},
				{Name: "eth1", MAC: net.HardwareAddr{2, 0, 0, 0, 1, n[4] - '0'}, ARP: true},
			},
		})
	}
	return s
}

func holder(name string, local bool) Holder {
	n := types.NamespacedName{Namespace: "shop", Name: name}
	return Holder{Kind: "Service", Name: n, Endpoints: n, Local: local, Labels: labels.Set{"app": name}}
}

func ready(nodes ...string) Endpoints {
	e := Endpoints{Ready: true}
	for _, n := range nodes {
		e.ReadyOn = mark(e.ReadyOn, n)
	}
	return e
}

func (s *scene) lookup(n types.NamespacedName) Endpoints { return s.endpoints[n.Name] }

func (s *scene) decide() Decision { return NewIndex(s.world).Decide(s.address, s.lookup) }

func (s *scene) explain() []Verdict { return NewIndex(s.world).Explain(s.address, s.lookup) }

// The order in which rendezvous hashing ranks the nodes for 172.30.0.100.
var order = []string{"node2", "node1", "node3"}

func selector(pairs ...string) labels.Selector {
	set := labels.Set{}
	for i := 0; i < len(pairs); i += 2 {
		set[pairs[i]] = pairs[i+1]
	}
	return set.AsSelector()
}

func TestDecide(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string // "NODE next NODES" or "REASON: MESSAGE"
	}{
		"all well": {func(*scene) {}, "A next B C"},
		"the winner's speaker is absent": {
			func(s *scene) { s.member("A").Presence = Absent }, "B next C",
		},
		"the winner's speaker starts": {
			func(s *scene) { s.member("A").Presence = Starting }, "B next C",
		},
		"the winner's speaker is away: the next is its deputy": {
			func(s *scene) { s.member("A").Presence = Held }, "A next B C deputy B",
		},
		"two are away: the third is the deputy": {
			func(s *scene) { s.member("A").Presence, s.member("B").Presence = Held, Held }, "A next B C deputy C",
		},
		"the only node with an endpoint is away: another is its deputy": {
			func(s *scene) {
				s.member("A").Presence = Held
				s.address.Holders[0].Local = true
				s.endpoints["web"] = ready(order[0])
			}, "A deputy B",
		},
		"all are away": {
			func(s *scene) {
				for i := range s.world.Members {
					s.world.Members[i].Presence = Held
				}
			}, "A next B C deputy none",
		},
		"a node that is away and not Ready loses its addresses at once": {
			func(s *scene) { s.member("A").Presence = Held; s.node("A").Ready = false }, "B next C",
		},
		"unsettled comes last": {
			func(s *scene) { s.member("A").Settled = false }, "B next C A",
		},
		"none is settled": {
			func(s *scene) {
				for i := range s.world.Members {
					s.world.Members[i].Settled = false
				}
			}, "A next B C",
		},
		"cordoned comes after others": {
			func(s *scene) { s.node("A").Unschedulable = true }, "B next C A",
		},
		"cordoned but settled comes before unsettled": {
			func(s *scene) {
				s.node("A").Unschedulable = true
				s.member("B").Settled, s.member("C").Settled = false, false
			}, "A next B C",
		},
		"all are cordoned": {
			func(s *scene) {
				for i := range s.world.Nodes {
					s.world.Nodes[i].Unschedulable = true
				}
			}, "A next B C",
		},
		"preferred comes first": {
			func(s *scene) { s.prefer(10, "C") }, "C next A B",
		},
		"preferences of several advertisements add up": {
			func(s *scene) {
				s.prefer(10, "C")
				s.world.Advertisements = append(s.world.Advertisements, Advertisement{Name: "more", Preferred: []Preference{
					{Weight: 6, Selector: selector("name", order[1])}, {Weight: 5, Selector: selector("name", order[1])},
				}})
			}, "B next C A",
		},
		"a preferred node that is not settled waits": {
			func(s *scene) { s.prefer(10, "C"); s.member("C").Settled = false }, "A next B C",
		},
		"a node that is excluded": {
			func(s *scene) { s.node("A").Labels[excludeLabel] = "" }, "B next C",
		},
		"exclusion ignored": {
			func(s *scene) {
				s.node("A").Labels[excludeLabel] = ""
				s.world.Options.IgnoreExcludeLabel = true
			}, "A next B C",
		},
		"nodes selected by label": {
			func(s *scene) {
				s.world.Advertisements[0].NodeSelectors = []labels.Selector{selector("name", order[1]), selector("name", order[2])}
			}, "B next C",
		},
		"an interface that only one node has": {
			func(s *scene) {
				s.world.Advertisements[0].Interfaces = []string{"bond7"}
				s.member("C").Interfaces[1].Name = "bond7"
			}, "C",
		},
		"IPv6 needs NDP": {
			func(s *scene) {
				s.address.IP = netip.MustParseAddr("fd00:30::100")
				s.member("A").Interfaces[0].NDP = false
			}, "B next C",
		},
		"Local": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				s.endpoints["web"] = ready(order[2], order[1])
			}, "B next C",
		},
		"Local and Cluster share": {
			func(s *scene) {
				s.address.Holders = append(s.address.Holders, holder("api", true))
				s.endpoints["api"] = ready(order[2])
			}, "C",
		},
		"a Local holder without any endpoint does not take the address from the other": {
			func(s *scene) { s.address.Holders = append(s.address.Holders, holder("api", true)) }, "A next B C",
		},
		"two Local holders without a common node": {
			func(s *scene) {
				s.address.Holders = []Holder{holder("web", true), holder("api", true)}
				s.endpoints["web"], s.endpoints["api"] = ready(order[0]), ready(order[1])
			}, "NoReadyEndpoint: No node can announce 172.30.0.100 (L2Advertisement all): node1 has no ready endpoint of its own",
		},
		"terminating endpoints count when none is ready": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				s.endpoints["web"] = Endpoints{Terminating: true, TerminatingOn: map[string]bool{order[1]: true}}
			}, "B",
		},
		"terminating endpoints do not count beside a ready one": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				e := ready(order[2])
				e.Terminating, e.TerminatingOn = true, map[string]bool{order[0]: true}
				s.endpoints["web"] = e
			}, "C",
		},
		"an endpoint that leaves counts beside a ready one": {
			func(s *scene) {
				s.address.Holders[0].Local = true
				e := ready(order[2])
				e.Terminating, e.TerminatingOn = true, map[string]bool{order[0]: true}
				e.ReadyOn[order[0]] = true
				s.endpoints["web"] = e
			}, "A next C",
		},
		"no endpoint": {
			func(s *scene) { delete(s.endpoints, "web") },
			"NoReadyEndpoint: Service shop/web has no ready endpoint in the cluster.",
		},
		"nobody holds it": {
			func(s *scene) { s.address.Bound = false },
			"NotBound: Nobody uses 172.30.0.100, so it is not announced.",
		},
		"no advertisement": {
			func(s *scene) { s.world.Advertisements = nil },
			"NoAdvertisement: No L2Advertisement or BGPAdvertisement selects pool public.",
		},
		"another pool is advertised": {
			func(s *scene) { s.world.Advertisements[0].Pools = []string{"other"} },
			"NoAdvertisement: No L2Advertisement or BGPAdvertisement selects pool public.",
		},
		"the pool is selected by label": {
			func(s *scene) {
				s.world.Advertisements[0].Pools = []string{"other"}
				s.world.Advertisements[0].PoolSelectors = []labels.Selector{selector("zone", "dmz")}
			}, "A next B C",
		},
		"outside of every pool, selected by an advertisement of everything": {
			func(s *scene) { s.address.Pool = "" }, "A next B C",
		},
		"outside of every pool, not selected": {
			func(s *scene) { s.address.Pool, s.world.Advertisements[0].Pools = "", []string{"public"} },
			"NoAdvertisement: No L2Advertisement or BGPAdvertisement selects 172.30.0.100, which lies outside of every pool",
		},
		"the Service is not selected": {
			func(s *scene) { s.world.Advertisements[0].ServiceSelectors = []labels.Selector{selector("app", "x")} },
			"NoAdvertisement: L2Advertisement all selects pool public, but its serviceSelectors do not match the labels of Service shop/web.",
		},
		"no node": {
			func(s *scene) { s.world.Nodes = nil },
			"NoEligibleNode: No node can announce 172.30.0.100 (L2Advertisement all): the cluster has no nodes.",
		},
		"no interface": {
			func(s *scene) { s.world.Advertisements[0].Interfaces = []string{"ens9"} },
			"NoInterface: No node can announce 172.30.0.100 (L2Advertisement all): node1 has no selected interface that is up and suits;",
		},
		"every node has something": {
			func(s *scene) {
				s.world.Nodes[0].Ready = false
				s.world.Nodes[1].NetworkUnavailable = true
				s.world.Members = s.world.Members[:2]
			},
			"NoEligibleNode: No node can announce 172.30.0.100 (L2Advertisement all): " +
				"node1 is not Ready; node2 has the condition NetworkUnavailable; node3 has no live speaker.",
		},
		"without gossip": {
			func(s *scene) { s.world.Members = AssumeSpeakers(s.world.Nodes, nil) }, "A next B C",
		},
		"without gossip, by what speakers say of their interfaces": {
			func(s *scene) {
				s.world.Advertisements[0].Interfaces = []string{"ens9"}
				suits, not := []Interface{{Name: "ens9", ARP: true}}, []Interface{{Name: "ens9", NDP: true}, {Name: "eth0", ARP: true}}
				s.world.Members = AssumeSpeakers(s.world.Nodes, map[string][]Interface{order[0]: not, order[1]: suits, order[2]: not})
			}, "B",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			c.change(s)
			got, want := words(s.decide()), strings.NewReplacer("A", order[0], "B", order[1], "C", order[2])
			if strings.Contains(c.want, ": ") {
				if !strings.HasPrefix(got, c.want) {
					t.Errorf("got  %s\nwant %s", got, c.want)
				}
				return
			}
			if w := want.Replace(c.want); got != w {
				t.Errorf("got %s, want %s", got, w)
			}
		})
	}
}

func (s *scene) node(letter string) *Node {
	for i := range s.world.Nodes {
		if s.world.Nodes[i].Name == order[letter[0]-'A'] {
			return &s.world.Nodes[i]
		}
	}
	panic(letter)
}

func (s *scene) member(letter string) *Member {
	for i := range s.world.Members {
		if s.world.Members[i].Node == order[letter[0]-'A'] {
			return &s.world.Members[i]
		}
	}
	panic(letter)
}

func (s *scene) prefer(weight int32, letter string) {
	s.world.Advertisements[0].Preferred = []Preference{{Weight: weight, Selector: selector("name", order[letter[0]-'A'])}}
}

func words(d Decision) string {
	if d.Node == "" {
		return string(d.Reason) + ": " + d.Message
	}
	out := d.Node
	if len(d.Next) > 0 {
		out += " next " + strings.Join(d.Next, " ")
	}
	if d.Held {
		out += " deputy " + orNone(d.Deputy)
	}
	return out
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func TestDecisionNamesInterfaces(t *testing.T) {
	s := newScene()
	s.world.Advertisements = []Advertisement{{Name: "a", Interfaces: []string{"eth1"}}, {Name: "b", Interfaces: []string{"eth9", "eth0"}}}
	var got []string
	for _, i := range s.decide().Interfaces {
		got = append(got, i.Name)
	}
	if want := []string{"eth0", "eth1"}; !cmp.Equal(got, want) {
		t.Errorf("the interfaces of two advertisements are %v, want %v", got, want)
	}
}

func TestExplain(t *testing.T) {
	s := newScene()
	s.node("B").Unschedulable = true
	s.node("C").Deleting = true
	want := map[string]Obstacle{order[0]: NoObstacle, order[1]: NoObstacle, order[2]: NodeGone}
	for _, v := range s.explain() {
		if v.Obstacle != want[v.Node] {
			t.Errorf("%s, want obstacle %d", v, want[v.Node])
		}
	}
}

func TestManyNodesAreCounted(t *testing.T) {
	s := newScene()
	s.world.Members = nil
	s.world.Nodes = nil
	for i := range 150 {
		s.world.Nodes = append(s.world.Nodes, Node{Name: "n" + address(i), Ready: i > 0})
	}
	got := s.decide().Message
	want := "n10.0.0.1 has no live speaker, and so for 148 more; n10.0.0.0 is not Ready."
	if !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want it to end with %q", got, want)
	}
}

func TestDeputyMACs(t *testing.T) {
	mac := func(b byte) net.HardwareAddr { return net.HardwareAddr{2, 0, 0, 0, 0, b} }
	own := []Interface{{Name: "eth0", MAC: mac(1), ARP: true, NDP: true}, {Name: "eth1", MAC: mac(2), ARP: true}}
	for name, c := range map[string]struct {
		theirs []Interface
		ip     string
		want   map[string]string
	}{
		"same names":                     {[]Interface{{Name: "eth0", MAC: mac(8)}, {Name: "eth1", MAC: mac(9)}}, "10.0.0.1", map[string]string{"eth0": mac(8).String(), "eth1": mac(9).String()}},
		"one interface of another name":  {[]Interface{{Name: "ens3", MAC: mac(8)}}, "10.0.0.1", map[string]string{"eth0": mac(8).String(), "eth1": mac(8).String()}},
		"two interfaces of other names":  {[]Interface{{Name: "ens3", MAC: mac(8)}, {Name: "ens4", MAC: mac(9)}}, "10.0.0.1", map[string]string{}},
		"only interfaces of that family": {[]Interface{{Name: "eth0", MAC: mac(8)}, {Name: "eth1", MAC: mac(9)}}, "fd00::1", map[string]string{"eth0": mac(8).String()}},
	} {
		t.Run(name, func(t *testing.T) {
			got := map[string]string{}
			for n, i := range (Decision{Interfaces: c.theirs}).DeputyMACs(own, netip.MustParseAddr(c.ip)) {
				got[n] = i.MAC.String()
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFromAddress(t *testing.T) {
	in := &v1alpha1.Address{Spec: v1alpha1.AddressSpec{
		Address: "fd00:30::100", Pool: "public", State: v1alpha1.AddressBound,
		Holders: []v1alpha1.AddressHolder{
			{
				HolderReference: v1alpha1.HolderReference{Kind: "Gateway", Namespace: "shop", Name: "web"}, State: v1alpha1.AddressBound,
				Needs: []string{"fd00:30::100", "172.30.0.101"}, ExternalTrafficPolicy: "Local", Endpoints: "web-envoy",
			},
			{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "late"}, State: v1alpha1.AddressPending},
			{HolderReference: v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "plain"}, State: v1alpha1.AddressBound},
		},
	}}
	got, err := FromAddress(in)
	if err != nil {
		t.Fatal(err)
	}
	if got.Key != "172.30.0.101" {
		t.Errorf("key %s: both addresses of a holder should be hashed by the IPv4 one", got.Key)
	}
	if len(got.Holders) != 2 {
		t.Fatalf("%d holders, want the two bound ones", len(got.Holders))
	}
	if h := got.Holders[0]; !h.Local || h.Endpoints.String() != "shop/web-envoy" {
		t.Errorf("holder %+v", h)
	}
	if h := got.Holders[1]; h.Local || h.Endpoints.String() != "shop/plain" {
		t.Errorf("holder %+v: a Service's endpoints are its own", h)
	}
	in.Spec.Address = "fd00::zz"
	if _, err := FromAddress(in); err == nil {
		t.Error("a bad address gave no error")
	}
}

func TestFromEndpointSlices(t *testing.T) {
	e := func(node string, ready, serving, terminating *bool) discoveryv1.Endpoint {
		return discoveryv1.Endpoint{NodeName: ptr.To(node), Conditions: discoveryv1.EndpointConditions{Ready: ready, Serving: serving, Terminating: terminating}}
	}
	yes, no := ptr.To(true), ptr.To(false)
	got := FromEndpointSlices([]discoveryv1.EndpointSlice{
		{Endpoints: []discoveryv1.Endpoint{e("node1", yes, yes, no), e("node2", no, yes, yes), e("node3", no, no, yes)}},
		{Endpoints: []discoveryv1.Endpoint{e("node4", nil, nil, nil), e("node5", no, no, no), {}}},
	})
	want := Endpoints{
		Ready: true, ReadyOn: map[string]bool{"node1": true, "node4": true},
		Terminating: true, TerminatingOn: map[string]bool{"node2": true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestLookUpOfAGateway(t *testing.T) {
	yes, no := ptr.To(true), ptr.To(false)
	ready := discoveryv1.EndpointConditions{Ready: yes, Serving: yes, Terminating: no}
	ending := discoveryv1.EndpointConditions{Ready: no, Serving: yes, Terminating: yes}
	dead := discoveryv1.EndpointConditions{Ready: no, Serving: no, Terminating: no}
	slice := func(service string, endpoints map[string]discoveryv1.EndpointConditions) []discoveryv1.EndpointSlice {
		out := discoveryv1.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{discoveryv1.LabelServiceName: service, v1alpha1.LabelFleet: "envoy-web"}}}
		for _, pod := range slices.Sorted(maps.Keys(endpoints)) { // "node1 a" is pod a on node1
			node, _, _ := strings.Cut(pod, " ")
			out.Endpoints = append(out.Endpoints, discoveryv1.Endpoint{
				NodeName: ptr.To(node), Conditions: endpoints[pod], TargetRef: &corev1.ObjectReference{UID: types.UID(pod)},
			})
		}
		return []discoveryv1.EndpointSlice{out}
	}
	type pods = map[string]discoveryv1.EndpointConditions
	for name, tc := range map[string]struct {
		listed, own []discoveryv1.EndpointSlice
		want        Endpoints
	}{
		"both say ready":           {slice("web", pods{"node1 a": ready}), slice("envoy-web", pods{"node1 a": ready}), Endpoints{Ready: true, ReadyOn: map[string]bool{"node1": true}}},
		"dead, and still listed":   {slice("web", pods{"node1 a": ready, "node2 b": ready}), slice("envoy-web", pods{"node1 a": dead, "node2 b": ready}), Endpoints{Ready: true, ReadyOn: map[string]bool{"node2": true}}},
		"gone, and still listed":   {slice("web", pods{"node1 a": ready}), slice("envoy-web", pods{}), Endpoints{}},
		"a successor not listed":   {slice("web", pods{"node1 a": ready}), slice("envoy-web", pods{"node1 b": ready}), Endpoints{}},
		"it ends, not yet listed":  {slice("web", pods{"node1 a": ready}), slice("envoy-web", pods{"node1 a": ending}), Endpoints{Terminating: true, TerminatingOn: map[string]bool{"node1": true}}},
		"taken out by the listing": {slice("web", pods{"node1 a": dead}), slice("envoy-web", pods{"node1 a": ready}), Endpoints{}},
		"one family says it ends": {
			slice("web", pods{"node1 a": ready}), slices.Concat(slice("envoy-web", pods{"node1 a": ready}), slice("envoy-web", pods{"node1 a": ending})),
			Endpoints{Terminating: true, TerminatingOn: map[string]bool{"node1": true}},
		},
		"the other family says it ends": {
			slice("web", pods{"node1 a": ready}), slices.Concat(slice("envoy-web", pods{"node1 a": ending}), slice("envoy-web", pods{"node1 a": ready})),
			Endpoints{Terminating: true, TerminatingOn: map[string]bool{"node1": true}},
		},
		"one family is taken out by the listing": {
			slices.Concat(slice("web", pods{"node1 a": dead}), slice("web", pods{"node1 a": ready})), slice("envoy-web", pods{"node1 a": ready}), Endpoints{},
		},
		"nothing known of its own": {slice("web", pods{"node1 a": ready}), nil, Endpoints{Ready: true, ReadyOn: map[string]bool{"node1": true}}},
	} {
		web, fleet := types.NamespacedName{Namespace: "shop", Name: "web"}, types.NamespacedName{Namespace: "fairlead-system", Name: "envoy-web"}
		read := func(n types.NamespacedName) []discoveryv1.EndpointSlice {
			return map[types.NamespacedName][]discoveryv1.EndpointSlice{web: tc.listed, fleet: tc.own}[n]
		}
		got, served := LookUp(web, fleet.Namespace, read)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
		if served != fleet {
			t.Errorf("%s: the fleet of the Gateway is %q", name, served)
		}
		if _, none := LookUp(fleet, fleet.Namespace, read); none.Name != "" {
			t.Errorf("%s: the fleet's own Service is of fleet %q", name, none)
		}
	}
}

func TestFromL2AdvertisementNamesABadSelector(t *testing.T) {
	_, err := FromL2Advertisement(&v1alpha1.L2Advertisement{
		ObjectMeta: metav1.ObjectMeta{Name: "lan"},
		Spec: v1alpha1.L2AdvertisementSpec{NodeSelectors: []metav1.LabelSelector{
			{}, {MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}},
		}},
	})
	if err == nil || !strings.Contains(err.Error(), "L2Advertisement lan: nodeSelectors[1]:") {
		t.Errorf("error %v does not say where the bad selector is", err)
	}
}

func TestFromNode(t *testing.T) {
	in := &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "node1"},
		Spec:       corev1.NodeSpec{Unschedulable: true},
		Status: corev1.NodeStatus{
			Conditions: []corev1.NodeCondition{
				{Type: corev1.NodeReady, Status: corev1.ConditionUnknown},
				{Type: corev1.NodeNetworkUnavailable, Status: corev1.ConditionTrue},
			},
			Addresses: []corev1.NodeAddress{
				{Type: corev1.NodeHostName, Address: "node1"},
				{Type: corev1.NodeInternalIP, Address: "172.30.0.11"},
				{Type: corev1.NodeInternalIP, Address: "fd00:30::11"},
			},
		},
	}
	got := FromNode(in)
	if got.Ready || !got.NetworkUnavailable || !got.Unschedulable || got.Deleting {
		t.Errorf("%+v", got)
	}
	if len(got.Addresses) != 2 {
		t.Errorf("addresses %v, want the two internal IPs", got.Addresses)
	}
}

func TestForesee(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*scene)
		want   string // the nodes that ask, of A, B and C in rank
	}{
		"one node announces":           {func(*scene) {}, "A"},
		"the winner cannot":            {func(s *scene) { s.node("A").Ready = false }, "B"},
		"the winner's speaker is away": {func(s *scene) { s.member("A").Presence = Held }, ""},
		"where endpoints are to be":    {func(s *scene) { s.address.Holders[0].Local = true }, "A B C"},
		"only some are selected": {func(s *scene) {
			s.world.Advertisements[0].NodeSelectors = []labels.Selector{selector("name", order[1])}
		}, "B"},
		"no advertisement selects it":    {func(s *scene) { s.world.Advertisements[0].Pools = []string{"other"} }, ""},
		"nobody holds it":                {func(s *scene) { s.address.Holders = nil }, ""},
		"it is not bound yet":            {func(s *scene) { s.address.Bound = false }, ""},
		"no interface is selected":       {func(s *scene) { s.world.Advertisements[0].Interfaces = []string{"eth9"} }, ""},
		"endpoints make no difference":   {func(s *scene) { s.endpoints = nil }, "A"},
		"one is unsettled and not first": {func(s *scene) { s.member("A").Settled = false }, "B"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene()
			s.world.Advertisements[0].Interfaces = []string{"eth0"}
			c.change(s)
			ix := NewIndex(s.world)
			var got []string
			for n, node := range order {
				if in := ix.Foresee(s.address, node); len(in) == 1 && in[0].Name == "eth0" {
					got = append(got, string(rune('A'+n)))
				} else if len(in) > 0 {
					t.Errorf("%s asks on %v", node, in)
				}
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("%q ask, want %q", got, c.want)
			}
			d := ix.Decide(s.address, func(types.NamespacedName) Endpoints { return ready(order...) })
			if d.Node != "" && c.want != "" && !strings.Contains(c.want, string(rune('A'+slices.Index(order, d.Node)))) {
				t.Errorf("%s announces in the end and did not ask", d.Node)
			}
		})
	}
}

// A holder that takes an address over counts once it serves it, and not before: until
// then it keeps no node from announcing.
func TestFromAddressInATakeover(t *testing.T) {
	for phase, want := range map[v1alpha1.TakeoverPhase]int{
		v1alpha1.TakeoverRequested: 1, v1alpha1.TakeoverPrepared: 1, v1alpha1.TakeoverShared: 2, v1alpha1.TakeoverSwitched: 2,
		v1alpha1.TakeoverReturning: 2, v1alpha1.TakeoverDone: 2,
	} {
		giver := v1alpha1.HolderReference{Kind: "Service", Namespace: "shop", Name: "web"}
		got, err := FromAddress(&v1alpha1.Address{Spec: v1alpha1.AddressSpec{
			Address: "172.30.0.101", State: v1alpha1.AddressBound, Holders: []v1alpha1.AddressHolder{
				{HolderReference: giver, State: v1alpha1.AddressBound},
				{
					HolderReference: v1alpha1.HolderReference{Kind: "Gateway", Namespace: "shop", Name: "edge"}, State: v1alpha1.AddressBound,
					Takeover: &v1alpha1.HolderTakeover{From: giver, Phase: phase},
				},
			},
		}})
		if err != nil || len(got.Holders) != want || !got.Bound {
			t.Errorf("%s: %d holders count, want %d (%v)", phase, len(got.Holders), want, err)
		}
	}
}
