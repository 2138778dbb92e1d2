package bgp

import (
	"encoding/binary"
	"maps"
	"slices"
)

// attributes are Attributes that many routes share; equal ones are one pointer (see pool).
type attributes struct {
	Attributes
	key string
}

func (a *attributes) equal(b Attributes) bool {
	return a.LocalPref == b.LocalPref && a.GracefulShutdown == b.GracefulShutdown &&
		slices.Equal(a.Communities, b.Communities) && slices.Equal(a.LargeCommunities, b.LargeCommunities)
}

// same tells whether a peer that has been sent b, or nothing if that is nil, need not be sent a.
func (a *attributes) same(b *attributes) bool { return a == b || b != nil && a.key == b.key }

// pool keeps one copy of equal attributes.
type pool struct {
	known map[string]*attributes
	// room is how many there may be before those that nobody uses are to be forgotten.
	room int
}

// leastRoom is more than most configurations ever have.
const leastRoom = 64

func newPool() *pool { return &pool{known: map[string]*attributes{}, room: leastRoom} }

func (p *pool) intern(a Attributes) *attributes {
	key := attributesKey(a)
	if known := p.known[key]; known != nil {
		return known
	}
	a.Communities, a.LargeCommunities = slices.Clone(a.Communities), slices.Clone(a.LargeCommunities)
	made := &attributes{Attributes: a, key: key}
	p.known[key] = made
	return made
}

// full tells that it is time to keep only what is in use. That is so rarely that its cost for each new one is small.
func (p *pool) full() bool { return len(p.known) > p.room }

// keep forgets all attributes but these.
func (p *pool) keep(used map[*attributes]bool) {
	maps.DeleteFunc(p.known, func(_ string, a *attributes) bool { return !used[a] })
	p.room = max(leastRoom, 2*len(p.known))
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
