package l2

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

// world records what the machine does, in a time of its own.
type world struct {
	m     *machine
	now   time.Time
	start time.Time
	log   []string
	sent  []sending
	table map[string]answer
	fail  error
}

type sending struct {
	at   time.Duration
	addr netip.Addr
	kind packetKind
}

var (
	eth0 = usable{index: 1, name: "eth0", hw: me, arp: true, ndp: true}
	eth1 = usable{index: 2, name: "eth1", hw: mac{2, 0, 0, 0, 1, 1}, arp: true}
)

func newWorld(links ...usable) *world {
	w := &world{start: time.Unix(1000, 0), now: time.Unix(1000, 0), table: map[string]answer{}}
	w.m = newMachine(Timings{}.withDefaults(), w)
	w.m.setLinks(w.now, links)
	return w
}

func entry(link int, a netip.Addr) string { return fmt.Sprintf("%d %s", link, a) }

func (w *world) watch(l int, a netip.Addr)          { w.table[entry(l, a)] = answer{silent: true} }
func (w *world) answer(l int, a netip.Addr, hw mac) { w.table[entry(l, a)] = answer{hw: hw} }
func (w *world) forget(l int, a netip.Addr)         { delete(w.table, entry(l, a)) }

func (w *world) send(_ int, a netip.Addr, k packetKind) error {
	w.sent = append(w.sent, sending{w.now.Sub(w.start), a, k})
	return w.fail
}

func (w *world) emit(e Event) {
	s := fmt.Sprintf("%v %s %s", w.now.Sub(w.start), e.Kind, e.Interface)
	if e.Held {
		s += " held"
	}
	if e.Deputy {
		s += " deputy"
	}
	w.log = append(w.log, s)
}

// pass lets time go by.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for {
		next, ok := w.m.advance(w.now)
		if !ok || next.After(end) {
			w.now = end
			return
		}
		w.now = next
	}
}

func (w *world) set(a *Announcement) {
	w.m.setWant(w.now, a.Address, a)
	w.m.advance(w.now)
}

func (w *world) wantLog(t *testing.T, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, w.log); diff != "" {
		t.Errorf("events (-want +got):\n%s", diff)
	}
}

// kinds tells what was sent when.
func (w *world) wantSent(t *testing.T, kind packetKind, want ...time.Duration) {
	t.Helper()
	var got []time.Duration
	for _, s := range w.sent {
		if s.kind == kind {
			got = append(got, s.at)
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("packets of kind %d (-want +got):\n%s", kind, diff)
	}
}

const ms = time.Millisecond

func TestTakeoverSendsAtOnceAndAFewTimesMore(t *testing.T) {
	w := newWorld(eth0)
	for range 3 { // the same again changes nothing
		w.set(&Announcement{Address: addr4})
		w.pass(10 * time.Second)
	}
	w.wantLog(t, "0s Announced eth0")
	w.wantSent(t, announcePacket, 0, 200*ms, 1000*ms, 2000*ms, 4000*ms)
	w.wantSent(t, replyPacket, 0, 200*ms, 1000*ms, 2000*ms, 4000*ms)
	if _, ok := w.m.advance(w.now); ok {
		t.Error("something is still pending")
	}
}

func TestRefresh(t *testing.T) {
	w := newWorld(eth0)
	w.m.refresh(addr4)
	w.set(&Announcement{Address: addr4})
	w.pass(1500 * ms)
	w.m.refresh(addr4)
	w.pass(10 * time.Second)
	w.wantSent(t, announcePacket, 0, 200*ms, 1000*ms, 1500*ms, 1700*ms, 2500*ms, 3500*ms, 5500*ms)
	w.wantLog(t, "0s Announced eth0")
}

func TestIPv6HasOneForm(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr6})
	w.pass(10 * time.Second)
	w.wantSent(t, announcePacket, 0, 200*ms, 1000*ms, 2000*ms, 4000*ms)
	w.wantSent(t, replyPacket)
}

func TestAskFirst(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4, Probe: true})
	if !w.table[entry(1, addr4)].silent {
		t.Error("it answers before it has asked")
	}
	w.pass(44 * ms)
	w.wantLog(t)
	w.pass(ms)
	w.wantLog(t, "45ms Announced eth0")
	if w.table[entry(1, addr4)] != (answer{hw: me}) {
		t.Error("it does not answer")
	}
	w.pass(10 * time.Second)
	w.wantSent(t, announcePacket, 45*ms, 2045*ms)
	w.m.refresh(addr4) // asks for nothing more, and says it as at a takeover
	w.pass(time.Minute)
	w.wantSent(t, probePacket, 0, 15*ms, 30*ms, 145*ms, 545*ms, 1545*ms)
	w.wantSent(t, announcePacket, 45*ms, 2045*ms, 10045*ms, 10245*ms, 11045*ms, 12045*ms, 14045*ms)
	w.wantLog(t, "45ms Announced eth0")
}

