package announcer

import (
	"fmt"
	"slices"
	"strings"
)

// Reason says in one word why nobody announces an address. It is the reason of
// the condition Announced.
type Reason string

// The reasons why nobody announces an address.
const (
	// NotBound: nobody holds the address.
	NotBound Reason = "NotBound"
	// NoAdvertisement: no advertisement selects the address.
	NoAdvertisement Reason = "NoAdvertisement"
	// NoReadyEndpoint: no holder has an endpoint that could serve.
	NoReadyEndpoint Reason = "NoReadyEndpoint"
	// NoInterface: every node that could announce lacks a suitable interface.
	NoInterface Reason = "NoInterface"
	// NoEligibleNode: there is something against every node.
	NoEligibleNode Reason = "NoEligibleNode"

	// NoPeer: no node that could announce has a session for the address.
	NoPeer Reason = "NoPeer"
	// NoSession: no session in which it would be announced is established.
	NoSession Reason = "NoSession"
	// ConflictingAdvertisements: two advertisements contradict each other.
	ConflictingAdvertisements Reason = "ConflictingAdvertisements"
	// UnknownCommunity: an advertisement names a community that nobody defines.
	UnknownCommunity Reason = "UnknownCommunity"
	// AggregationTooWide: the prefix reaches outside of the pool.
	AggregationTooWide Reason = "AggregationTooWide"
)

// ByBGP is the reason of the condition Announced of an address that is announced by BGP and not on layer 2.
const ByBGP = "BGP"

// AnnouncedByBGP are the words of that condition: summary says how widely it is announced.
func AnnouncedByBGP(summary string) string { return "Announced by BGP: " + summary + "." }

// Obstacle is what keeps one node from announcing an address.
type Obstacle int

// The obstacles, in the order in which they are looked for.
const (
	// NoObstacle: the node can announce the address.
	NoObstacle Obstacle = iota
	// NodeGone: the Node object is being deleted.
	NodeGone
	// NodeNotReady: the condition Ready is not True.
	NodeNotReady
	// NodeNetworkUnavailable: the condition NetworkUnavailable is True.
	NodeNetworkUnavailable
	// NodeExcluded: the node bears the exclusion label.
	NodeExcluded
	// NodeNotSelected: no advertisement of the address selects the node.
	NodeNotSelected
	// SpeakerAbsent: no speaker is seen on the node.
	SpeakerAbsent
	// SpeakerStarting: the speaker of the node does not answer yet.
	SpeakerStarting
	// InterfaceMissing: the node has no selected interface that suits.
	InterfaceMissing
	// EndpointMissing: a Local holder has no ready endpoint on the node.
	EndpointMissing
	// EndpointNew: the endpoint of a Local holder on the node has become ready a moment ago.
	EndpointNew
)

// words says what an obstacle is, as the rest of a sentence that begins with
// the node's name.
func (o Obstacle) words() string {
	switch o {
	case NodeGone:
		return "is being deleted"
	case NodeNotReady:
		return "is not Ready"
	case NodeNetworkUnavailable:
		return "has the condition NetworkUnavailable"
	case NodeExcluded:
		return "is labelled " + excludeLabel
	case NodeNotSelected:
		return "is not selected by the advertisement's nodeSelectors"
	case SpeakerAbsent:
		return "has no live speaker"
	case SpeakerStarting:
		return "has a speaker that is still starting"
	case InterfaceMissing:
		return "has no selected interface that is up and suits"
	case EndpointMissing:
		return "has no ready endpoint of its own (externalTrafficPolicy Local)"
	case EndpointNew:
		return "has a ready endpoint of its own only since a moment"
	default:
		return "can announce it"
	}
}

// Verdict is what the decision makes of one node.
type Verdict struct {
	Node     string
	Obstacle Obstacle
}

// String says it in words: "node1 is not Ready".
func (v Verdict) String() string { return v.Node + " " + v.Obstacle.words() }

// namedNodes is how many nodes a message names before it counts the rest.
const namedNodes = 5

// nodesInWords groups nodes by what is against them: "node1, node2 are not
// Ready" would need a plural of each, so it is "not Ready: node1, node2".
func nodesInWords(verdicts []Verdict) string {
	if len(verdicts) == 0 {
		return "the cluster has no nodes"
	}
	if len(verdicts) <= namedNodes {
		parts := make([]string, 0, len(verdicts))
		for _, v := range verdicts {
			parts = append(parts, v.String())
		}
		return strings.Join(parts, "; ")
	}
	count := map[Obstacle]int{}
	example := map[Obstacle]string{}
	for _, v := range verdicts {
		if count[v.Obstacle]++; example[v.Obstacle] == "" {
			example[v.Obstacle] = v.Node
		}
	}
	kinds := make([]Obstacle, 0, len(count))
	for o := range count {
		kinds = append(kinds, o)
	}
	slices.SortFunc(kinds, func(a, b Obstacle) int {
		if d := count[b] - count[a]; d != 0 {
			return d
		}
		return int(a - b)
	})
	parts := make([]string, 0, len(kinds))
	for _, o := range kinds {
		if count[o] == 1 {
			parts = append(parts, Verdict{Node: example[o], Obstacle: o}.String())
			continue
		}
		parts = append(parts, fmt.Sprintf("%s %s, and so for %d more", example[o], o.words(), count[o]-1))
	}
	return strings.Join(parts, "; ")
}
