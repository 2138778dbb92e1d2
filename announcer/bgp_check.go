package announcer

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"go4.org/netipx"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/plural"
)

// Problem is what is wrong with an object of the configuration, for its
// condition Ready.
type Problem struct {
	Reason Reason
	// Message says what is wrong, what that means, and how to mend it.
	Message string
}

// The problems of the kinds of BGP.
const (
	// PoolNotFound: an advertisement names a pool that does not exist.
	PoolNotFound Reason = "PoolNotFound"
	// NoPoolSelected: no pool has the labels that an advertisement selects.
	NoPoolSelected Reason = "NoPoolSelected"
	// NoNodeSelected: no node has the labels that nodeSelectors select.
	NoNodeSelected Reason = "NoNodeSelected"
	// PeerNotFound: an advertisement names a BGPPeer that does not exist.
	PeerNotFound Reason = "PeerNotFound"
	// LocalPrefUnused: an advertisement has a local preference and no iBGP peer.
	LocalPrefUnused Reason = "LocalPrefUnused"
	// AddressTwice: two peers of one node have one address.
	AddressTwice Reason = "AddressTwice"
	// ProfileNotFound: a peer names a BFDProfile that does not exist.
	ProfileNotFound Reason = "ProfileNotFound"
	// EchoUnsupported: a peer cannot be watched by echoes.
	EchoUnsupported Reason = "EchoUnsupported"
	// BFDUnsupported: a peer cannot be watched by BFD as its profile asks for.
	BFDUnsupported Reason = "BFDUnsupported"
	// AliasTaken: an older Community gives the name another meaning.
	AliasTaken Reason = "AliasTaken"
)

// CheckAdvertisement says what is wrong with an advertisement for layer 2, the
// worst first.
func (ix *Index) CheckAdvertisement(a Advertisement) []Problem {
	return present(ix.missingPools(a.Pools), ix.noPool(a.Pools, a.PoolSelectors), ix.noNode(a.NodeSelectors))
}

// CheckBGPAdvertisement says what is wrong with an advertisement, the worst
// first.
func (ix *Index) CheckBGPAdvertisement(name string) []Problem {
	for i := range ix.bgp.ads {
		if ad := &ix.bgp.ads[i]; ad.Name == name {
			return present(ix.unknownCommunities(ad), ix.missingPools(ad.Pools), ix.noPool(ad.Pools, ad.PoolSelectors), ix.noNode(ad.NodeSelectors),
				ix.missingPeers(ad), ix.noPeer(ad), ix.tooWide(ad), ix.conflict(ad), ix.unusedLocalPref(ad))
		}
	}
	return nil
}

// CheckPeer says what is wrong with a peer, the worst first.
func (ix *Index) CheckPeer(name string) []Problem {
	for i := range ix.bgp.peers {
		if p := &ix.bgp.peers[i]; p.Name == name {
			return present(ix.addressTwice(p), ix.noNode(p.NodeSelectors), ix.missingProfile(p), ix.unwatched(p), ix.noEcho(p))
		}
	}
	return nil
}

// CheckCommunity says which names of a Community stand for something else.
func (ix *Index) CheckCommunity(c CommunityAliases) []Problem {
	var taken []string
	for _, name := range slices.Sorted(maps.Keys(c.Values)) {
		if a := ix.bgp.aliases[name]; a.object != "" && a.object != c.Name && a.value != c.Values[name] {
			taken = append(taken, fmt.Sprintf("%s (%s in Community %s)", name, a.value, a.object))
		}
	}
	if len(taken) == 0 {
		return nil
	}
	return []Problem{{AliasTaken, fmt.Sprintf("An older Community gives these names another meaning, which counts: %s. Take them out of one of the two.", strings.Join(taken, ", "))}}
}

