package members

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/fairlead/fairlead/announcer"
)

func TestMain(m *testing.M) {
	burnIfAsked()
	goleak.VerifyTestMain(m)
}

func TestCutNodeIsAbsentAndBackWhenHealed(t *testing.T) {
	f := newFabric(t)
	f.start(3)
	f.part(1, 3)
	for _, s := range f.speakers[:2] {
		f.await(s, "for node3 to be gone", func() bool { return s.presence("node3") == announcer.Absent })
	}
	f.await(f.speakers[2], "to be alone", func() bool { return f.speakers[2].Stats().Alive == 1 })
	if f.speakers[2].settledSelf() {
		t.Error("the node that was cut off still counts itself as settled: it would take its addresses back at once")
	}
	f.part(0, 3)
	for _, s := range f.speakers {
		f.await(s, "for everybody to be back", func() bool { return s.Stats().Alive == 3 })
	}
	f.await(f.speakers[0], "for node3 to settle", func() bool { return f.speakers[0].settled("node3") })
}

func TestCrashedSpeakerIsHeldAndSettledWhenBack(t *testing.T) {
	f := newFabric(t)
	f.grace = time.Minute
	f.start(3)
	f.speakers[2].Stop()
	for _, s := range f.speakers[:2] {
		f.await(s, "for the seat of node3 to be held", func() bool { return s.presence("node3") == announcer.Held })
		if i := s.interfacesOf("node3"); len(i) != 1 || i[0].MAC[5] != 3 {
			t.Errorf("%s does not know the hardware address of node3 any more: %v", s.peer.Node, i)
		}
	}
	// A speaker that comes later must decide the same.
	late := f.run(4, 4)
	f.await(late, "to hear that the seat of node3 is held", func() bool { return late.presence("node3") == announcer.Held })

	back := f.run(3, 3)
	for _, s := range f.speakers[:2] {
		f.await(s, "for node3's new speaker", func() bool { return s.IncarnationOf("node3") == back.Incarnation() })
		if p := s.presence("node3"); p != announcer.Held {
			t.Errorf("the seat of node3 is not held while its new speaker starts: presence %d", p)
		}
	}
	back.serve()
	if !back.settledSelf() {
		t.Error("the speaker whose seat was held is not settled")
	}
	for _, s := range f.speakers[:2] {
		f.await(s, "for node3 to answer", func() bool { return s.presence("node3") == announcer.Alive })
		if !s.settled("node3") {
			t.Error("node3 is not settled")
		}
	}
}

func TestSeatIsGivenUpAfterTheGrace(t *testing.T) {
	f := newFabric(t)
	f.grace = time.Second
	f.start(3)
	f.speakers[2].Stop()
	s := f.speakers[0]
	f.await(s, "for the seat to be held", func() bool { return s.presence("node3") == announcer.Held })
	f.await(s, "for the seat to be given up", func() bool { return s.presence("node3") == announcer.Absent })
}

func TestSeatIsGivenUpWhenTheNodeGoesToo(t *testing.T) {
	f := newFabric(t)
	f.grace = time.Hour
	f.start(3)
	f.speakers[2].Stop()
	s := f.speakers[0]
	f.await(s, "for the seat to be held", func() bool { return s.presence("node3") == announcer.Held })
	f.part(1, 3)
	f.await(s, "for the seat to be given up", func() bool { return s.presence("node3") == announcer.Absent })
}

func TestOrderlyStop(t *testing.T) {
	f := newFabric(t)
	f.grace = time.Hour
	f.start(3)
	leaver, s := f.speakers[2], f.speakers[0]
	leaver.Depart()
	f.await(s, "to hear of the departure", func() bool { return s.presence("node3") == announcer.Held })
	if err := s.Tell("node3", Deputizing, nil); err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-leaver.messages:
		if m.Kind != Deputizing || m.From != "node1" {
			t.Errorf("message %+v", m)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("the deputy's word did not arrive")
	}
	leaver.Stop()
	if p := s.presence("node3"); p != announcer.Held {
		t.Errorf("presence %d after the orderly stop, want held", p)
	}
}

