package agent

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Watchdog watches the paths to peers by BFD. *bfd.Engine and *apart.Engine are some.
type Watchdog interface {
	Run(ctx context.Context) error
	Sync(want []bfd.Session) error
	Sessions() []bfd.Status
}

// watchPeers has BFD watch the peers that have a profile.
func (a *Agent) watchPeers() {
	if a.watchdog == nil {
		return
	}
	r := a.loop.routing
	want, users := a.watches()
	want = append(want, r.unparted(want, users, a.router.Parting())...)
	r.watches.Store(&users)
	slices.SortFunc(want, func(a, b bfd.Session) int { return strings.Compare(a.Name, b.Name) })
	if !slices.Equal(want, r.watched) {
		r.watched = want
		a.tellWatchdog(want)
	}
	a.releaseSeen()
}

// watches are the sessions of BFD that the peers call for, and whom each is for. Peers with one address share a session; the
// profile of the first by name counts.
func (a *Agent) watches() (want []bfd.Session, users map[string][]watcher) {
	r := a.loop.routing
	remotes := a.remotes()
	users, r.keyless = map[string][]watcher{}, map[string]string{}
	for i := range r.peers {
		p := &r.peers[i]
		if !p.Watched() {
			continue
		}
		key := r.passwords[p.BFDKey()]
		if p.BFDKey() != "" && key == "" {
			r.keyless[p.Name] = a.missing("key of BFD", p.Profile.Auth.Secret)
			continue
		}
		at := p.Address
		if p.Interface != "" {
			at = remotes[p.Name]
		}
		if !at.IsValid() {
			continue // the neighbour of an unnumbered peer is not known yet
		}
		s := watchOf(p, at, key)
		if users[s.Name] == nil {
			want = append(want, s)
		}
		users[s.Name] = append(users[s.Name], watcher{peer: p.Name, strict: p.Strict()})
	}
	return want, users
}

// unparted are the sessions of BFD that nothing calls for any more but whose peers' sessions of BGP are not closed yet; users
// gets whom they were for. A peer takes the end of BFD for the end of the path while the session of BGP stands, and BIRD then
// refuses us for a minute.
func (r *routing) unparted(want []bfd.Session, users map[string][]watcher, parting []string) (out []bfd.Session) {
	for _, s := range r.watched {
		if slices.ContainsFunc(want, func(w bfd.Session) bool { return w.Peer == s.Peer }) {
			continue
		}
		for _, w := range (*r.watches.Load())[s.Name] {
			if slices.Contains(parting, w.peer) {
				users[s.Name] = append(users[s.Name], watcher{peer: w.peer, parting: true})
			}
		}
		if len(users[s.Name]) > 0 {
			out = append(out, s)
		}
	}
	return out
}

// tellWatchdog hands BFD the sessions that it shall have.
func (a *Agent) tellWatchdog(want []bfd.Session) {
	if err := a.watchdog.Sync(want); err != nil {
		a.cfg.Log.Error(err, "Some peers cannot be watched by BFD")
		a.self.failed(a.cfg.Clock.Now(), "BFD", err.Error())
		return
	}
	a.self.mended("BFD")
}

// releaseSeen lets the sessions begin that were held back and whose peers BFD sees already, for others.
func (a *Agent) releaseSeen() {
	a.watching.Lock()
	defer a.watching.Unlock()
	users := *a.loop.routing.watches.Load()
	for _, s := range a.watchdog.Sessions() {
		for _, w := range users[s.Session] {
			if w.strict && s.State == bfd.Up {
				a.router.Up(w.peer)
			}
		}
	}
}

// remotes are the addresses of the neighbours that sessions were made with, by peer.
func (a *Agent) remotes() map[string]netip.Addr {
	out := map[string]netip.Addr{}
	for _, s := range a.router.Sessions() {
		out[s.Peer] = s.Remote.Addr()
	}
	return out
}

func watchOf(p *announcer.NodePeer, at netip.Addr, key string) bfd.Session {
	name := at.String()
	if p.Source.IsValid() {
		name += " from " + p.Source.String()
	}
	if p.MultiHop {
		name += " over several hops"
	}
	echo, echoInterval := p.Echo()
	s := bfd.Session{
		Name: name, Peer: at, Local: p.Source, MultiHop: p.MultiHop,
		Settings: bfd.Settings{
			TransmitInterval: p.Profile.Transmit, ReceiveInterval: p.Profile.Receive, DetectMultiplier: uint8(p.Profile.DetectMultiplier),
			Passive: p.Profile.Passive, Echo: echo, EchoInterval: echoInterval,
			MinimumTTL: uint8(p.Profile.MinimumTTL),
		},
	}
	if auth := p.Profile.Auth; auth.Type != "" {
		s.Auth = bfd.Auth{Kind: authKinds[auth.Type], KeyID: auth.KeyID, Key: key}
	}
	return s
}

var authKinds = map[v1alpha1.BFDAuthenticationType]bfd.AuthKind{
	v1alpha1.BFDSimplePassword: bfd.SimplePassword, v1alpha1.BFDKeyedSHA1: bfd.KeyedSHA1, v1alpha1.BFDMeticulousKeyedSHA1: bfd.MeticulousSHA1,
}

// watcher is a peer that a session of BFD watches.
type watcher struct {
	peer string
	// strict: its session of BGP stands only while BFD sees the peer.
	strict bool
	// parting: that session of BGP is being closed. What BFD says is nothing to one that the peer may have since.
	parting bool
}

// onBFD takes a session of BGP down at once when BFD sees that the path is gone. It is called beside the loop, which may
// be busy. What the peer ends by intent takes nothing down (RFC 5882 section 4.2).
func (a *Agent) onBFD(ev bfd.Event) {
	users := a.loop.routing.watches.Load()
	if users == nil {
		return
	}
	a.watching.Lock()
	for _, w := range (*users)[ev.Session] {
		lost := ev.State == bfd.Down && ev.Lost() && !w.parting
		if lost {
			a.router.Down(w.peer, "BFD: "+ev.Cause.String())
		}
		// If it is not held back, a session may be tried again at once: it comes up over a path that works, whatever
		// BFD says of it, as where the peer has BFD no longer.
		if lost && !w.strict || ev.State == bfd.Up && w.strict {
			a.router.Up(w.peer)
		}
	}
	a.watching.Unlock()
	a.pending.note(func() {})
}
