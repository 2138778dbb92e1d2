package members

import (
	"hash/fnv"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/fairlead/fairlead/announcer"
)

// roster is what a speaker makes of the others. It has no clock and no
// goroutine: what happened goes in with the time, presences come out.
type roster struct {
	me    string
	grace time.Duration
	seats map[string]*seat
	// selfHeld: others held our seat while we were away.
	selfHeld bool
	// falseAlarms counts speakers that gossip declared dead and whose process
	// turned out to live.
	falseAlarms uint64
}

// seat is one other speaker.
type seat struct {
	address netip.AddrPort
	// alive is what gossip says.
	alive bool
	// meta is what it said of itself last; served is the last of it while it was
	// serving. They differ while it restarts.
	meta, served Meta
	// hasServed: it was serving until something happened to it.
	hasServed bool
	// doubted: gossip says that it is dead, and there is no second opinion yet.
	doubted bool
	// held is when it went away while its node lived; zero: it did not.
	held time.Time
	// silent counts the second opinions in a row that had no answer.
	silent int
	// lost: it was there once in our life, and its node went silent. Gossip that
	// is late may say that it is alive still, so its return needs a second opinion
	// too.
	lost bool
}

// silentOpinions is how many second opinions without an answer end a hold: one
// lost packet must not.
const silentOpinions = 2

func newRoster(me string, grace time.Duration) *roster {
	return &roster{me: me, grace: grace, seats: map[string]*seat{}}
}

// heard takes what gossip says of a speaker that is there: it joined, or its
// meta changed. It returns whether a second opinion is asked for.
func (r *roster) heard(now time.Time, node string, address netip.AddrPort, meta Meta) bool {
	s := r.seats[node]
	if s == nil {
		s = &seat{}
		r.seats[node] = s
	}
	if (s.doubted || !s.held.IsZero()) && !s.alive && meta.Incarnation == s.meta.Incarnation && !s.meta.Leaving {
		r.falseAlarms++
	}
	s.lost = s.lost && meta.Incarnation == s.meta.Incarnation
	s.address, s.alive, s.meta, s.doubted, s.silent = address, true, meta, false, 0
	switch {
	case meta.Serving && !meta.Leaving:
		s.served, s.hasServed, s.held = meta, true, time.Time{}
	case s.hasServed && s.held.IsZero():
		s.held = now
	}
	return s.lost
}

// left takes that gossip declared a speaker dead. It returns whether a second
// opinion is asked for.
func (r *roster) left(node string) bool {
	s := r.seats[node]
	if s == nil {
		return false
	}
	s.alive = false
	if s.lost {
		s.lose()
		return false
	}
	if !s.hasServed {
		delete(r.seats, node)
		return false
	}
	s.doubted = s.held.IsZero()
	return true
}

// opinion takes whether the node of a speaker answered when it was dialled.
func (r *roster) opinion(now time.Time, node string, answered bool) {
	s := r.seats[node]
	switch {
	case s != nil && s.lost && s.alive && answered:
		s.lost = false
	case s == nil || s.alive || s.lost:
		return
	case answered && s.doubted:
		s.doubted, s.held, s.silent = false, now, 0
	case answered:
		s.silent = 0
	case s.doubted:
		s.lose()
	default:
		if s.silent++; s.silent >= silentOpinions {
			s.lose()
		}
	}
}

// lose gives the seat up; that it was there once is remembered.
func (s *seat) lose() {
	*s = seat{address: s.address, meta: s.meta, lost: true}
}

// tick ends holds whose grace time is over. It returns whether one ended.
func (r *roster) tick(now time.Time) bool {
	changed := false
	for node, s := range r.seats {
		if s.held.IsZero() || now.Before(s.held.Add(r.grace)) {
			continue
		}
		changed = true
		if s.alive {
			s.held, s.hasServed = time.Time{}, false
			continue
		}
		delete(r.seats, node)
	}
	return changed
}

// merge takes the held seats of another speaker.
func (r *roster) merge(now time.Time, seats []heldSeat) {
	for _, h := range seats {
		if h.age < 0 || h.age >= r.grace {
			continue
		}
		if h.node == r.me {
			r.selfHeld = true
			continue
		}
		meta, err := DecodeMeta(h.meta)
		if err != nil {
			continue
		}
		if s := r.seats[h.node]; s == nil {
			r.seats[h.node] = &seat{meta: meta, served: meta, hasServed: true, held: now.Add(-h.age)}
		} else if s.alive && !s.meta.Serving && !s.hasServed {
			s.served, s.hasServed, s.held = meta, true, now.Add(-h.age)
		}
	}
}

// heldSeats is what merge takes at the other side. What we only doubt is not
// among it.
func (r *roster) heldSeats(now time.Time) []heldSeat {
	var out []heldSeat
	for node, s := range r.seats {
		if s.held.IsZero() {
			continue
		}
		meta, _ := s.served.Encode(metaLimit)
		out = append(out, heldSeat{node: node, age: now.Sub(s.held), meta: meta})
	}
	return out
}

// forget drops speakers of nodes that no longer exist.
func (r *roster) forget(exists func(node string) bool) {
	for node, s := range r.seats {
		if !s.alive && !exists(node) {
			delete(r.seats, node)
		}
	}
}

