package agent

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/announcer/bfd"
	"github.com/fairlead/fairlead/announcer/bgp"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// maxSessions is how many sessions a SpeakerStatus has.
const maxSessions = 64

// reportSessions has the SpeakerStatus say how the sessions stand.
func (a *Agent) reportSessions() {
	if a.router == nil {
		return
	}
	r := a.loop.routing
	if len(r.peers) == 0 {
		a.self.setSessions(nil)
		return
	}
	by := map[string]bgp.Session{}
	for _, s := range a.router.Sessions() {
		by[s.Peer] = s
	}
	watched := a.watchedPeers()
	out := &v1alpha1.SpeakerBGP{Prefixes: int64(r.table.Len())}
	established := 0
	for i := range r.peers {
		name := r.peers[i].Name
		s := sessionOf(by[name], name, r.waiting[name], watched[name], a.loop.started)
		if s.State == v1alpha1.SessionEstablished {
			established++
		}
		out.Sessions = append(out.Sessions, s)
	}
	out.Summary = fmt.Sprintf("%d of %d", established, len(r.peers))
	out.Sessions = mostTelling(out.Sessions)
	a.self.setSessions(out)
}

// mostTelling are as many sessions as there is room for, those that are not established first among those left.
func mostTelling(in []v1alpha1.SpeakerSession) []v1alpha1.SpeakerSession {
	if len(in) > maxSessions {
		slices.SortStableFunc(in, func(a, b v1alpha1.SpeakerSession) int { return rank(a) - rank(b) })
		in = in[:maxSessions]
	}
	slices.SortFunc(in, func(a, b v1alpha1.SpeakerSession) int { return strings.Compare(a.Peer, b.Peer) })
	return in
}

func rank(s v1alpha1.SpeakerSession) int {
	if s.State == v1alpha1.SessionEstablished {
		return 1
	}
	return 0
}

// sight is how BFD sees a peer.
type sight struct {
	// state is Up or Down; empty: BFD does not watch the peer.
	state string
	// trouble is what keeps BFD from working, keyless why there is no key for it; empty: nothing.
	trouble, keyless string
	strict           bool
}

// wrong says what keeps BFD from working, what comes of it, and what to do. It names no time and no count, so that it
// is written once however long it lasts.
func (w sight) wrong() string {
	then := "the loss of the peer is noticed after the hold time of BGP only"
	switch {
	case w.state == "Up":
		then = "the peer may take this node for lost"
	case w.strict:
		then = "the profile, which is strict, keeps the session of BGP down"
	}
	switch {
	case w.keyless != "":
		return fmt.Sprintf("%s Until it is, %s.", w.keyless, then)
	case w.trouble == "":
		return ""
	}
	what := "Mend that on the node"
	if strings.Contains(w.trouble, unix.EADDRINUSE.Error()) {
		what = "Stop the other program"
	}
	return fmt.Sprintf("%s. %s; BFD tries again every second. Until then %s.", cut(w.trouble, 768), what, then)
}

// watchedPeers says of each peer that BFD watches how it does.
func (a *Agent) watchedPeers() map[string]sight {
	out := map[string]sight{}
	users := a.loop.routing.watches.Load()
	if a.watchdog == nil || users == nil {
		return out
	}
	for _, s := range a.watchdog.Sessions() {
		state := "Down"
		if s.State == bfd.Up {
			state = "Up"
		}
		for _, w := range (*users)[s.Session] {
			if !w.parting {
				out[w.peer] = sight{state: state, trouble: s.Trouble, strict: w.strict}
			}
		}
	}
	r := a.loop.routing
	for i := range r.peers {
		if why := r.keyless[r.peers[i].Name]; why != "" {
			out[r.peers[i].Name] = sight{state: "Down", keyless: why, strict: r.peers[i].Strict()}
		}
	}
	return out
}

func sessionOf(s bgp.Session, peer, waiting string, w sight, started time.Time) v1alpha1.SpeakerSession {
	if s.Since.IsZero() {
		s.Since = started // the router has not taken it up yet
	}
	out := v1alpha1.SpeakerSession{
		Peer: peer, State: v1alpha1.SessionActive, Since: seconds(s.Since), ASN: int64(s.PeerASN), Announced: int64(s.RoutesSent),
		BFD: w.state, BFDError: w.wrong(),
	}
	if s.Remote.IsValid() {
		out.Address = s.Remote.Addr().String()
	}
	switch {
	case waiting != "":
		out.State, out.Since = v1alpha1.SessionIdle, seconds(started)
		out.LastError = &v1alpha1.SpeakerError{Message: waiting, At: seconds(started)}
		return out
	case s.State == bgp.Established:
		out.State = v1alpha1.SessionEstablished
	case s.State == bgp.Idle:
		out.State = v1alpha1.SessionIdle
	}
	switch {
	case out.BFDError != "" && w.strict && s.State == bgp.Idle && !s.Refused:
		// It is held back, and who reads why reads what to do in the same place.
		out.LastError = &v1alpha1.SpeakerError{Message: cut("BFD: "+out.BFDError, 1024), At: seconds(s.Since)}
	case s.Refused, s.State == bgp.Idle && s.Why != "":
		out.LastError = &v1alpha1.SpeakerError{Message: cut(s.Why, 1024), At: seconds(s.Since)}
	case s.LastError != "":
		out.LastError = &v1alpha1.SpeakerError{Message: cut(s.LastError, 1024), At: seconds(s.LastErrorAt)}
	}
	return out
}

func seconds(t time.Time) metav1.Time { return metav1.NewTime(t.Truncate(time.Second)) }

// setSessions changes what the status should say of BGP. That a session stands
// otherwise, or is there for the first time, is written early.
func (w *selfWriter) setSessions(b *v1alpha1.SpeakerBGP) {
	before := map[string]stand{}
	w.update(func(s *v1alpha1.SpeakerStatusStatus) {
		before = standsOf(s.BGP)
		s.BGP = b
	})
	if !maps.Equal(before, standsOf(b)) {
		w.hurry()
	}
}

// stand is how a session stands.
type stand struct {
	state         v1alpha1.SessionState
	bfd, bfdError string
}

// standsOf says how the sessions stand, by peer.
func standsOf(b *v1alpha1.SpeakerBGP) map[string]stand {
	out := map[string]stand{}
	if b != nil {
		for i := range b.Sessions {
			out[b.Sessions[i].Peer] = stand{b.Sessions[i].State, b.Sessions[i].BFD, b.Sessions[i].BFDError}
		}
	}
	return out
}
