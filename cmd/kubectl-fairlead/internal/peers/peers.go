// Package peers is `kubectl fairlead peers`: the BGP sessions of all nodes.
package peers

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/kube"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/output"
)

// Command is `kubectl fairlead peers`.
func Command(env *kube.Env) *cobra.Command {
	return &cobra.Command{
		Use: "peers", Aliases: []string{"peer"}, Short: "The BGP session of each node with each peer, and why one is down",
		Long: `The BGP session of each node with each peer, and why one is down.

What a session is comes from the SpeakerStatuses. BGPPeers may hold passwords, and not everybody may read
them; without that right only peers with a session are shown.`,
		Args: cobra.NoArgs, ValidArgsFunction: cobra.NoFileCompletions,
		RunE: env.Show(func(ctx context.Context, r *kube.Reader) (output.Result, bool, error) {
			var speakers v1alpha1.SpeakerStatusList
			var peers v1alpha1.BGPPeerList
			err := r.Need(ctx, &speakers, &peers)
			return Of(speakers.Items, peers.Items, env.Now()), false, err
		}),
	}
}

// List is all sessions.
type List struct {
	Sessions []Session `json:"sessions"`

	now time.Time
}

// Session is that of a node with a peer, or a peer that no node has a session with.
type Session struct {
	Peer string `json:"peer"`
	// Node is empty where no node has a session with the peer.
	Node    string `json:"node,omitempty"`
	Address string `json:"address,omitempty"`
	ASN     int64  `json:"asn,omitempty"`
	// State is that of the session; empty: there is none.
	State v1alpha1.SessionState `json:"state,omitempty"`
	Since metav1.Time           `json:"since,omitzero"`
	BFD   string                `json:"bfd,omitempty"`
	// BFDError is what keeps BFD from working, and what to do.
	BFDError string `json:"bfdError,omitempty"`
	// Announced is how many prefixes the peer is told.
	Announced int64 `json:"announced,omitempty"`
	// Error is why the session ended last, or does not come up. It stays when the
	// session is back.
	Error *v1alpha1.SpeakerError `json:"error,omitempty"`
	// Why says why there is no session.
	Why string `json:"why,omitempty"`
}

// Of is all sessions, by peer and node.
func Of(speakers []v1alpha1.SpeakerStatus, peers []v1alpha1.BGPPeer, now time.Time) List {
	out := List{Sessions: []Session{}, now: now}
	has := map[string]bool{}
	for i := range speakers {
		if speakers[i].Status.BGP == nil {
			continue
		}
		for _, s := range speakers[i].Status.BGP.Sessions {
			has[s.Peer] = true
			out.Sessions = append(out.Sessions, Session{
				Peer: s.Peer, Node: speakers[i].Name, Address: s.Address, ASN: s.ASN, State: s.State, Since: s.Since,
				BFD: s.BFD, BFDError: s.BFDError, Announced: s.Announced, Error: s.LastError,
			})
		}
	}
	for i := range peers {
		if p := &peers[i]; !has[p.Name] {
			out.Sessions = append(out.Sessions, Session{
				Peer: p.Name, Address: cmp.Or(p.Spec.PeerAddress, p.Spec.Interface), ASN: int64(p.Spec.PeerASN), Why: noSession(p),
			})
		}
	}
	slices.SortFunc(out.Sessions, func(a, b Session) int {
		return cmp.Or(strings.Compare(a.Peer, b.Peer), strings.Compare(a.Node, b.Node))
	})
	return out
}

// noSession says why no node has a session with a peer.
func noSession(p *v1alpha1.BGPPeer) string {
	for _, kind := range []string{v1alpha1.PeerReady, v1alpha1.PeerEstablished} {
		if c := meta.FindStatusCondition(p.Status.Conditions, kind); c != nil && c.Status != metav1.ConditionTrue {
			return c.Message
		}
	}
	return "No speaker has said anything of it yet."
}

// Write is the sessions as a table.
func (l List) Write(w io.Writer, wide bool) error {
	t := output.NewTable("There is no BGPPeer.", "PEER", "NODE", "ADDRESS", "ASN", "STATE", "SINCE", "ANNOUNCED", "ERROR", "+BFD", "+ERROR SINCE")
	for i := range l.Sessions {
		s := &l.Sessions[i]
		t.Add(s.Peer, s.Node, s.Address, number(s.ASN), string(s.State), output.Age(s.Since, l.now), number(s.Announced), s.wrong(), s.BFD, s.wrongSince(l.now))
	}
	return t.Write(w, wide)
}

// wrong is why the session is not established, and of one that is why BFD does not watch it; what ended that one last
// is in JSON and YAML only.
func (s *Session) wrong() string {
	switch {
	case s.State == v1alpha1.SessionEstablished && s.BFDError != "":
		return "BFD: " + s.BFDError
	case s.State == v1alpha1.SessionEstablished:
		return ""
	case s.Error != nil:
		return s.Error.Message
	case s.BFDError != "":
		return "BFD: " + s.BFDError
	}
	return s.Why
}

func (s *Session) wrongSince(now time.Time) string {
	if s.Error == nil || s.State == v1alpha1.SessionEstablished && s.BFDError != "" {
		return "" // or it would be taken for that of BFD
	}
	return output.Age(s.Error.At, now)
}

func number(n int64) string {
	if n == 0 {
		return ""
	}
	return fmt.Sprint(n)
}