// What is held is asked for at once and announced when it no longer is.
func TestHold(t *testing.T) {
	for _, c := range []struct {
		name     string
		let      time.Duration // when it is held no longer
		rival    time.Duration // when another host shows itself; 0: never
		want     []string
		probes   []time.Duration
		answered bool
	}{
		{"let go later", 200 * ms, 0, []string{"200ms Announced eth0"}, []time.Duration{0, 15 * ms, 30 * ms, 300 * ms, 700 * ms, 1700 * ms}, true},
		{"let go while it is asked for", 30 * ms, 0, []string{"45ms Announced eth0"}, []time.Duration{0, 15 * ms, 30 * ms, 145 * ms, 545 * ms, 1545 * ms}, true},
		{"somebody has it", 200 * ms, 10 * ms, []string{"10ms Conflict eth0", "1.055s ConflictGone eth0", "1.055s Announced eth0"}, nil, true},
		{"somebody takes it while it is held", 200 * ms, 100 * ms, []string{"100ms Conflict eth0", "1.145s ConflictGone eth0", "1.145s Announced eth0"}, nil, true},
		{"somebody had it and is gone", 3000 * ms, 10 * ms, []string{"10ms Conflict eth0", "1.055s ConflictGone eth0", "3s Announced eth0"}, nil, true},
		{"never let go", 0, 0, nil, []time.Duration{0, 15 * ms, 30 * ms}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(eth0)
			w.set(&Announcement{Address: addr4, Probe: true, Hold: true})
			if c.rival > 0 {
				w.pass(c.rival)
				w.m.rivalSeen(w.now, 1, addr4, peer)
			}
			if c.let > 0 {
				w.pass(c.let - w.now.Sub(w.start))
				if !w.table[entry(1, addr4)].silent {
					t.Error("it answers while it is held")
				}
				w.set(&Announcement{Address: addr4, Probe: true})
			}
			w.pass(10 * time.Second)
			w.wantLog(t, c.want...)
			if c.probes != nil {
				w.wantSent(t, probePacket, c.probes...)
			}
			if got := w.table[entry(1, addr4)]; got.silent == c.answered {
				t.Errorf("the answer is %+v", got)
			}
		})
	}
}

// What was announced and is to be held is not answered for any longer, and is asked for anew.
func TestHoldWhatIsAnnounced(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4})
	w.pass(10 * time.Second)
	w.set(&Announcement{Address: addr4, Probe: true, Hold: true})
	if !w.table[entry(1, addr4)].silent {
		t.Error("it still answers")
	}
	w.pass(time.Second)
	w.wantLog(t, "0s Announced eth0", "10s Withdrawn eth0")
	if s := w.m.states(addr4); len(s) != 1 || s[0].Phase != Waiting {
		t.Errorf("it stands as %+v", s)
	}
	w.m.setLinks(w.now, []usable{{index: 1, name: "eth0", hw: peer, arp: true}})
	if s := w.m.states(addr4); s[0].Phase != Probing {
		t.Errorf("with another hardware address it stands as %+v", s)
	}
	w.pass(10 * time.Second)
	w.set(&Announcement{Address: addr4, Probe: true})
	w.pass(time.Second)
	w.wantLog(t, "0s Announced eth0", "10s Withdrawn eth0", "21s Announced eth0")
}

// A host that had the address before and answers late gets it back; one that comes later does not.
func TestSlowHostKeepsItsAddress(t *testing.T) {
	for _, c := range []struct {
		after time.Duration
		want  []string
	}{
		{45 * ms, []string{"45ms Announced eth0", "45ms Conflict eth0"}},
		{2044 * ms, []string{"45ms Announced eth0", "2.044s Conflict eth0"}},
		{2045 * ms, []string{"45ms Announced eth0", "2.045s Conflict eth0 held"}},
	} {
		w := newWorld(eth0)
		w.set(&Announcement{Address: addr4, Probe: true})
		w.pass(c.after)
		w.m.refresh(addr4) // does not begin anew
		w.m.rivalSeen(w.now, 1, addr4, peer)
		w.wantLog(t, c.want...)
		held := c.after > 2044*ms
		if got := w.table[entry(1, addr4)]; got.silent == held {
			t.Errorf("after %v: the answer is %+v", c.after, got)
		}
		if held {
			continue
		}
		w.sent = nil
		w.pass(900 * ms)
		if len(w.sent) != 0 {
			t.Errorf("after %v: sent %+v although another host has it", c.after, w.sent)
		}
		w.pass(time.Minute)
		if n := len(w.log); n != 4 || w.m.states(addr4)[0].Phase != Answering {
			t.Errorf("after %v: the other is gone, and the events are %v", c.after, w.log)
		}
	}
}

