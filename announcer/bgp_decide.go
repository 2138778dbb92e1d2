package announcer

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
)

// BGPDecision is what one node announces of an address by BGP.
type BGPDecision struct {
	// Routes that the node announces, sorted by prefix.
	Routes []BGPRoute
	// Reason and Message say why there are none.
	Reason  Reason
	Message string
	// Refusals say in words what is not announced although other routes are,
	// sorted.
	Refusals []string
}

// DecideBGP says what a node announces of an address by BGP. The routes of
// several addresses are joined by a [BGPTable].
//
// A node announces what it can serve: the rules are those of [Index.Decide], but
// every node that can announces, and no other speaker is asked. A cordoned node
// is Draining as long as another one announces the address that is not cordoned. A node
// whose endpoint is new waits as long as one announces it that has had its own for longer.
//
// Advertisements of one address add up. For one prefix and peer the communities
// are the union of theirs. Two different local preferences for one prefix and
// one iBGP peer refuse that prefix to that peer.
func (ix *Index) DecideBGP(a Address, endpoints EndpointsOf, node string) BGPDecision {
	q, refusal := ix.openBGP(a, endpoints)
	if refusal != nil {
		return BGPDecision{Reason: refusal.Reason, Message: refusal.Message}
	}
	at, ok := ix.position(node)
	if !ok {
		return BGPDecision{Reason: NoEligibleNode, Message: fmt.Sprintf("There is no Node %s yet.", node)}
	}
	if o := q.obstacle(at); o != NoObstacle {
		return q.hindered(at, o)
	}
	if since := newOn(q.local, node); !since.IsZero() && q.elsewhere(at, func(n *indexNode) bool { return newOn(q.local, n.Name).Before(since) }) {
		return q.hindered(at, EndpointNew)
	}
	routes, refusals := q.routes(at)
	if len(routes) == 0 {
		return q.silent(at, refusals)
	}
	if ix.nodes[at].Unschedulable && q.elsewhere(at, func(n *indexNode) bool { return !n.Unschedulable && newOn(q.local, n.Name).IsZero() }) {
		for i := range routes {
			for j := range routes[i].Peers {
				routes[i].Peers[j].Draining = true
			}
		}
	}
	return BGPDecision{Routes: routes, Refusals: messages(refusals)}
}

// bgpQuestion is one address with what is found out about it before any node is
// looked at.
type bgpQuestion struct {
	ix    *Index
	a     Address
	ads   []*indexBGPAdvertisement // that select the address
	local []Endpoints              // of every Local holder that can be served at all
}

func (ix *Index) openBGP(a Address, endpoints EndpointsOf) (*bgpQuestion, *Decision) {
	if !a.Bound || len(a.Holders) == 0 {
		return nil, notBound(a)
	}
	q := &bgpQuestion{ix: ix, a: a}
	poolSelected := ""
	for i := range ix.bgp.ads {
		ad := &ix.bgp.ads[i]
		if !ix.selectsPool(ad.Pools, ad.PoolSelectors, a.Pool) {
			continue
		}
		if !selectsHolders(ad.ServiceSelectors, a.Holders) {
			poolSelected = ad.Name
			continue
		}
		q.ads = append(q.ads, ad)
	}
	if len(q.ads) == 0 {
		return nil, notAdvertised(a, kindBGP, poolSelected)
	}
	var served bool
	if q.local, served = servable(a, endpoints); !served {
		return nil, notServed(a)
	}
	return q, nil
}

// obstacle is what keeps the node at a position from announcing.
func (q *bgpQuestion) obstacle(node int) Obstacle {
	n := &q.ix.nodes[node]
	switch {
	case !slices.ContainsFunc(q.ads, func(ad *indexBGPAdvertisement) bool { return ad.selects[node] }):
		return NodeNotSelected
	case n.fault != NoObstacle:
		return n.fault
	case !servesOn(q.local, n.Name):
		return EndpointMissing
	default:
		return NoObstacle
	}
}

// refusal says why a part of an address is not announced.
type refusal struct {
	reason  Reason
	message string
}

