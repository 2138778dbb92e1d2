package members

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/fairlead/fairlead/announcer"
)

// A returning speaker must not spread what it believed while it was cut off.
func TestCutOffSpeakerStartsAfresh(t *testing.T) {
	f := newFabric(t)
	f.start(3)
	victim := f.speakers[2]
	before := victim.gossip()
	f.part(1, 3)
	f.await(victim, "to start afresh", func() bool { return victim.gossip() != before })
	if a := victim.Stats().Alive; a != 1 {
		t.Errorf("the speaker that is cut off sees %d alive", a)
	}
	for _, s := range f.speakers[:2] {
		f.await(s, "for node3 to be gone", func() bool { return s.presence("node3") == announcer.Absent })
	}
	second := victim.gossip()
	f.part(0, 3)
	for _, s := range f.speakers {
		f.await(s, "for everybody to be back", func() bool { return s.Stats().Alive == 3 })
	}
	if victim.gossip() != second {
		t.Error("it started afresh twice for one cut")
	}
	// What it says of itself must pass although its numbers begin anew.
	victim.Depart()
	for _, s := range f.speakers[:2] {
		f.await(s, "to hear that node3 departs", func() bool { return s.presence("node3") == announcer.Held })
	}
}

// Some of the others may still take the returning speaker for dead after the
// first has taken it for alive, so it must reach all of them itself.
func TestAfterAFreshStartEverybodyIsGreeted(t *testing.T) {
	const n = 8
	f := newFabric(t)
	f.start(n)
	victim := f.speakers[0]
	before := victim.gossip()
	f.part(1, 1)
	f.await(victim, "to start afresh", func() bool { return victim.gossip() != before })
	f.part(0, 1)
	f.await(victim, "to greet all others", func() bool { return len(f.dialledBy(victim)) == n-1 })
	for _, s := range f.speakers {
		f.await(s, "for everybody to be back", func() bool { return s.Stats().Alive == n })
	}
}

// quietMembers has heard of two others and then of nobody for an hour.
func quietMembers(reach Reach) *Members {
	m := &Members{
		cfg:    Config{Log: logr.Discard(), Node: "me", Reach: reach, OnChange: func() {}},
		ear:    &ear{start: time.Now().Add(-time.Hour)},
		roster: newRoster("me", time.Minute),
		asking: map[string]bool{},
	}
	m.ctx, m.cancel = context.WithCancel(context.Background())
	for _, node := range []string{"a", "b"} {
		m.roster.heard(t0, node, addr, serving)
	}
	return m
}

func TestSilenceIsNotBelievedWithoutASecondOpinion(t *testing.T) {
	for name, c := range map[string]struct {
		reach func(*Members) Reach
		lost  uint64
	}{
		"nobody answers": {
			func(*Members) Reach { return func(context.Context, netip.AddrPort) bool { return false } }, 2,
		},
		"one node answers": {
			func(*Members) Reach {
				var once sync.Once
				return func(context.Context, netip.AddrPort) (yes bool) {
					once.Do(func() { yes = true })
					return yes
				}
			}, 0,
		},
		"somebody is heard meanwhile": {
			func(m *Members) Reach {
				return func(context.Context, netip.AddrPort) bool {
					m.ear.AckPayload()
					return false
				}
			}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := quietMembers(nil)
			defer m.cancel()
			m.cfg.Reach = c.reach(m)
			m.mindSilence()
			if got := m.Stats(); got.Lost != c.lost || got.Alive != 3-int(c.lost) {
				t.Errorf("%d lost and %d alive, want %d and %d", got.Lost, got.Alive, c.lost, 3-c.lost)
			}
		})
	}
}

// Of many others only a few are dialled when one of these answers, and all when none does.
func TestSilenceDialsFewFirst(t *testing.T) {
	const others = 50
	for _, answer := range []bool{true, false} {
		var dialled atomic.Int32
		m := quietMembers(func(context.Context, netip.AddrPort) bool {
			dialled.Add(1)
			return answer
		})
		defer m.cancel()
		for i := range others - 2 {
			m.roster.heard(t0, fmt.Sprint("other", i), addr, serving)
		}
		m.mindSilence()
		want, alive := int32(firstDialled), 1+others
		if !answer {
			want, alive = others, 1
		}
		if got := m.Stats(); dialled.Load() != want || got.Alive != alive {
			t.Errorf("%v: %d dialled and %d alive, want %d and %d", answer, dialled.Load(), got.Alive, want, alive)
		}
		m.mindSilence() // the answer counts as having been heard
		if dialled.Load() != want {
			t.Errorf("%v: dialled again", answer)
		}
	}
}