func TestSpeakersOfAFreshClusterSettleTogether(t *testing.T) {
	f := newFabric(t)
	for i := range 3 {
		f.speakers = append(f.speakers, f.run(i+1, 3))
	}
	for i, s := range f.speakers {
		s.Joined(t.Context())
		for j := range i {
			f.await(s, "to see who serves", func() bool { return s.presence(peerOf(j+1).Node) == announcer.Alive })
		}
		s.serve()
		if !s.settledSelf() {
			t.Errorf("speaker %d of a fresh cluster is not settled at once: those before it would announce everything", i+1)
		}
	}
}

func TestLateComerIsNotSettledAtOnce(t *testing.T) {
	f := newFabric(t)
	f.start(2)
	for _, s := range f.speakers {
		f.await(s, "to settle", s.settledSelf)
		f.await(s, "to take nobody for a founder", func() bool { return !s.sees(func(m Meta) bool { return m.Founding }) })
	}
	late := f.run(3, 3)
	late.serve()
	if late.settledSelf() {
		t.Error("a new speaker beside others is settled at once: addresses would move to it before it has proven itself")
	}
	f.await(f.speakers[0], "for node3 to settle", func() bool { return f.speakers[0].settled("node3") })
}

func TestMessagesOfManyAddresses(t *testing.T) {
	f := newFabric(t)
	f.start(2)
	var want []netip.Addr
	for a := netip.MustParseAddr("fd00::1"); len(want) < 150; a = a.Next() {
		want = append(want, a)
	}
	if err := f.speakers[0].Tell("node2", Announcing, want); err != nil {
		t.Fatal(err)
	}
	var got []netip.Addr
	for len(got) < len(want) {
		select {
		case m := <-f.speakers[1].messages:
			got = append(got, m.Addresses...)
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d addresses arrived", len(got), len(want))
		}
	}
	slices.SortFunc(got, netip.Addr.Compare)
	if !slices.Equal(got, want) {
		t.Error("other addresses arrived than were sent")
	}
}

func TestKeysAreChangedWhileRunning(t *testing.T) {
	f := newFabric(t)
	f.start(3)
	key2 := []byte("fedcba9876543210")
	for _, s := range f.speakers {
		if err := s.SetKeys([][]byte{key2, key1}); err != nil {
			t.Fatal(err)
		}
	}
	// The new key is not used yet, but understood already.
	f.keys = [][]byte{key2, key1}
	late := f.run(4, 4)
	late.serve()
	f.await(late, "to see everybody", func() bool { return late.Stats().Alive == 4 })
	if s := f.speakers[0].Stats(); s.Deaths != 0 {
		t.Errorf("changing the keys made speakers look dead: %+v", s)
	}
}

func TestForeignKeyIsNotHeard(t *testing.T) {
	f := newFabric(t)
	f.start(2)
	f.keys = [][]byte{[]byte("another cluster!")}
	stranger := f.run(3, 3)
	stranger.serve()
	if n := len(stranger.Members.Members()); n != 1 {
		t.Errorf("a speaker with another key sees %d members", n)
	}
	if n := f.speakers[0].Stats().Alive; n != 2 {
		t.Errorf("%d speakers alive with a stranger around, want 2", n)
	}
}

func (s *speaker) settledSelf() bool { return s.settled(s.peer.Node) }

func (s *speaker) settled(node string) bool {
	for _, m := range s.Members.Members() {
		if m.Node == node {
			return m.Settled
		}
	}
	return false
}

// sees says whether a speaker that it knows, itself included, is as asked.
func (s *speaker) sees(is func(Meta) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, seat := range s.roster.seats {
		if is(seat.meta) {
			return true
		}
	}
	return is(s.self.meta)
}

func (s *speaker) interfacesOf(node string) []announcer.Interface {
	for _, m := range s.Members.Members() {
		if m.Node == node {
			return m.Interfaces
		}
	}
	return nil
}
