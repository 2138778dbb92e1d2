package announcer

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"strings"
)

// BGPTable is what a node announces by BGP: the routes of its addresses, joined
// where addresses have one prefix. A prefix is there as long as one of its
// addresses is announced, and costs no more to change with many addresses than
// with one. The zero value is not usable; see [NewBGPTable].
type BGPTable struct {
	addresses map[netip.Addr][]BGPRoute
	prefixes  map[netip.Prefix]*tableEntry
}

// tableEntry is one prefix. Addresses that say the same of it are counted
// together: there are hardly ever two things to say.
type tableEntry struct {
	variants map[string]*variant
	joined   BGPRoute
}

type variant struct {
	route BGPRoute
	count int
}

// NewBGPTable makes an empty table.
func NewBGPTable() *BGPTable {
	return &BGPTable{addresses: map[netip.Addr][]BGPRoute{}, prefixes: map[netip.Prefix]*tableEntry{}}
}

// Set replaces the routes of an address, by none when it is not announced any
// longer. It returns the prefixes whose route has changed, sorted.
func (t *BGPTable) Set(ip netip.Addr, routes []BGPRoute) (changed []netip.Prefix) {
	before := t.addresses[ip]
	if len(routes) == 0 {
		delete(t.addresses, ip)
	} else {
		t.addresses[ip] = routes
	}
	touched := map[netip.Prefix]BGPRoute{} // as it was
	for _, r := range before {
		touched[r.Prefix] = t.entry(r.Prefix).joined
		t.entry(r.Prefix).add(r, -1)
	}
	for _, r := range routes {
		if _, ok := touched[r.Prefix]; !ok {
			touched[r.Prefix] = t.entry(r.Prefix).joined
		}
		t.entry(r.Prefix).add(r, +1)
	}
	for prefix, was := range touched {
		e := t.entry(prefix)
		e.join(prefix)
		if len(e.variants) == 0 {
			delete(t.prefixes, prefix)
		}
		if !e.joined.equal(was) {
			changed = append(changed, prefix)
		}
	}
	slices.SortFunc(changed, comparePrefixes)
	return changed
}

// Route is what is announced of a prefix, and whether it is.
func (t *BGPTable) Route(prefix netip.Prefix) (BGPRoute, bool) {
	e, ok := t.prefixes[prefix]
	if !ok {
		return BGPRoute{}, false
	}
	return e.joined, true
}

// Routes are all routes, sorted by prefix.
func (t *BGPTable) Routes() []BGPRoute {
	out := make([]BGPRoute, 0, len(t.prefixes))
	for _, e := range t.prefixes {
		out = append(out, e.joined)
	}
	slices.SortFunc(out, func(a, b BGPRoute) int { return comparePrefixes(a.Prefix, b.Prefix) })
	return out
}

// Len is how many prefixes are announced.
func (t *BGPTable) Len() int { return len(t.prefixes) }

func (t *BGPTable) entry(prefix netip.Prefix) *tableEntry {
	e, ok := t.prefixes[prefix]
	if !ok {
		e = &tableEntry{variants: map[string]*variant{}}
		t.prefixes[prefix] = e
	}
	return e
}

func (e *tableEntry) add(r BGPRoute, n int) {
	key := r.key()
	v, ok := e.variants[key]
	if !ok {
		v = &variant{route: r}
		e.variants[key] = v
	}
	if v.count += n; v.count == 0 {
		delete(e.variants, key)
	}
}

// join joins what the addresses of a prefix say. Where they want one peer told
// different local preferences, which only pools that overlap can bring about,
// the highest counts. A prefix drains only when all its addresses do.
func (e *tableEntry) join(prefix netip.Prefix) {
	if len(e.variants) == 1 {
		for _, v := range e.variants {
			e.joined = v.route
		}
		return
	}
	e.joined = BGPRoute{Prefix: prefix}
	for _, v := range e.variants {
		for _, p := range v.route.Peers {
			e.joined.tell(p)
		}
	}
}

func (r *BGPRoute) tell(p RoutePeer) {
	at, found := slices.BinarySearchFunc(r.Peers, p.Peer, func(q RoutePeer, name string) int { return strings.Compare(q.Peer, name) })
	if !found {
		r.Peers = slices.Insert(r.Peers, at, p)
		return
	}
	q := &r.Peers[at]
	q.LocalPref = max(q.LocalPref, p.LocalPref)
	q.Communities = q.Communities.Union(p.Communities)
	q.Draining = q.Draining && p.Draining
}

func (r *BGPRoute) equal(with BGPRoute) bool {
	return r.Prefix == with.Prefix && slices.EqualFunc(r.Peers, with.Peers, func(a, b RoutePeer) bool {
		return a.Peer == b.Peer && a.LocalPref == b.LocalPref && a.Draining == b.Draining && a.Communities.Equal(b.Communities)
	})
}

// key is the same for routes that tell the same peers the same.
func (r *BGPRoute) key() string {
	var b []byte
	for _, p := range r.Peers {
		b = append(append(b, p.Peer...), 0)
		b = binary.BigEndian.AppendUint32(b, p.LocalPref)
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Communities.Standard)))
		for _, c := range p.Communities.Standard {
			b = binary.BigEndian.AppendUint32(b, uint32(c))
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(p.Communities.Large)))
		for _, c := range p.Communities.Large {
			b = binary.BigEndian.AppendUint32(b, c.Global)
			b = binary.BigEndian.AppendUint32(b, c.Local1)
			b = binary.BigEndian.AppendUint32(b, c.Local2)
		}
		if p.Draining {
			b = append(b, 1)
		} else {
			b = append(b, 0)
		}
	}
	return string(b)
}