// presence is what the election makes of a speaker.
func (s *seat) presence() announcer.Presence {
	switch {
	case s.lost:
		return announcer.Absent
	case s.alive && s.meta.Serving && !s.meta.Leaving:
		return announcer.Alive
	case !s.held.IsZero():
		return announcer.Held
	case s.doubted:
		return announcer.Alive
	case s.alive:
		return announcer.Starting
	default:
		return announcer.Absent
	}
}

// members lists the speakers that are present, by node.
func (r *roster) members() []announcer.Member {
	out := make([]announcer.Member, 0, len(r.seats)+1)
	for node, s := range r.seats {
		p := s.presence()
		if p == announcer.Absent {
			continue
		}
		meta := s.served
		if p == announcer.Starting {
			meta = s.meta
		}
		out = append(out, announcer.Member{Node: node, Presence: p, Settled: meta.Settled, Interfaces: meta.Interfaces})
	}
	slices.SortFunc(out, func(a, b announcer.Member) int { return strings.Compare(a.Node, b.Node) })
	return out
}

// others says whether any other speaker answers.
func (r *roster) others() bool {
	for _, s := range r.seats {
		if p := s.presence(); p == announcer.Alive || p == announcer.Held {
			return true
		}
	}
	return false
}

// founding says whether one of those who answer founds.
func (r *roster) founding() bool {
	for _, s := range r.seats {
		if s.presence() == announcer.Alive && s.meta.Founding {
			return true
		}
	}
	return false
}

// isolated says whether more speakers have gone silent than are still seen, us
// included: we are then on the smaller side of a split, and it is us who
// return when it heals.
func (r *roster) isolated() bool {
	lost, seen := 0, 1
	for _, s := range r.seats {
		switch {
		case s.lost:
			lost++
		case s.presence() != announcer.Absent:
			seen++
		}
	}
	return lost > seen
}

// seen lists those whom gossip takes for alive.
func (r *roster) seen() map[string]netip.AddrPort {
	out := map[string]netip.AddrPort{}
	for node, s := range r.seats {
		if s.alive {
			out[node] = s.address
		}
	}
	return out
}

// silence takes that nothing is heard any more of any speaker that gossip takes
// for alive, and that none of their nodes answered. It returns how many are lost
// by that.
func (r *roster) silence(nodes map[string]netip.AddrPort) int {
	count := 0
	for node := range nodes {
		s := r.seats[node]
		switch {
		case s == nil || !s.alive:
		case !s.hasServed && !s.lost:
			delete(r.seats, node)
		default:
			if !s.lost {
				count++
			}
			s.lose()
		}
	}
	return count
}

// alone says whether of those who were there once at least one is lost and none
// is left. One whose speaker is away while its node answers is left.
func (r *roster) alone() bool {
	lost := false
	for _, s := range r.seats {
		if s.alive || s.doubted || !s.held.IsZero() {
			return false
		}
		lost = lost || s.lost
	}
	return lost
}

// objectionWait is how long one whom gossip took for dead, and whose node lives,
// has to object before it is tried: trying it at once would spread the mistake.
const objectionWait = time.Second

// absent says whether a peer should be tried: gossip does not see it, and will
// not see it of its own accord.
func (r *roster) absent(now time.Time, p Peer) bool {
	if p.Node == r.me || !p.Address.IsValid() {
		return false
	}
	s := r.seats[p.Node]
	switch {
	case s == nil:
		return true
	case s.alive || s.doubted:
		return false
	default:
		return s.lost || now.Sub(s.held) >= objectionWait
	}
}

// cutOff says whether one who takes these for dead, and sees that many alive,
// was cut off from the rest of us.
func (r *roster) cutOff(dead []string, alive int) bool {
	wrong := 0
	for _, node := range dead {
		if s := r.seats[node]; s != nil && s.alive && !s.lost {
			wrong++
		}
	}
	return wrong > cutOffFrom && len(dead) > alive
}

// cutOffFrom is how many others one must take for dead by mistake before that is
// a problem.
const cutOffFrom = 3

// triers is how many of those who see each other try each of the missing.
const triers = 2

// tries says whether we are among those who try a missing peer.
func (r *roster) tries(peer string) bool {
	mine, before := closeness(r.me, peer), 0
	for node, s := range r.seats {
		if s.alive && closeness(node, peer) > mine {
			if before++; before == triers {
				return false
			}
		}
	}
	return true
}

func closeness(a, b string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(a + "/" + b))
	return h.Sum64()
}

// verifiedAtATime bounds how many are asked at once. More than a few are away at a
// time when gossip is wrong about many, for want of cores or of network, and to ask
// all of them would take more of both.
const verifiedAtATime = 2

// toVerify lists speakers that are away and whose nodes have to be asked, others
// each time if there are many.
func (r *roster) toVerify() map[string]netip.AddrPort {
	out := map[string]netip.AddrPort{}
	for node, s := range r.seats {
		if len(out) == verifiedAtATime {
			break
		}
		if !s.alive && !s.held.IsZero() || s.alive && s.lost {
			out[node] = s.address
		}
	}
	return out
}