func messages(refusals []refusal) []string {
	var out []string
	for _, r := range refusals {
		out = append(out, r.message)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// offer is what one advertisement wants one peer to be told.
type offer struct {
	prefix netip.Prefix
	peer   int // position in bgpIndex.peers
	ad     *indexBGPAdvertisement
}

// routes are what the node at a position tells its peers of the address, if
// nothing is against the node, and what it does not for another reason.
func (q *bgpQuestion) routes(node int) ([]BGPRoute, []refusal) {
	var offers []offer
	var refusals []refusal
	for _, ad := range q.ads {
		if !ad.selects[node] {
			continue
		}
		prefix, r := q.prefix(ad)
		if r != nil {
			refusals = append(refusals, *r)
			continue
		}
		for _, i := range ad.peers {
			if p := &q.ix.bgp.peers[i]; p.on(node) && p.Carries(q.a.IP) {
				offers = append(offers, offer{prefix: prefix, peer: i, ad: ad})
			}
		}
	}
	// Stable: the advertisements of one prefix and peer stay sorted by name.
	slices.SortStableFunc(offers, func(a, b offer) int {
		return cmp.Or(comparePrefixes(a.prefix, b.prefix), cmp.Compare(a.peer, b.peer))
	})
	var routes []BGPRoute
	for len(offers) > 0 {
		n := slices.IndexFunc(offers, func(o offer) bool { return o.prefix != offers[0].prefix || o.peer != offers[0].peer })
		if n < 0 {
			n = len(offers)
		}
		told, r := q.join(offers[:n])
		switch prefix := offers[0].prefix; {
		case r != nil:
			refusals = append(refusals, *r)
		case len(routes) > 0 && routes[len(routes)-1].Prefix == prefix:
			last := &routes[len(routes)-1]
			last.Peers = append(last.Peers, told)
		default:
			routes = append(routes, BGPRoute{Prefix: prefix, Peers: []RoutePeer{told}})
		}
		offers = offers[n:]
	}
	return routes, refusals
}

func comparePrefixes(a, b netip.Prefix) int {
	return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
}

// prefix is what stands for the address in an advertisement.
func (q *bgpQuestion) prefix(ad *indexBGPAdvertisement) (netip.Prefix, *refusal) {
	if len(ad.unknown) > 0 {
		return netip.Prefix{}, &refusal{UnknownCommunity, fmt.Sprintf("BGPAdvertisement %s names a community that nobody defines (%s), and announces nothing.",
			ad.Name, strings.Join(ad.unknown, ", "))}
	}
	p, err := q.a.IP.Prefix(ad.length(q.a.IP))
	if err != nil {
		return netip.Prefix{}, &refusal{AggregationTooWide, fmt.Sprintf("BGPAdvertisement %s has a length of prefix that does not suit: %v.", ad.Name, err)}
	}
	if p.IsSingleIP() {
		return p, nil
	}
	if set := q.ix.pools[q.a.Pool].Addresses; set == nil || !set.ContainsPrefix(p) {
		return netip.Prefix{}, &refusal{AggregationTooWide, fmt.Sprintf("BGPAdvertisement %s makes %s of %s, which reaches outside of %s.",
			ad.Name, p, q.a.IP, poolOrNone(q.a.Pool))}
	}
	return p, nil
}

func poolOrNone(pool string) string {
	if pool == "" {
		return "every pool"
	}
	return "pool " + pool
}

// join is what a peer is told of a prefix for which there are several
// advertisements.
func (q *bgpQuestion) join(offers []offer) (RoutePeer, *refusal) {
	p := &q.ix.bgp.peers[offers[0].peer]
	out := RoutePeer{Peer: p.Name}
	var asks *indexBGPAdvertisement // for a local preference
	for _, o := range offers {
		out.Communities = out.Communities.Union(o.ad.communities)
		if o.ad.LocalPref == 0 || !p.IBGP() {
			continue
		}
		if asks != nil && asks.LocalPref != o.ad.LocalPref {
			return RoutePeer{}, &refusal{ConflictingAdvertisements, fmt.Sprintf(
				"BGPAdvertisements %s (localPref %d) and %s (localPref %d) contradict each other on %s for BGPPeer %s, which is not told of it. Make them equal, or let only one of them select it.",
				asks.Name, asks.LocalPref, o.ad.Name, o.ad.LocalPref, o.prefix, p.Name)}
		}
		asks, out.LocalPref = o.ad, o.ad.LocalPref
	}
	return out, nil
}

// elsewhere says whether another node announces the address of which better is
// true.
func (q *bgpQuestion) elsewhere(but int, better func(*indexNode) bool) bool {
	speaks := map[int]bool{} // by class
	for i := range q.ix.nodes {
		if i == but || !better(&q.ix.nodes[i]) || q.obstacle(i) != NoObstacle {
			continue
		}
		class := q.ix.bgp.classes[i]
		if _, known := speaks[class]; !known {
			routes, _ := q.routes(i)
			speaks[class] = len(routes) > 0
		}
		if speaks[class] {
			return true
		}
	}
	return false
}

func (q *bgpQuestion) adsInWords() string {
	names := make([]string, 0, len(q.ads))
	for _, ad := range q.ads {
		names = append(names, ad.Name)
	}
	return kindBGP + " " + strings.Join(names, ", ")
}

// hindered says that there is something against the node itself.
func (q *bgpQuestion) hindered(node int, o Obstacle) BGPDecision {
	d := BGPDecision{Reason: NoEligibleNode}
	if o == EndpointMissing || o == EndpointNew {
		d.Reason = NoReadyEndpoint
	}
	d.Message = fmt.Sprintf("%s is not announced by BGP from here (%s): %s.", q.a.IP, q.adsInWords(), Verdict{Node: q.ix.nodes[node].Name, Obstacle: o})
	return d
}

// silent says that the node has nobody to tell.
func (q *bgpQuestion) silent(node int, refusals []refusal) BGPDecision {
	if len(refusals) > 0 {
		return BGPDecision{Reason: refusals[0].reason, Message: strings.Join(messages(refusals), " ")}
	}
	deaf := map[string]bool{} // peers whose sessions do not carry the family
	for _, ad := range q.ads {
		for _, i := range ad.peers {
			if p := &q.ix.bgp.peers[i]; ad.selects[node] && p.on(node) {
				deaf[p.Name] = true
			}
		}
	}
	d := BGPDecision{Reason: NoPeer}
	if len(deaf) == 0 {
		d.Message = fmt.Sprintf("%s has no BGPPeer for %s (%s): none exists, none selects the node, or spec.peers names others.", q.ix.nodes[node].Name, q.a.IP, q.adsInWords())
		return d
	}
	d.Message = fmt.Sprintf("The sessions of %s with %s do not carry %s. Set dualStackAddressFamily there, or create a BGPPeer of that family.",
		q.ix.nodes[node].Name, strings.Join(slices.Sorted(maps.Keys(deaf)), ", "), family(q.a.IP))
	return d
}

func family(ip netip.Addr) string {
	if ip.Is4() {
		return "IPv4"
	}
	return "IPv6"
}
