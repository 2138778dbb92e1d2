package announcer

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// Decision says who announces an address.
type Decision struct {
	// Node announces the address: packets for it go there. Empty: nobody does,
	// for Reason.
	Node string
	// Held: the speaker of Node is away for a moment and its node still forwards.
	// Deputy answers meanwhile, with the hardware addresses of Node.
	Held   bool
	Deputy string
	// Interfaces of Node on which the address is announced, sorted.
	Interfaces []Interface
	// Next are the nodes that would announce next, best first, at most three.
	Next []string
	// Reason and Message say why nobody announces the address.
	Reason  Reason
	Message string
}

// nextInLine is how many nodes a decision names that would announce next.
const nextInLine = 3

// Decide says who announces an address.
func (ix *Index) Decide(a Address, endpoints EndpointsOf) Decision {
	c, refusal := ix.open(a, endpoints)
	if refusal != nil {
		return *refusal
	}
	var buf [16]candidate
	ranked := ix.rank(c, buf[:0])
	if len(ranked) == 0 {
		return ix.nobody(c)
	}
	best := &ix.nodes[ranked[0].node]
	d := Decision{Node: best.Name, Interfaces: c.interfaces(ranked[0].node)}
	for _, r := range ranked[1:min(len(ranked), nextInLine+1)] {
		d.Next = append(d.Next, ix.nodes[r.node].Name)
	}
	if best.member.Presence == Held {
		d.Held = true
		d.Deputy = ix.deputy(c, ranked)
	}
	return d
}

// Foresee says on which interfaces a node would announce an address that nobody
// can serve yet, if it will be the one to do so. Which node that is depends on where
// endpoints come up if a holder is Local: then it may be any of the first in rank.
func (ix *Index) Foresee(a Address, node string) []Interface {
	if !a.Bound || len(a.Holders) == 0 {
		return nil
	}
	c, refusal := ix.advertised(a)
	if refusal != nil {
		return nil
	}
	first := 1
	if slices.ContainsFunc(a.Holders, func(h Holder) bool { return h.Local }) {
		first = nextInLine
	}
	var buf [16]candidate
	ranked := ix.rank(c, buf[:0])
	for _, r := range ranked[:min(len(ranked), first)] {
		if n := &ix.nodes[r.node]; n.Name == node && n.member.Presence == Alive {
			return c.interfaces(r.node)
		}
	}
	return nil
}

// Explain says of every node, sorted by name, whether it can announce an
// address, and if not, why.
func (ix *Index) Explain(a Address, endpoints EndpointsOf) []Verdict {
	c, refusal := ix.open(a, endpoints)
	if refusal != nil {
		return nil
	}
	return ix.verdicts(c)
}

func (ix *Index) verdicts(c *question) []Verdict {
	out := make([]Verdict, 0, len(ix.nodes))
	for i := range ix.nodes {
		out = append(out, Verdict{Node: ix.nodes[i].Name, Obstacle: c.obstacle(i)})
	}
	return out
}

// question is one address with what is found out about it before any node is
// looked at.
type question struct {
	ix    *Index
	ip    netip.Addr
	key   uint64
	ads   []*indexAdvertisement // that select the address
	local []Endpoints           // of every Local holder that can be served at all
}

// open asks what bears on all nodes: whether the address is in use, advertised,
// and can be served from anywhere.
func (ix *Index) open(a Address, endpoints EndpointsOf) (*question, *Decision) {
	if !a.Bound || len(a.Holders) == 0 {
		return nil, notBound(a)
	}
	c, refusal := ix.advertised(a)
	if refusal != nil {
		return nil, refusal
	}
	var served bool
	if c.local, served = servable(a, endpoints); !served {
		return nil, notServed(a)
	}
	return c, nil
}

// advertised asks whether an advertisement selects an address.
func (ix *Index) advertised(a Address) (*question, *Decision) {
	c := &question{ix: ix, ip: a.IP, key: hashString(a.Key)}
	poolSelected := ""
	for i := range ix.ads {
		ad := &ix.ads[i]
		if !ix.selectsPool(ad.Pools, ad.PoolSelectors, a.Pool) {
			continue
		}
		if !selectsHolders(ad.ServiceSelectors, a.Holders) {
			poolSelected = ad.Name
			continue
		}
		c.ads = append(c.ads, ad)
	}
	if len(c.ads) == 0 {
		return nil, notAdvertised(a, kindL2, poolSelected)
	}
	return c, nil
}

