package announcer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/fairlead/fairlead/plural"
)

// BGPSurvey says who announces an address by BGP in the whole cluster.
type BGPSurvey struct {
	// Nodes that announce it in an established session, sorted.
	Nodes []string
	// Peers that are told by one of these nodes, sorted.
	Peers []string
	// Prefixes in which it is announced, sorted.
	Prefixes []netip.Prefix
	// Reason and Message say why no node does.
	Reason  Reason
	Message string
}

// Established says whether the session of a node with a peer is established.
type Established func(node, peer string) bool

// SurveyBGP says who announces an address by BGP: every node whose own decision
// ([Index.DecideBGP]) has routes for a peer with which its session is
// established. The controller asks so for the status of the address.
func (ix *Index) SurveyBGP(a Address, endpoints EndpointsOf, established Established) BGPSurvey {
	q, refusal := ix.openBGP(a, endpoints)
	if refusal != nil {
		return BGPSurvey{Reason: refusal.Reason, Message: refusal.Message}
	}
	s := survey{q: q, told: map[int]told{}, peers: map[string]bool{}, prefixes: map[netip.Prefix]bool{}}
	for i := range ix.nodes {
		s.visit(i, established)
	}
	if len(s.nodes) == 0 {
		return s.nobody()
	}
	return BGPSurvey{
		Nodes: s.nodes, Peers: slices.Sorted(maps.Keys(s.peers)),
		Prefixes: slices.SortedFunc(maps.Keys(s.prefixes), comparePrefixes),
	}
}

type survey struct {
	q        *bgpQuestion
	told     map[int]told // by class of node
	verdicts []Verdict
	// waiting are nodes that have routes and no established session for them, and
	// mute those that have no routes.
	nodes, waiting []string
	mute           []int
	peers          map[string]bool
	prefixes       map[netip.Prefix]bool
}

type told struct {
	routes   []BGPRoute
	refusals []refusal
}

func (s *survey) visit(node int, established Established) {
	name := s.q.ix.nodes[node].Name
	o := s.q.obstacle(node)
	s.verdicts = append(s.verdicts, Verdict{Node: name, Obstacle: o})
	if o != NoObstacle {
		return
	}
	class := s.q.ix.bgp.classes[node]
	t, known := s.told[class]
	if !known {
		t.routes, t.refusals = s.q.routes(node)
		s.told[class] = t
	}
	if len(t.routes) == 0 {
		s.mute = append(s.mute, node)
		return
	}
	heard := false
	for _, r := range t.routes {
		for _, p := range r.Peers {
			if established(name, p.Peer) {
				heard = true
				s.peers[p.Peer], s.prefixes[r.Prefix] = true, true
			}
		}
	}
	if heard {
		s.nodes = append(s.nodes, name)
	} else {
		s.waiting = append(s.waiting, name)
	}
}

// nobody says why no node announces: the reason that is nearest to success.
func (s *survey) nobody() BGPSurvey {
	switch {
	case len(s.waiting) > 0:
		return BGPSurvey{Reason: NoSession, Message: fmt.Sprintf(
			"No session in which %s would be announced (%s) is established on %s. Look at the conditions of the BGPPeers, and at the SpeakerStatuses of these nodes.",
			s.q.a.IP, s.q.adsInWords(), plural.Some(s.waiting))}
	case len(s.mute) > 0:
		d := s.q.silent(s.mute[0], s.told[s.q.ix.bgp.classes[s.mute[0]]].refusals)
		return BGPSurvey{Reason: d.Reason, Message: d.Message}
	}
	out := BGPSurvey{Reason: NoEligibleNode}
	if onlyOneObstacle(s.verdicts, EndpointMissing) {
		out.Reason = NoReadyEndpoint
	}
	out.Message = fmt.Sprintf("No node can announce %s (%s): %s.", s.q.a.IP, s.q.adsInWords(), nodesInWords(s.verdicts))
	return out
}

// Unannounced says why an address is announced neither on layer 2 nor by BGP,
// from what either says: of a kind that does not select the address nothing need
// be said.
func Unannounced(a Address, l2 Decision, bgp BGPSurvey) (Reason, string) {
	switch {
	case l2.Reason == NoAdvertisement && (bgp.Reason != NoAdvertisement || l2.Message == notAdvertised(a, kindL2, "").Message):
		return bgp.Reason, bgp.Message
	case bgp.Reason == NoAdvertisement || l2.Message == bgp.Message:
		return l2.Reason, l2.Message
	default:
		return l2.Reason, "On layer 2: " + l2.Message + " By BGP: " + bgp.Message
	}
}
