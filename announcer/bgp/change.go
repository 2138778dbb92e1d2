package bgp

import (
	"errors"
	"fmt"
	"net/netip"
)

// SetPeers replaces the peers as Sync does, and leaves the routes as they are. A route that names a new peer has to be set
// again to be sent to it.
func (e *Engine) SetPeers(peers []Peer) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return errors.Join(e.syncPeers(peers)...)
}

// SetRoutes replaces the routes of these prefixes, by none where a Route has no peers, and leaves all others as they are.
// It costs nothing for routes that it does not name. The error names what cannot be used; everything else is done.
func (e *Engine) SetRoutes(routes []Route) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	var errs []error
	for i := range routes {
		prefix, err := prefixOf(routes[i])
		if err != nil {
			errs = append(errs, err)
			continue
		}
		for name, a := range routes[i].Peers {
			if err := a.fits(); err != nil {
				errs = append(errs, fmt.Errorf("route %s for peer %s: %w", prefix, name, err))
				delete(routes[i].Peers, name)
			}
		}
		routes[i].Prefix = prefix
	}
	for name, p := range e.peers {
		p.session.mu.Lock()
		changed := false
		for i := range routes {
			if !routes[i].Prefix.IsValid() {
				continue
			}
			a, ok := routes[i].Peers[name]
			changed = p.session.rib.set(routes[i].Prefix, a, ok, e.attrs) || changed
		}
		if changed {
			signal(p.session.work)
		}
		p.session.mu.Unlock()
	}
	return errors.Join(errs...)
}

// prefixOf is the prefix of a route in its one spelling.
func prefixOf(r Route) (netip.Prefix, error) {
	if prefix := r.Prefix.Masked(); prefix.IsValid() && !prefix.Addr().Is4In6() {
		return prefix, nil
	}
	return netip.Prefix{}, fmt.Errorf("route %s: that is no prefix to announce", r.Prefix)
}

// fits says whether there is room for the communities in a message.
func (a Attributes) fits() error {
	if n := 4*len(a.Communities) + 12*len(a.LargeCommunities); n > maxCommunityBytes {
		return fmt.Errorf("its communities take %d bytes, more than %d", n, maxCommunityBytes)
	}
	return nil
}

// set makes the prefix wanted with the attributes, or not wanted, and tells whether that is a change.
func (r *ribOut) set(p netip.Prefix, a Attributes, want bool, attrs *pool) (changed bool) {
	e := r.entries[p]
	switch {
	case !want:
		if e == nil || e.want == nil {
			return false
		}
		r.unwant(p, e)
		return true
	case e == nil:
		e = &entry{}
		r.entries[p] = e
	case e.want != nil && e.want.equal(a):
		return false
	}
	if e.want == nil {
		r.wanted++
	}
	e.want = attrs.intern(a)
	r.enqueue(p, e)
	return true
}
