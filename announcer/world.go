package announcer

import (
	"net"
	"net/netip"
	"time"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
)

// Address is one address of the ledger, as far as the decision needs it.
type Address struct {
	IP   netip.Addr
	Pool string
	// Bound says that the address is in use; any other is not announced.
	Bound bool
	// Holders are the bound holders only.
	Holders []Holder
	// Key is what is hashed to find the announcing node. Addresses with the same
	// key go to the same node where the same nodes are eligible.
	Key string
}

// Holder is a bound holder of an address.
type Holder struct {
	// Kind is Service or Gateway.
	Kind string
	// Name is the namespace and name of the holder.
	Name types.NamespacedName
	// Endpoints is the Service whose endpoints decide where the holder can be
	// served. Empty: none is known.
	Endpoints types.NamespacedName
	// Local says that only nodes with an endpoint of their own can serve the
	// holder (externalTrafficPolicy Local).
	Local  bool
	Labels labels.Set
}

// Node is a node of the cluster, from its Node object.
type Node struct {
	Name   string
	Labels labels.Set
	// Ready is the condition Ready.
	Ready bool
	// NetworkUnavailable is the condition of that name.
	NetworkUnavailable bool
	// Unschedulable: the node is cordoned.
	Unschedulable bool
	// Deleting: the Node object is being deleted.
	Deleting bool
	// Addresses are the node's internal IPs.
	Addresses []netip.Addr
}

// Pool is an IPAddressPool, as far as advertisements select it.
type Pool struct {
	Name   string
	Labels labels.Set
	// Addresses of the pool, also those that are excluded; nil: not known.
	Addresses *netipx.IPSet
}

// Advertisement is an L2Advertisement with its selectors compiled.
type Advertisement struct {
	Name          string
	Pools         []string
	PoolSelectors []labels.Selector
	NodeSelectors []labels.Selector
	// ServiceSelectors match the labels of holders.
	ServiceSelectors []labels.Selector
	// Interfaces on which to answer; none: all.
	Interfaces []string
	Preferred  []Preference
}

// Preference is a preferredNodeSelector of an advertisement.
type Preference struct {
	Weight   int32
	Selector labels.Selector
}

// Presence says how present the speaker of a node is.
type Presence int

// The presences of a speaker.
const (
	// Absent: no speaker is there, or its node is gone from the network.
	Absent Presence = iota
	// Starting: a speaker is there and does not answer yet.
	Starting
	// Held: the speaker is away for a moment (it restarts, or has crashed) but
	// its node still forwards. Its addresses stay with the node; a deputy answers
	// for them with the node's hardware addresses.
	Held
	// Alive: the speaker answers.
	Alive
)

// Member is the speaker of a node, as gossip knows it.
type Member struct {
	Node     string
	Presence Presence
	// Settled: it has been serving for a while, so that addresses may move to it.
	Settled    bool
	Interfaces []Interface
	// AnyInterface: the interfaces are not known and taken to suit.
	AnyInterface bool
}

// Interface is an interface of a node on which its speaker can answer.
type Interface struct {
	Name string
	MAC  net.HardwareAddr
	ARP  bool
	NDP  bool
}

// usable says whether addresses of the family of ip can be answered for there.
func (i Interface) usable(ip netip.Addr) bool {
	if ip.Is4() {
		return i.ARP
	}
	return i.NDP
}

// Options change the rules for a cluster.
type Options struct {
	// IgnoreExcludeLabel lets nodes announce that bear the label
	// node.kubernetes.io/exclude-from-external-load-balancers, as the nodes of
	// single-node clusters do.
	IgnoreExcludeLabel bool
}

// World is everything that bears on all addresses.
type World struct {
	Options        Options
	Nodes          []Node
	Pools          []Pool
	Advertisements []Advertisement
	Members        []Member

	// What is announced by BGP, and to whom.
	BGPAdvertisements []BGPAdvertisement
	Peers             []BGPPeer
	Profiles          []BFDProfile
	Communities       []CommunityAliases
}

// AssumeSpeakers returns members for a decision without gossip: every node has
// a settled speaker. Its interfaces are those that it says it has; where it has
// said nothing they are taken to suit. The controller asks so whether anybody
// could announce an address.
func AssumeSpeakers(nodes []Node, interfaces map[string][]Interface) []Member {
	out := make([]Member, 0, len(nodes))
	for _, n := range nodes {
		known, said := interfaces[n.Name]
		out = append(out, Member{Node: n.Name, Presence: Alive, Settled: true, Interfaces: known, AnyInterface: !said})
	}
	return out
}

// Endpoints are the endpoints of one Service.
type Endpoints struct {
	// Ready is true where an endpoint is ready, on whatever node, or on none that
	// is known.
	Ready bool
	// ReadyOn are the nodes with a ready endpoint, and those whose last ready Envoy began to end less than [LeaveTime] ago and
	// still serves.
	ReadyOn map[string]bool
	// Terminating and TerminatingOn are the same for endpoints that still serve
	// while they end. They count only while no endpoint is ready.
	Terminating   bool
	TerminatingOn map[string]bool
	// NewOn are nodes whose first endpoint has been ready for less than [ProxyTime], with the time since when. Local holders
	// can be served there, but any node comes first that has had one for longer.
	NewOn map[string]time.Time
}

// ProxyTime is how long kube-proxy may take until a node serves an endpoint that has become ready: it takes up changes
// once a second at most. Until then it drops packets that a Local holder gets there.
const ProxyTime = 2 * time.Second

// LeaveTime is how long a node counts on whose Envoy ends. Envoys that all go together, as of a fleet that is removed, are
// seen to end up to a second apart, since Kubernetes may write their EndpointSlice twice: an address shall not go to the
// one that is last, and then on. They serve as before for some seconds while they end, which the pods of other Services need
// not do.
const LeaveTime = 1500 * time.Millisecond

// any says whether the Service can be served from anywhere.
func (e Endpoints) any() bool { return e.Ready || e.Terminating }

// on says whether the Service has an endpoint that counts on a node.
func (e Endpoints) on(node string) bool {
	if e.Ready {
		return e.ReadyOn[node]
	}
	return e.TerminatingOn[node]
}

// EndpointsOf looks up the endpoints of a Service.
type EndpointsOf func(types.NamespacedName) Endpoints

// SettleTime is the time that a speaker has to serve before addresses move to
// it, where nothing else is configured.
const SettleTime = 10 * time.Second