// Who took an address over from another speaker has nothing to fear from who comes after.
func TestTakeoverIsNotOnProbation(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4})
	w.m.rivalSeen(w.now, 1, addr4, peer)
	w.wantLog(t, "0s Announced eth0", "0s Conflict eth0 held")
	w.pass(10 * time.Second)
	w.wantSent(t, probePacket)
}

func TestProbesThatAreNotSentDoNotCount(t *testing.T) {
	w := newWorld(eth0)
	w.fail = errors.New("no buffer")
	w.set(&Announcement{Address: addr4, Probe: true})
	w.pass(10 * time.Second)
	w.wantLog(t)
	w.fail = nil
	w.pass(time.Second)
	if len(w.log) != 1 {
		t.Errorf("events: %v", w.log)
	}
}

func TestSomebodyElseHasIt(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4, Probe: true})
	w.pass(10 * ms)
	w.m.rivalSeen(w.now, 1, addr4, peer)
	// A host that answers every probe for two minutes.
	for end := w.now.Add(2 * time.Minute); w.now.Before(end); {
		n := len(w.sent)
		w.pass(10 * ms)
		if len(w.sent) > n {
			w.m.rivalSeen(w.now, 1, addr4, peer)
		}
	}
	w.wantLog(t, "10ms Conflict eth0")
	var probes []time.Duration
	for _, s := range w.sent {
		if s.kind != probePacket {
			t.Fatalf("it was announced: %+v", s)
		}
		probes = append(probes, s.at)
	}
	var gaps []time.Duration
	for i := 1; i < len(probes); i++ {
		gaps = append(gaps, (probes[i] - probes[i-1]).Round(time.Second))
	}
	if want := []time.Duration{1e9, 2e9, 4e9, 8e9, 16e9, 30e9, 30e9}; !slices.Equal(gaps[:min(len(gaps), 7)], want) {
		t.Errorf("waits between probes are %v, want %v", gaps, want)
	}
	w.log = nil
	w.pass(time.Minute)
	if len(w.log) != 2 || w.log[0][len(w.log[0])-len("ConflictGone eth0"):] != "ConflictGone eth0" {
		t.Errorf("after it went: %v", w.log)
	}
}

func TestDefence(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4})
	w.pass(10 * time.Second)
	w.sent, w.log = nil, nil
	for range 25 { // one packet a second
		w.m.rivalSeen(w.now, 1, addr4, peer)
		w.pass(time.Second)
	}
	w.wantSent(t, announcePacket, 10*time.Second, 20*time.Second, 30*time.Second)
	w.wantLog(t, "10s Conflict eth0 held")
	w.pass(2 * time.Minute)
	w.wantLog(t, "10s Conflict eth0 held", "1m34s ConflictGone eth0")
	if w.m.states(addr4)[0].Phase != Answering {
		t.Error("the address was given up")
	}
}

func TestDeputyIsSilent(t *testing.T) {
	w := newWorld(eth0, eth1)
	w.set(&Announcement{Address: addr4, Probe: true, Deputy: map[string]net.HardwareAddr{"eth0": peer.hw()}})
	w.m.rivalSeen(w.now, 1, addr4, peer)
	w.pass(time.Minute)
	if len(w.sent) != 0 {
		t.Errorf("a deputy sent %v", w.sent)
	}
	if diff := cmp.Diff(map[string]answer{entry(1, addr4): {hw: peer}}, w.table, cmp.AllowUnexported(answer{})); diff != "" {
		t.Error(diff)
	}
	w.set(&Announcement{Address: addr4})
	w.wantLog(t, "0s Announced eth0 deputy", "1m0s Announced eth0", "1m0s Announced eth1")
}

func TestWishChangesWhileAsking(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4, Probe: true})
	w.set(&Announcement{Address: addr4})
	w.wantLog(t, "0s Announced eth0")
	w.m.setWant(w.now, addr4, nil)
	w.pass(time.Minute)
	w.wantLog(t, "0s Announced eth0", "0s Withdrawn eth0")
	w.wantSent(t, announcePacket, 0)
}

func TestLinksComeAndGo(t *testing.T) {
	w := newWorld(eth0)
	w.set(&Announcement{Address: addr4})
	w.set(&Announcement{Address: addr6})
	w.m.setLinks(w.now, []usable{eth0, eth1})
	w.pass(10 * time.Second)
	w.m.setLinks(w.now, []usable{eth1})
	w.wantLog(t, "0s Announced eth0", "0s Announced eth0", "0s Announced eth1", "10s Withdrawn eth0", "10s Withdrawn eth0")
	noNDP := eth1
	noNDP.arp = false
	w.m.setLinks(w.now, []usable{noNDP})
	if len(w.table) != 0 || len(w.m.claims) != 0 {
		t.Errorf("left over: %v %v", w.table, w.m.claims)
	}
}

