package announcer

import (
	"fmt"
	"slices"
	"strings"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// Session is a BGP session as the speaker of a node says that it stands.
type Session struct {
	Established bool
	// State in the words of the API, and Error is why it is not established.
	State, Error string
}

// Sessions are those of one node by peer. nil: nothing is known of the node.
type Sessions map[string]Session

// FromSpeakerSessions gives the sessions that a speaker says its node has.
func FromSpeakerSessions(in *v1alpha1.SpeakerStatus) Sessions {
	out := Sessions{}
	if in.Status.BGP == nil {
		return out
	}
	for i := range in.Status.BGP.Sessions {
		s := &in.Status.BGP.Sessions[i]
		session := Session{Established: s.State == v1alpha1.SessionEstablished, State: string(s.State)}
		if s.LastError != nil {
			session.Error = s.LastError.Message
		}
		out[s.Peer] = session
	}
	return out
}

// Established are the peers whose sessions are established, sorted. Nothing else of
// sessions bears on where addresses are announced.
func (s Sessions) Established() []string {
	var out []string
	for peer, session := range s {
		if session.Established {
			out = append(out, peer)
		}
	}
	slices.Sort(out)
	return out
}

// PeerSurvey says on how many nodes the session with a peer is established.
type PeerSurvey struct {
	Established, Expected int
	// Missing says of each other node, sorted by name, how its session stands.
	Missing []string
}

// String is the whole in words: "Established on 2 of 3 nodes; node3: Active
// (connection refused)."
func (s PeerSurvey) String() string {
	words := fmt.Sprintf("Established on %d of %d nodes", s.Established, s.Expected)
	named := s.Missing[:min(len(s.Missing), namedNodes)]
	if len(named) > 0 {
		words += "; " + strings.Join(named, "; ")
	}
	if more := len(s.Missing) - len(named); more > 0 {
		words += fmt.Sprintf("; and %d more", more)
	}
	return words + "."
}

// SurveyPeer says on how many nodes the session with a peer is established, by
// what the speakers say of their nodes.
func (ix *Index) SurveyPeer(peer string, said map[string]Sessions) PeerSurvey {
	var out PeerSurvey
	for i := range ix.bgp.peers {
		if p := &ix.bgp.peers[i]; p.Name == peer {
			for node := range ix.nodes {
				if p.on(node) && !ix.nodes[node].Deleting {
					out.count(&ix.nodes[node].Node, peer, said)
				}
			}
		}
	}
	return out
}

func (s *PeerSurvey) count(n *Node, peer string, said map[string]Sessions) {
	s.Expected++
	sessions := said[n.Name]
	session, known := sessions[peer]
	switch {
	case !n.Ready:
		// What its speaker said last is no longer true.
		s.Missing = append(s.Missing, n.Name+" is not Ready")
	case sessions == nil:
		s.Missing = append(s.Missing, n.Name+" has no live speaker")
	case !known:
		s.Missing = append(s.Missing, n.Name+" has not begun")
	case session.Established:
		s.Established++
	case session.Error == "":
		s.Missing = append(s.Missing, fmt.Sprintf("%s: %s", n.Name, session.State))
	default:
		s.Missing = append(s.Missing, fmt.Sprintf("%s: %s (%s)", n.Name, session.State, session.Error))
	}
}

// ProfileUsers are the peers that name a BFDProfile, sorted.
func (ix *Index) ProfileUsers(profile string) []string {
	var out []string
	for i := range ix.bgp.peers {
		if p := &ix.bgp.peers[i]; p.BFDProfile == profile {
			out = append(out, p.Name)
		}
	}
	return out
}

// CommunityUsers are the advertisements that use a name which a Community gives,
// sorted.
func (ix *Index) CommunityUsers(c CommunityAliases) []string {
	var out []string
	for i := range ix.bgp.ads {
		ad := &ix.bgp.ads[i]
		for _, name := range ad.Communities {
			if a, ok := ix.bgp.aliases[name]; ok && a.object == c.Name {
				out = append(out, ad.Name)
				break
			}
		}
	}
	return out
}
