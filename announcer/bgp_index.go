package announcer

import (
	"cmp"
	"encoding/binary"
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/announcer/community"
)

// bgpIndex is the part of an Index that decides on BGP.
type bgpIndex struct {
	ads      []indexBGPAdvertisement
	peers    []indexPeer // by name
	profiles map[string]BFDProfile
	aliases  map[string]alias
	// classes are of each node, by position in Index.nodes, a number that nodes
	// have in common which the same advertisements and peers are for. What one of
	// them would announce, all would.
	classes []int
}

type indexBGPAdvertisement struct {
	BGPAdvertisement
	selects     []bool // by position in Index.nodes
	peers       []int  // positions in bgpIndex.peers of the peers that it names
	communities community.Set
	// unknown are communities that nobody defines. Such an advertisement announces
	// nothing: without a community a route may go where it must not.
	unknown []string
}

type indexPeer struct {
	BGPPeer
	selects []bool // by position in Index.nodes
	// rivals are, by position in Index.nodes, the older peers of the same address,
	// which the node has the session with.
	rivals []string
}

// on says whether the node at a position has a session with the peer.
func (p *indexPeer) on(node int) bool { return p.selects[node] && p.rivals[node] == "" }

func (ix *Index) compileBGP(w World) {
	b := &ix.bgp
	b.profiles = make(map[string]BFDProfile, len(w.Profiles))
	for _, p := range w.Profiles {
		b.profiles[p.Name] = p
	}
	b.aliases = aliasesIn(w.Communities)
	for _, p := range w.Peers {
		b.peers = append(b.peers, ix.compilePeer(p))
	}
	slices.SortFunc(b.peers, func(p, q indexPeer) int { return strings.Compare(p.Name, q.Name) })
	ix.findRivals()
	for _, a := range w.BGPAdvertisements {
		b.ads = append(b.ads, ix.compileBGPAdvertisement(a))
	}
	slices.SortFunc(b.ads, func(p, q indexBGPAdvertisement) int { return strings.Compare(p.Name, q.Name) })
	ix.classify()
}

func (ix *Index) compilePeer(p BGPPeer) indexPeer {
	out := indexPeer{BGPPeer: p, selects: make([]bool, len(ix.nodes)), rivals: make([]string, len(ix.nodes))}
	for i := range ix.nodes {
		out.selects[i] = matchesAnyOrNone(p.NodeSelectors, ix.nodes[i].Labels)
	}
	return out
}

// findRivals finds the peers that have one address on one node. The oldest is
// used, so that a new one ends no session.
func (ix *Index) findRivals() {
	byAge := make([]*indexPeer, 0, len(ix.bgp.peers))
	for i := range ix.bgp.peers {
		byAge = append(byAge, &ix.bgp.peers[i])
	}
	slices.SortFunc(byAge, func(a, b *indexPeer) int {
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.Name, b.Name))
	})
	first := make(map[[2]string]string, len(byAge))
	for node := range ix.nodes {
		clear(first)
		for _, p := range byAge {
			if !p.selects[node] {
				continue
			}
			if older, taken := first[p.endpoint()]; taken {
				p.rivals[node] = older
			} else {
				first[p.endpoint()] = p.Name
			}
		}
	}
}

func (ix *Index) compileBGPAdvertisement(a BGPAdvertisement) indexBGPAdvertisement {
	out := indexBGPAdvertisement{BGPAdvertisement: a, selects: make([]bool, len(ix.nodes))}
	for i := range ix.nodes {
		out.selects[i] = matchesAnyOrNone(a.NodeSelectors, ix.nodes[i].Labels)
	}
	out.communities, out.unknown = resolve(a.Communities, ix.bgp.aliases)
	for i := range ix.bgp.peers {
		if len(a.Peers) == 0 || slices.Contains(a.Peers, ix.bgp.peers[i].Name) {
			out.peers = append(out.peers, i)
		}
	}
	return out
}

func (ix *Index) classify() {
	known := map[string]int{}
	key := make([]byte, 0, len(ix.bgp.ads)+len(ix.bgp.peers))
	bit := func(b bool) byte {
		if b {
			return 1
		}
		return 0
	}
	for node := range ix.nodes {
		key = key[:0]
		for i := range ix.bgp.ads {
			key = append(key, bit(ix.bgp.ads[i].selects[node]))
		}
		for i := range ix.bgp.peers {
			key = append(key, bit(ix.bgp.peers[i].on(node)))
		}
		class, ok := known[string(key)]
		if !ok {
			class = len(known)
			known[string(key)] = class
		}
		ix.bgp.classes = append(ix.bgp.classes, class)
	}
}

// position is the position of a node in Index.nodes.
func (ix *Index) position(node string) (int, bool) {
	return slices.BinarySearchFunc(ix.nodes, node, func(n indexNode, name string) int { return strings.Compare(n.Name, name) })
}

// NodePeer is a peer of a node.
type NodePeer struct {
	BGPPeer
	// RouterID is the one that the peer asks for, or the node's own.
	RouterID netip.Addr
	// Profile is how BFD watches the peer; nil: it does not.
	Profile *BFDProfile
}

// Watched says whether BFD watches the peer.
func (p *NodePeer) Watched() bool { return p.Profile != nil && p.watchable() }

// BFDKey is where the key is, among the passwords of peers, that packets of BFD with the peer are signed with; empty: they are not.
func (p *NodePeer) BFDKey() string {
	if p.Profile == nil || p.Profile.Auth.Type == "" {
		return ""
	}
	return BFDKeyOf(p.Profile.Name)
}

// BFDKeyOf is where the key of a BFDProfile is among the passwords of peers, which stand by the names of the peers: none can have
// an underscore.
func BFDKeyOf(profile string) string { return "bfd_" + profile }

// Strict says whether the session with the peer stands only while BFD sees the peer.
func (p *NodePeer) Strict() bool { return p.Profile != nil && p.Profile.Strict && p.foreseeable() }

// Echo says whether echoes test the path to the peer too, and how often they may come, from either side; 0: not at all.
func (p *NodePeer) Echo() (on bool, interval time.Duration) {
	if p.Profile == nil || !p.echoable() {
		return false, 0
	}
	return p.Profile.EchoMode, p.Profile.Echo
}

// PeersOf are the peers that a node is to have sessions with, sorted by name.
func (ix *Index) PeersOf(node string) []NodePeer {
	at, ok := ix.position(node)
	if !ok {
		return nil
	}
	var out []NodePeer
	for i := range ix.bgp.peers {
		p := &ix.bgp.peers[i]
		if !p.on(at) {
			continue
		}
		np := NodePeer{BGPPeer: p.BGPPeer, RouterID: p.RouterID}
		if !np.RouterID.IsValid() {
			np.RouterID = routerIDOf(&ix.nodes[at].Node)
		}
		if profile, ok := ix.bgp.profiles[p.BFDProfile]; ok {
			np.Profile = &profile
		}
		out = append(out, np)
	}
	return out
}

// routerIDOf is the first internal IPv4 address of a node, which differs between
// nodes as identifiers must (RFC 6286), or a number made from its name.
func routerIDOf(n *Node) netip.Addr {
	for _, a := range n.Addresses {
		if a.Is4() {
			return a
		}
	}
	h := fnv.New32a()
	h.Write([]byte(n.Name))
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], max(h.Sum32(), 1))
	return netip.AddrFrom4(b)
}
