package announcer

import (
	"cmp"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const excludeLabel = corev1.LabelNodeExcludeBalancers

// Index is a World compiled for decisions. It is not changed after it was made
// and may be used by several goroutines.
type Index struct {
	nodes []indexNode
	ads   []indexAdvertisement
	pools map[string]Pool
	bgp   bgpIndex
}

type indexNode struct {
	Node
	hash     uint64
	member   Member
	fault    Obstacle // what Kubernetes says against the node
	obstacle Obstacle // the same, or what is against its speaker
}

type indexAdvertisement struct {
	Advertisement
	selects []bool  // by position in Index.nodes
	weights []int32 // by position in Index.nodes
}

// NewIndex compiles a World. The order of its lists does not matter.
func NewIndex(w World) *Index {
	ix := &Index{pools: make(map[string]Pool, len(w.Pools))}
	for _, p := range w.Pools {
		ix.pools[p.Name] = p
	}
	members := make(map[string]Member, len(w.Members))
	for _, m := range w.Members {
		members[m.Node] = m
	}
	for _, n := range w.Nodes {
		m, fault := members[n.Name], nodeFault(n, w.Options)
		ix.nodes = append(ix.nodes, indexNode{
			Node: n, hash: hashString(n.Name), member: m, fault: fault, obstacle: cmp.Or(fault, speakerFault(m)),
		})
	}
	slices.SortFunc(ix.nodes, func(a, b indexNode) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range w.Advertisements {
		ix.ads = append(ix.ads, ix.compile(a))
	}
	slices.SortFunc(ix.ads, func(a, b indexAdvertisement) int { return strings.Compare(a.Name, b.Name) })
	ix.compileBGP(w)
	return ix
}

func (ix *Index) compile(a Advertisement) indexAdvertisement {
	out := indexAdvertisement{
		Advertisement: a,
		selects:       make([]bool, len(ix.nodes)),
		weights:       make([]int32, len(ix.nodes)),
	}
	for i := range ix.nodes {
		set := ix.nodes[i].Labels
		out.selects[i] = matchesAnyOrNone(a.NodeSelectors, set)
		for _, p := range a.Preferred {
			if p.Selector.Matches(set) {
				out.weights[i] += p.Weight
			}
		}
	}
	return out
}

// nodeFault is what Kubernetes says against a node, whatever the address.
func nodeFault(n Node, o Options) Obstacle {
	_, excluded := n.Labels[excludeLabel]
	switch {
	case n.Deleting:
		return NodeGone
	case !n.Ready:
		return NodeNotReady
	case n.NetworkUnavailable:
		return NodeNetworkUnavailable
	case excluded && !o.IgnoreExcludeLabel:
		return NodeExcluded
	default:
		return NoObstacle
	}
}

// speakerFault is what is against the speaker of a node. It comes after what
// Kubernetes says of the node: that is the better answer to why.
func speakerFault(m Member) Obstacle {
	switch m.Presence {
	case Absent:
		return SpeakerAbsent
	case Starting:
		return SpeakerStarting
	default:
		return NoObstacle
	}
}

// matchesAnyOrNone is for selectors of which none means all.
func matchesAnyOrNone(selectors []labels.Selector, set labels.Set) bool {
	return len(selectors) == 0 || matchesAny(selectors, set)
}

func matchesAny(selectors []labels.Selector, set labels.Set) bool {
	for _, s := range selectors {
		if s.Matches(set) {
			return true
		}
	}
	return false
}

// selectsPool says whether an advertisement, by the pools that it names and
// selects, selects the pool of an address. One that does neither selects
// everything, also addresses outside of every pool.
func (ix *Index) selectsPool(names []string, selectors []labels.Selector, pool string) bool {
	if len(names) == 0 && len(selectors) == 0 {
		return true
	}
	if pool == "" {
		return false
	}
	if slices.Contains(names, pool) {
		return true
	}
	p, exists := ix.pools[pool]
	return exists && matchesAny(selectors, p.Labels)
}

// selectsHolders says whether serviceSelectors select one of the holders.
func selectsHolders(selectors []labels.Selector, holders []Holder) bool {
	if len(selectors) == 0 {
		return true
	}
	for _, h := range holders {
		if matchesAny(selectors, h.Labels) {
			return true
		}
	}
	return false
}
