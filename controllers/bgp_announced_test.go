package controllers

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/api/v1alpha1"
	"github.com/fairlead/fairlead/service"
)

// bgpSays waits until an Address says that it is announced by BGP so widely, with
// the condition Announced of that reason.
func (w *world) bgpSays(ip, summary, reason string) *v1alpha1.AddressStatus {
	w.t.Helper()
	var out *v1alpha1.AddressStatus
	w.eventually(fmt.Sprintf("%s is announced by BGP: %q, and says %s", ip, summary, reason), func() error {
		s := w.address(ip).Status
		out = &s
		c := meta.FindStatusCondition(s.Conditions, v1alpha1.AddressAnnounced)
		switch {
		case (s.BGP == nil) != (summary == "") || s.BGP != nil && s.BGP.Summary != summary:
			return fmt.Errorf("it says %+v", s.BGP)
		case (c == nil) != (reason == "") || c != nil && c.Reason != reason:
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
	return out
}

// speaks changes the status of an Address as a speaker does.
func (w *world) speaks(ip string, status metav1.ConditionStatus, reason string, change func(*v1alpha1.AddressStatus)) {
	w.t.Helper()
	w.eventually("a speaker writes to "+ip, func() error {
		a := w.address(ip)
		change(&a.Status)
		meta.SetStatusCondition(&a.Status.Conditions, metav1.Condition{Type: v1alpha1.AddressAnnounced, Status: status, Reason: reason})
		return w.c.Status().Update(w.ctx(), a, client.FieldOwner("speaker"))
	})
}

func (w *world) noLongerOnLayer2(ip string, status metav1.ConditionStatus, reason string) {
	w.t.Helper()
	w.speaks(ip, status, reason, func(s *v1alpha1.AddressStatus) { s.Layer2, s.Announced = nil, "" })
}

func (w *world) takenOnLayer2(ip, node string) {
	w.t.Helper()
	w.speaks(ip, metav1.ConditionTrue, "BGPOnly", func(s *v1alpha1.AddressStatus) {
		s.Layer2, s.Announced = &v1alpha1.Layer2Announcement{Node: node, Since: metav1.Now(), TakenBy: "aa:bb:cc:00:00:01"}, ""
	})
}

func TestAddressesAnnouncedByBGP(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.0/24")
	w.node("node1", nil)
	w.node("node2", nil)
	w.create(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}, Spec: v1alpha1.BGPAdvertisementSpec{AggregationLength: ptr.To(int32(28))}})
	r := w.start(func(o *Options, _ *manager.Options) { o.Settle = 30 * time.Millisecond })
	w.service("a")
	w.has("a", "192.0.2.0")
	w.dark("192.0.2.0", string(announcer.NoReadyEndpoint))
	w.endpoint("a", "node1")
	w.dark("192.0.2.0", string(announcer.NoPeer))
	tor := w.newPeer("tor", "198.51.100.1")
	w.dark("192.0.2.0", string(announcer.NoSession))
	w.condition("a", service.ConditionAnnounced, "False", string(announcer.NoSession))

	w.saysOfSessions("node1", session("tor", v1alpha1.SessionEstablished, ""))
	first := w.bgpSays("192.0.2.0", "1 node to 1 peer", announcer.ByBGP).BGP
	if first.Nodes != 1 || first.Peers != 1 || len(first.Prefixes) != 1 || first.Prefixes[0] != "192.0.2.0/28" || first.Since.IsZero() {
		t.Errorf("it says %+v", first)
	}
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionEstablished, ""))
	if s := w.bgpSays("192.0.2.0", "2 nodes to 1 peer", announcer.ByBGP); !s.BGP.Since.Equal(&first.Since) {
		t.Errorf("another node makes it announced since %s, not %s", s.BGP.Since, first.Since)
	}

	// Also on layer 2, whose speaker says so; and no more.
	w.announces("192.0.2.0", "node1")
	w.settled(r)
	w.bgpSays("192.0.2.0", "2 nodes to 1 peer", "Layer2")
	w.noLongerOnLayer2("192.0.2.0", metav1.ConditionFalse, string(announcer.NoAdvertisement))
	w.bgpSays("192.0.2.0", "2 nodes to 1 peer", announcer.ByBGP)

	// Another host has it on layer 2: the speaker says so, and of BGP what it reads here.
	w.takenOnLayer2("192.0.2.0", "node1")
	w.settled(r)
	w.bgpSays("192.0.2.0", "2 nodes to 1 peer", "BGPOnly")
	if c := meta.FindStatusCondition(w.get("a").Status.Conditions, service.ConditionAnnounced); c != nil {
		t.Errorf("the Service, which is announced by BGP, says %+v", c)
	}

	// A restart changes nothing.
	w.settled(r)
	r.stop()
	again := w.start(func(o *Options, _ *manager.Options) { o.Settle = 30 * time.Millisecond })
	w.recovered(again)
	if writes := w.settled(again); len(writes) > 0 {
		t.Errorf("a restart writes %v", writes)
	}

	w.saysOfSessions("node1", session("tor", v1alpha1.SessionActive, "hold timer expired"))
	w.bgpSays("192.0.2.0", "1 node to 1 peer", "BGPOnly")
	w.noLongerOnLayer2("192.0.2.0", metav1.ConditionTrue, announcer.ByBGP)
	w.bgpSays("192.0.2.0", "1 node to 1 peer", announcer.ByBGP)
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionIdle, "prefix limit passed"))
	w.bgpSays("192.0.2.0", "", string(announcer.NoSession))

	// Another reason why a session is not established is told at its peer, and no address is looked at for it.
	w.settled(again)
	looks := reconciles(t)["announcements"]
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionActive, "connection refused"))
	w.isSaid(tor, v1alpha1.PeerEstablished, metav1.ConditionFalse, "NotEstablished", "node2: Active (connection refused)")
	if more := reconciles(t)["announcements"] - looks; more > 0 {
		t.Errorf("the Address was looked at %v times when only the reason was another", more)
	}
	w.saysOfSessions("node2", session("tor", v1alpha1.SessionEstablished, ""))
	w.bgpSays("192.0.2.0", "1 node to 1 peer", announcer.ByBGP)
}

