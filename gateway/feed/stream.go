package feed

import (
	"maps"
	"strconv"
	"time"

	endpointv3 "github.com/envoyproxy/go-control-plane/envoy/config/endpoint/v3"
	discoveryv3 "github.com/envoyproxy/go-control-plane/envoy/service/discovery/v3"
	"github.com/go-logr/logr"

	"github.com/fairlead/fairlead/gateway"
)

// stream is one connected Envoy. The Feed's lock is held for all of it but the
// channels.
type stream struct {
	feed  *Feed
	fleet *fleet
	log   logr.Logger
	// pod is who the Envoy says it is.
	pod gateway.Name

	// begun says that it may be answered.
	begun    bool
	seq      uint64
	types    [kinds]*channel
	rollouts map[gateway.Name]*rollout
	orphans  *rollout
	// active are the rollouts that are not over, or not told of.
	active map[*rollout]struct{}
	// ahead are the assignments of clusters that were sent before the Envoy's first
	// question for assignments came.
	ahead map[string]struct{}
	// doubted is until when what the Envoy says of its endpoints is doubted, as long
	// as it does not ask for clusters and listeners; zero: it is not.
	doubted time.Time

	wakeup  chan struct{}
	evicted chan struct{}
}

func newStream(f *Feed, fl *fleet, pod gateway.Name) *stream {
	s := &stream{
		feed: f, fleet: fl, pod: pod, log: f.log.WithValues("fleet", fl.name, "envoy", pod.String()),
		rollouts: map[gateway.Name]*rollout{}, active: map[*rollout]struct{}{}, ahead: map[string]struct{}{},
		wakeup: make(chan struct{}, 1), evicted: make(chan struct{}),
	}
	for k := range kinds {
		s.types[k] = newChannel(k)
	}
	s.orphans = newRollout(s, gateway.Name{})
	s.orphans.orphans = true
	return s
}

// wake lets the stream's goroutine look whether there is something to send.
func (s *stream) wake() {
	select {
	case s.wakeup <- struct{}{}:
	default:
	}
}

// begin is called once the fleet is ready: all that there is is new to the Envoy.
func (s *stream) begin() {
	s.begun = true
	for gw, t := range s.fleet.gateways {
		s.change(gw, diffOf(noTarget, t))
	}
	for k := range kinds {
		s.adopt(k)
	}
}

// change takes that a Gateway's target differs from the last.
func (s *stream) change(gw gateway.Name, d diff) {
	if !s.begun {
		return
	}
	r := s.rollouts[gw]
	if r == nil {
		r = newRollout(s, gw)
		s.rollouts[gw] = r
	}
	r.change(d)
	s.active[r] = struct{}{}
}

// adopt leads away what the Envoy has and no Gateway does: it brought it along. Which
// that is, is seen when its wave begins.
func (s *stream) adopt(k kind) {
	if !s.begun || !s.types[k].asked || k.straight() {
		return
	}
	for name := range s.types[k].items {
		s.orphans.dirty[k][name] = struct{}{}
		s.active[s.orphans] = struct{}{}
	}
}

// disown takes out of names what a Gateway has or, if it is no more, what its rollout
// is yet to take away.
func (s *stream) disown(k kind, names map[string]struct{}) {
	for _, t := range s.fleet.gateways {
		for name := range t.entries[k] {
			delete(names, name)
		}
	}
	maps.DeleteFunc(names, func(name string, _ struct{}) bool {
		for _, r := range s.rollouts {
			if r.owns(ref{k, name}) {
				return true
			}
		}
		return false
	})
}

// next is the next response that the Envoy should get, or nil.
func (s *stream) next(now time.Time) *reply {
	if !s.begun {
		return nil
	}
	s.doubt(now)
	hold := false
	for r := range s.active {
		if !r.orphans {
			r.advance(now)
			hold = hold || r.phase == making && !r.turned
		}
	}
	s.orphans.advance(now) // after the others, for which it waits
	for _, c := range s.types {
		// An Envoy that starts takes its first listeners for all there are, and
		// opens for traffic: it gets them together.
		if !c.asked || c.full() || c.kind == listeners && c.owed && c.fresh && hold {
			continue
		}
		if offers := c.pick(func(name string) *entry { return s.goal(c, name) }); len(offers) > 0 || c.owed {
			return s.compose(c, offers)
		}
	}
	s.tell()
	return nil
}

// goal is what the Envoy should have of a name by now.
func (s *stream) goal(c *channel, name string) *entry {
	if !c.kind.straight() {
		return c.items[name].goal
	}
	if sh := s.fleet.shared[c.kind][name]; sh != nil {
		return sh.entry
	}
	if c.kind == assignments && c.items[name].held == "" {
		// It asks for what no Gateway has any more. Its cluster is on its way
		// out, and meanwhile must not wait.
		e, err := encode(assignments, name, &endpointv3.ClusterLoadAssignment{ClusterName: name}, nil)
		if err != nil {
			return nil
		}
		return e
	}
	return nil
}

func (s *stream) compose(c *channel, offers []offer) *reply {
	s.seq++
	out := &reply{head: &discoveryv3.DeltaDiscoveryResponse{TypeUrl: typeURLs[c.kind], Nonce: strconv.FormatUint(s.seq, 10)}}
	for _, o := range offers {
		if o.entry == nil {
			out.head.RemovedResources = append(out.head.RemovedResources, o.name)
			continue
		}
		out.offers = append(out.offers, o)
	}
	c.depart(offers, out.head.GetNonce(), s.seq)
	s.feed.opts.Sent(c.kind.String(), len(out.offers))
	if c.kind == clusters {
		s.resupply(offers)
	}
	return out
}

