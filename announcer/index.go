package announcer

import (
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
	pools map[string]labels.Set
}

type indexNode struct {
	Node
	hash     uint64
	member   Member
	obstacle Obstacle // what is against the node whatever the address
}

type indexAdvertisement struct {
	Advertisement
	selects []bool  // by position in Index.nodes
	weights []int32 // by position in Index.nodes
}

// NewIndex compiles a World. The order of its lists does not matter.
func NewIndex(w World) *Index {
	ix := &Index{pools: make(map[string]labels.Set, len(w.Pools))}
	for _, p := range w.Pools {
		ix.pools[p.Name] = p.Labels
	}
	members := make(map[string]Member, len(w.Members))
	for _, m := range w.Members {
		members[m.Node] = m
	}
	for _, n := range w.Nodes {
		m := members[n.Name]
		ix.nodes = append(ix.nodes, indexNode{
			Node: n, hash: hashString(n.Name), member: m, obstacle: nodeObstacle(n, m, w.Options),
		})
	}
	slices.SortFunc(ix.nodes, func(a, b indexNode) int { return strings.Compare(a.Name, b.Name) })
	for _, a := range w.Advertisements {
		ix.ads = append(ix.ads, ix.compile(a))
	}
	slices.SortFunc(ix.ads, func(a, b indexAdvertisement) int { return strings.Compare(a.Name, b.Name) })
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
		out.selects[i] = len(a.NodeSelectors) == 0 || matchesAny(a.NodeSelectors, set)
		for _, p := range a.Preferred {
			if p.Selector.Matches(set) {
				out.weights[i] += p.Weight
			}
		}
	}
	return out
}

// nodeObstacle is what is against a node whatever the address. What its speaker
// does comes after what Kubernetes says of the node: it is the better answer to
// why.
func nodeObstacle(n Node, m Member, o Options) Obstacle {
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
	case m.Presence == Absent:
		return SpeakerAbsent
	case m.Presence == Starting:
		return SpeakerStarting
	default:
		return NoObstacle
	}
}

func matchesAny(selectors []labels.Selector, set labels.Set) bool {
	for _, s := range selectors {
		if s.Matches(set) {
			return true
		}
	}
	return false
}

// selectsPool says whether an advertisement selects the pool of an address. One
// that names no pool selects everything, also addresses outside of every pool.
func (ix *Index) selectsPool(a *indexAdvertisement, pool string) bool {
	if len(a.Pools) == 0 && len(a.PoolSelectors) == 0 {
		return true
	}
	if pool == "" {
		return false
	}
	if slices.Contains(a.Pools, pool) {
		return true
	}
	set, exists := ix.pools[pool]
	return exists && matchesAny(a.PoolSelectors, set)
}

// selectsHolders says whether an advertisement selects one of the holders.
func selectsHolders(a *indexAdvertisement, holders []Holder) bool {
	if len(a.ServiceSelectors) == 0 {
		return true
	}
	for _, h := range holders {
		if matchesAny(a.ServiceSelectors, h.Labels) {
			return true
		}
	}
	return false
}