// What was announced by BGP is not, once nobody holds it.
func TestAnAddressGivenUpIsNotAnnouncedByBGP(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.node("node1", nil)
	w.create(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}})
	w.newPeer("tor", "198.51.100.1")
	w.saysOfSessions("node1", session("tor", v1alpha1.SessionEstablished, ""))
	r := w.start(func(o *Options, _ *manager.Options) { o.Settle = 30 * time.Millisecond })
	w.endpoint("a", "node1")
	w.service("a")
	w.has("a", "192.0.2.10")
	w.bgpSays("192.0.2.10", "1 node to 1 peer", announcer.ByBGP)
	if err := w.c.Delete(w.ctx(), w.get("a")); err != nil {
		t.Fatal(err)
	}
	w.addressIs("192.0.2.10", v1alpha1.AddressRetained)
	w.bgpSays("192.0.2.10", "", "")
	w.settled(r)
}

// A session that goes and comes is told of at its peer, and not at every address.
func TestAShortLossOfASessionIsNotWrittenToAddresses(t *testing.T) {
	w := newWorld(t)
	w.pool("public", nil, "192.0.2.10-192.0.2.20")
	w.node("node1", nil)
	w.node("node2", nil)
	w.create(&v1alpha1.BGPAdvertisement{ObjectMeta: metav1.ObjectMeta{Name: "all"}})
	tor := w.newPeer("tor", "198.51.100.1")
	up, down := session("tor", v1alpha1.SessionEstablished, ""), session("tor", v1alpha1.SessionActive, "connection refused")
	w.saysOfSessions("node1", up)
	w.saysOfSessions("node2", up)
	r := w.start(func(o *Options, _ *manager.Options) { o.Settle = patience })
	w.endpoint("a", "node1")
	w.service("a")
	w.has("a", "192.0.2.10")
	w.bgpSays("192.0.2.10", "2 nodes to 1 peer", announcer.ByBGP)
	version := w.address("192.0.2.10").ResourceVersion
	for _, node := range []string{"node1", "node2"} {
		w.saysOfSessions(node, down)
		w.isSaid(tor, v1alpha1.PeerEstablished, metav1.ConditionFalse, "NotEstablished", node)
		w.saysOfSessions(node, up)
		w.isSaid(tor, v1alpha1.PeerEstablished, metav1.ConditionTrue, "Established", "")
	}
	w.settled(r)
	if now := w.address("192.0.2.10"); now.ResourceVersion != version {
		t.Errorf("the Address was written: %+v", now.Status)
	}
}