func TestWhoIsHeardIsNotDialled(t *testing.T) {
	m := quietMembers(func(context.Context, netip.AddrPort) bool {
		t.Error("dialled")
		return false
	})
	defer m.cancel()
	m.ear.NotifyPingComplete(nil, 0, nil)
	m.mindSilence()
	if got := m.Stats(); got.Alive != 3 {
		t.Errorf("%d alive", got.Alive)
	}
}

// startReal starts a speaker on a port that it opens itself, and makes it
// believe that it lost another.
func startReal(t *testing.T) (*Members, netip.AddrPort) {
	t.Helper()
	f := newFabric(t)
	at := netip.AddrPortFrom(peerOf(1).Address, uint16(f.port))
	m, err := Start(context.Background(), Config{
		Log: logr.Discard(), Node: "node1", Address: at.Addr(), Port: f.port, Keys: f.keys,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Stop)
	m.mu.Lock()
	m.roster.seats["node2"] = &seat{lost: true}
	m.pristine = false
	m.mu.Unlock()
	return m, at
}

func TestPortStaysOpenUntilStop(t *testing.T) {
	m, at := startReal(t)
	before := m.gossip()
	for m.gossip() == before {
		m.startAfresh() // the speaker may have done so itself
	}
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatalf("a speaker that started afresh does not listen: %v", err)
	}
	_ = c.Close()
	m.Stop()
	l, err := net.Listen("tcp", at.String())
	if err != nil {
		t.Fatalf("a speaker that was stopped still holds its port: %v", err)
	}
	_ = l.Close()
}

func TestNothingStartsAfterStop(t *testing.T) {
	m, _ := startReal(t)
	m.Stop()
	m.mu.Lock()
	m.pristine = false
	m.mu.Unlock()
	before := m.gossip()
	m.startAfresh()
	if m.gossip() != before {
		t.Error("a speaker that was stopped began to gossip again")
	}
}

func TestStopWhileStartingAfresh(t *testing.T) {
	m, _ := startReal(t)
	var wg sync.WaitGroup
	wg.Go(m.startAfresh)
	m.Depart()
	m.Stop()
	wg.Wait() // what it leaves behind is found by TestMain
}

func TestWordOfAnEarlierMemberlistDoesNotCount(t *testing.T) {
	f := newFabric(t)
	f.start(2)
	s := f.speakers[0]
	other := s.gossip().Members()[0]
	if other.Name == "node1" {
		other = s.gossip().Members()[1]
	}
	s.mu.Lock()
	stale := events{s.Members, s.life - 1}
	s.mu.Unlock()
	stale.NotifyLeave(other)
	if got := s.Stats(); got.Deaths != 0 {
		t.Errorf("%d deaths by the word of a memberlist that was thrown away", got.Deaths)
	}
	unknown := *other
	unknown.Name = "node9"
	stale.NotifyJoin(&unknown)
	if s.presence("node9") != announcer.Absent {
		t.Error("a speaker is there by the word of a memberlist that was thrown away")
	}
}

func TestWhatGossipHasTakenIsNotPublishedAgain(t *testing.T) {
	f := newFabric(t)
	f.start(2)
	s := f.speakers[0]
	f.await(s, "for its meta to be taken", s.taken)

	m := quietMembers(nil)
	defer m.cancel()
	m.publish = make(chan struct{}, 1)
	slow := func(time.Duration) error { return errors.New("timeout") }
	m.update(slow)
	if len(m.publish) != 1 {
		t.Error("what gossip dropped is not published again")
	}
	<-m.publish
	m.told = delegate{m}.NodeMeta(metaLimit)
	m.update(slow)
	if len(m.publish) != 0 {
		t.Error("what gossip has taken, and has not finished telling, is published again")
	}
}