// servable says whether an address can be served from anywhere, and has the
// endpoints of every Local holder that can be served at all.
func servable(a Address, endpoints EndpointsOf) (local []Endpoints, served bool) {
	for _, h := range a.Holders {
		e := endpoints(h.Endpoints)
		if !e.any() {
			continue
		}
		served = true
		if h.Local {
			local = append(local, e)
		}
	}
	return local, served
}

// servesOn says whether every Local holder can be served on a node.
func servesOn(local []Endpoints, node string) bool {
	for _, e := range local {
		if !e.on(node) {
			return false
		}
	}
	return true
}

// newOn says since when all Local holders can be served on a node, if that is only since a moment; zero otherwise.
func newOn(local []Endpoints, node string) (since time.Time) {
	for _, e := range local {
		if at := e.NewOn[node]; at.After(since) {
			since = at
		}
	}
	return since
}

// The kinds of advertisements, as messages name them.
const (
	kindL2  = "L2Advertisement"
	kindBGP = "BGPAdvertisement"
)

func notBound(a Address) *Decision {
	return &Decision{Reason: NotBound, Message: fmt.Sprintf("Nobody uses %s, so it is not announced.", a.IP)}
}

// notAdvertised says that no advertisement of a kind selects an address. One may
// select its pool.
func notAdvertised(a Address, kind, poolSelected string) *Decision {
	var message string
	switch {
	case poolSelected != "":
		message = fmt.Sprintf("%s %s selects %s, but its serviceSelectors do not match the labels of %s.",
			kind, poolSelected, poolInWords(a.Pool), holdersInWords(a.Holders))
	case a.Pool == "":
		message = fmt.Sprintf("No L2Advertisement or BGPAdvertisement selects %s, which lies outside of every pool: one without ipAddressPools would.", a.IP)
	default:
		message = fmt.Sprintf("No L2Advertisement or BGPAdvertisement selects pool %s.", a.Pool)
	}
	return &Decision{Reason: NoAdvertisement, Message: message}
}

func notServed(a Address) *Decision {
	return &Decision{Reason: NoReadyEndpoint, Message: fmt.Sprintf("%s has no ready endpoint in the cluster.", holdersInWords(a.Holders))}
}

func poolInWords(pool string) string {
	if pool == "" {
		return "all addresses"
	}
	return "pool " + pool
}

func holdersInWords(holders []Holder) string {
	h := holders[0]
	words := h.Kind + " " + h.Name.String()
	if len(holders) > 1 {
		words += fmt.Sprintf(" (+%d)", len(holders)-1)
	}
	return words
}

// obstacle is what keeps the node at a position from announcing.
func (c *question) obstacle(node int) Obstacle {
	n := &c.ix.nodes[node]
	// A node that nobody selected needs no other explanation.
	if !c.selected(node) {
		return NodeNotSelected
	}
	switch {
	case n.obstacle != NoObstacle:
		return n.obstacle
	case !c.hasInterface(node):
		return InterfaceMissing
	case !servesOn(c.local, n.Name):
		return EndpointMissing
	default:
		return NoObstacle
	}
}

func (c *question) selected(node int) bool {
	for _, ad := range c.ads {
		if ad.selects[node] {
			return true
		}
	}
	return false
}

// onInterface says whether an advertisement of the address selects the
// interface of the node at a position.
func (c *question) onInterface(node int, name string) bool {
	for _, ad := range c.ads {
		if ad.selects[node] && (len(ad.Interfaces) == 0 || slices.Contains(ad.Interfaces, name)) {
			return true
		}
	}
	return false
}

func (c *question) hasInterface(node int) bool {
	m := &c.ix.nodes[node].member
	if m.AnyInterface {
		return true
	}
	for _, i := range m.Interfaces {
		if i.usable(c.ip) && c.onInterface(node, i.Name) {
			return true
		}
	}
	return false
}

