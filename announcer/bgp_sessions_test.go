package announcer

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

func TestSurveyPeer(t *testing.T) {
	up := Sessions{"tor": {Established: true, State: "Established"}}
	for name, c := range map[string]struct {
		change func(*scene)
		said   map[string]Sessions
		want   string
	}{
		"all":              {func(*scene) {}, map[string]Sessions{"node1": up, "node2": up, "node3": up}, "Established on 3 of 3 nodes."},
		"no speaker":       {func(*scene) {}, map[string]Sessions{"node1": up, "node3": up}, "Established on 2 of 3 nodes; node2 has no live speaker."},
		"not yet":          {func(*scene) {}, map[string]Sessions{"node1": up, "node2": {}, "node3": up}, "Established on 2 of 3 nodes; node2 has not begun."},
		"not Ready":        {func(s *scene) { s.world.Nodes[1].Ready = false }, map[string]Sessions{"node1": up, "node2": up, "node3": up}, "Established on 2 of 3 nodes; node2 is not Ready."},
		"a node that goes": {func(s *scene) { s.world.Nodes[1].Deleting = true }, map[string]Sessions{"node1": up, "node3": up}, "Established on 2 of 2 nodes."},
		"one node":         {func(s *scene) { s.onlyNode("node3") }, map[string]Sessions{"node3": up}, "Established on 1 of 1 nodes."},
		"no node":          {func(s *scene) { s.onlyNode("node9") }, nil, "Established on 0 of 0 nodes."},
		"another has it": {func(s *scene) {
			s.world.Peers[0].NodeSelectors = []labels.Selector{selector("name", "node1")}
			s.world.Peers[0].Address = s.world.Peers[1].Address
		}, nil, "Established on 0 of 0 nodes."},
		"errors and no news": {func(*scene) {}, map[string]Sessions{"node1": {"tor": {State: "Active", Error: "connection refused"}}, "node2": {"tor": {State: "Idle"}}, "node3": up}, "Established on 1 of 3 nodes; node1: Active (connection refused); node2: Idle."},
	} {
		t.Run(name, func(t *testing.T) {
			s := newBGPScene()
			c.change(s)
			if got := NewIndex(s.world).SurveyPeer("tor", c.said).String(); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestSurveyPeerNamesAFew(t *testing.T) {
	s := newBGPScene()
	for i := range 100 {
		s.world.Nodes = append(s.world.Nodes, Node{Name: fmt.Sprintf("n%02d", i), Ready: true})
	}
	got := NewIndex(s.world).SurveyPeer("tor", nil).String()
	if !strings.HasPrefix(got, "Established on 0 of 103 nodes; n00 has no live speaker; ") || !strings.HasSuffix(got, "; and 98 more.") {
		t.Errorf("it says %s", got)
	}
}

func TestFromSpeakerSessions(t *testing.T) {
	in := &v1alpha1.SpeakerStatus{}
	if got := FromSpeakerSessions(in); got == nil || len(got) != 0 {
		t.Errorf("a speaker without BGP says %v", got)
	}
	in.Status.BGP = &v1alpha1.SpeakerBGP{Sessions: []v1alpha1.SpeakerSession{
		{Peer: "tor", State: v1alpha1.SessionEstablished},
		{Peer: "rr", State: v1alpha1.SessionActive, LastError: &v1alpha1.SpeakerError{Message: "connection refused"}},
	}}
	got := FromSpeakerSessions(in)
	if got["tor"] != (Session{Established: true, State: "Established"}) || got["rr"] != (Session{State: "Active", Error: "connection refused"}) {
		t.Errorf("got %v", got)
	}
}

func TestEstablished(t *testing.T) {
	if got := Sessions(nil).Established(); got != nil {
		t.Errorf("of no sessions %v are established", got)
	}
	s := Sessions{"tor2": {Established: true}, "rr": {State: "Active", Error: "connection refused"}, "tor1": {Established: true}}
	if got := s.Established(); !slices.Equal(got, []string{"tor1", "tor2"}) {
		t.Errorf("%v are established", got)
	}
}

func TestUsers(t *testing.T) {
	s := newBGPScene()
	s.world.Communities = []CommunityAliases{{Name: "ours", Values: map[string]string{"vpn": "64512:1"}}, {Name: "spare", Values: map[string]string{"vpn": "64512:2"}}}
	s.ad(func(a *BGPAdvertisement) { a.Communities = []string{"64512:9", "vpn"} })
	s.more("plain", func(a *BGPAdvertisement) { a.Communities = []string{"no-export"} })
	s.world.Peers[0].BFDProfile = "fast"
	ix := NewIndex(s.world)
	if got := ix.CommunityUsers(s.world.Communities[0]); !slices.Equal(got, []string{"all"}) {
		t.Errorf("ours is used by %v", got)
	}
	if got := ix.CommunityUsers(s.world.Communities[1]); got != nil {
		t.Errorf("spare is used by %v", got)
	}
	if got := ix.ProfileUsers("fast"); !slices.Equal(got, []string{"tor"}) {
		t.Errorf("fast is used by %v", got)
	}
	if got := ix.ProfileUsers("slow"); got != nil {
		t.Errorf("slow is used by %v", got)
	}
}