// 5000 addresses at once: the rate holds, every address has had its first packet before any has had its second, and everything is
// sent in the end.
func TestPace(t *testing.T) {
	w := newWorld(eth0)
	a := netip.MustParseAddr("10.0.0.1")
	for range 5000 {
		w.m.setWant(w.now, a, &Announcement{Address: a})
		a = a.Next()
	}
	w.pass(time.Minute)
	if want := 5000 * 2 * 5; len(w.sent) != want {
		t.Fatalf("%d packets, want %d", len(w.sent), want)
	}
	for i, s := range w.sent[:5000] {
		if s.kind != announcePacket {
			t.Fatalf("packet %d is of kind %d", i, s.kind)
		}
	}
	if last := w.sent[4999].at; last > 500*ms {
		t.Errorf("the last address had its first packet after %v", last)
	}
	j := 0
	for i := range w.sent {
		for j < len(w.sent) && w.sent[j].at < w.sent[i].at+100*ms {
			j++
		}
		if n := j - i; n > 1000+int(burst(w.m.t)) {
			t.Fatalf("%d packets in 100 ms", n)
		}
	}
}

// Whatever happens in whatever order: what is answered is what is wanted on the interfaces there are, nothing is announced
// that somebody else has, and when all is withdrawn nothing is left.
func TestMachineKeepsItsPromises(t *testing.T) {
	addrs := []netip.Addr{addr4, peer4, addr6}
	all := []usable{eth0, eth1}
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld()
		want := map[netip.Addr]*Announcement{}
		links := []usable{}
		rt.Repeat(map[string]func(*rapid.T){
			"set": func(rt *rapid.T) {
				a := rapid.SampledFrom(addrs).Draw(rt, "address")
				n := &Announcement{Address: a, Probe: rapid.Bool().Draw(rt, "probe"), Hold: rapid.Bool().Draw(rt, "hold")}
				if rapid.Bool().Draw(rt, "deputy") {
					n.Deputy = map[string]net.HardwareAddr{"eth0": peer.hw()}
				}
				if rapid.Bool().Draw(rt, "selected") {
					n.Interfaces = []string{"eth1"}
				}
				want[a] = n
				w.set(n)
			},
			"withdraw": func(rt *rapid.T) {
				a := rapid.SampledFrom(addrs).Draw(rt, "address")
				delete(want, a)
				w.m.setWant(w.now, a, nil)
			},
			"links": func(rt *rapid.T) {
				links = all[:rapid.IntRange(0, 2).Draw(rt, "links")]
				w.m.setLinks(w.now, links)
			},
			"rival": func(rt *rapid.T) {
				a, l := rapid.SampledFrom(addrs).Draw(rt, "address"), rapid.IntRange(1, 2).Draw(rt, "link")
				before := w.table[entry(l, a)]
				w.m.rivalSeen(w.now, l, a, peer)
				if before.silent && !w.table[entry(l, a)].silent {
					rt.Fatalf("%s is announced although another host has it", a)
				}
			},
			"time": func(rt *rapid.T) {
				w.pass(time.Duration(rapid.IntRange(1, 40_000).Draw(rt, "ms")) * ms)
			},
			"": func(rt *rapid.T) {
				expected := map[string]mac{}
				for a, n := range want {
					for _, l := range links {
						if hw, _, ok := w.m.role(l, n); ok {
							expected[entry(l.index, a)] = hw
						}
					}
				}
				if len(expected) != len(w.table) {
					rt.Fatalf("table is %v, want %v", w.table, expected)
				}
				for k, ans := range w.table {
					if hw, ok := expected[k]; !ok || !ans.silent && ans.hw != hw {
						rt.Fatalf("%s is answered with %v, want %v (%v)", k, ans, hw, ok)
					}
				}
				for a, n := range want {
					for _, l := range links {
						if _, deputy, ok := w.m.role(l, n); ok && n.Hold && !deputy && !w.table[entry(l.index, a)].silent {
							rt.Fatalf("%s is answered for although it is held", a)
						}
					}
				}
			},
		})
		for a := range want {
			w.m.setWant(w.now, a, nil)
		}
		w.pass(5 * time.Minute)
		if len(w.m.claims)+len(w.m.timers)+len(w.m.queues[0])+len(w.m.queues[1])+len(w.m.queues[2]) != 0 {
			rt.Fatal("something is left over")
		}
	})
}
