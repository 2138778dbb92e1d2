package controllers

import (
	"fmt"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/api/v1alpha1"
)

// conditionsOf reads the conditions of an object of the kinds of BGP.
func (w *world) conditionsOf(o client.Object) ([]metav1.Condition, error) {
	err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(o), o)
	switch o := o.(type) {
	case *v1alpha1.BGPAdvertisement:
		return o.Status.Conditions, err
	case *v1alpha1.BGPPeer:
		return o.Status.Conditions, err
	case *v1alpha1.BFDProfile:
		return o.Status.Conditions, err
	case *v1alpha1.Community:
		return o.Status.Conditions, err
	}
	return nil, fmt.Errorf("%T has no conditions", o)
}

// isSaid waits until an object says of itself, for its current generation, what is
// wanted.
func (w *world) isSaid(o client.Object, kind string, status metav1.ConditionStatus, reason, words string) {
	w.t.Helper()
	w.eventually(fmt.Sprintf("%T %s is %s=%s %s", o, o.GetName(), kind, status, reason), func() error {
		list, err := w.conditionsOf(o)
		if err != nil {
			return err
		}
		c := meta.FindStatusCondition(list, kind)
		if c == nil || c.Status != status || c.Reason != reason || !strings.Contains(c.Message, words) || c.ObservedGeneration != o.GetGeneration() {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

func (w *world) newPeer(name, address string, change ...func(*v1alpha1.BGPPeerSpec)) *v1alpha1.BGPPeer {
	w.t.Helper()
	p := &v1alpha1.BGPPeer{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.BGPPeerSpec{MyASN: 64512, PeerASN: 64513, PeerAddress: address}}
	for _, f := range change {
		f(&p.Spec)
	}
	w.create(p)
	return p
}

// saysOfSessions writes what the speaker of a node says of its sessions.
func (w *world) saysOfSessions(node string, sessions ...v1alpha1.SpeakerSession) {
	w.t.Helper()
	o := &v1alpha1.SpeakerStatus{ObjectMeta: metav1.ObjectMeta{Name: node}}
	_ = w.c.Create(w.ctx(), o)
	w.eventually("the SpeakerStatus is written", func() error {
		if err := w.c.Get(w.ctx(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		o.Status.BGP = &v1alpha1.SpeakerBGP{Sessions: sessions}
		return w.c.Status().Update(w.ctx(), o)
	})
}

func session(peer string, state v1alpha1.SessionState, failure string) v1alpha1.SpeakerSession {
	s := v1alpha1.SpeakerSession{Peer: peer, State: state, Since: metav1.Now()}
	if failure != "" {
		s.LastError = &v1alpha1.SpeakerError{Message: failure, At: metav1.Now()}
	}
	return s
}

func TestBGPConditions(t *testing.T) {
	w := newWorld(t)
	r := w.start()
	w.pool("public", nil, "192.0.2.0/28")
	w.node("node1", nil)
	w.node("node2", nil)
	no, yes := metav1.ConditionFalse, metav1.ConditionTrue
	all := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.BGPAdvertisementSpec{Communities: []v1alpha1.CommunityReference{"vpn"}}}
	wide := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "wide"}, Spec: v1alpha1.BGPAdvertisementSpec{AggregationLength: ptr.To(int32(24)), LocalPref: 5}}
	bad := &v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "bad"}}
	bad.Spec.NodeSelectors = []metav1.LabelSelector{{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "a", Operator: "Near"}}}}
	w.create(all, wide, bad)
	w.isSaid(all, v1alpha1.AdvertisementReady, no, "UnknownCommunity", "There is no BGPPeer")
	w.isSaid(bad, v1alpha1.AdvertisementReady, no, "InvalidSelector", "nodeSelectors[0]")

	tor := w.newPeer("tor", "198.51.100.1", func(s *v1alpha1.BGPPeerSpec) { s.BFDProfile = "fast" })
	w.isSaid(tor, v1alpha1.PeerReady, no, "ProfileNotFound", "fast")
	w.isSaid(tor, v1alpha1.PeerEstablished, no, "NotEstablished", "Established on 0 of 2 nodes; node1 has no live speaker")
	w.isSaid(wide, v1alpha1.AdvertisementReady, no, "AggregationTooWide", "goes to iBGP peers only")

	ours := &v1alpha1.Community{ObjectMeta: metav1.ObjectMeta{Name: "ours"}, Spec: v1alpha1.CommunitySpec{Communities: []v1alpha1.CommunityAlias{{Name: "vpn", Value: "64512:1"}}}}
	fast, slow := &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "fast"}}, &v1alpha1.BFDProfile{ObjectMeta: metav1.ObjectMeta{Name: "slow"}}
	w.create(ours, fast, slow)
	w.isSaid(ours, v1alpha1.CommunityReady, yes, "InUse", "")
	w.isSaid(ours, v1alpha1.CommunityInUse, yes, "Used", "BGPAdvertisement all")
	w.isSaid(fast, v1alpha1.ProfileInUse, yes, "Used", "BGPPeer tor")
	w.isSaid(slow, v1alpha1.ProfileInUse, no, "NotUsed", "")
	w.isSaid(tor, v1alpha1.PeerReady, yes, "InUse", "")
	w.isSaid(all, v1alpha1.AdvertisementReady, yes, "InUse", "")

	w.saysOfSessions("node1", session("tor", v1alpha1.SessionEstablished, ""))
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionActive, "connection refused"))
	w.isSaid(tor, v1alpha1.PeerEstablished, no, "NotEstablished", "Established on 1 of 2 nodes; node2: Active (connection refused).")
	if tor.Status.Established != "1 of 2" {
		t.Errorf("kubectl get shows %q", tor.Status.Established)
	}
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionEstablished, "connection refused"))
	w.isSaid(tor, v1alpha1.PeerEstablished, yes, "Established", "Established on 2 of 2 nodes.")

	twin := w.newPeer("twin", "198.51.100.1")
	w.isSaid(twin, v1alpha1.PeerReady, no, "AddressTwice", "BGPPeer tor")
	w.isSaid(twin, v1alpha1.PeerEstablished, no, "NoNode", "")
	w.settled(r)
	r.stop()
	again := w.start()
	w.recovered(again)
	if writes := w.settled(again); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}
}
