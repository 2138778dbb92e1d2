package agent

import (
	"errors"
	"net/netip"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/fairlead/fairlead/announcer"
	"github.com/fairlead/fairlead/announcer/l2"
	"github.com/fairlead/fairlead/api/v1alpha1"
)

// says makes the status of an address say that a node announces it, as the
// speaker of that node would.
func (w *world) says(ip netip.Addr, node string) {
	w.t.Helper()
	a := &v1alpha1.Address{}
	if err := w.client.Get(w.ctx, client.ObjectKey{Name: v1alpha1.AddressName(ip)}, a); err != nil {
		w.t.Fatal(err)
	}
	a.Status.Announced = node + " L2"
	a.Status.Layer2 = &v1alpha1.Layer2Announcement{Node: node, Interfaces: []string{"eth0"}, Since: metav1.Now()}
	if err := w.client.Status().Update(w.ctx, a); err != nil {
		w.t.Fatal(err)
	}
}

// leaves runs node1's speaker, lets it announce an address, and then makes it
// believe that the address is node2's. It still answers for it, until node2 does.
func leaves(t *testing.T) (*world, *speaker, netip.Addr) {
	t.Helper()
	w := newWorld(t, "node1", "node2")
	w.endpoints("node1")
	s := w.speak("node1")
	// One of these is node2's where both are there.
	for _, name := range []string{"172.30.0.1", "172.30.0.2", "172.30.0.3", "172.30.0.4", "172.30.0.5", "172.30.0.6", "172.30.0.7", "172.30.0.8"} {
		ip := w.bind(name, nil)
		w.await("for the status", func() bool { return w.announced(ip) == "node1 True Layer2" })
	}
	s.fake.set(other("node2", 2, announcer.Alive))
	var left netip.Addr
	w.await("to leave an address to node2", func() bool {
		s.status.mu.Lock()
		defer s.status.mu.Unlock()
		for n := byte(1); n <= 8; n++ {
			if ip := netip.AddrFrom4([4]byte{172, 30, 0, n}); s.status.wishes[ip].standing == nil {
				left = ip
			}
		}
		return left.IsValid()
	})
	return w, s, left
}

// The decision goes to node2 and comes back before node1 has let go, so that
// nothing changes on the wire; node2 has written meanwhile.
func TestAnAddressThatComesBackIsSaidToBeOurs(t *testing.T) {
	w, s, ip := leaves(t)
	w.says(ip, "node2")
	s.fake.set()
	w.await("for node1 to be named again", func() bool { return w.announced(ip) == "node1 True Layer2" && s.engine.answers(ip) != "" })
}

// What the packet engine says of an address that is already somebody else's must
// not be written.
func TestNothingIsSaidOfAnAddressThatWasLeft(t *testing.T) {
	w, s, ip := leaves(t)
	s.engine.onEvent(l2.Event{Kind: l2.Announced, Address: ip, Interface: "eth0"})
	before := metric(t, s.Agent, "fairlead_speaker_conflicts_total")
	for n := byte(1); n <= 8; n++ {
		s.engine.onEvent(l2.Event{Kind: l2.Conflict, Held: true, Address: netip.AddrFrom4([4]byte{172, 30, 0, n}), Interface: "eth0"})
	}
	w.await("for the events to be taken", func() bool { return metric(t, s.Agent, "fairlead_speaker_conflicts_total") > before })
	s.status.mu.Lock()
	defer s.status.mu.Unlock()
	if v, ok := s.status.wishes[ip]; ok && v.standing != nil {
		t.Errorf("the status of %s is to say %+v, and node2 has it", ip, v.standing)
	}
}

// The packet engine acts on the last of several wishes only: one that is
// withdrawn and renewed in between is never told of.
func TestARenewedAnnouncementThatTheEngineDoesNotTellOf(t *testing.T) {
	w := newWorld(t, "node1")
	w.endpoints("node1")
	ip := w.bind("172.30.0.1", nil)
	s := w.speak("node1")
	w.await("for the status", func() bool { return w.announced(ip) == "node1 True Layer2" })
	s.engine.mu.Lock()
	s.engine.mute = true
	s.engine.mu.Unlock()
	w.endpoints()
	w.await("for the end of it", func() bool { return s.engine.answers(ip) == "" && w.announced(ip) == "False NoReadyEndpoint" })
	w.endpoints("node1")
	w.await("for its return", func() bool { return w.announced(ip) == "node1 True Layer2" })
}

// An interface that failed is no error of today once it works or is gone.
func TestTroubleOfThePacketEngineIsSaidUntilItIsOver(t *testing.T) {
	w := newWorld(t, "node1")
	s := w.speak("node1")
	said := func() string {
		self := &v1alpha1.SpeakerStatus{}
		if err := w.client.Get(w.ctx, client.ObjectKey{Name: "node1"}, self); err != nil || self.Status.LastError == nil {
			return ""
		}
		return self.Status.LastError.Message
	}
	s.engine.onEvent(l2.Event{Kind: l2.Failed, Interface: "eth1", Err: errors.New("no such device")})
	w.await("for the error", func() bool { return said() == "eth1: no such device" })
	s.engine.onEvent(l2.Event{Kind: l2.Mended, Interface: "eth1"})
	w.await("for it to be taken back", func() bool { return said() == "" })
}
