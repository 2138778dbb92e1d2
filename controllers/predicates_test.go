package controllers

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// What a speaker says of its sessions concerns the peers, and the addresses only if
// others are established.
func TestWhomSessionsConcern(t *testing.T) {
	up := session("tor", v1alpha1.SessionEstablished, "")
	down := session("tor", v1alpha1.SessionActive, "connection refused")
	for name, c := range map[string]struct {
		was, is          []v1alpha1.SpeakerSession
		peers, addresses bool
	}{
		"established":         {[]v1alpha1.SpeakerSession{down}, []v1alpha1.SpeakerSession{up}, true, true},
		"lost":                {[]v1alpha1.SpeakerSession{up}, []v1alpha1.SpeakerSession{down}, true, true},
		"no longer listed":    {[]v1alpha1.SpeakerSession{up}, nil, true, true},
		"with another peer":   {[]v1alpha1.SpeakerSession{up}, []v1alpha1.SpeakerSession{session("rr", v1alpha1.SessionEstablished, "")}, true, true},
		"another reason":      {[]v1alpha1.SpeakerSession{down}, []v1alpha1.SpeakerSession{session("tor", v1alpha1.SessionActive, "hold timer expired")}, true, false},
		"no longer tried":     {[]v1alpha1.SpeakerSession{down}, []v1alpha1.SpeakerSession{session("tor", v1alpha1.SessionIdle, "prefix limit passed")}, true, false},
		"listed first":        {nil, []v1alpha1.SpeakerSession{down}, true, false},
		"listed in new order": {[]v1alpha1.SpeakerSession{up, session("rr", v1alpha1.SessionIdle, "")}, []v1alpha1.SpeakerSession{session("rr", v1alpha1.SessionIdle, ""), up}, false, false},
		"what counts up":      {[]v1alpha1.SpeakerSession{up}, []v1alpha1.SpeakerSession{{Peer: "tor", State: v1alpha1.SessionEstablished, Announced: 7}}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			e := event.UpdateEvent{ObjectOld: says(c.was), ObjectNew: says(c.is)}
			if got := sessionsChanged.Update(e); got != c.peers {
				t.Errorf("peers are looked at: %v, want %v", got, c.peers)
			}
			if got := establishedChanged.Update(e); got != c.addresses {
				t.Errorf("addresses are looked at: %v, want %v", got, c.addresses)
			}
		})
	}
}

func says(sessions []v1alpha1.SpeakerSession) *v1alpha1.SpeakerStatus {
	return &v1alpha1.SpeakerStatus{Status: v1alpha1.SpeakerStatusStatus{BGP: &v1alpha1.SpeakerBGP{Sessions: sessions}}}
}

// An object that was deleted and made anew while the watch was down comes as an
// update, and may have the generation of the old one.
func TestWhatPassesAsAChangedSpec(t *testing.T) {
	route := func(uid types.UID, generation int64, version string) client.Object {
		return &gatewayv1.HTTPRoute{ObjectMeta: metav1.ObjectMeta{Namespace: "shop", Name: "web", UID: uid, Generation: generation, ResourceVersion: version}}
	}
	for name, c := range map[string]struct {
		was, is client.Object
		want    bool
	}{
		"a status":             {route("a", 1, "1"), route("a", 1, "2"), false},
		"a spec":               {route("a", 1, "1"), route("a", 2, "2"), true},
		"another of the name":  {route("a", 1, "1"), route("b", 1, "9"), true},
		"the same once more":   {route("a", 1, "1"), route("a", 1, "1"), false},
		"another, other specs": {route("a", 3, "1"), route("b", 1, "9"), true},
	} {
		if got := generationChanged.Update(event.UpdateEvent{ObjectOld: c.was, ObjectNew: c.is}); got != c.want {
			t.Errorf("%s: passes %v, want %v", name, got, c.want)
		}
	}
}
