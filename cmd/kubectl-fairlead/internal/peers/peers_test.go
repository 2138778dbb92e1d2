package peers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/cmd/kubectl-fairlead/internal/golden"
)

var noon = time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)

func ago(d time.Duration) metav1.Time { return metav1.NewTime(noon.Add(-d)) }

func speaker(node string, sessions ...v1alpha1.SpeakerSession) v1alpha1.SpeakerStatus {
	return v1alpha1.SpeakerStatus{
		ObjectMeta: metav1.ObjectMeta{Name: node},
		Status:     v1alpha1.SpeakerStatusStatus{BGP: &v1alpha1.SpeakerBGP{Sessions: sessions}},
	}
}

func peer(name string, conditions ...metav1.Condition) v1alpha1.BGPPeer {
	return v1alpha1.BGPPeer{
		ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPPeerSpec{PeerAddress: "10.0.0.9", PeerASN: 64520, Password: "secret"},
		Status: v1alpha1.BGPPeerStatus{Conditions: conditions},
	}
}

func TestPeers(t *testing.T) {
	old := &v1alpha1.SpeakerError{Message: "The peer closed the session.", At: ago(3 * time.Hour)}
	up := v1alpha1.SpeakerSession{Peer: "tor-2", Address: "10.0.0.2", ASN: 64512, State: v1alpha1.SessionEstablished, Since: ago(2 * time.Hour), BFD: "Up", Announced: 4, LastError: old}
	down := v1alpha1.SpeakerSession{
		Peer: "tor-1", Address: "10.0.0.1", State: v1alpha1.SessionActive, Since: ago(time.Minute),
		LastError: &v1alpha1.SpeakerError{Message: "OPEN refused: Bad Peer AS.\nOur side says 64513.", At: ago(5 * time.Second)},
	}
	const inUse = "UDP port 3784 is in use on this node. Stop the other program."
	blind := v1alpha1.SpeakerSession{Peer: "tor-3", State: v1alpha1.SessionEstablished, Since: ago(time.Hour), BFD: "Down", BFDError: inUse, LastError: old}
	held := v1alpha1.SpeakerSession{
		Peer: "tor-4", State: v1alpha1.SessionIdle, Since: ago(time.Hour), BFD: "Down", BFDError: inUse,
		LastError: &v1alpha1.SpeakerError{Message: "BFD: " + inUse, At: ago(time.Hour)},
	}
	speakers := []v1alpha1.SpeakerStatus{speaker("node2", up, down, blind, held), speaker("node1", up), {ObjectMeta: metav1.ObjectMeta{Name: "node3"}}}
	peers := []v1alpha1.BGPPeer{
		peer("tor-1"), peer("tor-2"), peer("new"),
		peer("wrong", metav1.Condition{Type: v1alpha1.PeerReady, Status: metav1.ConditionFalse, Reason: "PasswordMissing", Message: "There is no Secret tor."}),
		peer("nowhere", metav1.Condition{Type: v1alpha1.PeerReady, Status: metav1.ConditionTrue, Reason: "InUse"},
			metav1.Condition{Type: v1alpha1.PeerEstablished, Status: metav1.ConditionFalse, Reason: "NoNode", Message: "No node is to have a session with the peer."}),
	}
	golden.Result(t, "peers.txt", Of(speakers, peers, noon))
	golden.Result(t, "withoutpeers.txt", Of(speakers, nil, noon))
	golden.Result(t, "none.txt", Of(nil, nil, noon))
}