func (c *question) interfaces(node int) []Interface {
	var out []Interface
	for _, i := range c.ix.nodes[node].member.Interfaces {
		if i.usable(c.ip) && c.onInterface(node, i.Name) {
			out = append(out, i)
		}
	}
	slices.SortFunc(out, func(a, b Interface) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// candidate is a node that can announce, and its rank.
type candidate struct {
	node int
	// since is set while the node's endpoints are new.
	since  time.Time
	class  int
	weight int32
	score  uint64
}

// rank returns the nodes that can announce, best first.
func (ix *Index) rank(c *question, out []candidate) []candidate {
	for i := range ix.nodes {
		if c.obstacle(i) == NoObstacle {
			out = append(out, c.candidate(i))
		}
	}
	slices.SortFunc(out, func(a, b candidate) int {
		return cmp.Or(a.since.Compare(b.since), cmp.Compare(b.class, a.class), cmp.Compare(b.weight, a.weight),
			cmp.Compare(b.score, a.score), cmp.Compare(a.node, b.node))
	})
	return out
}

// candidate ranks a node. Where an endpoint is new packets may be lost, so that nothing
// else counts. Then Settled comes before everything, also before preference: a preferred
// node that returns takes its addresses back once it has proven itself. A cordoned node
// comes after every other settled one.
func (c *question) candidate(node int) candidate {
	n := &c.ix.nodes[node]
	r := candidate{node: node, since: newOn(c.local, n.Name), score: score(n.hash, c.key)}
	if n.member.Settled {
		r.class += 2
	}
	if !n.Unschedulable {
		r.class++
	}
	for _, ad := range c.ads {
		r.weight += ad.weights[node]
	}
	return r
}

// deputy is the node that answers for the best one, whose speaker is away. The
// next in line that is alive does; if there is none, any other live speaker of
// a selected node can, as packets do not go to it: it needs no endpoint.
func (ix *Index) deputy(c *question, ranked []candidate) string {
	for _, r := range ranked[1:] {
		if n := &ix.nodes[r.node]; n.member.Presence == Alive {
			return n.Name
		}
	}
	best, bestScore := "", uint64(0)
	for i := range ix.nodes {
		n := &ix.nodes[i]
		if n.member.Presence != Alive || !c.hasInterface(i) {
			continue
		}
		if s := score(n.hash, c.key); best == "" || s > bestScore {
			best, bestScore = n.Name, s
		}
	}
	return best
}

// nobody says why no node announces.
func (ix *Index) nobody(c *question) Decision {
	verdicts := ix.verdicts(c)
	d := Decision{Reason: NoEligibleNode}
	ads := make([]string, 0, len(c.ads))
	for _, ad := range c.ads {
		ads = append(ads, ad.Name)
	}
	switch {
	case len(verdicts) > 0 && onlyOneObstacle(verdicts, InterfaceMissing):
		d.Reason = NoInterface
	case len(verdicts) > 0 && onlyOneObstacle(verdicts, EndpointMissing):
		d.Reason = NoReadyEndpoint
	}
	d.Message = fmt.Sprintf("No node can announce %s (L2Advertisement %s): %s.", c.ip, strings.Join(ads, ", "), nodesInWords(verdicts))
	return d
}

// onlyOneObstacle says whether an obstacle is all that is against the nodes
// that are selected.
func onlyOneObstacle(verdicts []Verdict, o Obstacle) bool {
	seen := false
	for _, v := range verdicts {
		switch v.Obstacle {
		case o:
			seen = true
		case NodeNotSelected:
		default:
			return false
		}
	}
	return seen
}

// DeputyMACs is with which hardware addresses the deputy answers for an absent
// node: on each of its own interfaces that suit, the address that the absent
// node has on the interface of that name. Where no name is equal and the absent
// node announces on one interface only, that one's address is used.
func (d Decision) DeputyMACs(own []Interface, ip netip.Addr) map[string]Interface {
	out := map[string]Interface{}
	for _, i := range own {
		if !i.usable(ip) {
			continue
		}
		for _, theirs := range d.Interfaces {
			if theirs.Name == i.Name {
				out[i.Name] = theirs
			}
		}
	}
	if len(out) == 0 && len(d.Interfaces) == 1 {
		for _, i := range own {
			if i.usable(ip) {
				out[i.Name] = d.Interfaces[0]
			}
		}
	}
	return out
}
