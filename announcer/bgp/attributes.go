package bgp

import (
	"encoding/binary"
	"slices"
)

// attributes are Attributes that many routes share; equal ones are one pointer (see pool).
type attributes struct {
	Attributes
	key string
	gen uint64
}

func (a *attributes) equal(b Attributes) bool {
	return a.LocalPref == b.LocalPref && a.GracefulShutdown == b.GracefulShutdown &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities)
}

// same tells whether a peer that has been sent b, or nothing if that is nil, need not be sent a.
func (a *attributes) same(b *attributes) bool { return a == b || b != nil && a.key == b.key }

// pool keeps one copy of equal attributes. Those that a whole Sync did not use are forgotten.
type pool struct {
	known map[string]*attributes
	gen   uint64
}

func newPool() *pool { return &pool{known: map[string]*attributes{}} }

func (p *pool) intern(a Attributes) *attributes {
	key := attributesKey(a)
	if known := p.known[key]; known != nil {
		known.gen = p.gen
		return known
	}
	a.Communities, a.LargeCommunities = slices.Clone(a.Communities), slices.Clone(a.LargeCommunities)
	made := &attributes{Attributes: a, key: key, gen: p.gen}
	p.known[key] = made
	return made
}

// sweep forgets what the present generation has not used and begins the next one.
func (p *pool) sweep() {
	for key, a := range p.known {
		if a.gen != p.gen {
			delete(p.known, key)
		}
	}
	p.gen++
}

func attributesKey(a Attributes) string {
	b := make([]byte, 0, 9+4*len(a.Communities)+12*len(a.LargeCommunities))
	b = binary.BigEndian.AppendUint32(b, a.LocalPref)
	if a.GracefulShutdown {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(a.Communities)))
	for _, c := range a.Communities {
		b = binary.BigEndian.AppendUint32(b, uint32(c))
	}
	for _, c := range a.LargeCommunities {
		b = binary.BigEndian.AppendUint32(b, c.Global)
		b = binary.BigEndian.AppendUint32(b, c.Local1)
		b = binary.BigEndian.AppendUint32(b, c.Local2)
	}
	return string(b)
}