// handle takes what the Envoy says.
func (s *stream) handle(req *discoveryv3.DeltaDiscoveryRequest) {
	k, ok := kindOf(req.GetTypeUrl())
	if !ok {
		s.log.V(1).Info("An Envoy asks for a type that there is nothing of", "type", req.GetTypeUrl())
		return
	}
	c := s.types[k]
	if fl := c.land(req.GetResponseNonce()); fl != nil {
		if req.ErrorDetail == nil {
			s.acknowledge(c, fl)
		} else {
			s.reject(c, fl, req.GetErrorDetail().GetMessage())
		}
	}
	first := !c.asked
	if first {
		c.asked, c.owed, c.fresh = true, !k.byName(), len(req.GetInitialResourceVersions()) == 0
		for name, version := range req.GetInitialResourceVersions() {
			c.item(name).held = version
		}
		if k == assignments {
			s.overtake()
			if !c.fresh {
				s.doubted = s.feed.clock.Now().Add(doubtFor)
			}
		}
	}
	if k.byName() {
		s.subscribe(c, req, first)
	}
	if first {
		s.adopt(k)
	}
}

func (s *stream) subscribe(c *channel, req *discoveryv3.DeltaDiscoveryRequest, first bool) {
	for _, name := range req.GetResourceNamesSubscribe() {
		it := c.item(name)
		if !first {
			// It may have forgotten what it had.
			it.held, it.again = "", it.flying
		}
		it.wanted = true
		c.pend(name)
	}
	for _, name := range req.GetResourceNamesUnsubscribe() {
		it := c.items[name]
		if it == nil {
			continue
		}
		if it.goal != nil {
			it.wanted, it.held, it.bad, it.again = false, "", nil, false
		} else {
			delete(c.items, name)
		}
		delete(c.pending, name)
		delete(c.bad, name)
		if c.kind.straight() {
			s.feed.retire(s.fleet, ref{c.kind, name})
		}
	}
}

func (s *stream) acknowledge(c *channel, fl *flight) {
	for _, name := range c.acknowledged(fl) {
		s.touch(ref{c.kind, name})
	}
}

// resupply sends the endpoints of clusters that were just sent once more, if the
// Envoy has them already: it does not ask again for what it has, but such a cluster
// waits to hear of them, and until then the Envoy acknowledges no cluster.
func (s *stream) resupply(offers []offer) {
	c := s.types[assignments]
	for _, o := range offers {
		if o.entry == nil {
			continue
		}
		for _, n := range o.entry.needs {
			if n.kind == assignments && !c.asked {
				s.ahead[n.name] = struct{}{}
			}
			it := c.items[n.name]
			if n.kind != assignments || it == nil || !it.wanted {
				continue
			}
			it.again, it.held = it.flying, ""
			c.pend(n.name)
		}
	}
}

// overtake does the same for clusters that were sent before the Envoy said which
// endpoints it has. It said so without knowing of these clusters.
func (s *stream) overtake() {
	for name := range s.ahead {
		if it := s.types[assignments].items[name]; it != nil {
			it.held = ""
		}
	}
	clear(s.ahead)
}

// doubtFor is how long an Envoy has that comes back to ask for all types: it does so in
// one breath.
const doubtFor = 250 * time.Millisecond

// doubt sends the endpoints once more that a returning Envoy says it has, if one of its
// clusters may wait to hear of them: its last connection may have ended between a
// cluster and the endpoints behind it. An Envoy asks for no clusters while one waits
// and, until the first have come into use, for no listeners.
func (s *stream) doubt(now time.Time) {
	if s.doubted.IsZero() {
		return
	}
	if s.types[clusters].asked && s.types[listeners].asked {
		s.doubted = time.Time{}
		return
	}
	if now.Before(s.doubted) {
		return
	}
	s.doubted = time.Time{}
	c := s.types[assignments]
	for name, it := range c.items {
		if it.wanted && it.sent == 0 {
			it.held = ""
			c.pend(name)
		}
	}
}

// reject takes that the Envoy refused a response.
func (s *stream) reject(c *channel, fl *flight, message string) {
	if len(fl.offers) > 1 {
		c.retry = append(part(fl.offers, message), c.retry...)
		return
	}
	for _, o := range fl.offers {
		it := c.items[o.name]
		if it == nil || c.kind.byName() && !it.wanted {
			continue
		}
		if o.entry == nil { // there is no other way to take it away
			it.held = ""
			c.drop(o.name)
			continue
		}
		o.entry.alone.Store(true)
		it.again = false
		it.bad = &refusal{version: o.entry.version, message: shorten(message)}
		c.bad[o.name] = struct{}{}
		c.pend(o.name) // what it should have may be another by now
		s.log.Info("An Envoy rejects a resource", "type", c.kind.String(), "resource", o.name, "message", it.bad.message)
		s.feed.opts.Rejected(c.kind.String())
		s.touch(ref{c.kind, o.name})
	}
}

// touch looks again at the Gateways that have a resource: there may be something to
// tell.
func (s *stream) touch(id ref) {
	for gw, t := range s.fleet.gateways {
		if r := s.rollouts[gw]; r != nil && t.has(id) {
			s.active[r] = struct{}{}
		}
	}
}

// deadline is when to look again even if nothing happens; zero: never.
func (s *stream) deadline() time.Time {
	if !s.begun {
		return time.Time{}
	}
	out := s.doubted
	for r := range s.active {
		if at := r.deadline(); !at.IsZero() && (out.IsZero() || at.Before(out)) {
			out = at
		}
	}
	return out
}