func present(problems ...*Problem) []Problem {
	var out []Problem
	for _, p := range problems {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}

func problem(r Reason, format string, args ...any) *Problem {
	return &Problem{Reason: r, Message: fmt.Sprintf(format, args...)}
}

func (ix *Index) unknownCommunities(ad *indexBGPAdvertisement) *Problem {
	if len(ad.unknown) == 0 {
		return nil
	}
	return problem(UnknownCommunity, "Nobody defines %s, so this BGPAdvertisement announces nothing: without a community a route may go where it must not. Create a Community with that name, or take it out of spec.communities.",
		strings.Join(ad.unknown, ", "))
}

func (ix *Index) missingPools(names []string) *Problem {
	missing := slices.DeleteFunc(slices.Clone(names), func(p string) bool { _, ok := ix.pools[p]; return ok })
	if len(missing) == 0 {
		return nil
	}
	return problem(PoolNotFound, "There is no IPAddressPool %s. Everything else that is selected is announced. Create it, or take it out of spec.ipAddressPools.", strings.Join(missing, ", "))
}

func (ix *Index) noPool(names []string, selectors []labels.Selector) *Problem {
	if len(names) > 0 || len(selectors) == 0 || len(ix.poolsOf(names, selectors)) > 0 {
		return nil
	}
	return problem(NoPoolSelected, "No IPAddressPool has labels that spec.ipAddressPoolSelectors select. Label a pool, or change the selectors.")
}

// poolsOf are the pools that an advertisement selects, sorted by name.
func (ix *Index) poolsOf(names []string, selectors []labels.Selector) []Pool {
	var out []Pool
	for _, name := range slices.Sorted(maps.Keys(ix.pools)) {
		if ix.selectsPool(names, selectors, name) {
			out = append(out, ix.pools[name])
		}
	}
	return out
}

func (ix *Index) missingPeers(ad *indexBGPAdvertisement) *Problem {
	missing := slices.DeleteFunc(slices.Clone(ad.Peers), func(name string) bool {
		return slices.ContainsFunc(ix.bgp.peers, func(p indexPeer) bool { return p.Name == name })
	})
	if len(missing) == 0 {
		return nil
	}
	return problem(PeerNotFound, "There is no BGPPeer %s. The other peers are told. Create it, or take it out of spec.peers.", strings.Join(missing, ", "))
}

func (ix *Index) noPeer(ad *indexBGPAdvertisement) *Problem {
	if len(ix.pairs(ad)) > 0 {
		return nil
	}
	if len(ix.bgp.peers) == 0 {
		return problem(NoPeer, "There is no BGPPeer, so nobody is told. Create one.")
	}
	return problem(NoPeer, "No node that is selected has a session with a BGPPeer that is, so nobody is told. Look at spec.nodeSelectors and spec.peers here, and at spec.nodeSelectors of the BGPPeers.")
}

// pairs are the peers of an advertisement, by position, with a node of it that
// has a session with them.
func (ix *Index) pairs(ad *indexBGPAdvertisement) map[int]int {
	out := map[int]int{}
	for _, i := range ad.peers {
		for node := range ix.nodes {
			if ad.selects[node] && ix.bgp.peers[i].on(node) {
				out[i] = node
				break
			}
		}
	}
	return out
}

// tooWide says where aggregation reaches outside of a pool. It is enough to look
// at both ends of each range: prefixes between them lie within.
func (ix *Index) tooWide(ad *indexBGPAdvertisement) *Problem {
	for _, pool := range ix.poolsOf(ad.Pools, ad.PoolSelectors) {
		if pool.Addresses == nil {
			continue
		}
		for _, r := range pool.Addresses.Ranges() {
			if outside, ok := ad.outside(r, pool.Addresses); ok {
				return problem(AggregationTooWide, "Aggregated to %d bits, the addresses of IPAddressPool %s from %s to %s reach outside of it: %s holds others. Addresses whose prefix does are not announced. Make the prefix longer, or the pool as wide as the prefix.",
					outside.Bits(), pool.Name, r.From(), r.To(), outside)
			}
		}
	}
	return nil
}

func (a *BGPAdvertisement) outside(r netipx.IPRange, pool *netipx.IPSet) (netip.Prefix, bool) {
	for _, end := range []netip.Addr{r.From(), r.To()} {
		if p, err := end.Prefix(a.length(end)); err == nil && !pool.ContainsPrefix(p) {
			return p, true
		}
	}
	return netip.Prefix{}, false
}

// conflict finds an advertisement that asks for another local preference of the
// same prefixes, to a peer in common. What depends on serviceSelectors shows on
// the addresses only.
func (ix *Index) conflict(ad *indexBGPAdvertisement) *Problem {
	if ad.LocalPref == 0 || len(ad.ServiceSelectors) > 0 {
		return nil
	}
	for i := range ix.bgp.ads {
		with := &ix.bgp.ads[i]
		if with.Name == ad.Name || with.LocalPref == 0 || with.LocalPref == ad.LocalPref || len(with.ServiceSelectors) > 0 {
			continue
		}
		pool, peer := ix.common(ad, with)
		if pool == "" || peer == "" {
			continue
		}
		return problem(ConflictingAdvertisements, "BGPAdvertisement %s asks for another local preference (%d, here %d) of the addresses of IPAddressPool %s: BGPPeer %s is not told of them. Make them equal, or let only one of them select the pool.",
			with.Name, with.LocalPref, ad.LocalPref, pool, peer)
	}
	return nil
}

// common is a pool of which two advertisements make the same prefixes, and an
// iBGP peer that both tell from one node.
func (ix *Index) common(a, b *indexBGPAdvertisement) (pool, peer string) {
	for _, p := range ix.poolsOf(a.Pools, a.PoolSelectors) {
		if ix.selectsPool(b.Pools, b.PoolSelectors, p.Name) && p.alike(&a.BGPAdvertisement, &b.BGPAdvertisement) {
			pool = p.Name
			break
		}
	}
	for _, i := range a.peers {
		p := &ix.bgp.peers[i]
		if !p.IBGP() || !slices.Contains(b.peers, i) {
			continue
		}
		for node := range ix.nodes {
			if a.selects[node] && b.selects[node] && p.on(node) {
				return pool, p.Name
			}
		}
	}
	return pool, ""
}

// alike says whether two advertisements make the same prefixes of addresses of
// the pool, of either family that it has.
func (p *Pool) alike(a, b *BGPAdvertisement) bool {
	if p.Addresses == nil {
		return false
	}
	return slices.ContainsFunc(p.Addresses.Ranges(), func(r netipx.IPRange) bool { return a.length(r.From()) == b.length(r.From()) })
}

func (ix *Index) unusedLocalPref(ad *indexBGPAdvertisement) *Problem {
	if ad.LocalPref == 0 || slices.ContainsFunc(ad.peers, func(i int) bool { return ix.bgp.peers[i].IBGP() }) {
		return nil
	}
	return problem(LocalPrefUnused, "The local preference goes to iBGP peers only (RFC 4271), and none of the peers is one. The rest is announced. Take spec.localPref out, or use communities that the peers act on.")
}

func (ix *Index) noNode(selectors []labels.Selector) *Problem {
	if slices.ContainsFunc(ix.nodes, func(n indexNode) bool { return matchesAnyOrNone(selectors, n.Labels) }) {
		return nil
	}
	if len(selectors) == 0 {
		return nil // a cluster without nodes
	}
	return problem(NoNodeSelected, "No Node has labels that spec.nodeSelectors select. Label a node, or change the selectors.")
}

func (ix *Index) addressTwice(p *indexPeer) *Problem {
	older := map[string][]string{} // nodes by rival
	for node, rival := range p.rivals {
		if rival != "" {
			older[rival] = append(older[rival], ix.nodes[node].Name)
		}
	}
	if len(older) == 0 {
		return nil
	}
	rival := slices.Min(slices.Collect(maps.Keys(older)))
	return problem(AddressTwice, "BGPPeer %s, which is older, has the same %s, and the session on %s. This one has none there. Give one of them another address, or other nodes by spec.nodeSelectors.",
		rival, p.where(), plural.Some(older[rival]))
}

func (ix *Index) missingProfile(p *indexPeer) *Problem {
	if _, ok := ix.bgp.profiles[p.BFDProfile]; ok || p.BFDProfile == "" {
		return nil
	}
	return problem(ProfileNotFound, "There is no BFDProfile %s. The sessions run without BFD. Create it, or take it out of spec.bfdProfile.", p.BFDProfile)
}

// noEcho says that echo mode needs an IPv4 peer one hop away: farther away nobody
// returns echoes to us (RFC 5883 has none).
func (ix *Index) noEcho(p *indexPeer) *Problem {
	if profile := ix.bgp.profiles[p.BFDProfile]; !profile.EchoMode || p.Address.Is4() && !p.MultiHop {
		return nil
	}
	return problem(EchoUnsupported, "BFDProfile %s asks for echo mode, which there is only for IPv4 peers one hop away. This peer is watched without echoes. Use a profile without echoMode.", p.BFDProfile)
}

// unwatched says where BFD cannot do what a profile asks for.
func (ix *Index) unwatched(p *indexPeer) *Problem {
	profile, ok := ix.bgp.profiles[p.BFDProfile]
	switch {
	case ok && !p.watchable():
		return problem(BFDUnsupported, "BFD does not watch peers in a VRF: the sessions run without it. Take spec.bfdProfile out.")
	case ok && profile.Strict && !p.foreseeable():
		return problem(BFDUnsupported, "BFDProfile %s holds sessions back until BFD sees the peer, which it cannot do for the peer of an interface, whose address the session tells. BFD watches it from then on. Use a profile without strict.", p.BFDProfile)
	}
	return nil
}
